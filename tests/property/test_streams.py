"""Streams in slots, in random orders, give what an interpreter without slots gives."""

from __future__ import annotations

import random

import pytest

from tests.streams.programs import built, expected, specs
from tests.streams.shuffling import shuffled


@pytest.mark.parametrize("block", range(20))
def test_random_programs_in_random_orders(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 seeds in all; some stages stay in the process of the caller."""
    for seed in range(block * 50, block * 50 + 50):
        spec = specs(seed)
        executor = shuffled(monkeypatch, seed)
        here = random.Random(seed) if seed % 3 == 0 else None
        found = built(spec, here, engine=executor).run()
        assert sorted(found) == expected(spec), f"seed {seed}: {spec}"


def test_chunks_that_die_are_cut_until_all_items_are_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    died = 0
    for seed in range(100):
        spec = specs(seed)
        executor = shuffled(monkeypatch, seed, deaths=0.5)
        assert sorted(built(spec, engine=executor).run()) == expected(spec), seed
        died += executor.died
    assert died > 5


@pytest.mark.parametrize("block", range(4))
def test_random_programs_here(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        spec = specs(seed)
        assert sorted(built(spec, useMultiprocessing=False).run()) == expected(spec), seed
