"""Real jobs that take too much or will not end: it is said why they end, and others go on."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pypelinin import Job, Pipeline, context
from pypelinin.config import Limits
from pypelinin.errors import Impossible, JobError, Killed, MemoryLimit, Timeout
from pypelinin.local import LocalRunner
from pypelinin.runtime.cgroups import ABOVE_BYTES
from tests.integration.cluster import until

MIB = 2**20
CAP = 256 * MIB
WAIT_S = 60.0
LOOKS_MAX = 5
"""Who looks is late where others have the processor: so often it is tried to be in time."""
DIES_S = 10.0
"""What was killed is gone after so long, also on a busy machine: it has much to free."""

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
def runner() -> Iterator[LocalRunner]:
    with LocalRunner(slots=2, limits=Limits(kill_grace_s=0.5)) as made:
        yield made


def fails(runner: LocalRunner, job: Job, as_what: type[JobError]) -> JobError:
    """The job fails so, while a neighbour that began before it is done and one after it, too."""
    neighbour, later = Job(sleep, args=(0.3,)), Job(sleep, args=(0.0,))
    pipeline = runner.start(Pipeline([job, neighbour, later]))
    assert pipeline
    with pytest.raises(as_what) as raised:
        job.result(WAIT_S)
    assert neighbour.result(WAIT_S) == later.result(WAIT_S) == "slept"
    return raised.value


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


# --- memory ----------------------------------------------------------------------------


def allocate(how: str, size: int, pid_file: str) -> int:
    """Take memory as fast as it comes, in this process, a child, or one that nobody knows."""
    if how != "itself":
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            time.sleep(WAIT_S)
    if how == "grandchild":
        os.setsid()
        if os.fork():
            os._exit(0)
    Path(pid_file).write_text(str(os.getpid()))
    kept = [b"x" * (4 * MIB) for _ in range(size // (4 * MIB))]
    time.sleep(WAIT_S if size > CAP else 0.0)
    return len(kept)


def used(error: JobError) -> float:
    """The bytes that a job is said to have used."""
    known = re.search(r"it used ([\d.]+) ([MG])B of memory; its limit is 268 MB", str(error))
    assert known, str(error)
    return float(known[1]) * {"M": 1e6, "G": 1e9}[known[2]]


@pytest.fixture(params=["looking", pytest.param("groups", marks=pytest.mark.cgroups)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How memory is watched: by looking alone, or with the kernel behind it."""
    monkeypatch.setenv("PYPELININ_CGROUPS", "off" if request.param == "looking" else "on")
    return str(request.param)


@pytest.mark.parametrize("how", ["itself", "child", "grandchild"])
def test_an_allocator_at_full_speed_is_ended_with_its_whole_tree(
    way: str, runner: LocalRunner, how: str, tmp_path: Path
) -> None:
    most = CAP * 1.15 if way == "looking" else CAP * 1.15 + ABOVE_BYTES
    for _ in range(LOOKS_MAX if way == "looking" else 1):
        job = Job(allocate, args=(how, 4096 * MIB, str(tmp_path / "pid")), memory=CAP)
        error = fails(runner, job, MemoryLimit)
        pid = int((tmp_path / "pid").read_text())
        until(lambda pid=pid: not alive(pid), "its end", DIES_S)
        assert used(error) * 1.01 > CAP  # it is told in three digits
        if used(error) <= most * 1.01:
            break
    assert used(error) <= most * 1.01


def test_a_job_within_its_memory_is_done(runner: LocalRunner, tmp_path: Path) -> None:
    job = Job(allocate, args=("itself", 128 * MIB, str(tmp_path / "pid")), memory=CAP)
    runner.start(Pipeline([job]))
    assert job.result(WAIT_S) == 32


# --- time ------------------------------------------------------------------------------


