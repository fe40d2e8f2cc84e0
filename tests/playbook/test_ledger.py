"""The ledger: a slot has one lot at most, a lot one slot."""

from __future__ import annotations

import pytest

from pypelinin.cluster.ledger import Ledger


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.open(0)
    made.open(1)
    return made


def test_each_lot_gets_a_slot_of_its_own_until_there_is_none(ledger: Ledger) -> None:
    assert [ledger.grant(fence) for fence in (10, 20, 30)] == [0, 1, None]
    assert ledger.granted == {0: 10, 1: 20}
    assert ledger.idle == 0
    ledger.check()


def test_a_slot_is_free_again_when_its_lot_is_finished(ledger: Ledger) -> None:
    ledger.grant(10)
    ledger.free(0)
    assert (ledger.idle, ledger.held(0)) == (2, None)
    assert [ledger.grant(20), ledger.grant(30)] == [1, 0]


def test_a_slot_that_is_gone_tells_what_it_held_and_gets_nothing(ledger: Ledger) -> None:
    ledger.grant(10)
    assert ledger.close(0) == 10
    assert ledger.close(1) is None
    assert ledger.grant(20) is None
    ledger.check()


def test_a_slot_that_was_never_opened_is_not_there() -> None:
    ledger = Ledger()
    assert ledger.close(5) is None
    assert ledger.grant(10) is None
    assert ledger.idle == 0


def test_the_check_sees_a_lot_on_two_slots(ledger: Ledger) -> None:
    ledger.grant(10)
    ledger.grant(10)
    with pytest.raises(AssertionError, match="runs twice"):
        ledger.check()


def test_the_check_sees_a_busy_slot_that_is_free(ledger: Ledger) -> None:
    ledger.grant(10)
    ledger.open(0)
    with pytest.raises(AssertionError):
        ledger.check()
