"""Real daemons that are killed, stopped and drained in the middle of their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.errors import Killed
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.jobs import notes

pytestmark = pytest.mark.chaos

MILLISECOND = {"seconds": 0.001}
PATIENT = {**KEEP_ROWS, "node_lease_s": 20.0}
"""For tests in which no node may be taken for gone only because the machine was busy."""


def chains(count: int, worker: str = "Noop", data: Any = None) -> list[Pipeline]:
    """Pipelines of three jobs, one after the other."""
    one, two, three = (Job(worker, name=name) for name in ("one", "two", "three"))
    return [Pipeline({one: two, two: three}, data=data) for _ in range(count)]


def finished(manager: PipelineManager, count: int, then: Callable[[], object]) -> None:
    """Wait until so many are finished, then do it."""
    deadline = time.monotonic() + 60
    while manager.finished_pipelines < count:
        assert time.monotonic() < deadline, f"{manager.finished_pipelines} of {count}"
        manager.update(0.02)
    then()


def all_done(pipelines: list[Pipeline]) -> None:
    assert Counter(pipeline.state for pipeline in pipelines) == {"done": len(pipelines)}


def kill_and_restart(cluster: RealCluster, name: str) -> None:
    cluster.kill(name)
    cluster.restart(name)


def test_five_thousand_pipelines_at_once(tmp_path: Path) -> None:
    with RealCluster(tmp_path, brokers=2, check=False, limits=PATIENT) as cluster:
        manager = cluster.manager()
        manager.start_all(pipelines := chains(5_000))
        manager.wait(timeout=60)
        all_done(pipelines)
    history = History(cluster.journal)
    history.recorded_once(15_000)
    assert (history.failed, history.again, history.lost) == ([], [], 0)


@pytest.mark.parametrize(("count", "resident_jobs_max"), [(5_000, 0), (1_500, 1_000)])
def test_the_same_while_every_daemon_is_killed(
    tmp_path: Path, count: int, resident_jobs_max: int
) -> None:
    """The long jobs' Broker lives, so what it ran when the Router died runs once."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    limits = {**PATIENT, "resident_jobs_max": resident_jobs_max}
    with RealCluster(tmp_path / "c", brokers=2, check=False, limits=limits) as cluster:
        cluster.start_broker("broker-3", labels={"long": "yes"})
        cluster.joined(3)
        manager = cluster.manager()
        data = {"log": str(log), "gate": str(gate)}
        long = [
            Pipeline({Job("Gate", {**data, "key": n}, labels={"long": "yes"}): Job("Noop")})
            for n in range(2)
        ]
        manager.start_all(long)
        until(lambda: len(notes(log)) == 2, "the long jobs' begin")
        manager.start_all(pipelines := chains(count, "Sleep", MILLISECOND))
        for number, name in enumerate(("router", "pipeliner-1", "broker-1"), 1):
            when = count // 10 * number
            finished(manager, when, lambda name=name: kill_and_restart(cluster, name))
        finished(manager, count // 2, gate.touch)
        manager.wait(timeout=60)
        all_done(pipelines + long)
        # its first life may have ended before it was back at the new Router
        lives = lambda: cluster.log("broker-1").split("started with")[1:]  # noqa: E731 - one line
        until(lambda: len(lives()) == 2 and "Joined" in lives()[1], "its second life")
    history = History(cluster.journal)
    history.recorded_once(3 * count + 4)
    assert history.epochs == 2
    assert (history.failed, history.again) == ([], [])
    begun = Counter(line["key"] for line in notes(log) if line["begin"])
    assert begun == {0: 1, 1: 1}


def test_a_router_killed_again_and_again_repeats_no_job(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    with RealCluster(tmp_path / "c", check=False, limits=PATIENT) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "gate": str(gate)}
        manager.start_all([Pipeline({Job("Gate", {**data, "key": n}): None}) for n in range(2)])
        until(lambda: len(notes(log)) == 2, "their begin")
        more = chains(50)
        for round in range(5):
            kill_and_restart(cluster, "router")
            manager.start_all(more[10 * round : 10 * (round + 1)])
        gate.touch()
        manager.wait(timeout=30)
        all_done(manager.pipelines)
    History(cluster.journal).recorded_once(2 + 150)
    assert Counter(line["key"] for line in notes(log) if line["begin"]) == {0: 1, 1: 1}


def test_submits_that_the_router_accepted_survive_it(tmp_path: Path) -> None:
    """Killed while pipelines are submitted: what `start` returned is there."""
    with RealCluster(tmp_path, brokers=0, pipeliners=0, check=False) as cluster:
        manager = cluster.manager()
        accepted = []
        for _ in range(5):
            accepted += [manager.start(pipeline) for pipeline in chains(20)]
            kill_and_restart(cluster, "router")
        cluster.start_broker("broker-1")
        assert {run.run for run in manager.list_runs(limit=1000)} == set(accepted)
        manager.wait(timeout=30)


def test_a_broker_stopped_past_its_lease(tmp_path: Path) -> None:
    """Its job is given to another; what it says later changes nothing."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    limits = {**KEEP_ROWS, "node_lease_s": 2.0}
    with RealCluster(tmp_path / "c", brokers=1, slots=1, limits=limits) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "gate": str(gate)}
        manager.start(pipeline := Pipeline({Job("Gate"): Job("Noop")}, data=data))
        until(lambda: len(notes(log)) == 1, "its begin")
        cluster.start_broker("broker-2")
        cluster.joined(2)
        cluster.send_signal("broker-1", signal.SIGSTOP)
        until(lambda: len(notes(log)) == 2, "its begin on the other node")
        gate.touch()
        until(lambda: len(notes(log)) == 4, "both ends")
        manager.wait(pipeline, timeout=20)
        cluster.send_signal("broker-1", signal.SIGCONT)
        cluster.joined(2)
        manager.run(chains(20), timeout=20)
    history = History(cluster.journal)
    history.recorded_once(62)
    assert history.lost == 1
    assert history.hand_outs[1, 0] == 2


def test_a_broker_stopped_past_its_lease_while_its_job_goes_on(tmp_path: Path) -> None:
    """It comes back with a job that another has by now: its own is killed."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    limits = {**KEEP_ROWS, "node_lease_s": 2.0}
    with RealCluster(tmp_path / "c", brokers=1, slots=1, limits=limits) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "gate": str(gate)}
        manager.start(pipeline := Pipeline({Job("Gate"): Job("Noop")}, data=data))
        until(lambda: len(notes(log)) == 1, "its begin")
        cluster.start_broker("broker-2")
        cluster.joined(2)
        cluster.send_signal("broker-1", signal.SIGSTOP)
        until(lambda: len(notes(log)) == 2, "its begin on the other node")
        cluster.send_signal("broker-1", signal.SIGCONT)
        cluster.logged("broker-1", "Killing void lot")
        until(lambda: not psutil.pid_exists(notes(log)[0]["pid"]), "the first one's end")
        gate.touch()
        manager.wait(pipeline, timeout=20)
        assert [line["begin"] for line in notes(log)] == [True, True, False]
    History(cluster.journal).recorded_once(2)


