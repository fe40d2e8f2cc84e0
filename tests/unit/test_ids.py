"""Ids come from the given randomness; fences rise with epoch and attempt."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pypelinin.ids import ATTEMPT_BITS, fence_attempt, fence_epoch, make_fence, new_id

EPOCHS = st.integers(0, 2**20)
ATTEMPTS = st.integers(0, 2**ATTEMPT_BITS - 1)
PAIRS = st.tuples(EPOCHS, ATTEMPTS)


def test_an_id_is_32_hexadecimal_digits_of_the_given_randomness() -> None:
    assert new_id(lambda count: bytes(range(count))) == "000102030405060708090a0b0c0d0e0f"


def test_one_seed_gives_the_same_ids_and_never_one_twice() -> None:
    first, again = random.Random(7), random.Random(7)
    ids = [new_id(first.randbytes) for _ in range(1000)]
    assert ids == [new_id(again.randbytes) for _ in range(1000)]
    assert len(set(ids)) == 1000


@given(PAIRS, PAIRS)
def test_a_fence_rises_with_epoch_then_attempt(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    assert (make_fence(*one) < make_fence(*other)) == (one < other)


@given(EPOCHS, ATTEMPTS)
def test_a_fence_tells_epoch_and_attempt(epoch: int, attempt: int) -> None:
    fence = make_fence(epoch, attempt)
    assert (fence_epoch(fence), fence_attempt(fence)) == (epoch, attempt)
    assert fence < 2**63
