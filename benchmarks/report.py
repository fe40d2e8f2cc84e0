"""Figures as a table, as JSON, and as the page docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import Calibration, Figure

HEAD = (
    "", "journal", "pypelinin", "(min-max)", "pool", "(min-max)", "unit", "ratio", "bar", "",
)  # fmt: skip
PAGE = """\
# Benchmarks

Written by `python -m benchmarks --write docs/benchmarks.md`; the figures are those of one run on
one machine:

> {machine}

{table}

{missed}

## What is compared

Jobs that do nothing, so that only the way of a job is measured. On our side a Router, one separate
Pipeliner and one Broker with two slots, all processes of their own, and a client that talks to
them over TCP on loopback. The journal is on a disk: with `full` each "accepted" and each "finished"
is made durable by fdatasync before it is said; with `normal` SQLite leaves that to its checkpoints.

*pool* is `concurrent.futures.ProcessPoolExecutor` with two processes, in the same process and in
turns with us: one `submit` for each job; a graph's jobs are submitted by the client when the
futures they wait for are done; a chain is submit, result, submit. It keeps no journal, and what it
runs is gone with its process.

Each figure is the median of {runs} runs, then the smallest and the largest. *ratio* is our median
to the pool's: for rates (`/s`) more is better, for times and sizes less. Building the graph
(`Pipeline(...)` here, lists there) is in the figures of neither side.

- **startup**: from the start of the processes to the first result in a client that waits for it:
  three at once, then `LocalCluster`, which `pypelinin demo` uses and which waits until all have
  joined. For the pool: from its creation.
- **memory**: the proportional set size of Router, Pipeliner, Broker, nursery and slots, 1 s after a
  warm-up. For the pool: its two processes, without the one that made it.
- **throughput**: independent jobs. **layered**: each job waits for two random ones of the layer
  before. **small**: all submitted at once.
- **chain**: the jobs of one worker, which may go to a slot in lots. **edge**: two workers in turn,
  so that every edge goes through the Router; no bar, it is there to be seen.
- **submit**: an `Executor` beside the pool: a `submit` for each call, all results waited for. Ours
  runs on the cluster, here with a journal of its own (*durable*: always fdatasync), or here without
  one (*embedded*). **call**: `submit` and `result` in turn. **map**: `map(chunksize=100)`.
- **payload**: 1 MiB in and 1 MiB out for each call; it survives `kill -9`, but is not synced.
- **functions**: the layered graph with functions for jobs, in an order only, or reading each
  other's results.
- **latency**: `start` and `wait`, then the next pipeline. The fdatasync of its bar is measured
  before and after each run; the shorter one counts.

## Run it

```sh
python -m benchmarks                        # all, about a minute
python -m benchmarks chain latency --runs 9
python -m benchmarks --synchronous full --check --json figures.json
```

From the repository's root, with the project installed. `--check` exits with 1 if a bar is missed.
The journal goes to a temporary directory in the current one, or in `--directory`; a file system in
memory is no place for it. Close what else needs the cores: two are busy here, and every wake-up of
a chain waits for one of them.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run of the program."""

    machine: dict[str, str | int]
    calibration: Calibration
    runs: int
    scale: float
    in_memory: bool
    figures: Sequence[Figure]

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.passed is False]

    @property
    def machine_line(self) -> str:
        facts = self.machine
        disk = "a file system in memory" if self.in_memory else "the journal's disk"
        return (
            f"{facts['cores']} cores, Python {facts['python']}, {facts['system']}, "
            f"{facts['date']}; a step of an empty loop {self.calibration.loop_ns:.1f} ns, "
            f"fdatasync of 4 KiB on {disk} {self.calibration.fdatasync_us:.0f} µs"
        )

    @property
    def missed_line(self) -> str:
        if all(figure.bar is None for figure in self.figures):
            return "Without bars: they are for full sizes."
        if not self.missed:
            return "All bars are passed."
        listed = ", ".join(f"{f.name} ({f.synchronous})" for f in self.missed)
        return f"Missed: {listed}."

    def text(self) -> str:
        lines = [HEAD, *map(cells, self.figures)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
        left = (0, 1, 6, 8, 9)
        shown = [
            "  ".join(
                cell.ljust(width) if i in left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        scale = "" if self.scale == 1 else f"Sizes are {self.scale:g} of the full ones. "
        return "\n".join([self.machine_line, "", *shown, "", scale + self.missed_line])

    def page(self) -> str:
        rows = ["| " + " | ".join(cells(figure)) + " |" for figure in self.figures]
        rule = "|" + "|".join("---" if i in (0, 1, 6, 8, 9) else "---:" for i in range(len(HEAD)))
        table = "\n".join(["| " + " | ".join(HEAD) + " |", rule + "|", *rows])
        return PAGE.format(
            machine=self.machine_line, table=table, missed=self.missed_line, runs=self.runs
        )

    def document(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "calibration": asdict(self.calibration),
            "runs": self.runs,
            "scale": self.scale,
            "in_memory": self.in_memory,
            "figures": [described(figure) for figure in self.figures],
        }


def described(figure: Figure) -> dict[str, Any]:
    pool = statistics.median(figure.pool) if figure.pool else None
    more = {"median": figure.median, "pool_median": pool, "ratio": figure.ratio}
    return {**asdict(figure), **more, "passed": figure.passed}


def cells(figure: Figure) -> tuple[str, ...]:
    """One line of the table, as `HEAD` names its columns."""
    ratio = "" if figure.ratio is None else f"{significant(figure.ratio)}x"
    verdict = {None: "", True: "ok", False: "MISSED"}[figure.passed]
    return (
        f"{figure.name}: {figure.what}", figure.synchronous, *spread(figure.ours),
        *spread(figure.pool), figure.unit, ratio, bar(figure), verdict,
    )  # fmt: skip


def spread(values: Sequence[float]) -> tuple[str, str]:
    """(median, "smallest-largest")."""
    if not values:
        return "", ""
    shown = [significant(value) for value in (statistics.median(values), min(values), max(values))]
    return shown[0], f"{shown[1]}-{shown[2]}"


def bar(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    sign = ">=" if figure.bar.at_least else "<="
    unit = "x" if figure.bar.of_ratio else f" {figure.unit}"
    why = f" ({figure.bar.why})" if figure.bar.why else ""
    return f"{sign} {significant(figure.bar.limit)}{unit}{why}"


def significant(value: float) -> str:
    """Three digits that mean something, in full."""
    for digits, least in ((0, 100), (1, 10), (2, 0)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    raise AssertionError