def test_a_router_that_was_paused_blames_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    limits = {**KEEP_ROWS, "node_lease_s": 2.5}
    with RealCluster(tmp_path / "c", limits=limits) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "seconds": 0.01}
        manager.start_all(pipelines := chains(100, "Sleep", data))
        finished(manager, 10, lambda: cluster.send_signal("router", signal.SIGSTOP))
        time.sleep(cluster.limits["node_lease_s"] + 0.5)  # what is tested is this time's passing
        cluster.send_signal("router", signal.SIGCONT)
        manager.wait(timeout=30)
        all_done(pipelines)
        assert "is gone" not in cluster.log("router")
    history = History(cluster.journal)
    history.recorded_once(300)
    assert history.lost == 0
    assert len(notes(log)) == 300


def test_sigterm_drains_under_load(tmp_path: Path) -> None:
    """Three times: nothing is lost, nothing runs twice, nothing counts as a crash."""
    log = tmp_path / "log"
    limits = {**PATIENT, "kill_grace_s": 20.0}
    with RealCluster(tmp_path / "c", check=False, limits=limits) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "seconds": 0.002}
        manager.start_all(pipelines := chains(600, "Sleep", data))
        for count in (100, 250, 400):
            finished(manager, count, lambda: stop_and_restart(cluster, "broker-1"))
        manager.wait(timeout=60)
        all_done(pipelines)
    history = History(cluster.journal)
    history.recorded_once(1_800)
    assert (history.failed, history.again, history.lost) == ([], [], 0)
    assert len(notes(log)) == 1_800


