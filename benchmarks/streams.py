"""`python -m benchmarks.streams`: streams beside a plain loop and ProcessPoolExecutor.

Each case is a whole run, with the start of its slots; medians of several, ours and the others in
turn. The bars are those of the project; job_stream 0.1.32 needed 100 us an item in one process,
376 us in its default mode, and 5 ms a frame, on one core of such a machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import machine, timed
from pypelinin.cli.local import LocalCluster
from pypelinin.streams import Multiple, Work

SLOTS = 2
POOL_CHUNK = 1000


def plus(item: int) -> int:
    return item + 1


def added(store: list[int], works: list[int], others: list[list[int]]) -> None:
    for item in works:
        store[0] += item
    for other in others:
        store[0] += other[0]


def turn(store: list[int], first: int) -> Any:
    return None if store else Multiple([first, 1, 2])


def taken(store: list[int], item: int) -> None:
    store.append(item)


def sums(items: int, **place: Any) -> None:
    work = Work(range(items), **place)
    work.job(plus)
    work.reduce(added, store=lambda: [0], emit=lambda store: store[0])
    assert work.run() == [items * (items + 1) // 2]


def frames(items: int, **place: Any) -> None:
    work = Work(range(items), **place)
    work.frame(turn, store=list, emit=sum)
    work.job(plus)
    work.frameEnd(taken)
    assert sum(work.run()) == sum(range(items)) + 6 * items


def listed(items: int, **place: Any) -> None:
    work = Work(range(items), **place)
    work.job(plus)
    assert len(work.run()) == items


def loop(items: int) -> None:
    assert sum(map(plus, range(items))) == items * (items + 1) // 2


def pool(items: int) -> None:
    with ProcessPoolExecutor(SLOTS) as executor:
        found = sum(executor.map(plus, range(items), chunksize=POOL_CHUNK))
    assert found == items * (items + 1) // 2


class Case(NamedTuple):
    name: str
    items: int
    act: Callable[..., None]
    bar_us: float | None
    cluster: bool = False


CASES = (
    Case("sum through job and reduce", 100_000, sums, 5.0),
    Case("sum through job and reduce, cluster", 100_000, sums, 10.0, cluster=True),
    Case("frames of three items", 1_000, frames, 1000.0),
    Case("frames of three items, cluster", 1_000, frames, 1000.0, cluster=True),
    Case("list of results", 250_000, listed, None),
    Case("list of results", 500_000, listed, None),
    Case("list of results", 1_000_000, listed, None),
)
GROWTH_MAX = 1.5
"""So much more an item of the longest list may take than one of the shortest."""


class Row(NamedTuple):
    case: Case
    ours: list[float]
    pools: list[float]
    loops: list[float]

    @property
    def us(self) -> float:
        """An item, microseconds."""
        return 1e6 * statistics.median(self.ours) / self.case.items

    @property
    def is_missed(self) -> bool:
        return self.case.bar_us is not None and self.us > self.case.bar_us

    def line(self) -> str:
        items = self.case.items
        others = (1e6 * statistics.median(found) / items for found in (self.pools, self.loops))
        bar = "" if self.case.bar_us is None else f"{self.case.bar_us:,.0f}"
        cells = [self.case.name, f"{items:,}", f"{self.us:.2f}", *(f"{us:.2f}" for us in others)]
        return f"| {' | '.join([*cells, bar, 'missed' if self.is_missed else ''])} |"


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    made.add_argument("--runs", type=int, default=5, help="of each case; medians are shown (5)")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    made.add_argument("--write", type=Path, metavar="FILE", help="write the table to FILE")
    options = made.parse_args(arguments)
    with LocalCluster((), slots=SLOTS) as cluster:
        sums(1000, on=cluster.api)  # what the cluster has to load is loaded
        rows = [measured(case, cluster.api, options.runs) for case in CASES]
    lists = [row.us for row in rows if row.case.act is listed]
    growth = lists[-1] / lists[0]
    text = page(rows, growth, options.runs)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    missed = any(row.is_missed for row in rows) or growth > GROWTH_MAX
    return 1 if options.check and missed else 0


def measured(case: Case, api: str, runs: int) -> Row:
    row = Row(case, [], [], [])
    place: dict[str, Any] = {"on": api} if case.cluster else {"slots": SLOTS}
    for number in range(runs):
        print(f"{case.name}, {case.items:,}: {number + 1}", file=sys.stderr)
        row.ours.append(timed(lambda: case.act(case.items, **place)))
        row.pools.append(timed(lambda: pool(case.items)))
        row.loops.append(timed(lambda: loop(case.items)))
    return row


def page(rows: Sequence[Row], growth: float, runs: int) -> str:
    here = machine()
    head = [
        "# Streams", "",
        f"{here['cores']} cores, Python {here['python']}, {here['system']}, {here['date']}; "
        f"medians of {runs}. Microseconds an item of a whole run, with the start and the end of "
        "two slots (on a cluster, which is there already, with the connection). Beside it in the "
        f"same run: `ProcessPoolExecutor.map(chunksize={POOL_CHUNK})` with two processes and a "
        "plain loop, which add 1 to as many items.", "",
        "| case | items | us an item | pool | loop | bar | |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    tail = [
        "", f"An item of the longest list takes {growth:.2f} times as long as one of the shortest "
        f"(bar {GROWTH_MAX}).", "", "Run it: `python -m benchmarks.streams --check`.", "",
    ]  # fmt: skip
    return "\n".join([*head, *(row.line() for row in rows), *tail])


if __name__ == "__main__":
    sys.exit(main())
