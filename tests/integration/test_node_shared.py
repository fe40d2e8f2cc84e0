"""Brokers and embedded runs of one user on one node: together they stay inside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from pypelinin import Job, Pipeline, context
from pypelinin.local import LocalRunner
from pypelinin.runtime.capacity import cores_here
from tests.integration.cluster import RealCluster, until

WAIT_S = 60.0
STARVES_S = 15.0
RUN = """
import json, sys
from pypelinin import Job, Pipeline
from pypelinin.local import LocalRunner
from tests.integration.test_node_shared import work
with LocalRunner() as runner:
    jobs = [
        Job(work, args=(sys.argv[1], seconds, sys.argv[2]), cores=cores)
        for count, cores, seconds in json.loads(sys.argv[3])
        for _ in range(count)
    ]
    runner.start(Pipeline(jobs))
    for job in jobs:
        job.result(60)
"""


def work(log: str, seconds: float, who: str = "") -> int:
    """Notes when it ran and on how many cores; one clock for all processes."""
    begin = time.monotonic()
    time.sleep(seconds)
    line = json.dumps([who, context.cores, begin, time.monotonic()]) + "\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)
    return os.getpid()


def noted(log: Path) -> list[tuple[str, int, float, float]]:
    whole = log.read_text().split("\n")[:-1]  # what is being written is no line yet
    return [tuple(json.loads(line)) for line in whole]


def most_at_once(log: Path) -> int:
    """Cores of all jobs that ran at the same instant."""
    events = []
    for _, cores, begin, end in noted(log):
        events += [(begin, cores), (end, -cores)]
    now = most = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


def longest_wait_s(log: Path, who: str) -> float:
    """Between two beginnings of jobs of one of them."""
    begins = sorted(begin for name, _, begin, _ in noted(log) if name == who)
    return max(later - earlier for earlier, later in pairwise(begins))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of processes that share a node of their own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("PYPELININ_CLAIMS", "on")
    return dict(os.environ)


def embedded(
    log: Path, who: str, jobs: list[tuple[int, int, float]], env: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A run of so many jobs of so many cores, that take so long."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(log), who, json.dumps(jobs)],
        env=env,
    )


def broker_and_two_runs(
    tmp_path: Path, node: dict[str, str], jobs: list[tuple[int, int, float]]
) -> Path:
    """The log of a cluster and two embedded runs that have the same to do at the same time."""
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", pipeliners=0, slots=cores_here()) as cluster:
        manager = cluster.manager()
        mine = [
            Job(work, args=(str(log), seconds, "cluster"), cores=cores)
            for count, cores, seconds in jobs
            for _ in range(count)
        ]
        manager.start(pipeline := Pipeline(mine))
        until(lambda: log.exists(), "the first job", WAIT_S)
        there = {**node, "XDG_RUNTIME_DIR": str(cluster.directory)}
        runs = [embedded(log, f"run {number}", jobs, there) for number in range(2)]
        assert [process.wait(WAIT_S) for process in runs] == [0, 0]
        manager.wait(pipeline, timeout=WAIT_S)
    return log


def test_two_embedded_runs_and_a_broker_never_use_more_than_the_node_has(
    tmp_path: Path, node: dict[str, str]
) -> None:
    """Each asks for all cores; none of them waits for ever."""
    log = broker_and_two_runs(tmp_path, node, [(30, 1, 0.1)])
    assert len(noted(log)) == 90
    assert most_at_once(log) <= cores_here()
    for who in ("cluster", "run 0", "run 1"):
        assert longest_wait_s(log, who) < STARVES_S


def test_jobs_that_need_two_cores_get_them_beside_others(
    tmp_path: Path, node: dict[str, str]
) -> None:
    """One in each, with small jobs before and behind it."""
    whole = cores_here()
    log = broker_and_two_runs(tmp_path, node, [(15, 1, 0.1), (1, whole, 0.2), (15, 1, 0.1)])
    assert len(noted(log)) == 93
    assert most_at_once(log) <= whole
    assert {who for who, cores, *_ in noted(log) if cores == whole} == {"cluster", "run 0", "run 1"}


def test_large_jobs_are_not_starved_by_endless_small_ones(
    tmp_path: Path, node: dict[str, str]
) -> None:
    log = tmp_path / "log"
    endless = embedded(log, "small", [(1500, 1, 0.05)], node)
    try:
        until(log.exists, "the first job", WAIT_S)
        large = embedded(log, "large", [(3, cores_here(), 0.1)], node)
        assert large.wait(WAIT_S) == 0
        done = len(noted(log))
        until(lambda: len(noted(log)) > done + 5, "more small jobs", WAIT_S)
    finally:
        endless.kill()
        endless.wait()
    assert most_at_once(log) <= cores_here()
    assert sum(who == "large" for who, *_ in noted(log)) == 3


def lives(process: psutil.Process) -> bool:
    """Nobody may have waited for it: then it is a zombie, and holds nothing."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_a_killed_run_held_is_free_again(tmp_path: Path, node: dict[str, str]) -> None:
    """As soon as the last of its processes has ended: no sooner."""
    log, other = tmp_path / "log", tmp_path / "other"
    first = embedded(log, "first", [(500, 1, 0.1)], node)
    until(log.exists, "the first job", WAIT_S)
    family = psutil.Process(first.pid).children(recursive=True)
    second = embedded(other, "second", [(1, cores_here(), 0.0)], node)
    first.kill()
    first.wait()
    assert second.wait(WAIT_S) == 0
    (_, cores, begin, _), *_ = noted(other)
    assert cores == cores_here()
    assert family
    assert not [process for process in family if lives(process)]
    assert begin >= max(end for *_, end in noted(log))


