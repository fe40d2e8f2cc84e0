"""`python -m benchmarks.engine`: what a job costs in the engine, in time and in memory.

One graph of 1,000,000 jobs, declared, decided and settled in batches as a driver would; each kind
in a process of its own, so that memory is its own, too.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.figures import calibrate, machine
from pypelinin.engine.plain import PlainRun
from pypelinin.engine.run import Run
from pypelinin.graph.declared import (
    ALWAYS,
    CACHED,
    EPHEMERAL,
    OUTPUT,
    After,
    Declared,
    Input,
    Policy,
    Record,
)
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.graph.graph import Graph

JOBS = 1_000_000
WIDTH = 1000
BATCH = 1000
PLAIN_US, PLAIN_BYTES, FULL_US = 12.0, 1024.0, 25.0
SAME: Tags = (("sha256", b"0" * 32),)
OTHER: Tags = (("sha256", b"1" * 32),)


def upstreams(job: int) -> tuple[int, ...]:
    """Two of the layer before."""
    if job < WIDTH:
        return ()
    first = job - job % WIDTH - WIDTH
    return tuple(dict.fromkeys((first + job % WIDTH, first + (job * 7 + 1) % WIDTH)))


def plain(jobs: int) -> tuple[float, float]:
    """(declare, run) seconds of jobs that always run, in an order."""
    offsets, edges = array("I", [0]), array("I")
    for job in range(jobs):
        edges.extend(upstreams(job))
        offsets.append(len(edges))
    begin = time.perf_counter()
    run = PlainRun(Graph(offsets, edges))
    ready = run.start()
    declared = time.perf_counter()
    while ready:
        batch, ready = ready[:BATCH], ready[BATCH:]
        ready += run.settle(batch, b"\1" * len(batch))
    assert run.over
    return declared - begin, time.perf_counter() - declared


def full(declare: Callable[[int], Declared]) -> Callable[[int], tuple[float, float]]:
    """(declare, run) seconds with the whole engine: looks, records, releases, early cutoff."""

    def measure(jobs: int) -> tuple[float, float]:
        begin = time.perf_counter()
        run = Run(declare(job) for job in range(jobs))
        declared = time.perf_counter()
        prints: Fingerprint = (SAME,)
        while True:
            told = run.take()
            for number in told.look:
                run.found(number, ())
            ready = told.run
            if not ready and not told.look:
                break
            for number in ready:
                run.done(number, prints)
        assert run.over
        return declared - begin, time.perf_counter() - declared

    return measure


def function(job: int) -> Declared:
    """A function job of today: always runs, reads results."""
    return Declared(ALWAYS, [Input(up) for up in upstreams(job)])


_MIXED: tuple[Policy, ...] = (OUTPUT, CACHED, EPHEMERAL, OUTPUT)


def mixed(job: int) -> Declared:
    """Every feature: policies, records, names, several outputs, order-only edges."""
    ups = upstreams(job)
    last = job % WIDTH == WIDTH - 1
    return Declared(
        OUTPUT if last else _MIXED[job % 4],
        [Input(up) for up in ups[:1]],
        [After(up) for up in ups[1:]],
        name=f"job {job}",
        spec=SAME,
        record=Record(OTHER, {"": OTHER}, {(f"job {up}", ""): OTHER for up in ups[:1]}),
    )


KINDS: dict[str, tuple[Callable[[int], tuple[float, float]], float, str]] = {
    "plain": (plain, PLAIN_US, "always run, order only"),
    "function": (full(function), FULL_US, "functions that read results"),
    "mixed": (full(mixed), FULL_US, "all policies, records, both kinds of edges"),
}


def measured(kind: str, jobs: int) -> dict[str, float]:
    gc.collect()
    gc.disable()  # as in the daemons, which freeze what lives long
    before = psutil.Process().memory_info().rss
    declare_s, run_s = KINDS[kind][0](jobs)
    peak = _peak() - before
    return {
        "declare": 1e6 * declare_s / jobs, "run": 1e6 * run_s / jobs, "bytes": peak / jobs,
    }  # fmt: skip


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return psutil.Process().memory_info().rss


def lines(jobs: int) -> Iterator[tuple[str, bool]]:
    for kind, (_, bar_us, what) in KINDS.items():
        command = [sys.executable, "-m", "benchmarks.engine", "--kind", kind, "--jobs", str(jobs)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        total = found["declare"] + found["run"]
        passed = total <= bar_us and (kind != "plain" or found["bytes"] <= PLAIN_BYTES)
        size = f"{found['bytes']:.0f} B"
        bar = f"<= {bar_us:.0f} µs" + (" and 1 KiB" if kind == "plain" else "")
        times = f"{found['declare']:.1f} | {found['run']:.1f} | {total:.1f} µs"
        yield f"| {what} | {times} | {size} | {bar} | {'ok' if passed else 'MISSED'} |", passed


def main() -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    made.add_argument("--jobs", type=int, default=JOBS)
    made.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.kind:
        print(json.dumps(measured(options.kind, options.jobs)))
        return 0
    loop_ns = calibrate(Path()).loop_ns
    print(f"{options.jobs:,} jobs; {machine()}; a step of an empty loop {loop_ns:.1f} ns\n")
    print(
        "| jobs | declare µs | run µs | together | memory | bar | |\n|---|---|---|---|---|---|---|"
    )
    passed = True
    for line, fine in lines(options.jobs):
        print(line, flush=True)
        passed = passed and fine
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
