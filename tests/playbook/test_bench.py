"""The bench: jobs that take too long or are cancelled end, and nobody else does in their place."""

from __future__ import annotations

from array import array

import pytest

from pypelinin.cluster.bench import CANCELLED, Bench
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.slots import (
    HeldJobs,
    KillSlot,
    RecallLot,
    RunLot,
    Shape,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
    StartSlot,
)
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Command, Event
from pypelinin.wire.definitions import Capacity, Failure, Terms
from pypelinin.wire.messages import JobFailure

SIGNAL = Failure("signal", "SIGTERM", "killed")
ERROR = Failure("exception", "KeyboardInterrupt", "", "the trace")
LIMITS = Limits(blocked_slot_s=0.1, kill_grace_s=10.0)


class Node:
    """A bench with one slot, and time."""

    def __init__(self, cores: int = 1) -> None:
        self.bench = Bench(Ledger(Capacity(cores)), LIMITS, "n")
        self.bench.runs[1] = ("run", b"")
        self.now = 0.0
        self.bench.pool.open(0, 0.0)
        self.turn()
        self.turn(SlotStarted(0, ("A",)))

    def turn(self, *events: Event) -> list[Command]:
        commands: list[Command] = []
        for event in events:
            commands += self.bench.event(event, self.now)
        commands += self.bench.due(self.now)
        commands += self.bench.feed(self.now)
        self.bench.check()
        return [c for c in commands if isinstance(c, (RunLot, KillSlot, RecallLot, StartSlot))]

    def give(self, fence: int, count: int, terms: Terms | None = None) -> HeldJobs:
        jobs = array("I", range(count))
        lot = HeldJobs(fence, "A", array("I", [1] * count), jobs, b"", 1, 1, count, terms=terms)
        self.bench.take(lot)
        return lot

    def at(self, now: float) -> list[Command]:
        self.now = now
        return self.turn()


@pytest.fixture
def node() -> Node:
    return Node()