def wants(tmp_path: Path, pid: int) -> bool:
    """Whether that process has said so."""
    for path in (tmp_path / "runtime" / "pypelinin" / "claims").glob(f"{pid}-*"):
        with suppress(ValueError):  # it is being written
            if json.loads(path.read_bytes()).get("wants"):
                return True
    return False


def leave(told: str, _seconds: float, _who: str) -> None:
    """Leaves a process behind, which is told about in a file, and runs on."""
    if not os.fork():
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        Path(told + ".new").write_text(str(os.getpid()))
        os.rename(told + ".new", told)
        signal.pause()
        os._exit(0)
    time.sleep(WAIT_S)


def test_a_claim_is_held_by_what_a_killed_run_leaves(tmp_path: Path, node: dict[str, str]) -> None:
    """A run and its slots are killed, a process that a job left is not: that holds it on."""
    told, log = tmp_path / "told", tmp_path / "log"
    script = RUN.replace("import work", "import leave as work")
    first = subprocess.Popen([sys.executable, "-c", script, str(told), "", "[[1, 1, 0]]"], env=node)
    until(lambda: told.exists() and told.read_text(), "a process that is left", WAIT_S)
    left = psutil.Process(int(told.read_text()))
    try:
        run = psutil.Process(first.pid)
        family = [run, *(one for one in run.children(recursive=True) if one != left)]
        for end in (psutil.Process.suspend, psutil.Process.kill):  # none sees another one's end
            for process in family:
                with suppress(psutil.NoSuchProcess):  # they end with one another
                    end(process)
        first.wait()
        assert left.is_running()
        other = embedded(log, "second", [(1, 1, 0.0)], node)
        until(lambda: wants(tmp_path, other.pid), "the second run to ask for a core", WAIT_S)
        assert not log.exists()
    finally:
        left.kill()
    assert other.wait(WAIT_S) == 0
    assert len(noted(log)) == 1


def inner(log: str, slots: int | None = None) -> tuple[int, int]:
    """A job that itself runs jobs, on what it was granted, and how many claims there are."""
    with LocalRunner(slots) as runner:
        jobs = [Job(work, args=(log, 0.5, "inner")) for _ in range(4)]
        runner.start(Pipeline(jobs))
        for job in jobs:
            job.result(WAIT_S)
        place = Path(os.environ["XDG_RUNTIME_DIR"], "pypelinin", "claims")
        return context.cores, len([path for path in place.iterdir() if path.name != "lock"])


@pytest.mark.parametrize("slots", [None, 8])
@pytest.mark.parametrize("cores", [1, 2])
def test_a_run_inside_of_a_job_lives_on_its_grant(
    tmp_path: Path, node: dict[str, str], cores: int, slots: int | None
) -> None:
    """Also when it asks for more; and it takes nothing of the node beside that."""
    log = tmp_path / "log"
    with LocalRunner(slots=2) as runner:
        whole = Job(inner, args=(str(log), slots), cores=cores)
        runner.start(Pipeline([whole]))
        assert whole.result(WAIT_S) == (cores, 1)
    assert most_at_once(log) == cores


def test_runs_inside_of_jobs_beside_another_run_stay_within_the_node(
    tmp_path: Path, node: dict[str, str]
) -> None:
    log = tmp_path / "log"
    beside = embedded(log, "beside", [(40, 1, 0.05)], node)
    with LocalRunner() as runner:
        jobs = [Job(inner, args=(str(log), 8), cores=cores_here()), Job(inner, args=(str(log), 8))]
        runner.start(Pipeline(jobs))
        for job in jobs:
            job.result(WAIT_S)
    assert beside.wait(WAIT_S) == 0
    assert len(noted(log)) == 48
    assert most_at_once(log) <= cores_here()
