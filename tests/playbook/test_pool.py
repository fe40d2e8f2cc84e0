"""The pool: which slot is for which lot, how it was started, and when it is ended."""

from __future__ import annotations

import pytest

from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.pool import AGAIN_S, Pool, PooledSlot
from pypelinin.cluster.slots import PLAIN_SHAPE, KillSlot, Shape, StartSlot
from pypelinin.config import Limits
from pypelinin.wire.definitions import Capacity, Failure, Terms

LIMITS = Limits(blocked_slot_s=0.1, kill_grace_s=10.0, slot_start_s=60.0)
TWO = Terms(cores=2)
WHY = Failure("timeout", "Timeout", "too long")


def pool(cores: int = 2, *usable: int, **resources: int) -> Pool:
    made = Pool(Ledger(Capacity(cores, 0, resources)), LIMITS)
    for number in usable:
        made.open(number, 0.0)
    assert list(made.due(0.0)) == [StartSlot(number) for number in usable]
    for number in usable:
        made.started(number)
    made.check()
    return made


def placed(made: Pool, fence: int, terms: Terms | None = None, now: float = 1.0) -> PooledSlot:
    """The slot that the lot got; nothing had to be ended for it."""
    slot, commands = made.place(fence, terms, now)
    made.check()
    assert slot is not None
    assert commands == []
    return slot


def test_a_lot_goes_to_a_slot_of_its_shape() -> None:
    made = pool(2, 0, 1)
    one, two = placed(made, 10), placed(made, 20)
    assert {one.number, two.number} == {0, 1}
    assert made.place(30, None, 1.0) == (None, [])
    assert made.idle == 0


def test_the_slot_that_was_used_last_waits_longest_for_its_end() -> None:
    made = pool(2, 0, 1)
    for fence in (10, 20):
        made.began(placed(made, fence), 1.0)
    for fence in (10, 20):
        slot = made.of(fence)
        assert slot is not None
        assert made.free(slot) == []
    slot, commands = made.place(30, TWO, 2.0)
    assert slot is not None
    assert commands == [KillSlot(0)]
    assert slot.shape == Shape(2)
    made.check()


def test_a_slot_of_another_shape_is_ended_and_starts_anew_for_the_lot() -> None:
    made = pool(2, 0, gpu=1)
    made.open(1, 0.0)
    list(made.due(0.0))
    made.started(1)
    slot, commands = made.place(10, Terms(resources={"gpu": 1}, env={"A": "1"}), 1.0)
    assert slot is not None
    assert commands == [KillSlot(slot.number)]
    assert not slot.usable
    made.exited(slot.number, 1.1)
    shape = Shape(1, (("gpu", (0,)),), (("A", "1"),))
    assert list(made.due(1.1)) == [StartSlot(slot.number, shape)]
    assert made.started(slot.number) is slot
    assert slot.fence == 10
    made.check()


def test_a_place_that_has_no_process_yet_is_taken_before_one_that_has() -> None:
    made = pool(2, 0)
    slot, commands = made.place(10, TWO, 1.0)
    assert slot is not None
    assert (slot.number, commands) == (1, [])
    assert list(made.due(1.0)) == [StartSlot(1, Shape(2))]


def test_an_isolated_lot_gets_a_slot_of_its_own_that_ends_with_it() -> None:
    made = pool(1, 0)
    slot, commands = made.place(10, Terms(isolate=True), 1.0)
    assert slot is not None
    assert commands == [KillSlot(0)]
    made.exited(0, 1.0)
    assert list(made.due(1.0)) == [StartSlot(0, Shape(once=10))]
    made.began(made.started(0), 1.1)
    assert made.free(slot) == [KillSlot(0)]
    assert slot.shape == PLAIN_SHAPE
    made.check()


def test_a_lot_is_withdrawn_only_while_its_slot_has_not_got_it() -> None:
    made = pool(1, 0)
    slot = placed(made, 10)
    assert made.withdraw(10)
    assert not made.withdraw(10)
    slot = placed(made, 20)
    made.began(slot, 1.0)
    assert not made.withdraw(20)
    made.check()