def kinds(commands: list[Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def test_a_job_over_its_timeout_fails_as_that_and_what_is_behind_it_goes_on(node: Node) -> None:
    lot = node.give(10, 2, Terms(timeout_s=1.0))
    assert kinds(node.turn()) == ["RunLot"]
    assert node.at(0.2) == [RecallLot(0)]  # it blocks the one behind it
    node.turn(SlotRecalled(0, 1))
    assert node.at(1.0) == [KillSlot(0, gently=True)]
    assert node.turn(SlotExited(0, SIGNAL, 0)) == [StartSlot(0)]
    assert bytes(lot.statuses) == bytes((states.FAILED,))
    assert lot.failures[0].failure.cause == "timeout"
    assert "longer than its timeout of 1 s" in lot.failures[0].failure.text


def test_a_job_that_ignores_the_request_is_killed(node: Node) -> None:
    node.give(10, 1, Terms(timeout_s=1.0))
    node.turn()
    assert node.at(1.0) == [KillSlot(0, gently=True)]
    assert node.at(10.9) == []
    assert node.at(11.0) == [KillSlot(0)]


def test_a_job_that_ends_with_an_exception_of_its_own_is_told_as_timeout(node: Node) -> None:
    lot = node.give(10, 1, Terms(timeout_s=1.0))
    node.turn()
    node.at(1.0)
    failed = SlotProgressed(0, b"\2", (JobFailure(0, ERROR),), 1.1)
    assert node.turn(failed) == [KillSlot(0)]  # it was told to end: nothing more runs there
    (told,) = lot.failures
    assert (told.failure.cause, told.failure.traceback) == ("timeout", "the trace")


def test_a_job_that_is_done_all_the_same_is_done(node: Node) -> None:
    lot = node.give(10, 1, Terms(timeout_s=1.0))
    node.turn()
    node.at(1.0)
    assert node.turn(SlotProgressed(0, b"\1", (), 1.1)) == [KillSlot(0)]
    assert bytes(lot.statuses) == b"\1"
    node.give(20, 1)
    assert node.turn() == []
    assert node.turn(SlotExited(0, SIGNAL, 0)) == [StartSlot(0)]
    assert kinds(node.turn(SlotStarted(0, ("A",)))) == ["RunLot"]


@pytest.mark.parametrize(("taken", "ended"), [(2, True), (1, False)])
def test_a_cancelled_job_ends_only_while_it_is_the_one_that_runs(
    node: Node, taken: int, ended: bool
) -> None:
    """*taken*: how many of the two behind it had not begun."""
    node.give(10, 3)
    node.turn()
    assert node.bench.kill_job(10, 0.01) == [RecallLot(0)]
    commands = node.turn(SlotRecalled(0, taken))
    assert commands == ([KillSlot(0, gently=True)] if ended else [])


def test_a_job_that_is_cancelled_before_its_slot_has_begun_it_is_not_run_again(node: Node) -> None:
    lot = node.give(10, 1)
    node.turn()
    assert node.bench.kill_job(10, 0.0) == [KillSlot(0, gently=True)]
    assert node.turn(SlotExited(0, SIGNAL, 1)) == [StartSlot(0)]  # it had not taken its token
    assert bytes(lot.statuses) == bytes((states.FAILED,))
    assert lot.failures[0].failure == CANCELLED


def test_a_lot_whose_slot_starts_can_be_cancelled(node: Node) -> None:
    lot = node.give(10, 1, Terms(env={"A": "1"}))
    assert node.turn() == [KillSlot(0)]
    assert node.bench.kill_job(10, 0.0) == []
    assert lot.finished
    assert CANCELLED.cause == "cancelled"
    node.bench.check()


def test_a_slot_that_never_starts_for_a_lot_fails_it(node: Node) -> None:
    lot = node.give(10, 1, Terms(env={"LD_PRELOAD": "nonsense"}))
    node.turn()
    node.turn(SlotExited(0, SIGNAL, 0))
    for _ in range(3):
        assert not lot.finished
        node.at(node.now + 1.0)
        node.turn(SlotStarted(0, (), Failure("import", "ImportError", "no")))
    assert lot.finished
    assert lot.failures[0].failure.type == "ImportError"
    node.give(20, 1)  # the slot is for others again
    node.turn()
    node.at(node.now + 1.0)
    assert kinds(node.turn(SlotStarted(0, ("A",)))) == ["RunLot"]


def test_a_slot_that_had_loaded_just_before_its_end_is_not_used(node: Node) -> None:
    node.give(10, 1, Terms(env={"A": "1"}))
    assert node.turn() == [KillSlot(0)]
    assert node.turn(SlotStarted(0, ("A",))) == []
    assert node.turn(SlotExited(0, SIGNAL, 0)) == [StartSlot(0, Shape(env=(("A", "1"),)))]
    assert kinds(node.turn(SlotStarted(0, ("A",)))) == ["RunLot"]


def test_lots_wait_in_their_order_until_what_they_need_is_free() -> None:
    node = Node(cores=2)
    node.turn(SlotStarted(1, ("A",)))
    node.give(10, 1)
    node.give(20, 1, Terms(cores=2))
    node.give(30, 1)
    assert kinds(node.turn()) == ["RunLot"]
    commands = node.turn(SlotProgressed(0, b"\1", (), 0.1))
    assert kinds(commands) == ["KillSlot"]  # for two cores


def started(cores: int) -> Node:
    """A node with all its slots."""
    node = Node(cores)
    for slot in range(1, cores):
        node.turn(SlotStarted(slot, ("A",)))
    return node


def running(node: Node) -> set[int]:
    return set(node.bench.pool.ledger.granted)


def test_what_needs_more_than_others_leave_does_not_hold_up_what_is_behind_it() -> None:
    node = started(2)
    node.bench.pool.ledger.set_limit(Capacity(1), {})
    for fence, cores in ((10, 2), (20, 1), (30, 1)):
        node.give(fence, 1, Terms(cores=cores))
    node.turn()
    assert running(node) == {20}
    found = node.bench.demand(0)
    assert (found.need.cores, found.least, found.lot, found.head.cores) == (4, 1, 10, 2)


def test_nothing_overtakes_what_only_waits_for_jobs_of_its_own_node() -> None:
    """Else small ones would keep it out for ever."""
    node = started(2)
    for fence, cores in ((10, 1), (20, 2), (30, 1)):
        node.give(fence, 1, Terms(cores=cores))
    node.turn()
    assert running(node) == {10}
    assert node.bench.demand(0).lot == 0


def test_what_has_waited_for_others_stays_the_head_until_it_begins() -> None:
    node = started(2)
    node.bench.pool.ledger.set_limit(Capacity(1), {})
    node.give(10, 1, Terms(cores=1))
    node.turn()
    node.give(20, 1, Terms(cores=2))
    node.turn()
    assert node.bench.demand(0).lot == 20
    node.bench.pool.ledger.set_limit(Capacity(2), {})
    node.turn()
    assert (node.bench.demand(20).lot, node.bench.demand(0).lot) == (20, 0)


def test_without_any_core_nothing_begins() -> None:
    node = started(2)
    node.bench.pool.ledger.set_limit(Capacity(0), {})
    node.give(10, 1, Terms(cores=-1))
    node.give(20, 1)
    node.turn()
    assert running(node) == set()
    assert (node.bench.demand(0).lot, node.bench.demand(0).head.cores) == (10, 1)
    assert node.bench.waits


# --- a slot that loads for too long ------------------------------------------------------------

QUICK = Terms(env={"A": "b"}, startup_s=5.0)


def loading(node: Node) -> HeldJobs:
    """A lot whose slot has to start anew, and does."""
    lot = node.give(10, 2, QUICK)
    assert node.turn() == [KillSlot(0)]
    node.turn(SlotExited(0, SIGNAL, 0))
    assert node.bench.pool.slots[0].loads
    return lot


def test_a_lot_that_waited_long_enough_for_its_slot_fails_at_once(node: Node) -> None:
    lot = loading(node)
    assert node.at(4.9) == []
    assert node.at(5.0) == [KillSlot(0)]
    node.turn(SlotExited(0, SIGNAL, 0))
    assert bytes(lot.statuses) == bytes((states.FAILED, states.FAILED))
    assert {failed.failure.type for failed in lot.failures} == {"Timeout"}
    assert "startup_timeout of 5 s" in lot.failures[0].failure.text
    node.at(7.0)
    other = node.give(20, 1)
    assert kinds(node.turn(SlotStarted(0, ("A",)))) == ["RunLot"]
    assert not other.failures


def test_whoever_comes_while_that_slot_ends_does_not_fail_for_it(node: Node) -> None:
    loading(node)
    other = node.give(20, 1)
    assert node.at(5.0) == [KillSlot(0)]
    node.bench.drop(10)
    node.turn(SlotExited(0, SIGNAL, 0))
    assert not other.failures
    node.at(7.0)
    assert kinds(node.turn(SlotStarted(0, ("A",)))) == ["RunLot"]
    assert not other.failures
