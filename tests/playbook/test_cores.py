"""Which cores a slot's jobs run on: its own as long as there are enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pypelinin.cluster.cores import Cores


def test_a_slot_gets_the_same_ones_again_if_they_are_free() -> None:
    cores = Cores([2, 3, 5, 7])
    assert cores.take(0, 1) == (2,)
    assert cores.take(1, 2) == (3, 5)
    cores.free(0)
    cores.free(1)
    assert cores.take(1, 2) == (3, 5)
    assert cores.take(0, 1) == (2,)
    cores.free(1)
    assert cores.take(2, 3) == (3, 5, 7)


def test_more_than_there_are_is_all_and_they_are_shared_evenly() -> None:
    cores = Cores(range(2))
    assert cores.take(0, 5) == (0, 1)
    assert sorted(cores.take(number, 1)[0] for number in range(1, 7)) == [0, 0, 0, 1, 1, 1]
    cores.check()


def test_a_slot_that_takes_again_has_given_back() -> None:
    cores = Cores(range(4))
    cores.take(0, 4)
    assert cores.take(0, 1) == (0,)
    assert cores.take(1, 3) == (1, 2, 3)
    cores.free(9)  # had none
    cores.check()


STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=60)


@given(st.sets(st.integers(0, 100), min_size=1, max_size=12), STEPS)
def test_no_core_is_taken_twice_while_all_that_runs_fits(
    numbers: set[int], steps: list[tuple[int, int]]
) -> None:
    cores = Cores(numbers)
    granted: dict[int, int] = {}
    for slot, count in steps:
        granted.pop(slot, None)
        if not count or sum(granted.values()) + count > len(numbers):
            cores.free(slot)
        else:
            granted[slot] = count
            assert len(cores.take(slot, count)) == count
        cores.check()
        taken = [number for found in cores.taken.values() for number in found]
        assert len(set(taken)) == len(taken) == sum(granted.values())
        assert set(taken) <= numbers


@given(st.integers(1, 6), STEPS)
def test_what_does_not_fit_is_spread_evenly_and_told_truly(
    most: int, steps: list[tuple[int, int]]
) -> None:
    cores = Cores(range(most))
    for slot, count in steps:
        cores.free(slot)
        before = {n: sum(n in found for found in cores.taken.values()) for n in range(most)}
        found = cores.take(slot, count)
        assert len(set(found)) == min(count, most)
        left = [before[n] for n in range(most) if n not in found]
        assert not found or not left or max(before[n] for n in found) <= min(left)
        cores.check()
