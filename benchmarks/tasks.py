"""`python -m benchmarks.tasks`: what a task costs that does nothing, run and cached.

Beside it the same number of calls through a `ProcessPoolExecutor`, which keeps nothing, in the
same process and in turn; medians are compared. The original took 15 to 30 ms for a task that runs
and 11 ms for one that is cached.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import machine
from pypelinin.tasks import Pipeline, Runner, Task, task

SLOTS = 2
LAYER = 100
AnyTask = Task[Any, Any]


@task("Nothing")
def nothing(data: list[int], number: int) -> int:
    return number + len(data)


def call(number: int) -> int:
    """The same for the pool."""
    return number


def flat(count: int) -> Pipeline:
    return Pipeline("flat", [nothing(str(i), number=i) for i in range(count)])


def layers(count: int, changed: int = -1) -> Pipeline:
    """Layers of 100; each task reads two of the layer before. The number of one is another."""
    tasks = [nothing(str(i), number=-1 if i == changed else i) for i in range(count)]
    for i in range(LAYER, count):
        above = i // LAYER * LAYER - LAYER
        tasks[i]([tasks[above + i % LAYER], tasks[above + (i + 1) % LAYER]])
    return Pipeline("layers", tasks[:LAYER])


def chain(count: int) -> Pipeline:
    tasks = [nothing(str(i), number=i) for i in range(count)]
    for i in range(1, count):
        tasks[i](tasks[i - 1])
    return Pipeline("chain", tasks[:1])


class Case(NamedTuple):
    """*before* is run first, if there is one; *bar_ms* is for each task of the pipeline."""

    name: str
    timed: Callable[[int], Pipeline]
    before: Callable[[int], Pipeline] | None
    bar_ms: float | None


CASES = (
    Case("first run, all beside each other", flat, None, 1.0),
    Case("first run, layers", layers, None, 1.0),
    Case("first run, a chain", chain, None, None),
    Case("unchanged, all beside each other", flat, flat, 0.2),
    Case("unchanged, layers", layers, layers, 0.2),
    Case("unchanged, a chain", chain, chain, 0.2),
    Case("one of the layer in the middle changed", lambda n: layers(n, n // 2), layers, None),
)


class Result(NamedTuple):
    case: Case
    tasks: int
    seconds: list[float]
    ran: int
    pool: list[float]
    files: list[float]
    """Seconds for the folders and files of all tasks that run, with nothing else."""

    @property
    def each_ms(self) -> float:
        return statistics.median(self.seconds) / self.tasks * 1000

    @property
    def is_missed(self) -> bool:
        return self.case.bar_ms is not None and self.each_ms > self.case.bar_ms

    def line(self) -> str:
        pool = statistics.median(self.pool) / self.tasks * 1000
        bar = "" if self.case.bar_ms is None else f"{self.case.bar_ms:g}"
        missed = "missed" if self.is_missed else ""
        files = f"{statistics.median(self.files) / self.tasks * 1000:.3f}"
        return (
            f"| {self.case.name} | {self.tasks:,} | {self.ran:,} | {self.each_ms:.3f} | {bar} | "
            f"{pool:.3f} | {files} | {missed} |"
        )


def files_alone(place: Path, count: int) -> float:
    """Seconds to make what a run leaves of *count* tasks: two folders and two files each.

    ext4 looks through the inodes that were deleted in the last minutes for each that it gives,
    which makes a file ten times as dear; so nothing is deleted before all is measured.
    """
    begin = time.perf_counter()
    for number in range(count):
        folder = place / f"Nothing({number})" / "0123456789abcdef"
        folder.mkdir(parents=True)
        for name in ("params.yaml", "result"):
            (folder / name).write_bytes(b"x" * 100)
    return time.perf_counter() - begin


def measured(
    case: Case, count: int, runs: int, pool: ProcessPoolExecutor, directory: Path
) -> Result:
    result = Result(case, count, [], 0, [], [])
    for number in range(runs):
        print(f"{case.name}: {number + 1}", file=sys.stderr)
        place = Path(tempfile.mkdtemp(dir=directory))
        runner = Runner(place / "data", place / "log", SLOTS)
        if case.before is not None:
            runner.run(case.before(count), raise_on_failure=True)
        pipeline = case.timed(count)
        begin = time.perf_counter()
        runner.run(pipeline, raise_on_failure=True)
        result.seconds.append(time.perf_counter() - begin)
        result = result._replace(ran=len(runner.tasks_run))
        result.files.append(files_alone(place / "alone", result.ran))
        begin = time.perf_counter()
        for future in [pool.submit(call, i) for i in range(count)]:
            future.result()
        result.pool.append(time.perf_counter() - begin)
    return result


def page(results: Sequence[Result], runs: int) -> str:
    here = machine()
    head = [
        "# Tasks that do nothing", "",
        f"{here['cores']} cores, Python {here['python']}, {here['system']}, {here['date']}; "
        f"medians of {runs}. Milliseconds for each task of the pipeline, from `Runner.run` to "
        "its end: plan, slots, results, parameters and logs on the disk. The pool is a "
        f"`ProcessPoolExecutor({SLOTS})` that is warm, calls the same number of functions, and "
        "keeps nothing. Files: the folders and files of the tasks that ran, made alone, in the "
        "same place: what the disk takes of it.", "",
        "| case | tasks | ran | ms a task | bar | pool, ms a call | files, ms a task | |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    tail = ["", "Run it: `python -m benchmarks.tasks --check`.", ""]
    return "\n".join([*head, *(result.line() for result in results), *tail])


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    made.add_argument("--runs", type=int, default=5, help="of each case; medians are shown (5)")
    made.add_argument("--tasks", type=int, default=1000, help="of each pipeline (1000)")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    made.add_argument("--write", type=Path, metavar="FILE", help="write the table to FILE")
    options = made.parse_args(arguments)
    logging.getLogger("pypelinin.tasks").addHandler(logging.NullHandler())
    kept = tempfile.TemporaryDirectory(prefix="tasks-", dir=Path.cwd())
    with kept as directory, ProcessPoolExecutor(SLOTS) as pool:
        list(pool.map(call, range(SLOTS * 10)))
        results = [
            measured(case, options.tasks, options.runs, pool, Path(directory)) for case in CASES
        ]
    text = page(results, options.runs)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 1 if options.check and any(result.is_missed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
