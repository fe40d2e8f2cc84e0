"""`with Cluster()`: joins one, or starts one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypelinin import Cluster, Job, Pipeline
from pypelinin.errors import JobError, Unreachable

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(autouse=True)
def nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYPELININ_API", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_it_starts_one_and_others_join_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Cluster(slots=1) as first:
        assert first.started
        assert first.run(Job(pow, args=(2, 10)), timeout=30) == 1024
        monkeypatch.setenv("PYPELININ_API", first.api)
        with Cluster() as second:
            assert (second.started, second.api) == (False, first.api)
            with second.executor() as executor:
                assert list(executor.map(abs, [-1, -2])) == [1, 2]
        monkeypatch.delenv("PYPELININ_API")
        (tmp_path / "pypelinin.toml").write_text(f'api = "{first.api}"\n')
        with Cluster() as third:
            assert not third.started
            found = third.run(Pipeline([Job(int, args=("x",))]), raise_on_failure=False)
            assert found.state == "failed"
            with pytest.raises(JobError):
                third.run(Job(int, args=("x",)))


def test_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable), Cluster("tcp://127.0.0.1:1"):
        pass
