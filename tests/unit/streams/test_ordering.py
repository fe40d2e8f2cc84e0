"""Items come out in the order in which they would without slots."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from pypelinin.streams.ordering import Ordering
from tests.streams import programs
from tests.streams.programs import Reduce, built, specs
from tests.streams.shuffling import shuffled


def test_what_comes_before_its_time_waits() -> None:
    ordering = Ordering()
    ordering.begin(1)
    ordering.begin(2)
    assert ordering.add(2, ["c"], (), ()) == []
    assert ordering.add(1, ["a", "b"], (), ()) == ["a", "b", "c"]


def test_nothing_is_a_place_too() -> None:
    ordering = Ordering()
    for number in (1, 2, 3):
        ordering.begin(number)
    assert ordering.add(3, ["c"], (), ()) == []
    assert ordering.add(2, [], (), ()) == []
    assert ordering.add(1, [], (), ()) == ["c"]


def test_children_fill_the_holes() -> None:
    ordering = Ordering()
    ordering.begin(1)
    assert ordering.add(1, ["b", "c", "e"], (0, 2, 2, 3), (10, 11, 12, 13)) == []
    assert ordering.add(13, ["f"], (), ()) == []
    assert ordering.add(11, ["d1"], (), ()) == []
    assert ordering.add(10, ["a"], (), ()) == []
    assert ordering.add(12, ["d2"], (), ()) == ["a", "b", "c", "d1", "d2", "e", "f"]


def test_the_first_goes_out_while_the_second_is_under_way() -> None:
    ordering = Ordering()
    ordering.begin(1)
    ordering.begin(2)
    assert ordering.add(1, [1], (), ()) == [1]
    assert ordering.add(2, [2], (0,), (5,)) == []
    ordering.begin(3)
    assert ordering.add(3, [3], (), ()) == []
    assert ordering.add(5, [], (), ()) == [2, 3]


def test_leftovers_of_leftovers_are_no_recursion() -> None:
    ordering = Ordering()
    ordering.begin(0)
    for number in range(5_000):
        assert ordering.add(number, [number], (1,), (number + 1,)) == []
    assert ordering.add(5_000, [5_000], (), ()) == list(range(5_001))


def test_it_goes_on_from_what_was_kept() -> None:
    ordering = Ordering()
    ordering.begin(1)
    ordering.begin(2)
    ordering.add(2, ["z"], (), ())
    ordering.add(1, ["a"], (1,), (7,))
    other = Ordering()
    other.restore(ordering.state())
    assert other.add(7, ["b"], (), ()) == ["a", "b", "z"]


def grown(rng: random.Random, ordering: Ordering) -> tuple[list[int], list[int]]:
    """What comes out of random trees in a random order, and what they have from left to right."""
    numbers = iter(range(10**6))
    trees: dict[int, Any] = {}

    def tree(depth: int) -> int:
        number = next(numbers)
        items = [rng.randrange(1000) for _ in range(rng.randrange(4))]
        count = rng.randrange(4) if depth else 0
        holes = sorted(rng.randrange(len(items) + 1) for _ in range(count))
        trees[number] = (items, holes, [tree(depth - 1) for _ in range(count)])
        return number

    def flat(number: int) -> list[int]:
        items, holes, children = trees[number]
        out, before = [], 0
        for hole, child in zip(holes, children, strict=True):
            out += items[before:hole] + flat(child)
            before = hole
        return [*out, *items[before:]]

    roots = [tree(2) for _ in range(4)]
    waiting = list(roots)
    for root in roots:
        ordering.begin(root)
    out: list[int] = []
    while waiting:
        number = waiting.pop(rng.randrange(len(waiting)))
        items, holes, children = trees[number]
        out += ordering.add(number, items, holes, children)
        waiting += children
    return out, [item for root in roots for item in flat(root)]


def test_random_trees() -> None:
    for seed in range(300):
        out, expected = grown(random.Random(seed), Ordering())
        assert out == expected, seed


def test_random_streams_come_out_in_the_order_of_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = 0
    for seed in range(400):
        spec = specs(seed)
        if any(isinstance(stage, Reduce) for stage in spec.stages):
            continue
        executor = shuffled(monkeypatch, seed, deaths=0.2)
        here = random.Random(seed) if seed % 2 else None
        found = built(spec, here, engine=executor, ordered=True).run()
        assert found == programs._through_plain(spec.stages, spec.items), f"seed {seed}: {spec}"
        several += len(set(found)) > 2
    assert several > 50


def test_what_is_held_back_is_measured() -> None:
    ordering = Ordering()
    for number in (1, 2, 3):
        ordering.begin(number)
    ordering.add(3, ["c", "d"], (), (), 1000)
    first = ordering.held_bytes
    assert first > 1000
    ordering.add(2, ["b"], (), (), 500)
    assert ordering.held_bytes > first + 500
    other = Ordering()
    other.restore(copy.deepcopy(ordering.state()))
    assert other.held_bytes == ordering.held_bytes
    for one in (ordering, other):
        assert one.add(1, ["a"], (), ()) == ["a", "b", "c", "d"]
        assert one.held_bytes == 0