def test_what_was_granted_is_free_only_when_the_process_is_gone() -> None:
    made = pool(1, 0)
    made.began(placed(made, 10), 1.0)
    slot = made.of(10)
    assert slot is not None
    made.end(slot)
    assert made.place(20, None, 1.0) == (None, [])
    made.exited(0, 1.0)
    assert placed(made, 20).start_at == 1.0


def test_a_job_that_is_asked_to_end_is_ended_after_the_grace() -> None:
    made = pool(1, 0)
    slot = placed(made, 10, Terms(timeout_s=5.0))
    made.began(slot, 1.0)
    assert made.deadline() == pytest.approx(1.1)
    assert list(made.blocked(2.0)) == [slot]
    assert list(made.overdue(5.9)) == []
    assert made.deadline() == 6.0
    assert list(made.overdue(6.0)) == [slot]
    assert list(made.overdue(6.5)) == []
    assert made.doom(slot, WHY, 6.0) == KillSlot(0, gently=True)
    assert list(made.due(15.9)) == []
    assert made.deadline() == 16.0
    assert list(made.due(16.0)) == [KillSlot(0)]
    assert slot.doom == WHY


def test_the_next_job_of_a_lot_has_time_of_its_own() -> None:
    made = pool(1, 0)
    slot = placed(made, 10, Terms(timeout_s=5.0))
    made.began(slot, 1.0)
    made.began(slot, 5.0)
    assert list(made.overdue(9.0)) == []
    assert list(made.overdue(10.0)) == [slot]


def test_a_slot_that_does_not_start_in_time_is_ended() -> None:
    made = pool(1)
    made.open(0, 0.0)
    list(made.due(0.0))
    assert made.deadline() == 60.0
    assert list(made.due(60.0)) == [KillSlot(0)]
    assert "not loaded within 60 s" in str(made.slots[0].doom)
    slot = made.not_started(0, 61.0)
    assert (slot.start_at, slot.doom) == (61.0 + AGAIN_S, None)
    list(made.due(62.0))
    made.started(0)
    made.began(placed(made, 10, now=63.0), 63.0)
    assert made.doom(slot, WHY, 64.0) == KillSlot(0, gently=True)  # nothing of before is left


def test_a_slot_that_cannot_start_in_a_shape_is_for_others_again() -> None:
    made = pool(1)
    slot, _ = made.place(10, Terms(env={"A": "1"}), 0.0)
    assert slot is not None
    list(made.due(0.0))
    assert made.not_started(0, 1.0).bad_starts == 1
    assert made.withdraw(10)
    list(made.due(3.0))
    assert made.not_started(0, 4.0).shape == PLAIN_SHAPE
    made.check()


def test_a_lot_may_say_how_long_its_slot_may_take_to_load() -> None:
    made = pool(2, 0)
    slot, _ = made.place(10, Terms(cores=2, startup_s=5.0), 1.0)
    assert slot is not None
    made.exited(slot.number, 1.0)
    assert list(made.due(1.0)) == [StartSlot(slot.number, Shape(2))]
    assert made.deadline() == 6.0
    assert list(made.due(5.9)) == []
    assert list(made.due(6.0)) == [KillSlot(slot.number)]
    assert slot.doom is not None
    assert (slot.doom.cause, slot.doom.type) == ("timeout", "Timeout")
    assert "start-up took longer than its startup_timeout of 5 s" in slot.doom.text


def test_a_lot_may_wait_longer_than_is_usual_and_only_while_it_is_there() -> None:
    made = pool(2, 0)
    slot, _ = made.place(10, Terms(cores=2, startup_s=600.0), 1.0)
    assert slot is not None
    made.exited(slot.number, 1.0)
    assert list(made.due(1.0)) == [StartSlot(slot.number, Shape(2))]
    assert made.deadline() == 601.0
    made.withdraw(10)
    assert made.deadline() == 61.0
    assert list(made.due(61.0)) == [KillSlot(slot.number)]
    assert slot.doom is not None
    assert slot.doom.cause == "import"
