"""Campaigns by hand; their last figures stand in docs/engine.md.

python -m tests.engine exhaustive --jobs 4 --policies ALWAYS OUTPUT EPHEMERAL
python -m tests.engine few --jobs 5 --policies ALWAYS OUTPUT EPHEMERAL
    at most one change and one deletion
python -m tests.engine sample --jobs 6 --seeds 10000000 --processes 2
    10,000,000 are 3 hours on two cores: --first SEED goes on where a part ended
python -m tests.engine wild --jobs 6 --seeds 1000000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice, product
from typing import NamedTuple

from pypelinin.graph import declared
from tests.engine import campaign
from tests.engine.world import Violation

CHUNK = 2_000
SEEDED = {"sample": campaign.sample, "wild": campaign.wild}


class Share(NamedTuple):
    """Numbers *first* to *last* of a campaign: seeds, or of all graphs with all policies.

    Of graphs that differ only in how the jobs are numbered one is played.
    """

    what: str
    jobs: int
    first: int
    last: int
    policies: tuple[str, ...]
    kinds: int
    """2: no edge or a data edge; 3: or an order-only one."""

    def plays(self) -> Iterator[tuple[int, Callable[[], int]]]:
        """(number, what plays that and returns how many cases it was)."""
        if self.what in SEEDED:
            for seed in range(self.first, self.last):
                yield seed, partial(SEEDED[self.what], seed, self.jobs)
            return
        policies = [getattr(declared, name) for name in self.policies]
        chosen = product(range(len(policies)), repeat=self.jobs)
        everything = product(campaign.graphs(self.jobs, self.kinds), chosen)
        some = islice(everything, self.first, self.last)
        for number, (edges, kinds) in enumerate(some, self.first):
            if campaign.is_first(edges, kinds):
                case = campaign.case_of(edges, tuple(policies[kind] for kind in kinds))
                yield number, partial(campaign.every_second_run, case, few=self.what == "few")


def shares(arguments: argparse.Namespace) -> Iterator[Share]:
    """All of the campaign."""
    what, jobs, policies = arguments.what, arguments.jobs, tuple(arguments.policies)
    kinds = 3 if arguments.order_only else 2
    if what in SEEDED:
        end = arguments.first + arguments.seeds
    else:
        end = kinds ** (jobs * (jobs - 1) // 2) * len(policies) ** jobs
    for first in range(arguments.first, end, CHUNK):
        yield Share(what, jobs, first, min(first + CHUNK, end), policies, kinds)


def played(share: Share) -> tuple[int, list[str]]:
    """(how many cases it was, what was wrong in which of them)."""
    cases, wrong = 0, []
    for number, play in share.plays():
        try:
            count = play()
            cases += 1 if share.what in SEEDED else count
        except Violation as violation:
            wrong.append(f"{share.what} {share.jobs}, number {number}: {violation}")
    return cases, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine")
    parser.add_argument("what", choices=("exhaustive", "few", "sample", "wild"))
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="where a campaign goes on")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--order-only", action="store_true")
    names = "ALWAYS OUTPUT CACHED EPHEMERAL RECIPE TOKEN".split()
    parser.add_argument("--policies", nargs="+", default=names, choices=names)
    arguments = parser.parse_args()
    begin, cases, violations = time.monotonic(), 0, 0
    with ProcessPoolExecutor(arguments.processes) as pool:
        for number, (done, wrong) in enumerate(pool.map(played, shares(arguments)), 1):
            cases += done
            violations += len(wrong)
            print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)
            if sys.stderr.isatty() or number % 50 == 0:
                print(f"{cases:,} cases, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    print(
        f"{arguments.what} {arguments.jobs}: {cases:,} cases, {violations} violations, "
        f"{time.monotonic() - begin:.0f} s"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
