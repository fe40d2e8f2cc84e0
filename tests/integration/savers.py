"""Processes that save into one store at once, each as a slot of its own would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pypelinin.stores

PRELUDE = """
import json, sys
import pypelinin.stores

kind, configuration, job, count = json.loads(sys.argv[1])

def info(fence=1, **more):
    return {"worker": "W", "worker_requires": (), "data": None, "job": job, "pipeline": "p1",
            "attempt": 1, "fence": fence, **more}

def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""

SAVE_MANY = """
ready()
with getattr(pypelinin.stores, kind)(**configuration) as store:
    for number in range(count):
        store.save(info(worker_result={f"{job}-{number}": number, "shared": [job] * 100}))
    store.save_monitoring({"job": job})
    store.save_monitoring({"job": job})
"""

SAVE_FOR_EVER = """
with getattr(pypelinin.stores, kind)(**configuration) as store:
    ready()
    number = 0
    while True:
        number += 1
        store.save(info(fence=number, worker_result={"x": [number] * 200_000}))
        print(number, flush=True)
"""

RACE_OF_ATTEMPTS = """
ready()
with getattr(pypelinin.stores, kind)(**configuration) as store:
    fence = int(job.rpartition("-")[2])
    job = "contested"
    for number in range(count):
        store.save(info(fence=fence, worker_result={"x": fence, f"only-{fence}": number}))
"""

FORKS = """
import os
with getattr(pypelinin.stores, kind)(**configuration) as store:
    store.save(info(worker_result={"before": 1}))
    unused = os.fork()
    if unused == 0:
        store.close()
        os._exit(0)
    assert os.waitpid(unused, 0)[1] == 0
    child = os.fork()
    for number in range(count):
        who = "child" if child == 0 else "parent"
        store.save(info(worker_result={f"{who}-{number}": store.load("p1")["before"]}))
    if child == 0:
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


class Savers:
    """Started, they wait; `go` lets them all save."""

    def __init__(
        self, script: str, kind: str, configuration: dict[str, Any], processes: int, count: int
    ) -> None:
        package = Path(pypelinin.stores.__path__[0]).parents[1]
        environment = {**os.environ, "PYTHONPATH": str(package)}
        self.jobs = [f"job-{number}" for number in range(processes)]
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-W", "error", "-c", PRELUDE + script),
                    json.dumps([kind, configuration, job, count]),
                ],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for job in self.jobs
        ]

    def go(self) -> None:
        for process in self.processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in self.processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()

    def finished(self) -> bool:
        """Wait for all of them; whether each ended well."""
        return {process.wait() for process in self.processes} == {0}

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@contextmanager
def saving(
    script: str, kind: str, configuration: dict[str, Any], *, processes: int = 1, count: int = 0
) -> Iterator[Savers]:
    savers = Savers(script, kind, configuration, processes, count)
    try:
        yield savers
    finally:
        savers.end()


def nothing_was_lost(store: Any, jobs: list[str], count: int) -> None:
    """Assert what `SAVE_MANY` leaves."""
    results = store.load("p1")
    assert results.pop("shared") in [[job] * 100 for job in jobs]
    assert results == {f"{job}-{number}": number for job in jobs for number in range(count)}
    figures = [figure["job"] for figure in store.load_monitoring()]
    assert sorted(figures) == sorted(2 * jobs)
