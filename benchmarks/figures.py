"""Figures: what was measured, in which unit, and the bar it has to pass."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SYNCS = 200
SYNC_BYTES = 4096
LOOPS = 5
LOOP_STEPS = 2_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """The limit of a median, or (*of_ratio*) of its ratio to the pool's."""

    limit: float
    at_least: bool
    of_ratio: bool = False
    why: str = ""

    def passed_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(slots=True)
class Figure:
    """One line of the table: the values of all runs, ours and the pool's.

    *rate*: more is better; else it is a time or a size.
    """

    name: str
    what: str
    synchronous: str
    unit: str
    rate: bool = False
    bar: Bar | None = None
    ours: list[float] = field(default_factory=list)
    pool: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        """Median to median."""
        return self.median / statistics.median(self.pool) if self.pool else None

    @property
    def passed(self) -> bool | None:
        """None without a bar."""
        if self.bar is None:
            return None
        value = self.ratio if self.bar.of_ratio else self.median
        return value is not None and self.bar.passed_by(value)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What this machine does, as medians."""

    loop_ns: float
    """One step of an empty Python loop."""
    fdatasync_us: float
    """4 KiB more in a file on the journal's disk, durable."""


def calibrate(directory: Path) -> Calibration:
    steps = range(LOOP_STEPS)
    loops = [1e9 * timed(lambda: _loop(steps)) / LOOP_STEPS for _ in range(LOOPS)]
    return Calibration(statistics.median(loops), fdatasync_us(directory))


def _loop(steps: range) -> None:
    for _ in steps:
        pass


def fdatasync_us(directory: Path) -> float:
    """Median of 200 times 4 KiB."""
    with tempfile.TemporaryFile(prefix=".benchmark-", dir=directory) as file:
        descriptor, block = file.fileno(), os.urandom(SYNC_BYTES)
        seconds = []
        for _ in range(SYNCS):
            os.write(descriptor, block)
            seconds.append(timed(lambda: os.fdatasync(descriptor)))
        return 1e6 * statistics.median(seconds)


def timed(act: Callable[[], object]) -> float:
    """Seconds that *act* takes."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def machine() -> dict[str, str | int]:
    """What the figures depend on and may be told of a machine: no names, no paths."""
    release = re.match(r"\d+(\.\d+)*", platform.release())
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return {
        "cores": cores or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {release.group() if release else ''}".strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
