"""Embedded runs: the cluster's machines in this process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

import pypelinin
from pypelinin import Job, LocalRunner, Pipeline, local, run, shell
from pypelinin.errors import (
    ClusterError,
    DefinitionError,
    Failed,
    JobError,
    Killed,
    NotPicklable,
    UnknownWorker,
    UpstreamFailed,
    ValueLost,
)

pytestmark = pytest.mark.timeout(60)


def add(a: int, b: int = 1) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_job_gives_its_result() -> None:
    assert run(Job(add, args=(1,), kwargs={"b": 2})) == 3


def test_jobs_are_inputs_of_jobs() -> None:
    a = Job(add, args=(1, 2))
    b = Job(add, args=(a,), kwargs={"b": a})
    c = Job(sum, args=([a, b, 5],))
    assert run([c, a]) == [14, 3]
    assert a.result() == 3
    with pytest.raises(DefinitionError, match="was not kept"):
        b.result()


def test_a_pipeline_gives_all_results() -> None:
    a = Job(add, args=(1,), name="first")
    b = Job(lambda x: {"value": x}, args=(a,))
    results = run(Pipeline([b]))
    assert dict(results) == {a: 2, b: {"value": 2}}
    assert results.state == "done"
    assert results.failed == {}
    assert results.duration is not None


def test_after_is_order_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write = Job(path.write_text, args=("x",))
    read = Job(path.read_text, after=write)
    assert run(read) == "x"


def test_a_failure_is_raised_with_its_cause() -> None:
    with pytest.raises(Failed, match="ValueError: no") as caught:
        run(Job(fail, args=("no",)))
    assert isinstance(caught.value.exception, ValueError)
    assert "in fail" in str(caught.value.__cause__)


def test_what_failed_can_be_looked_at() -> None:
    bad = Job(fail, args=("no",))
    behind, beside = Job(add, args=(bad,)), Job(add, args=(1,))
    results = run(Pipeline([behind, beside]), raise_on_failure=False)
    assert results.state == "failed"
    assert results[beside] == 2
    assert isinstance(results.failed[bad], Failed)
    with pytest.raises(UpstreamFailed):
        results[behind]


def test_a_slot_that_dies() -> None:
    with pytest.raises(Killed, match="code 7"):
        run(Job(os._exit, args=(7,)))


def test_commands() -> None:
    assert run(Job(shell(["echo", "hello"])))["stdout"] == b"hello\n"
    sort = Job(shell(["sort", "-o", "out", "in"], files={"in": "b\na\n"}, outputs=["out"]))
    assert run(sort)["files"] == {"out": b"a\nb\n"}
    assert run(Job(shell(["sh", "-c", "exit 3"], check=False)))["code"] == 3
    assert run(Job(shell(["printenv", "COLOUR"], env={"COLOUR": "red"})))["stdout"] == b"red\n"
    assert run(Job(shell(["cat"], stdin="in")))["stdout"] == b"in"
    with pytest.raises(Failed, match=r"exit code 4: bad"):
        run(Job(shell(["sh", "-c", "echo bad >&2; exit 4"])))
    with pytest.raises(Failed, match="cannot be started"):
        run(Job(shell(["/no/such/program"])))


def test_named_workers_and_functions_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(
        "__all__ = ['Write']\n"
        "class Write:\n"
        "    def process(self, data):\n"
        "        open(data['path'], 'w').write('bought')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "note"
    read = Job(path.read_text)
    graph = Pipeline({Job("Write"): read}, {"path": str(path)})
    assert run(graph, workers="shop")[read] == "bought"


def test_local_modules_travel_as_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helper_of_mine.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import helper_of_mine  # type: ignore[import-not-found]  # made above

    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    job = Job(helper_of_mine.twice, args=(21,))
    with LocalRunner(1) as runner:
        (tmp_path / "helper_of_mine.py").unlink()
        runner.start(Pipeline([job]))
        assert job.result() == 42


def test_many_jobs_at_once() -> None:
    jobs = [Job(add, args=(i,)) for i in range(3000)]
    assert sum(run(Pipeline(jobs)).values()) == sum(range(1, 3001))


def test_a_runner_does_many_runs() -> None:
    with LocalRunner(2) as runner:
        for i in range(5):
            job = Job(add, args=(i,))
            runner.start(Pipeline([job]))
            assert job.result(30) == i + 1
        slow = Job(time.sleep, args=(60,))
        runner.start(Pipeline([slow]))
        with pytest.raises(TimeoutError):
            slow.result(0.2)


def test_what_was_accepted_goes_on_with_the_next_runner(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    gate = tmp_path / "gate"

    def through(place: str, value: int) -> int:
        while not Path(place).exists():
            time.sleep(0.01)
        return value

    jobs = [Job(through, args=(str(gate), i)) for i in range(4)]
    with LocalRunner(2, directory=path) as runner:
        run_id = runner.start(Pipeline(jobs))
    gate.touch()
    with LocalRunner(2, directory=path) as runner:
        results = runner.results(run_id, timeout=40)
        assert sorted(results.values()) == [0, 1, 2, 3]


def test_one_directory_one_run(tmp_path: Path) -> None:
    with LocalRunner(1, directory=tmp_path), pytest.raises(ClusterError, match="Another Router"):
        LocalRunner(1, directory=tmp_path)


@pytest.mark.parametrize("slots", [0, -1, 1.5, "2"])
def test_slots_is_a_number(slots: object) -> None:
    with pytest.raises(DefinitionError, match="at least one slot"):
        run(Job(add, args=(1,)), slots=slots)  # type: ignore[arg-type]  # wrong on purpose


def test_a_module_that_cannot_be_imported_is_said() -> None:
    with pytest.raises(ClusterError, match="no_such_module"):
        run(Job(add, args=(1,)), workers="no_such_module")


def test_jobs_that_were_not_started_have_no_result() -> None:
    with pytest.raises(DefinitionError, match="was not started"):
        Job(add).result()


def test_the_names_are_public() -> None:
    for name in ("run", "LocalRunner", "Executor", "shell"):
        assert name in pypelinin.__all__


def dropped(data: bytes, root: str) -> bytes:
    """Removes what was kept before it, as a disk that fails would."""
    for path in Path(root).rglob("0-*"):
        path.unlink()
    return data


def test_a_lost_input_is_told_by_who_reads_it(tmp_path: Path) -> None:
    large = Job(bytes, args=(200_000,))
    first = Job(dropped, args=(large, str(tmp_path)))
    second = Job(len, args=(large,), after=[first])
    with LocalRunner(1, directory=tmp_path / "journal") as runner:
        pipeline = Pipeline([second])
        runner.run(pipeline, timeout=30, raise_on_failure=False)
        with pytest.raises(ValueLost, match=r"200,0.. bytes"):
            second.result()


def test_what_does_not_fit_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    with LocalRunner(1, directory=directory) as runner:
        (directory / "values").write_text("in the way")
        job = Job(bytes, args=(200_000,))
        runner.run(Pipeline([job]), timeout=30, raise_on_failure=False)
        with pytest.raises(JobError, match=r"200,0.. bytes cannot be kept"):
            job.result()


def test_results_stay_when_the_runner_is_gone() -> None:
    first, second = Job(bytes, args=(200_000,)), Job(bytes, args=(300_000,))
    found = run(Pipeline([first, second]))
    assert len(found[first]) == 200_000
    assert len(second.result()) == 300_000


def test_closing_twice_touches_nothing_else() -> None:
    with LocalRunner(1) as runner:
        runner.close()


def test_an_unknown_worker_is_refused_at_once() -> None:
    with pytest.raises(UnknownWorker, match="Typo"):
        run(Job("Typo"), slots=1, timeout=30)


def test_a_failed_job_is_in_the_results() -> None:
    bad = Job(int, args=("x",))
    found = run(Pipeline([bad]), raise_on_failure=False)
    assert bad in found
    assert "x" not in found


class OfMine(Job):
    pass


def test_a_job_of_a_class_derived_from_job_is_an_input() -> None:
    assert run(Job(repr, args=(OfMine(abs, args=(-3,)),))) == "3"


def test_a_hidden_job_is_told() -> None:
    with pytest.raises(NotPicklable, match="hidden in another object"):
        run(Job(len, args=({Job(abs, args=(1,)): 1},)))


def test_text_that_is_not_utf_8() -> None:
    assert run(Job(len, args=("\udcff",))) == 1


@pytest.mark.parametrize(("linger_s", "commits"), [(30.0, 1), (0.0, 2)])
def test_the_answer_of_a_job_that_has_just_begun_waits_for_its_outcome(
    linger_s: float, commits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LINGER_S", linger_s)

    def groups() -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.sqlite")) as database:
            (found,) = database.execute("SELECT COUNT(*) FROM rows").fetchone()
            return int(found)

    with LocalRunner(1, directory=tmp_path) as runner:
        runner.run(Pipeline([Job(int)]))  # the slot has started
        before = groups()
        runner.run(Pipeline([Job(int)]))
        assert groups() - before == commits


@pytest.mark.parametrize("verb", ["start", "run"])
def test_a_job_where_a_pipeline_belongs_is_told(verb: str) -> None:
    with LocalRunner(1) as runner, pytest.raises(DefinitionError, match="<Job int> is no Pipeline"):
        getattr(runner, verb)(Job(int))
