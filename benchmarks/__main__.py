"""`python -m benchmarks`: see `--help`, and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.cluster import Cluster, ClusterFailedError, in_memory, warm_up
from benchmarks.figures import Figure, calibrate, machine
from benchmarks.pool import open_pool
from benchmarks.report import Report
from benchmarks.scenarios import NAMES, Bench, Cold, Scenario, Warm, all_scenarios
from pypelinin import PipelineManager, PypelininError

EXIT_FINE, EXIT_MISSED, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description="pypelinin beside ProcessPoolExecutor."
    )
    add = made.add_argument
    add("names", nargs="*", metavar="NAME", help=f"what to measure, all if none: {' '.join(NAMES)}")
    add("--runs", type=int, default=3, help="of each scenario; medians are shown (3)")
    add("--synchronous", choices=("full", "normal", "both"), default="both")
    add("--scale", type=float, default=1.0, help="sizes, as a part of the full ones")
    add("--directory", type=Path, default=Path(), help="on the journal's disk (the current one)")
    add("--check", action="store_true", help="exit with 1 if a bar is missed")
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    add("--write", type=Path, metavar="FILE", help="write docs/benchmarks.md")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        made.error(f"unknown: {', '.join(unknown)}; known are {', '.join(NAMES)}")
    if options.runs < 1 or not 0 < options.scale <= 1:
        made.error("--runs is at least 1, --scale above 0 and at most 1")
    volatile = in_memory(options.directory)
    if options.check and (volatile or options.scale != 1):
        made.error("--check needs full sizes, and a journal on a disk (--directory)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        report = measured(options, volatile)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (PypelininError, ClusterFailedError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(report.text())
    if options.json:
        options.json.write_text(json.dumps(report.document(), indent=2) + "\n", encoding="utf-8")
    if options.write:
        options.write.write_text(report.page(), encoding="utf-8")
    return EXIT_MISSED if options.check and report.missed else EXIT_FINE


def measured(options: argparse.Namespace, volatile: bool) -> Report:
    """Everything that *options* ask for."""
    chosen = [s for s in all_scenarios(options.scale) if s.name in (options.names or NAMES)]
    both = ("full", "normal") if options.synchronous == "both" else (options.synchronous,)
    calibration = calibrate(options.directory)
    figures: list[Figure] = []
    for synchronous in both:
        figures += measure(chosen, options.directory, synchronous, options.runs)
    if options.scale != 1:
        for figure in figures:
            figure.bar = None  # bars are for full sizes
    return Report(machine(), calibration, options.runs, options.scale, volatile, figures)


def measure(
    scenarios: Sequence[Scenario], directory: Path, synchronous: str, runs: int
) -> Iterator[Figure]:
    """The figures of all *scenarios* with one way of committing."""
    for cold in (scenario for scenario in scenarios if isinstance(scenario, Cold)):
        ours = partial(cold.ours, directory, synchronous)
        yield from in_turns(cold, synchronous, runs, ours, cold.pool)
    warm = [scenario for scenario in scenarios if isinstance(scenario, Warm)]
    if warm:
        with opened(directory, synchronous) as bench:
            for one in warm:
                ours, pool = partial(one.ours, bench), partial(one.pool, bench)
                yield from in_turns(one, synchronous, runs, ours, pool)


@contextmanager
def opened(directory: Path, synchronous: str) -> Iterator[Bench]:
    """A warm cluster and a warm pool; the pool first, as it forks and a client has threads."""
    with (
        open_pool() as pool,
        Cluster(directory, synchronous) as cluster,
        PipelineManager(cluster.api) as manager,
    ):
        cluster.wait_until_joined(manager)
        warm_up(manager)
        yield Bench(cluster, manager, pool, directory)


def in_turns(
    scenario: Scenario,
    synchronous: str,
    runs: int,
    ours: Callable[[], list[float]],
    pool: Callable[[], list[float]],
) -> list[Figure]:
    """The filled figures; each side is the first in every other run."""
    figures = scenario.figures(synchronous)
    print(f"{scenario.name} ({synchronous}): {figures[0].what}", file=sys.stderr, flush=True)
    for number in range(runs):
        for act in (ours, pool) if number % 2 == 0 else (pool, ours):
            gc.collect()
            gc.freeze()  # what is left of the runs before is nobody's work in this one
            for figure, value in zip(figures, act(), strict=False):
                (figure.ours if act is ours else figure.pool).append(value)
    return scenario.judged(figures)


if __name__ == "__main__":
    sys.exit(main())
