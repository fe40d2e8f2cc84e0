"""A world is one source of chance and one clock for all that is in it."""

from __future__ import annotations

from pypelinin.config import Limits
from pypelinin.testing.world import World


def test_everything_counts_and_draws_from_one_place() -> None:
    world = World(3, Limits(), lambda _: None)
    assert world.network.counters is world.counters is world.history.counters
    assert world.network._random is world.random is world.journal._random
    assert world.history.scripts is world.scripts


def test_a_seed_is_a_world() -> None:
    draws = [World(seed, Limits(), lambda _: None).random.random() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