def stop_and_restart(cluster: RealCluster, name: str) -> None:
    assert cluster.stop(name) == 0
    cluster.restart(name)


def test_an_orderly_restart_of_the_router_under_load(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", check=False, limits=PATIENT) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "seconds": 0.002}
        manager.start_all(pipelines := chains(500, "Sleep", data))
        for count in (50, 150, 250):
            finished(manager, count, lambda: stop_and_restart(cluster, "router"))
        manager.wait(timeout=60)
        all_done(pipelines)
    history = History(cluster.journal)
    history.recorded_once(1_500)
    assert (history.failed, history.lost) == ([], 0)
    assert len(notes(log)) == 1_500


def test_a_nursery_that_is_killed(tmp_path: Path) -> None:
    """Only what ran at that moment fails; the Broker makes a new one."""
    limits = {**PATIENT, "pipeliner_lease_s": 20.0}
    with RealCluster(tmp_path, check=False, limits=limits) as cluster:
        manager = cluster.manager()
        manager.start_all(pipelines := chains(500, "Sleep", MILLISECOND))
        for count in (50, 150, 250):
            finished(manager, count, lambda: cluster.nursery("broker-1").kill())
        manager.wait(timeout=60, raise_on_failure=False)
        failed = [pipeline for pipeline in pipelines if pipeline.state == "failed"]
        assert len(failed) <= 6
        for pipeline in failed:
            error = manager.error(pipeline)
            assert isinstance(error, Killed)
            assert "the nursery died" in str(error)
        assert "is gone" not in cluster.log("router")
        old = cluster.nursery("broker-1")
        old.kill()
        until(lambda: cluster.nursery("broker-1").pid != old.pid, "another nursery")
        manager.run(chains(10), timeout=20)


def test_slots_that_are_killed(tmp_path: Path) -> None:
    with RealCluster(tmp_path, check=False, limits=KEEP_ROWS) as cluster:
        manager = cluster.manager()
        manager.start_all(pipelines := chains(500, "Sleep", MILLISECOND))

        def kill_one() -> None:
            kill_slot(until(lambda: cluster.slot_pids("broker-1"), "a slot")[0])

        for count in (50, 100, 150, 200):
            finished(manager, count, kill_one)
        manager.wait(timeout=60, raise_on_failure=False)
        failed = [pipeline for pipeline in pipelines if pipeline.state == "failed"]
        assert len(failed) <= 4
        assert all(isinstance(manager.error(pipeline), Killed) for pipeline in failed)
        for pid in cluster.slot_pids("broker-1"):  # idle ones
            kill_slot(pid)
        manager.run(chains(10), timeout=20)


def kill_slot(pid: int) -> None:
    with suppress(ProcessLookupError):  # one that was killed before may be listed for a while
        os.kill(pid, signal.SIGKILL)


SUBMITS = """
import sys
from pypelinin import Job, Pipeline, PipelineManager
manager = PipelineManager(sys.argv[1])
data = {"log": sys.argv[2], "gate": sys.argv[3]}
print(manager.start(Pipeline({Job("Gate"): Job("Noop")}, data=data)), flush=True)
if sys.argv[4] == "wait":
    manager.wait()
sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["after submit", "wait"])
def test_a_client_that_is_killed_harms_nobody(tmp_path: Path, when: str) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    with RealCluster(tmp_path / "c") as cluster:
        client = subprocess.Popen(
            [sys.executable, "-c", SUBMITS, cluster.api, str(log), str(gate), when],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert client.stdout
        run = client.stdout.readline().strip()
        until(lambda: notes(log), "its begin")
        client.kill()
        client.communicate()
        gate.touch()
        manager = cluster.manager()
        assert manager.wait([run], timeout=20)[0].state == "done"
        manager.run(chains(10), timeout=20)
