"""Runs that grow from inside: embedded, with real slots."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin import Job, LocalRunner, Pipeline, context, run
from pypelinin.errors import DefinitionError, Failed, JobError, UpstreamFailed

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def runner() -> Iterator[LocalRunner]:
    with LocalRunner(2) as made:
        yield made


def square(value: int) -> int:
    return value * value


def split(count: int) -> int:
    pieces = [Job(square, args=(i,)) for i in range(count)]
    total = Job(sum, args=(pieces,), name="total")
    context.expand(total, [(total, context.job("report"))])
    return count


def report(path: str) -> bool:
    return Path(path).exists()


def write(path: str, value: int) -> int:
    Path(path).write_text(str(value))
    return value


def names_of(runner: LocalRunner, pipeline: Pipeline) -> dict[str, object]:
    found, _ = runner.describe(str(pipeline.id))
    return {job.name: i for i, job in enumerate(found.jobs)}


def test_what_a_job_adds_runs_and_what_comes_after_waits_for_it(
    runner: LocalRunner, tmp_path: Path
) -> None:
    path = tmp_path / "written"

    def grow() -> None:
        late = Job(write, args=(str(path), 5))
        context.expand(late, [(late, context.job("report"))])

    first = Job(grow, name="first")
    last = Job(report, args=(str(path),), name="report", after=[first])
    pipeline = Pipeline([last])
    runner.run(pipeline, timeout=30)
    assert last.result() is True
    assert set(names_of(runner, pipeline)) == {"first", "report", "write+0"}


def test_data_flows_between_new_jobs_and_from_old_ones(runner: LocalRunner) -> None:
    old = Job(square, args=(3,), name="old")

    def grow(_: int) -> None:
        sums = Job(sum, args=([context.job("old"), Job(square, args=(4,))],), name="sums")
        context.expand(sums)

    pipeline = Pipeline([Job(grow, args=(old,), name="grow")])
    runner.run(pipeline, timeout=30)
    number = names_of(runner, pipeline)["sums"]
    assert isinstance(number, int)
    runner._fetch(str(pipeline.id))
    from pypelinin.runtime.values import unpack_value

    assert unpack_value(runner._client.outcomes[str(pipeline.id)][number][1]) == 25


def test_recursion(runner: LocalRunner) -> None:
    def down(depth: int) -> None:
        if depth:
            context.expand(Job(down, args=(depth - 1,)))

    pipeline = Pipeline([Job(down, args=(30,))])
    runner.run(pipeline, timeout=30)
    assert len(names_of(runner, pipeline)) == 31
    assert runner.status(pipeline).done == 31


def test_workers_grow_too(tmp_path: Path) -> None:
    with LocalRunner(1, workers="tests.integration.jobs") as runner:
        pipeline = Pipeline({Job("Grow"): Job("Noop", name="last")}, data={"count": 5})
        runner.run(pipeline, timeout=30)
        assert runner.status(pipeline).done == 7


def test_large_arguments_of_new_jobs(runner: LocalRunner) -> None:
    def grow() -> None:
        context.expand(Job(len, args=(b"x" * 2_000_000,), name="length"))

    runner.run(Pipeline([Job(grow)]), timeout=30)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: context.expand(Job(len, args=(context.job("nowhere"),))), "no job 'nowhere'"),
        (lambda: context.expand(Job(int, name="grow")), "has a job 'grow' already"),
        (lambda: context.expand([Job(int, name="a"), Job(int, name="a")]), "two jobs|Two jobs"),
        (lambda: context.expand("text"), "grows by Jobs"),
        (lambda: context.expand(Job(int), [(context.job("grow"), Job(int))]), "An edge leads"),
        (lambda: context.expand(Job(id, args=(threading.Lock(),))), "cannot be sent"),
        (lambda: late_edge(), "does not depend on the job that expands"),
        (lambda: context.expand([Job(int, name=f"n{i}") for i in range(10_001)]), "10,001 jobs"),
    ],
)  # fmt: skip
def test_what_is_refused_fails_the_job_and_says_why(
    runner: LocalRunner, wrong: object, said: str
) -> None:
    grow = Job(wrong, name="grow")  # type: ignore[arg-type]  # wrong on purpose
    behind = Job(square, args=(1,), after=[grow])
    other = Job(square, args=(2,), name="other")
    pipeline = Pipeline([behind, other])
    runner.run(pipeline, timeout=30, raise_on_failure=False)
    with pytest.raises(Failed, match=said):
        grow.result()
    with pytest.raises(UpstreamFailed):
        behind.result()
    assert other.result() == 4


def late_edge() -> None:
    new = Job(int)
    context.expand(new, [(new, context.job("other"))])


def test_a_job_that_fails_adds_nothing(runner: LocalRunner) -> None:
    def grow() -> None:
        context.expand(Job(square, args=(1,)))
        raise KeyError("after all")

    pipeline = Pipeline([Job(grow)])
    runner.run(pipeline, timeout=30, raise_on_failure=False)
    assert len(names_of(runner, pipeline)) == 1


def test_a_new_job_that_fails_fails_the_run(runner: LocalRunner) -> None:
    def grow() -> None:
        context.expand(Job(int, args=("x",)))

    with pytest.raises(JobError, match="invalid literal"):
        runner.run(Pipeline([Job(grow)]), timeout=30)


def test_it_is_for_jobs() -> None:
    with pytest.raises(DefinitionError, match="that run as jobs"):
        context.expand(Job(int))


def test_the_journal_has_it_all(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    with LocalRunner(1, directory=directory) as runner:
        pipeline = Pipeline([Job(split, args=(20,), name="split"), Job(int, name="report")])
        with pytest.raises(JobError, match="does not depend"):
            runner.run(pipeline, timeout=30)
        pipeline = Pipeline({Job(split, args=(20,), name="split"): Job(int, name="report")})
        runner.run(pipeline, timeout=30)
    with LocalRunner(1, directory=directory) as runner:
        assert runner.status(str(pipeline.id)).done == 23
        assert len(names_of(runner, pipeline)) == 23


def test_open_runs(runner: LocalRunner) -> None:
    first = Job(square, args=(2,))
    pipeline = Pipeline([first])
    runner.start(pipeline, open_run=True)
    assert first.result(30) == 4
    second = Job(square, args=(first,))
    runner.add(pipeline, second)
    assert second.result(30) == 16
    more = [Job(square, args=(i,)) for i in range(100)]
    runner.add(pipeline, [*more, Job(sum, args=(more,), name="sum")])
    assert not runner.finished(pipeline)
    runner.close_run(pipeline)
    runner.wait(pipeline, 30)
    assert runner.results(pipeline)[pipeline.jobs[-1]] == sum(i * i for i in range(100))
    with pytest.raises(DefinitionError, match="not open"):
        runner.add(pipeline, Job(int))
    with pytest.raises(DefinitionError, match="not open"):
        runner.close_run(Pipeline([Job(int)]))


def test_an_open_run_that_is_cancelled_takes_no_more(runner: LocalRunner) -> None:
    pipeline = Pipeline([Job(int)])
    runner.start(pipeline, open_run=True)
    runner.cancel(pipeline)
    runner.wait(pipeline, 30, raise_on_failure=False)
    with pytest.raises(DefinitionError, match="takes no more jobs"):
        runner.add(pipeline, Job(int))


def test_an_open_run_goes_on_after_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    pipeline = Pipeline([Job(square, args=(2,))])
    with LocalRunner(1, directory=directory) as runner:
        runner.start(pipeline, open_run=True)
        runner.add(pipeline, Job(square, args=(3,), name="three"))
        pipeline.jobs[1].result(30)
    with LocalRunner(1, directory=directory) as runner:
        assert runner.status(str(pipeline.id)).state == "running"
        runner._open[id(pipeline)] = 1
        runner.add(pipeline, Job(square, args=(4,), name="four"))
        runner.close_run(pipeline)
        runner.wait(str(pipeline.id), 30)
        assert runner.status(str(pipeline.id)).done == 3


def test_run_returns_what_the_job_returned() -> None:
    pipeline = Pipeline({Job(split, args=(3,), name="split"): Job(int, name="report")})
    found = run(pipeline)
    assert [found[job] for job in pipeline.jobs] == [3, 0]
