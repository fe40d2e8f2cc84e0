"""Jobs in great number, and what the daemons hold before and after."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pypelinin import Job, Pipeline, PipelineManager
from tests.integration.cluster import RealCluster, until

BYTES_PER_10_000 = 4 * 2**20
"""How much a daemon's private memory may grow in 10,000 jobs; history is bounded, so most of
it is what the allocator keeps."""
LIMITS = {"history_runs_max": 10, "taken_bytes_max": 2**20, "journal_rows_max": 500}
RUN_JOBS = 500


@dataclass(frozen=True, slots=True)
class Held:
    """What a process has."""

    files: int
    threads: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Grown:
    """By daemon: what it has more after the last round than after the first; memory for 10,000
    jobs. *left* are the temporary files."""

    files: dict[str, int]
    threads: dict[str, int]
    grown_bytes: dict[str, float]
    left: list[str]


def held(pid: int) -> Held:
    process = psutil.Process(pid)
    return Held(process.num_fds(), process.num_threads(), process.memory_full_info().uss)


def churn(directory: Path, jobs: int, rounds: int) -> Grown:
    """Run *jobs* jobs in each of *rounds* rounds on two slots that are killed ten times a round."""
    temporary = directory / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with RealCluster(
        directory / "c", check=False, limits=LIMITS, environment=environment
    ) as cluster:
        manager = cluster.manager()
        measured = []
        for _ in range(rounds):
            for number in range(jobs // RUN_JOBS):
                more = [Job("Noop", name=str(n)) for n in range(RUN_JOBS)]
                manager.start(pipeline := Pipeline(more))
                manager.wait(pipeline, timeout=60)
                if number % max(1, jobs // RUN_JOBS // 10) == 0:
                    kill_slots(cluster)
            measured.append(settled(cluster))
    first, last = measured[0], measured[-1]
    part = jobs * (rounds - 1) / 10_000
    return Grown(
        {name: last[name].files - first[name].files for name in last},
        {name: last[name].threads - first[name].threads for name in last},
        {name: (last[name].memory_bytes - first[name].memory_bytes) / part for name in last},
        [str(path) for path in temporary.rglob("*")],
    )


def kill_slots(cluster: RealCluster) -> None:
    """Those that are idle; others take their places when there are jobs."""
    for pid in slots(cluster):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in slots(cluster), "the end of a slot")


def slots(cluster: RealCluster) -> set[int]:
    """As they are at one moment: some may end while they are listed."""
    while True:
        try:
            return set(cluster.slot_pids("broker-1"))
        except psutil.NoSuchProcess:
            continue


def settled(cluster: RealCluster) -> dict[str, Held]:
    """What daemons hold when all slots are there again."""
    jobs = [Job("Sleep", {"seconds": 0.3}, name=str(n)) for n in range(4)]
    with PipelineManager(cluster.api) as manager:
        manager.run(Pipeline(jobs), timeout=20)
    until(lambda: len(slots(cluster)) == 2, "both slots")
    return until(lambda: still(cluster), "daemons that open and close nothing")


def still(cluster: RealCluster) -> dict[str, Held]:
    """What daemons hold; nothing if files or threads changed within half a second.

    The connection of who left, and the files of the last job, are closed a moment later.
    """
    before = {name: held(cluster.pid(name)) for name in cluster.processes}
    for name in before:
        psutil.Process(cluster.pid(name)).cpu_percent(interval=0.5 / len(before))
    after = {name: held(cluster.pid(name)) for name in cluster.processes}
    same = all(
        (one.files, one.threads) == (after[name].files, after[name].threads)
        for name, one in before.items()
    )
    return after if same else {}
