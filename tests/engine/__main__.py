"""Campaigns by hand; their last figures stand in docs/engine.md.

python -m tests.engine exhaustive --jobs 4 --policies ALWAYS OUTPUT EPHEMERAL
python -m tests.engine few --jobs 5 --policies ALWAYS OUTPUT EPHEMERAL
    at most one change, one deletion and one failure
python -m tests.engine sample --jobs 6 --seeds 10000000 --processes 2
    10,000,000 are 3 hours on two cores: --first SEED goes on where a part ended
python -m tests.engine wild --jobs 6 --seeds 1000000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product

from pypelinin.graph import declared
from tests.engine import campaign

CHUNK = 2_000


def work(arguments: argparse.Namespace) -> Iterator[tuple[str, int, int, int, tuple[str, ...]]]:
    """Shares of the whole, each with all it needs."""
    policies = tuple(arguments.policies)
    if arguments.what in ("sample", "wild"):
        total = arguments.first + arguments.seeds
    else:
        kinds = 3 if arguments.order_only else 2
        pairs = arguments.jobs * (arguments.jobs - 1) // 2
        total = kinds**pairs * len(policies) ** arguments.jobs
    for first in range(arguments.first, total, CHUNK):
        yield arguments.what, arguments.jobs, first, min(first + CHUNK, total), policies


def share(task: tuple[str, int, int, int, tuple[str, ...]], kinds: int = 2) -> int:
    what, jobs, first, last, names = task
    if what in ("sample", "wild"):
        attack = campaign.sample if what == "sample" else campaign.wild
        for seed in range(first, last):
            attack(seed, jobs)
        return last - first
    policies = [getattr(declared, name) for name in names]
    cases = 0
    everything = product(campaign.graphs(jobs, kinds), product(policies, repeat=jobs))
    for number, (edges, chosen) in enumerate(everything):
        if number >= last:
            break
        if number >= first:
            case = campaign.case_of(edges, chosen)
            cases += campaign.every_second_run(case, few=what == "few")
    return cases


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
    begin, cases, shares = time.monotonic(), 0, 0
    with ProcessPoolExecutor(arguments.processes) as pool:
        for done in pool.map(share, work(arguments)):
            cases += done
            shares += 1
            if sys.stderr.isatty() or shares % 50 == 0:
                print(f"{cases:,} cases, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    print(
        f"{arguments.what} {arguments.jobs}: {cases:,} cases, 0 violations, "
        f"{time.monotonic() - begin:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
