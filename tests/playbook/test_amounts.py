"""What jobs take of a node, and what people are told of it."""

from __future__ import annotations

import pytest

from pypelinin.cluster.amounts import (
    Amount,
    capacity_text,
    left_of,
    need_on,
    per_core,
    terms_text,
    weight,
)
from pypelinin.wire.definitions import Capacity, Terms

NODE = Capacity(4, 1000, {"gpu": 2})


@pytest.mark.parametrize(
    ("terms", "need"),
    [
        (None, Amount(1, 250)),
        (Terms(cores=3), Amount(3, 750)),
        (Terms(memory=900), Amount(1, 900)),
        (Terms(memory=10), Amount(1, 10)),
        (Terms(cores=-1), Amount(3, 750)),
        (Terms(cores=-2), Amount(4, 1000)),
        (Terms(cores=-2, memory=10), Amount(4, 1000)),
        (Terms(resources={"gpu": 2}), Amount(1, 250, {"gpu": 2})),
        (Terms(cores=5), None),
        (Terms(memory=1001), None),
        (Terms(cores=-2, memory=1001), None),
        (Terms(resources={"gpu": 3}), None),
        (Terms(resources={"tape": 1}), None),
    ],
)
def test_needs(terms: Terms | None, need: Amount | None) -> None:
    assert need_on(terms, NODE, NODE) == need


def test_all_cores_are_those_that_are_offered() -> None:
    assert need_on(Terms(cores=-1), NODE, Capacity(2)) == Amount(1, 250)
    assert need_on(Terms(cores=-1), Capacity(1), Capacity(1)) == Amount(1, 0)


def test_nothing_fits_a_node_without_cores() -> None:
    assert need_on(None, Capacity(0), Capacity(0)) is None
    assert need_on(Terms(memory=5), Capacity(0), Capacity(0)) is None
    assert per_core(Capacity(0)) == 0


def test_what_is_left_and_whether_it_holds() -> None:
    left = left_of(NODE, [Amount(1, 250), Amount(2, 100, {"gpu": 1})])
    assert left == Amount(1, 650, {"gpu": 1})
    assert left.holds(Amount(1, 650, {"gpu": 1}))
    assert not left.holds(Amount(2, 0))
    assert not left.holds(Amount(1, 651))
    assert not left.holds(Amount(1, 0, {"gpu": 2}))


def test_memory_displaces_cores() -> None:
    assert weight(Amount(1, 251), NODE) == 2
    assert weight(Amount(3, 0), NODE) == 3
    assert weight(Amount(1, 5), Capacity(4)) == 1


def test_texts() -> None:
    assert capacity_text(Capacity(1, 16_000_000_000, {"gpu": 2})) == "1 core, 16.0 GB, 2 gpu"
    assert terms_text(None) == "1 core"
    assert (
        terms_text(Terms(-1, 5_000_000, {"b": 1, "a": 2})) == "all cores but one, 5.00 MB, 2 a, 1 b"
    )
    assert terms_text(Terms(-2)) == "the whole node"
