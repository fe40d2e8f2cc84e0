"""A Broker that pins its jobs: what they really may run on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.runtime.surroundings import usable_cores
from tests.integration.cli.commands import Home
from tests.integration.cli.test_daemons import broker, router

WAIT_S = 60.0


def mine(directory: str, name: str, others: int) -> list[int]:
    """Cores that this job may run on, told when the others run too; a thread and a child agree."""
    Path(directory, name).touch()
    until = time.monotonic() + WAIT_S
    while len(os.listdir(directory)) < others and time.monotonic() < until:
        time.sleep(0.01)
    found = sorted(os.sched_getaffinity(0))
    if not (child := os.fork()):
        os._exit(0 if sorted(os.sched_getaffinity(0)) == found else 1)
    return found if os.waitpid(child, 0)[1] == 0 else []


@pytest.mark.parametrize("flag", ["--affinity", "--no-affinity"])
def test_jobs_that_run_together_are_on_cores_of_their_own(home: Home, flag: str) -> None:
    usable = sorted(usable_cores())
    count = min(4, len(usable))
    with (
        router(home) as (_, api),
        broker(home, api, "--slots", str(count), flag),
        PipelineManager(api) as manager,
    ):
        for turn in range(2):
            place = home.directory / f"turn-{turn}"
            place.mkdir()
            jobs = [Job(mine, args=(str(place), str(n), count)) for n in range(count)]
            manager.run(Pipeline(jobs), timeout=WAIT_S)
            found = sorted(job.result(WAIT_S) for job in jobs)
            alone = [[core] for core in usable[:count]]
            assert found == (alone if flag == "--affinity" else [usable] * count)
        wide = Job(mine, args=(str(home.directory), "wide", 0), cores=count)
        manager.run(Pipeline([wide]), timeout=WAIT_S)
        assert wide.result(WAIT_S) == (usable[:count] if flag == "--affinity" else usable)
