"""Jobs that kill the slot they run in, or will not end: only they fail, and it is said why."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pypelinin import Job, Pipeline
from pypelinin.errors import Failed, Killed
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import RealCluster, until
from tests.integration.jobs import note, notes

pytestmark = pytest.mark.chaos


def segfault(log: str) -> None:
    note(log, key="segfault")
    ctypes.string_at(0)


def leave(log: str) -> None:
    note(log, key="leave")
    os._exit(7)


def kill_itself(log: str) -> None:
    note(log, key="kill_itself")
    os.kill(os.getpid(), signal.SIGKILL)


def overflow(log: str) -> None:
    """Through C at each step, on a stack that is smaller than the interpreter believes."""
    note(log, key="overflow")
    sys.setrecursionlimit(10**9)
    again = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: again(n + 1))
    threading.stack_size(64 * 1024)
    thread = threading.Thread(target=again, args=(0,))
    thread.start()
    thread.join()


def raises(log: str) -> None:
    note(log, key="raises")
    raise ValueError("an ordinary mistake")


POISONS = {
    segfault: "SIGSEGV", leave: "exited with code 7", kill_itself: "SIGKILL", overflow: "SIGSEGV",
}  # fmt: skip


def neighbour(n: int) -> int:
    time.sleep(0.01)
    return n


def test_poison_is_given_up_after_three_crashes_and_neighbours_succeed(tmp_path: Path) -> None:
    """All kinds at once, among 300 others, on two nodes; failures of users are not crashes."""
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", brokers=2, slots=2, limits=KEEP_ROWS) as cluster:
        manager = cluster.manager()
        good = [Job(neighbour, args=(n,)) for n in range(300)]
        manager.start(among := Pipeline(good))
        poisons = {poison: Pipeline([Job(poison, args=(str(log),))]) for poison in POISONS}
        manager.start_all(poisons.values())
        manager.start(mistaken := Pipeline([Job(raises, args=(str(log),), retries=1)]))
        manager.wait(timeout=60, raise_on_failure=False)
        assert [job.result(20) for job in good] == list(range(300))
        for poison, pipeline in poisons.items():
            error = manager.error(pipeline)
            assert type(error) is Killed
            assert POISONS[poison] in str(error)
            assert "its slots died 3 times (" in str(error)
            assert "x on broker-1" in str(error)
            assert "x on broker-2" in str(error)
        assert type(manager.error(mistaken)) is Failed
        assert among.state == "done"
        keys = [line["key"] for line in notes(log)]
        assert {key: keys.count(key) for key in set(keys)} == {
            **{poison.__name__: 3 for poison in POISONS}, "raises": 2,
        }  # fmt: skip
        assert len(cluster.nodes()) == 2
    history = History(cluster.journal)
    history.recorded_once(300 + 4 + 1)
    assert len(history.failed) == 5
    assert history.lost == 0


def stubborn(log: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if not child:
        os.setsid()
    note(log, key="child" if not child else "parent")
    time.sleep(300)


def test_a_job_that_ignores_sigterm_is_cancelled_in_time(tmp_path: Path) -> None:
    """Soon after the grace, its processes too; its neighbour goes on."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    with RealCluster(tmp_path / "c", limits={"kill_grace_s": 1.0}) as cluster:
        manager = cluster.manager()
        data = {"log": str(tmp_path / "gate log"), "gate": str(gate)}
        manager.start(other := Pipeline({Job("Gate"): None}, data=data))
        manager.start(pipeline := Pipeline([Job(stubborn, args=(str(log),))]))
        until(lambda: len(notes(log)) == 2, "its begin")
        began = time.monotonic()
        manager.cancel(pipeline, running=True)
        manager.wait(pipeline, timeout=20, raise_on_failure=False)
        took_s = time.monotonic() - began
        assert pipeline.state == "cancelled"
        limits = cluster.limits
        busy_s = 8.0  # as long as a machine may stand still
        assert 0.9 < took_s < 2 * limits["heartbeat_interval_s"] + limits["kill_grace_s"] + busy_s
        for line in notes(log):
            until(lambda pid=line["pid"]: is_gone(pid), "the end of its processes")
        gate.touch()
        manager.wait(other, timeout=20)
        assert other.state == "done"


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
