"""The simulation is tested too: each planted bug is caught within its 200 seeds."""

from __future__ import annotations

import pytest

from pypelinin.testing.bugs import BUGS, planted
from pypelinin.testing.history import Violation
from pypelinin.testing.sim import ClusterSim

SEEDS = 200


def test_there_are_ten_at_least() -> None:
    assert len(BUGS) >= 10


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    with planted(name):
        for seed in range(SEEDS):
            try:
                ClusterSim(seed).run()
            except Violation:
                print(f"{name}: caught by seed {seed}")
                return
    pytest.fail(f"{SEEDS} seeds did not notice: {name}")


def test_nothing_stays_planted() -> None:
    for name in BUGS:
        with planted(name):
            pass
    ClusterSim(0).run()
