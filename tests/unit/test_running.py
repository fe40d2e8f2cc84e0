"""`run` on other engines than ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from pypelinin import Job, LocalRunner, Pipeline, run, shell
from pypelinin.errors import DefinitionError, Failed, Killed, UnknownWorker

pytestmark = pytest.mark.timeout(100)
FACTOR = 3


@pytest.fixture(scope="module", params=["threads", "processes", "loky", "dask"])
def engine(request: pytest.FixtureRequest) -> Iterator[AnyExecutor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as made:
            yield made
    elif request.param == "processes":
        with ProcessPoolExecutor(2) as made:
            yield made
    elif request.param == "loky":
        loky = pytest.importorskip("loky", reason="loky is not installed: 'pypelinin[test-all]'")
        made = loky.ProcessPoolExecutor(2)
        yield made
        made.shutdown()
        loky.backend.resource_tracker._resource_tracker._stop()
    else:
        distributed = pytest.importorskip(
            "distributed", reason="Dask is not installed: 'pypelinin[test-all]'"
        )
        with distributed.Client(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as client:
            yield client.get_executor(pure=False)


def times(value: int) -> int:
    return value * FACTOR


def total(*values: int) -> int:
    return sum(values)


def fails_once(path: str) -> str:
    if not Path(path).exists():
        Path(path).write_text("tried")
        raise OSError("not yet")
    return "done"


def test_the_same_graph_with_the_same_result(engine: AnyExecutor) -> None:
    jobs = [Job(times, args=(i,)) for i in range(100)]
    assert run(Job(total, args=tuple(jobs)), engine=engine) == FACTOR * sum(range(100))


def test_closures_commands_and_large_values(engine: AnyExecutor) -> None:
    size = 300_000
    data = Job(lambda: os.urandom(size))
    echo = Job(shell(["sh", "-c", "echo $WHAT"], env={"WHAT": "it"}))
    length, said = run([Job(len, args=(data,)), echo], engine=engine)
    assert length == size
    assert said["stdout"] == b"it\n"


def test_failures_and_retries(engine: AnyExecutor, tmp_path: Path) -> None:
    again = Job(fails_once, args=(str(tmp_path / "tried"),), retries=1)
    bad = Job(int, args=("x",))
    after = Job(times, args=(bad,))
    other = Job(times, args=(5,))
    pipeline = Pipeline([again, after, other])
    found = run(pipeline, engine=engine, raise_on_failure=False)
    assert found[again] == "done"
    assert found[other] == 15
    assert [job for job in pipeline.jobs if job in found.failed] == [
        job for job in pipeline.jobs if job in (bad, after)
    ]
    with pytest.raises(Failed, match="invalid literal"):
        bad.result()


def test_named_workers(engine: AnyExecutor) -> None:
    pipeline = Pipeline({Job("Noop"): Job("Echo")}, data={"x": 1})
    run(pipeline, engine=engine, workers="tests.integration.jobs")
    assert pipeline.state == "done"
    with pytest.raises(UnknownWorker, match="Typo"):
        run(Pipeline({Job("Typo"): None}), engine=engine, workers="tests.integration.jobs")


def test_it_is_durable_there_too(engine: AnyExecutor, tmp_path: Path) -> None:
    with LocalRunner(engine=engine, directory=tmp_path / "journal") as runner:
        job = Job(times, args=(2,))
        pipeline = Pipeline([job])
        runner.run(pipeline)
    with LocalRunner(1, directory=tmp_path / "journal") as runner:
        assert list(runner.results(str(pipeline.id)).values()) == [6]


def test_a_worker_of_the_engine_that_dies() -> None:
    with ProcessPoolExecutor(1) as engine, pytest.raises(Killed, match="engine failed"):
        run(Job(os._exit, args=(1,)), engine=engine)


def test_an_engine_that_is_shut_down() -> None:
    engine = ThreadPoolExecutor(1)
    engine.shutdown()
    with pytest.raises(Killed, match="after shutdown"):
        run(Job(abs, args=(1,)), engine=engine)


def test_what_is_no_engine() -> None:
    with pytest.raises(TypeError, match="submit"):
        run(Job(abs, args=(1,)), engine="dask")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(DefinitionError, match="not on both"), ThreadPoolExecutor(1) as engine:
        run(Job(abs, args=(1,)), engine=engine, on="tcp://127.0.0.1:1")
