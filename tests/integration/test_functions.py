"""Functions as jobs on a cluster of real processes, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path

import pytest

import pypelinin
from pypelinin import Executor, Job, Pipeline, PipelineManager, context, shell
from pypelinin.errors import VersionMismatch
from pypelinin.runtime.functions import Functions
from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.jobs import notes

pytestmark = pytest.mark.timeout(120)
JOBS = 200


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealCluster]:
    with RealCluster(tmp_path, brokers=2) as cluster:
        yield cluster


def square(value: int) -> int:
    time.sleep(0.005)
    return value * value


def total(*values: int) -> int:
    return sum(values)


def grow(depth: int, width: int) -> int:
    """A tree of jobs, each of which brings the next ones."""
    time.sleep(0.02)
    if depth:
        context.expand([Job(grow, args=(depth - 1, width), name=None) for _ in range(width)])
    return depth


CLIENT = """
import sys, time
from pypelinin import Job, Pipeline, PipelineManager
from tests.integration.test_functions import square
manager = PipelineManager(sys.argv[1])
jobs = [Job(square, args=(i,)) for i in range(int(sys.argv[2]))]
print(manager.start(Pipeline(jobs)), flush=True)
time.sleep(60)
"""


def test_a_client_that_dies_can_be_followed_by_another(real: RealCluster) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, real.api, str(JOBS)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert client.stdout is not None
    run = client.stdout.readline().strip()
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    with PipelineManager(real.api) as manager:
        found = manager.results(run, timeout=60)
    assert sorted(found.values()) == [i * i for i in range(JOBS)]


def test_every_result_comes_although_the_daemons_die(real: RealCluster) -> None:
    squares = [Job(square, args=(i,)) for i in range(JOBS)]
    groups = [Job(total, args=tuple(squares[i::10])) for i in range(10)]
    whole = Job(total, args=tuple(groups))
    with PipelineManager(real.api) as manager:
        pipeline = Pipeline([whole])
        manager.start(pipeline)
        until(lambda: manager.status(pipeline).done > 20, "some progress")
        real.kill("broker-1")
        real.kill("router")
        real.restart("router")
        real.restart("broker-1")
        manager.wait(pipeline, 60)
        assert whole.result() == sum(i * i for i in range(JOBS))


def test_an_executor_goes_on_when_the_router_dies(real: RealCluster) -> None:
    with Executor(api=real.api) as executor:
        futures = [executor.submit(square, i) for i in range(JOBS)]
        next(as_completed(futures, 60))
        real.kill("router")
        real.restart("router")
        assert [future.result(60) for future in futures] == [i * i for i in range(JOBS)]
        assert executor.submit(square, 7).result(60) == 49


def test_a_run_that_grows_survives_the_router(real: RealCluster) -> None:
    with PipelineManager(real.api) as manager:
        pipeline = Pipeline([Job(grow, args=(4, 3), name="root")])
        manager.start(pipeline)
        until(lambda: manager.status(pipeline).jobs > 10, "some growth")
        real.kill("router")
        real.restart("router")
        manager.wait(pipeline, 60)
        status = manager.status(pipeline)
        assert (status.jobs, status.done) == (121, 121)


def test_an_open_run_survives_the_router(real: RealCluster) -> None:
    with PipelineManager(real.api) as manager:
        pipeline = Pipeline([Job(square, args=(1,))])
        manager.start(pipeline, open_run=True)
        manager.add(pipeline, [Job(square, args=(i,)) for i in range(2, 50)])
        real.kill("router")
        real.restart("router")
        manager.add(pipeline, Job(square, args=(50,)))
        manager.close_run(pipeline)
        manager.wait(pipeline, 60)
        assert manager.status(pipeline).done == 50


def test_commands_need_no_python_of_ours(real: RealCluster) -> None:
    with PipelineManager(real.api) as manager:
        job = Job(shell(["sort"], stdin=b"b\na\n"))
        manager.run(Pipeline([job]), timeout=30)
        assert job.result()["stdout"] == b"a\nb\n"


def test_a_function_of_another_python_is_refused(
    real: RealCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Functions, "version", "3.99")
    with PipelineManager(real.api) as manager, pytest.raises(VersionMismatch, match=r"3\.99"):
        manager.start(Pipeline([Job(square, args=(1,))]))
    with Executor(api=real.api) as executor, pytest.raises(VersionMismatch, match=r"3\.99"):
        executor.submit(square, 1).result(30)


def test_functions_and_commands_work_where_their_client_is(
    real: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "of the client"
    place.mkdir()
    monkeypatch.chdir(place)
    wanted = shell(["pwd"])
    with Executor(api=real.api) as executor:
        assert executor.submit(os.getcwd).result(timeout=60) == str(place)
    run = pypelinin.run(Pipeline([called := Job(os.getcwd), command := Job(wanted)]), on=real.api)
    assert run[called] == str(place)
    assert run[command]["stdout"] == f"{place}\n".encode()
    monkeypatch.chdir(tmp_path)
    place.rmdir()
    with Executor(api=real.api) as executor:  # the slots were in the one that is gone
        assert executor.submit(os.getcwd).result(timeout=60) == str(tmp_path)
    assert pypelinin.run(Job(wanted), on=real.api)["stdout"] == f"{tmp_path}\n".encode()


def test_a_directory_that_the_node_lacks_is_its_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, log = tmp_path / "only there", tmp_path / "log"
    place.mkdir()
    monkeypatch.chdir(place)
    with RealCluster(tmp_path / "cluster", brokers=0, slots=1) as cluster:
        manager = cluster.manager()
        lacking = Pipeline([job := Job(os.getcwd)])
        manager.start(lacking, queue_anyway=True)
        monkeypatch.chdir(tmp_path)
        place.rmdir()
        cluster.start_broker("broker-1")
        manager.wait(lacking)
        assert manager.results(lacking)[job] == str(cluster.directory)
        here = Pipeline({(job := Job(os.getcwd)): Job("Where", {"log": str(log)})})
        manager.start(here)
        manager.wait(here)
        assert manager.results(here)[job] == str(tmp_path)
        # workers of the node stay where it found them, in the same slot
        assert [one["value"] for one in notes(log)] == [str(cluster.directory)]
