"""Evidence on its way to the Router: one message at a time, again after a new link."""

from __future__ import annotations

import pytest

from pypelinin.cluster.courier import Courier, EvidenceFound, Sampled, TakeEvidence
from pypelinin.cluster.events import Send
from pypelinin.cluster.member import Member
from pypelinin.config import Limits
from pypelinin.machine import Command
from pypelinin.wire.codec import Blobs, Envelope, Record
from pypelinin.wire.evidence import Evidence, NodeSample
from pypelinin.wire.messages import JoinPipeliner, Welcome

MESSAGE = Evidence((), (), Blobs([b"x"]))
SAMPLE = NodeSample(1.0, 2, 3, 4.0)


def sent(commands: list[Command]) -> list[Record]:
    return [command.envelope.message for command in commands if isinstance(command, Send)]


class Book:
    def __init__(self) -> None:
        self.member = Member("i", Limits(), lambda n: JoinPipeliner("p", "i", n))
        self.courier = Courier(self.member)
        self.hellos = 0

    def join(self) -> None:
        self.member.leave(0.0)
        self.member.tick(0.0)
        self.hellos += 1
        welcome = Welcome("i", self.hellos, 100 + self.hellos, "c", 1, 5)
        assert self.member.receive(Envelope(welcome), 0.0)[0] is not None

    def found(self, more: bool = False) -> list[Record]:
        return sent(self.courier.event(EvidenceFound(MESSAGE, more)))


@pytest.fixture
def book() -> Book:
    return Book()


def test_the_next_may_come_when_the_router_has_the_one_before(book: Book) -> None:
    book.join()
    assert not book.courier.busy
    assert book.found() == [MESSAGE]
    assert book.courier.busy
    assert book.courier.acknowledged(0) == []
    assert book.courier.acknowledged(1) == [TakeEvidence()]
    assert book.courier.acknowledged(1) == []
    assert not book.courier.busy


def test_it_is_busy_while_more_waits(book: Book) -> None:
    book.join()
    book.found(more=True)
    book.courier.acknowledged(1)
    assert book.courier.busy


def test_without_a_link_it_waits_and_after_a_new_one_it_is_sent_again(book: Book) -> None:
    assert book.found() == []
    assert book.courier.acknowledged(5) == []
    book.join()
    assert sent(book.courier.welcomed()) == [MESSAGE]
    book.join()
    assert sent(book.courier.welcomed()) == [MESSAGE]
    assert book.courier.acknowledged(1) == [TakeEvidence()]
    assert book.courier.welcomed() == []


def test_samples_are_sent_while_there_is_a_link(book: Book) -> None:
    assert book.courier.event(Sampled(SAMPLE)) == []
    book.join()
    assert sent(book.courier.event(Sampled(SAMPLE))) == [SAMPLE]
