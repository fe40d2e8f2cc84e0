"""What has to run, as jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import DefinitionError, Impossible, UpstreamFailed
from pypelinin.graph.job import Job
from pypelinin.local import LocalRunner
from pypelinin.pipeline import Pipeline
from pypelinin.tasks import Task, task
from pypelinin.tasks.hashing import keys_of
from pypelinin.tasks.holding import Hold
from pypelinin.tasks.inside.work import Place
from pypelinin.tasks.planning import planned
from pypelinin.tasks.submitting import Ended, Where, compiled, forgotten, run_jobs

Status = Task.Status


@task("N", retries=2)
def node(data: Any, n: int = 0) -> Any:
    return 1 // n


@task("Alone", receives_input=False)
def alone() -> int:
    return 1


def jobs_of(tasks: list[Task[Any, Any]], place: Path) -> tuple[Pipeline, dict[Any, Job]]:
    for one in tasks:
        one.set_data_path(str(place))
    keys = dict(zip(tasks, keys_of(tasks, "code"), strict=True))
    return compiled(planned(tasks, keys, False), Place(str(place), "token", False))


def test_inputs_are_jobs_or_files_and_code_is_packed_once(tmp_path: Path) -> None:
    a, b, c = node("a"), node("b", n=3), node("c").options(cores=2)
    c([a, b])
    a.set_data_path(str(tmp_path))
    a.store_output(5)
    pipeline, jobs = jobs_of([a, b, c], tmp_path)
    assert [job.name for job in pipeline.jobs] == ["N(b)", "N(c)"]
    order, inputs = jobs[c].args
    assert inputs == [["file", a.output_filename()], jobs[b]]
    assert order["parents"] == ["N(a)", "N(b)"]
    assert jobs[b].args[0]["params"] == {"n": 3}
    assert jobs[b].worker is jobs[c].worker
    assert (jobs[c].retries, jobs[c].needs.cores, jobs[b].needs.cores) == (2, 2, None)
    assert pipeline.results == frozenset()


def test_who_reads_nothing_only_waits(tmp_path: Path) -> None:
    a, b = node("a"), alone()
    b(a)
    _, jobs = jobs_of([a, b], tmp_path)
    assert jobs[b].after == (jobs[a],)
    assert jobs[b].args[1] == []


def test_ends_are_told_by_task(tmp_path: Path) -> None:
    with Hold(str(tmp_path), lambda api, run: None) as hold, LocalRunner(1) as manager:
        good, bad, below = node("good", n=1), node("bad"), node("below")
        below([good, bad])
        tasks = [good, bad, below]
        for one in tasks:
            one.set_data_path(str(tmp_path))
        keys = dict(zip(tasks, keys_of(tasks, "code"), strict=True))
        plan = planned(tasks, keys, False)
        pipeline, jobs = compiled(plan, hold.place(echo=False))
        began: list[str] = []
        looked: list[int] = []
        ended = run_jobs(manager, plan, pipeline, jobs, began.append, lambda: looked.append(1))
    assert began == [pipeline.id]
    assert looked
    assert ended[good] == Ended(Status.SUCCESS)
    assert ended[bad].status is Status.FAILURE
    assert isinstance(ended[bad].exception, ZeroDivisionError)
    assert "1 // n" in ended[bad].traceback
    assert ended[below].status is Status.CANT_RUN
    assert isinstance(ended[below].exception, UpstreamFailed)


def test_an_interrupt_ends_what_runs(tmp_path: Path) -> None:
    @task("Sleeps")
    def sleeps(data: Any) -> None:
        import time

        time.sleep(60)

    with Hold(str(tmp_path), lambda api, run: None) as hold, LocalRunner(1) as manager:
        one = sleeps()
        one.set_data_path(str(tmp_path))
        plan = planned([one], {one: one.hash()}, False)
        pipeline, jobs = compiled(plan, hold.place(echo=False))

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_jobs(manager, plan, pipeline, jobs, lambda run: None, interrupt)
        manager.wait(pipeline, 20, raise_on_failure=False)
        assert pipeline.state == "cancelled"


def test_a_run_that_is_refused_costs_no_result(tmp_path: Path) -> None:
    one = alone()
    one.set_data_path(str(tmp_path))
    one.store_output(5)
    plan = planned([one], {one: one.hash()}, True)
    jobs = compiled(plan, Place(str(tmp_path), "token", False))[1]
    impossible = Pipeline([Job(job.worker, args=job.args, cores=1000) for job in jobs.values()])
    with LocalRunner(1) as manager, pytest.raises(Impossible):
        run_jobs(manager, plan, impossible, jobs, lambda run: None, lambda: None)
    assert one.load_output() == 5
    with forgotten(plan):
        assert not one.output_exists()
    assert not one.output_exists()


def test_a_manager_is_made_when_it_is_needed() -> None:
    where = Where(None, None, 1)
    assert where.api == ""
    with ExitStack() as stack:
        made = where.manager(stack)
        assert where.manager(stack) is made
        where.end_orphan("tcp://other:1", "run")
    with ExitStack() as stack:
        assert where.manager(stack) is not made
    with ThreadPoolExecutor(1) as engine, pytest.raises(DefinitionError, match="not on both"):
        Where("tcp://127.0.0.1:1", engine, 1)


def test_the_environment_may_name_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPELININ_API", "tcp://127.0.0.1:1")
    assert Where(None, None, None).api == "tcp://127.0.0.1:1"
    with ThreadPoolExecutor(1) as engine:
        assert Where(None, engine, None).api == ""
