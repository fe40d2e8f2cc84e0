"""When a Broker asks for more of its node, and when it gives some up."""

from __future__ import annotations

from array import array

import pytest

from pypelinin.cluster.bench import Bench
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.participant import LINGER_S, Participant
from pypelinin.cluster.sharing import OthersChanged, Share, Shared
from pypelinin.cluster.slots import HeldJobs, SlotProgressed, SlotStarted
from pypelinin.config import Limits
from pypelinin.wire.definitions import Capacity, Terms

TWO = Capacity(2)


class Node:
    def __init__(self, shares: bool = True) -> None:
        self.ledger = Ledger(TWO)
        self.bench = Bench(self.ledger, Limits(blocked_slot_s=1e9), "n")
        self.bench.runs[1] = ("run", b"")
        self.bench.pool.open(0, 0.0)
        for slot in (0, 1):
            list(self.bench.due(0.0))
            self.bench.event(SlotStarted(slot, ("A",)), 0.0)
        self.one = Participant(self.ledger, self.bench)
        if shares:
            self.one.begin()

    def ask(self, now: float) -> Share | None:
        self.bench.feed(now)
        found = self.one.due(now)
        assert len(found) < 2
        self.bench.check()
        return found[0] if found else None

    def told(self, limit: int, held: int, offer: int = 2, contended: bool = False) -> None:
        self.one.event(Shared(Capacity(limit), {}, Capacity(offer), held, contended))

    def give(self, fence: int, cores: int = 1) -> None:
        terms = Terms(cores=cores)
        lot = HeldJobs(fence, "A", array("I", [1]), array("I", [0]), b"", 1, 1, 1, terms=terms)
        self.bench.take(lot)

    def end(self, slot: int, now: float) -> None:
        self.bench.event(SlotProgressed(slot, b"\1", (), 0.1), now)


@pytest.fixture
def node() -> Node:
    made = Node()
    assert made.ask(0.0) is not None
    made.told(0, 0)
    return made


def test_without_others_all_is_its_own_and_nothing_is_asked() -> None:
    alone = Node(shares=False)
    alone.give(10)
    assert alone.ask(0.0) is None
    assert alone.one.offer == TWO
    assert alone.one.deadline() == float("inf")


def test_it_holds_nothing_and_says_what_could_be_had(node: Node) -> None:
    assert node.one.offer.cores == 2
    assert node.ledger.limit.cores == 0
    assert node.ask(1.0) is None


def test_with_the_first_job_it_asks_and_then_begins(node: Node) -> None:
    node.give(10)
    wish = node.ask(1.0)
    assert wish is not None
    assert (wish.used.cores, wish.need.cores, wish.idle) == (0, 1, False)
    assert node.ask(1.0) is None  # the answer is not here yet
    node.told(2, 2)
    assert node.ask(1.0) is None
    assert node.ledger.used.cores == 1
    node.give(20)
    assert node.ask(1.0) is None  # there is room


def test_what_it_did_not_get_is_asked_for_when_others_change(node: Node) -> None:
    node.give(10)
    assert node.ask(1.0) is not None
    node.told(0, 0, 0, contended=True)
    assert node.ask(1.1) is None  # nothing is new
    node.one.event(OthersChanged())
    assert node.ask(1.2) is not None


def test_what_others_want_is_given_up_when_a_job_ends(node: Node) -> None:
    for fence in (10, 20):
        node.give(fence)
    assert node.ask(1.0) is not None
    node.told(2, 2)
    assert node.ask(1.0) is None
    node.one.event(OthersChanged())
    assert node.ask(1.1) is not None
    node.told(1, 2, 1, contended=True)
    assert node.ask(1.2) is None
    node.end(0, 1.3)
    wish = node.ask(1.3)
    assert wish is not None
    assert wish.used.cores == 1


def test_what_is_idle_is_given_up_after_a_while(node: Node) -> None:
    node.give(10)
    node.ask(1.0)
    node.told(2, 2)
    node.ask(1.0)
    node.end(0, 2.0)
    assert node.ask(2.0) is None
    assert node.one.deadline() == 2.0 + LINGER_S
    wish = node.ask(2.0 + LINGER_S)
    assert wish is not None
    assert wish.idle
    node.told(0, 0)
    assert node.ask(9.0) is None
    assert node.one.deadline() == float("inf")


def test_nothing_is_asked_on_the_way_of_jobs_while_all_is_its_own(node: Node) -> None:
    node.give(10)
    node.ask(1.0)
    node.told(2, 2)
    node.one.event(OthersChanged())
    node.ask(1.0)
    node.told(2, 2)
    for turn in range(1, 50):
        for fence in (turn * 100 + 10, turn * 100 + 20, turn * 100 + 30):
            node.give(fence)
        assert node.ask(1.0 + turn / 10) is None
        for slot in list(node.bench.pool.slots.values()):
            if slot.runs:
                node.end(slot.number, 1.0 + turn / 10)
    assert node.one.offer == TWO


def test_the_first_that_needs_more_than_there_is_for_it_is_named_until_it_begins(
    node: Node,
) -> None:
    node.told(1, 1, 1, contended=True)
    node.give(10, 2)
    node.give(20)
    wish = node.ask(1.0)
    assert wish is not None
    assert (wish.lot, wish.head.cores, wish.least, wish.need.cores) == (10, 2, 2, 3)
    assert node.ledger.granted.keys() == {20}
    node.told(2, 2, 2, contended=True)
    assert node.ask(1.1) is None  # it is its turn; the small one has to end first
    node.end(0, 1.2)
    wish = node.ask(1.2)
    assert node.ledger.granted.keys() == {10}
    assert wish is not None
    assert wish.lot == 0


def test_what_it_may_keep_is_kept_for_the_next_jobs(node: Node) -> None:
    """They may be on their way; it looks again soon."""
    node.give(10)
    node.ask(1.0)
    node.told(1, 1, 1, contended=True)
    node.ask(1.0)
    node.told(1, 1, 1, contended=True)
    assert node.ask(1.0) is None
    node.end(0, 1.1)
    assert node.ask(1.1) is None
    node.one.event(OthersChanged())
    wish = node.ask(1.2)
    assert wish is not None
    assert wish.need.cores == 0
