"""The engine against the oracle and the laws; `python -m tests.engine` does more of it by hand."""

from __future__ import annotations

import os
from itertools import product

import pytest

from tests.engine import campaign

ALL = os.environ.get("PYPELININ_TEST_ALL") == "1"
SAMPLES = 100_000 if ALL else 10_000
WILD = 50_000 if ALL else 10_000
SHARES = 10
"""Parts of each campaign, so that several processes can work on it."""


def test_every_graph_of_two_jobs() -> None:
    cases = sum(campaign.exhaustive(1, kinds=3)) + sum(campaign.exhaustive(2, kinds=3))
    print(f"{cases:,} cases")
    assert cases > 2_000


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_every_graph_of_three_jobs(share: int) -> None:
    """All policies, changes, deletions and failures; in the full suite order-only edges too."""
    pairs = product(campaign.graphs(3, 3 if ALL else 2), product(campaign.POLICIES, repeat=3))
    cases = 0
    for number, (edges, policies) in enumerate(pairs):
        if number % SHARES == share:
            cases += campaign.every_second_run(campaign.case_of(edges, policies))
    print(f"{cases:,} cases")
    assert cases > 10_000


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_samples_of_four_and_five_jobs(share: int) -> None:
    seeds = range(share, SAMPLES, SHARES)
    runs = sum(campaign.sample(seed, 4 + seed % 2) for seed in seeds)
    print(f"{len(seeds):,} samples, {runs:,} runs")


def test_samples_that_were_hard_to_judge() -> None:
    """Of 10,000,000 with 6 jobs: once the oracle asked too much of what depends on time.

    In 9210246 the engine handed out a lazy job whose last consumer fell away in the same batch.
    """
    seeds = [
        291390, 310014, 341552, 353631, 619073, 1679395, 2250209, 2739307, 4194065, 5550365,
        6197413, 6806537, 6955351, 7327760, 7673047, 8071674, 8100914, 8535222, 9046345, 9210246,
        9785640, 9814049, 9846570,
    ]  # fmt: skip
    assert sum(campaign.sample(seed, 6) for seed in seeds) >= len(seeds)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_everything_that_can_happen(share: int) -> None:
    seeds = range(share, WILD, SHARES)
    runs = sum(campaign.wild(seed, 3 + seed % 5) for seed in seeds)
    print(f"{len(seeds):,} worlds, {runs:,} runs")
