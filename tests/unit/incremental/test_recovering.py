"""What a cluster did for a process that died. One is killed in tests/integration/incremental."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.incremental.history import Handed, History
from pypelinin.incremental.recovering import recover, remember

TAGS = (("blake2b", b"x"),)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(tmp_path / "history.sqlite3")
    yield made
    made.close()


def handed(job: str, api: str = "tcp://127.0.0.1:9") -> Handed:
    return Handed(job, api, "run", 0, (), (job,), {"in": TAGS})


def test_a_success_is_a_record_and_its_files_are_known(history: History) -> None:
    remember(history, handed("out"), [(3, 4, b"digest")])
    found = history.record("out", {"in": "maker"})
    assert found is not None
    assert found.outputs == {"out": (("blake2b", b"digest"),)}
    assert found.inputs == {("maker", "in"): TAGS}
    assert history.files.known["out"] == (3, 4, b"digest")


def test_nothing_out_is_nothing_to_do(history: History) -> None:
    recover(history)
    assert not history.is_dirty


def test_a_cluster_that_is_gone_costs_a_warning_and_the_jobs_run_again(
    history: History, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.hand_out([handed("one"), handed("two")])
    history.commit()
    assert [one.job for one in history.out()] == ["one", "two"]
    monkeypatch.setattr("pypelinin.incremental.recovering.DEADLINE_S", 0.2)
    with caplog.at_level(logging.WARNING):
        recover(history)
    assert "2 jobs were handed to tcp://127.0.0.1:9" in caplog.text
    assert history.out() == []
    assert list(history.packed) == []