def stubborn(pid_file: str) -> None:
    """Ignores every request to end, and so does its child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if child := os.fork():
        Path(pid_file).write_text(f"{os.getpid()} {child}")
    time.sleep(WAIT_S)


def test_a_job_that_ignores_sigterm_is_killed_after_its_timeout(
    runner: LocalRunner, tmp_path: Path
) -> None:
    begin = time.monotonic()
    job = Job(stubborn, args=(str(tmp_path / "pids"),), timeout=3.0)
    error = fails(runner, job, Timeout)
    assert "longer than its timeout of 3 s" in str(error)
    assert 3.4 <= time.monotonic() - begin < 40
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    until(lambda: not any(map(alive, pids)), "the end of both", DIES_S)


def tidy(path: str) -> None:
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        time.sleep(WAIT_S)
    finally:
        Path(path).write_text("tidied up")


def test_a_job_may_tidy_up_when_its_time_is_over(tmp_path: Path) -> None:
    with LocalRunner(slots=2, limits=Limits(kill_grace_s=WAIT_S)) as runner:
        fails(runner, Job(tidy, args=(str(tmp_path / "note"),), timeout=2.0), Timeout)
    assert (tmp_path / "note").read_text() == "tidied up"


def test_many_jobs_within_their_timeout_are_done(runner: LocalRunner) -> None:
    jobs = [Job(sleep, args=(0.0,)) for _ in range(200)]
    runner.start(Pipeline(jobs, timeout=30))
    assert [job.result(WAIT_S) for job in jobs] == ["slept"] * 200


def slow_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A module of workers that takes so long to load, but the first time."""
    (tmp_path / "slow_workers.py").write_text(
        "import os, time\n"
        "flag = os.path.join(os.path.dirname(__file__), 'loaded')\n"
        f"time.sleep({seconds} if os.path.exists(flag) else 0)\n"
        "open(flag, 'w').close()\n"
        "__all__ = ['Slow']\n"
        "class Slow:\n"
        "    def process(self, data):\n"
        "        return 'worked'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_slot_that_loads_for_too_long_is_told_as_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_to_load(tmp_path, monkeypatch, WAIT_S)
    with LocalRunner(slots=1, workers="slow_workers") as runner:
        slow = Job("Slow", name="slow", env={"A": "b"}, startup_timeout=0.5, timeout=600)
        pipeline = Pipeline({Job("Slow"): slow})
        began = time.monotonic()
        runner.start(pipeline)
        runner.wait(pipeline, WAIT_S, raise_on_failure=False)
        assert 0.5 <= time.monotonic() - began < 20
        assert pipeline.error is not None
        assert (pipeline.error.cause, pipeline.error.type) == ("timeout", "Timeout")
        assert "its start-up took longer than its startup_timeout of 0.5 s" in pipeline.error.text


# --- other ends ------------------------------------------------------------------------


def bomb(pids: str) -> None:
    """Forks until somebody ends it, or there are very many."""
    with open(pids, "a") as file:
        for _ in range(8):
            if not os.fork():
                file.write(f"{os.getpid()}\n")
                file.flush()
    time.sleep(WAIT_S)


def test_a_fork_bomb_ends_with_its_job(runner: LocalRunner, tmp_path: Path) -> None:
    fails(runner, Job(bomb, args=(str(tmp_path / "pids"),), timeout=3.0), Timeout)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(set(pids)) > 30
    until(lambda: not any(map(alive, pids)), "the end of all", DIES_S)


BOMB_MAX = 300
"""So many forks: this machine survives even if nobody ends them."""


def bomb_of_memory(tokens: str, pids: str) -> None:
    """Each process forks as long as there are tokens, and takes some memory."""
    bag, list_of_pids = os.open(tokens, os.O_RDONLY), os.open(pids, os.O_WRONLY | os.O_APPEND)
    kept = []
    while os.read(bag, 1):
        if not os.fork():
            os.write(list_of_pids, b"%d\n" % os.getpid())
            kept.append(b"x" * (4 * MIB))
    time.sleep(WAIT_S + len(kept))


def test_a_fork_bomb_over_its_memory_is_ended_and_told_as_that(
    way: str, runner: LocalRunner, tmp_path: Path
) -> None:
    tokens, pids = tmp_path / "tokens", tmp_path / "pids"
    tokens.write_bytes(b"." * BOMB_MAX)
    pids.touch()
    job = Job(bomb_of_memory, args=(str(tokens), str(pids)), memory=CAP, timeout=30)
    assert "its limit is 268 MB" in str(fails(runner, job, MemoryLimit))
    found = [int(line) for line in pids.read_text().split()]
    assert len(found) > 20
    until(lambda: not any(map(alive, found)), "the end of all", DIES_S)
    assert runner.start(Pipeline([again := Job(sleep, args=(0.0,), memory=CAP)]))
    assert again.result(WAIT_S) == "slept"


def hop(pids: str) -> None:
    """Forks and ends, again and again: what is to be ended is always another process."""
    if os.fork():
        time.sleep(WAIT_S)
    os.setsid()
    told = os.open(pids, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for _ in range(10 * BOMB_MAX):
        if os.fork():
            os._exit(0)
        os.write(told, b"%d\n" % os.getpid())
    time.sleep(WAIT_S)


def test_who_is_always_another_process_ends_with_its_job(
    way: str, runner: LocalRunner, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    fails(runner, Job(hop, args=(str(pids),), memory=CAP, timeout=2.0), Timeout)
    last = pids.read_text()
    assert len(last.split()) > 5
    until(lambda: not any(map(alive, map(int, last.split()))), "the end of all", DIES_S)
    runner.start(Pipeline([later := Job(sleep, args=(0.2,))]))
    assert later.result(WAIT_S) == "slept"
    assert pids.read_text() == last  # and none goes on


def overflow() -> None:
    """Through C at each step, on a stack that is smaller than the interpreter believes."""
    sys.setrecursionlimit(10**9)
    again = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: again(n + 1))
    threading.stack_size(64 * 1024)
    thread = threading.Thread(target=again, args=(0,))
    thread.start()
    thread.join()


ENDS: dict[str, tuple[Callable[[], Any], str]] = {
    "segfault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
    "abort": (os.abort, "SIGABRT"),
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    "exit": (lambda: os._exit(7), "exited with code 7"),
    "stack": (overflow, "SIGSEGV"),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_end_of_a_slot_is_told_truly(runner: LocalRunner, how: str) -> None:
    job, text = ENDS[how]
    error = fails(runner, Job(job, name=how), Killed)
    assert text in str(error)
    assert "its slots died 3 times (3 x on local): it is not tried again" in str(error)


# --- what a job has --------------------------------------------------------------------


def mine() -> tuple[int, dict[str, tuple[int, ...]], str | None, str | None, int]:
    return (
        context.cores, context.devices, os.environ.get("OMP_NUM_THREADS"),
        os.environ.get("MODE"), os.getpid(),
    )  # fmt: skip


def test_a_job_is_told_what_it_has() -> None:
    with LocalRunner(slots=4) as runner:
        jobs = [Job(mine), Job(mine, cores=2), Job(mine, cores=-1), Job(mine, cores=-2)]
        jobs.append(Job(mine, env={"MODE": "fast", "OMP_NUM_THREADS": "9"}))
        runner.start(Pipeline(jobs))
        found = [job.result(WAIT_S) for job in jobs]
    assert [cores for cores, *_ in found] == [1, 2, 3, 4, 1]
    assert [threads for _, _, threads, *_ in found] == ["1", "2", "3", "4", "9"]
    assert [mode for *_, mode, _ in found] == [None, None, None, None, "fast"]


def test_isolated_jobs_have_processes_of_their_own() -> None:
    with LocalRunner(slots=2) as runner:
        jobs = [Job(mine, isolate=True) for _ in range(4)]
        runner.start(Pipeline(jobs))
        pids = [job.result(WAIT_S)[-1] for job in jobs]
    assert len(set(pids)) == 4


def test_what_no_node_can_hold_is_refused() -> None:
    with LocalRunner(slots=2) as runner:
        for needs in ({"cores": 3}, {"memory": "9999 TB"}, {"resources": {"tape": 1}}):
            with pytest.raises(Impossible, match="No node could ever run"):
                runner.start(Pipeline([Job(mine)], **needs))
