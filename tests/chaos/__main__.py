"""Many kills under load, and what was lost: `python -m tests.chaos --long`.

Daemons, nurseries and slots of a real cluster are killed, stopped for longer than their
leases and drained, at random, while a client submits pipelines. In the end every pipeline
must be done and every outcome recorded once. Exit code 1 if not.

`python -m tests.chaos --churn 20000` runs so many jobs three times instead, and prints what the
daemons hold more after the last time than after the first.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from pypelinin import Job, Pipeline
from pypelinin.config import Limits
from tests.chaos.churn import BYTES_PER_10_000, churn
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import FAST, RealCluster

OPEN_MAX = 300
BATCH = 30
RETRIES = 100
"""A job whose slot is killed is a failure of that job, so it must be tried again."""
LIMITS = {**FAST, "resident_jobs_max": 4, "lost_max": 1000, "client_silence_s": 60.0}


class Chaos:
    def __init__(self, cluster: RealCluster, chance: random.Random) -> None:
        self.cluster = cluster
        self.chance = chance
        self.struck: Counter[str] = Counter()
        self.jobs = 0
        self._asleep: dict[str, float] = {}
        self.manager = cluster.manager(deadline_s=60.0, limits=Limits(**cluster.limits))

    def pipeline(self) -> Pipeline:
        """Layers of a few jobs, each after some of the layer before."""
        chance = self.chance
        pairs: list[tuple[Job, Job | None]] = []
        before: list[Job] = []
        for layer in range(chance.randrange(1, 4)):
            jobs = [self.job(f"{layer} {n}") for n in range(chance.randrange(1, 4))]
            pairs += [(job, None) for job in jobs]
            pairs += [(up, chance.choice(jobs)) for up in before]
            before = jobs
            self.jobs += len(jobs)
        return Pipeline(pairs)

    def job(self, name: str) -> Job:
        if self.chance.random() < 0.5:
            return Job("Noop", name=name, retries=RETRIES)
        seconds = self.chance.choice((0.001, 0.001, 0.01, 0.3))
        return Job("Sleep", {"seconds": seconds}, name=name, retries=RETRIES)

    def submit(self) -> None:
        manager = self.manager
        manager.update(0.02)
        if manager.started_pipelines - manager.finished_pipelines < OPEN_MAX:
            manager.start_all([self.pipeline() for _ in range(BATCH)])

    def strike(self) -> None:
        self.wake(time.monotonic())
        name = self.chance.choice(sorted(self.cluster.processes))
        if name in self._asleep:
            return
        kinds = ["kill", "kill", "kill", "pause", "stop"]
        if name.startswith("broker"):
            kinds += ["kill nursery", "kill slot", "kill slot"]
        kind = self.chance.choice(kinds)
        self.struck[f"{kind} {name.partition('-')[0]}"] += 1
        if kind == "pause":
            self.cluster.send_signal(name, signal.SIGSTOP)
            self._asleep[name] = time.monotonic() + self.chance.choice((0.5, 2.0, 5.0))
        elif kind in ("kill", "stop"):
            end = signal.SIGKILL if kind == "kill" else signal.SIGTERM
            self.cluster.kill(name, end)
            self.cluster.restart(name, wait="router" not in self._asleep)
        else:
            self.kill_below(name, slot=kind == "kill slot")

    def kill_below(self, name: str, slot: bool) -> None:
        children = psutil.Process(self.cluster.pid(name)).children(recursive=True)
        for child in children[1:2] if slot else children[:1]:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue

    def wake(self, now: float) -> None:
        for name in [name for name, until in self._asleep.items() if now >= until]:
            del self._asleep[name]
            self.cluster.send_signal(name, signal.SIGCONT)

    def run(self, strikes: int) -> None:
        at = time.monotonic() + 1.0
        while sum(self.struck.values()) < strikes:
            self.submit()
            self.wake(now := time.monotonic())
            if now >= at:
                at = now + self.chance.uniform(0.2, 1.5)
                self.strike()
        self.wake(float("inf"))
        self.manager.wait(timeout=300, raise_on_failure=False)


def look_for_leaks(jobs: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        found = churn(Path(directory), jobs, rounds=3)
    for name, grown_bytes in sorted(found.grown_bytes.items()):
        files, threads = found.files[name], found.threads[name]
        memory = f"{grown_bytes / 2**20:+6.2f} MiB in 10,000 jobs"
        print(f"{name:12} {files:+d} files {threads:+d} threads {memory}")
    print(f"temporary files: {found.left or 'none'}")
    grew = [*found.files.values(), *found.threads.values(), *found.left]
    return int(any(grew) or max(found.grown_bytes.values()) > BYTES_PER_10_000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="1,000 strikes instead of 25")
    parser.add_argument("--strikes", type=int)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--compact", action="store_true", help="let old rows go (not counted then)")
    parser.add_argument("--churn", type=int, metavar="JOBS", help="look for leaks instead")
    options = parser.parse_args()
    if options.churn:
        return look_for_leaks(options.churn)
    strikes = options.strikes or (1_000 if options.long else 25)
    limits = {**LIMITS, **({"journal_rows_max": 2_000} if options.compact else KEEP_ROWS)}
    print(f"seed {options.seed}, {strikes} strikes", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        cluster = RealCluster(
            Path(directory), brokers=3, pipeliners=2, limits=limits, check=not options.long
        )
        with cluster:
            chaos = Chaos(cluster, random.Random(options.seed))
            chaos.run(strikes)
            states = Counter(pipeline.state for pipeline in chaos.manager.pipelines)
        history = None if options.compact else History(cluster.journal)
    for what, times in sorted(chaos.struck.items()):
        print(f"{times:6d}  {what}")
    print(f"{time.monotonic() - began:.0f} s; pipelines: {dict(states)}; jobs: {chaos.jobs:,}")
    if history is not None:
        print(
            f"{history.epochs} epochs, {len(history.outcomes):,} outcomes, {history.lost} lots lost"
            f", {len(history.again)} tried again, {sum(history.hand_outs.values()):,} hand-outs"
        )
        history.recorded_once(chaos.jobs)
    return 0 if set(states) == {"done"} else 1


if __name__ == "__main__":
    sys.exit(main())
