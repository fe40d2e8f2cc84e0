"""The desk: sessions, leases, and what is acknowledged when."""

from __future__ import annotations

import pytest

from pypelinin.cluster.desk import Desk, Peer
from pypelinin.cluster.events import Send
from pypelinin.cluster.link import Link
from pypelinin.cluster.scribe import Scribe
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Capacity
from pypelinin.wire.messages import GetJob, Ping, Rejoin, Withdraw
from tests.playbook.scene import ints

WANT = GetJob(Capacity(1), 0, {})


class Book:
    """A Desk with one open Broker and that one's side of the link."""

    def __init__(self) -> None:
        state = State(Limits())
        state.epoch = 3
        self.scribe = Scribe(state)
        self.desk = Desk(self.scribe, state.runs.limits)
        self.peer = self.admit("n")
        self.link = Link(self.peer.link.session, 0.2)

    def admit(self, name: str, role: str = "broker") -> Peer:
        return self.desk.admit(name.encode(), role, name, f"i{name}", 1, 0.0)

    def open(self) -> None:
        self.desk.committed(0)
        self.sent()

    def say(self, message: Record = WANT) -> tuple[Peer, Record] | None:
        found = self.desk.receive(b"n", self.link.send(message), 0.0)
        self.desk.check()
        return found

    def sent(self) -> list[tuple[bytes, Record]]:
        commands = self.scribe.take()
        return [(c.peer, c.envelope.message) for c in commands if isinstance(c, Send)]


@pytest.fixture
def book() -> Book:
    return Book()


def test_sessions_never_repeat_not_even_in_another_epoch(book: Book) -> None:
    assert (book.peer.link.session, book.admit("m").link.session) == (3 << 32 | 1, 3 << 32 | 2)


def test_a_peer_is_found_by_role_and_name(book: Book) -> None:
    assert book.desk.by_name("broker", "n") is book.peer
    assert book.desk.by_name("pipeliner", "n") is None
    book.desk.dismiss(book.peer)
    assert book.desk.by_name("broker", "n") is None


def test_only_a_newer_hello_is_fresh(book: Book) -> None:
    answers = [book.desk.fresh("i", n) for n in (1, 1, 3, 2)]
    assert answers == [True, False, True, False]
    assert book.desk.fresh("j", 1)


def test_a_name_is_taken_while_its_owner_is_heard(book: Book) -> None:
    owner = book.peer
    assert book.desk.is_taken("broker", "n", "other", owner.heard_at + 1.9)
    assert not book.desk.is_taken("broker", "n", "other", owner.heard_at + 2.0)
    assert not book.desk.is_taken("broker", "n", owner.incarnation, owner.heard_at)
    assert not book.desk.is_taken("broker", "other", "other", owner.heard_at)


def test_messages_come_with_their_member(book: Book) -> None:
    assert book.say() == (book.peer, WANT)


def test_a_session_nobody_knows_is_told_to_rejoin(book: Book) -> None:
    assert book.desk.receive(b"x", Envelope(WANT, 9, 1), 0.0) is None
    assert book.sent() == [(b"x", Rejoin())]
    assert book.desk.receive(b"x", Envelope(Rejoin(), 9), 0.0) is None
    assert book.sent() == []  # or two would go on for ever


def test_a_session_from_another_address_is_not_believed(book: Book) -> None:
    assert book.desk.receive(b"x", book.link.send(WANT), 5.0) is None
    assert (book.sent(), book.peer.heard_at) == ([], 0.0)


def test_what_is_told_before_the_joining_is_durable_follows_the_welcome(book: Book) -> None:
    book.peer.welcome_lsn = 4
    book.desk.tell(book.peer, Withdraw(ints(1)))
    book.desk.committed(3)
    assert book.sent() == []
    book.desk.committed(4)
    assert book.sent() == [(b"n", Withdraw(ints(1)))]
    book.desk.tell(book.peer, Withdraw(ints(2)))
    assert book.sent() == [(b"n", Withdraw(ints(2)))]


def test_what_came_in_a_turn_is_safe_when_its_last_row_is_durable(book: Book) -> None:
    book.open()
    book.say()
    book.desk.end_turn(7)
    book.say()
    book.desk.end_turn(9)
    for lsn, safe in ((6, 0), (7, 1), (8, 1), (9, 2)):
        book.desk.committed(lsn)
        assert book.peer.link.safe == safe


def test_a_turn_without_new_rows_is_safe_at_once(book: Book) -> None:
    book.desk.committed(7)
    book.say()
    book.desk.end_turn(7)
    assert book.peer.link.safe == 1


def test_an_older_commit_takes_nothing_back(book: Book) -> None:
    book.desk.committed(7)
    book.desk.committed(3)
    assert book.desk.durable == 7


def test_a_lease_is_as_long_as_the_role_says(book: Book) -> None:
    planner = book.admit("p", "pipeliner")
    assert list(book.desk.silent(5.0)) == []
    assert list(book.desk.silent(5.1)) == [planner]
    assert list(book.desk.silent(10.1)) == [book.peer, planner]


def test_whatever_it_says_keeps_a_lease(book: Book) -> None:
    book.desk.receive(b"n", book.link.ping(), 8.0)
    assert list(book.desk.silent(18.0)) == []
    assert list(book.desk.silent(18.1)) == [book.peer]


def test_after_a_pause_of_the_router_leases_begin_anew(book: Book) -> None:
    assert not book.desk.begin_turn(3.0)
    assert not book.desk.begin_turn(6.0)
    assert book.desk.begin_turn(20.0)
    assert list(book.desk.silent(30.0)) == []


def test_members_are_pinged_every_beat_once_they_are_open(book: Book) -> None:
    book.peer.welcome_lsn = 1
    book.desk.ping(0.0)
    assert book.sent() == []
    book.desk.committed(1)
    book.desk.ping(0.9)
    assert book.sent() == []
    book.desk.ping(1.0)
    assert book.sent() == [(b"n", Ping(0))]
    assert book.desk.deadline() == 2.0


def test_what_became_safe_is_said_soon(book: Book) -> None:
    book.open()
    book.desk.begin_turn(0.0)
    book.desk.ping(0.0)
    book.say()
    book.desk.end_turn(5)
    book.desk.committed(5)
    book.sent()
    at = book.desk.deadline()
    assert 0.0 < at < 0.5
    book.desk.ping(at)
    assert book.sent() == [(b"n", Ping(0))]
    book.desk.ping(at + 0.01)
    assert book.sent() == []


def test_the_check_sees_two_sessions_of_one_name(book: Book) -> None:
    book.admit("n")
    with pytest.raises(AssertionError, match="two sessions"):
        book.desk.check()
