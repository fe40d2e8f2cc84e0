"""A link: each message once and in order, whatever the network loses or doubles."""

from __future__ import annotations

import pytest

from pypelinin.cluster.link import Link
from pypelinin.wire.codec import Envelope
from pypelinin.wire.messages import Leave, Ping, Resend, Withdraw
from tests.playbook.scene import ints


def message(number: int) -> Withdraw:
    return Withdraw(ints(number))


@pytest.fixture
def sender() -> Link:
    return Link(7, 0.2)


@pytest.fixture
def receiver() -> Link:
    return Link(7, 0.2)


def test_messages_are_handled_in_order(sender: Link, receiver: Link) -> None:
    for n in (1, 2, 3):
        assert receiver.receive(sender.send(message(n)), 0.0) == (message(n), [])
    assert receiver.received == 3


def test_a_gap_is_asked_for_and_filled(sender: Link, receiver: Link) -> None:
    first, _lost, third = (sender.send(message(n)) for n in (1, 2, 3))
    receiver.receive(first, 0.0)
    handled, replies = receiver.receive(third, 0.0)
    assert handled is None
    assert [reply.message for reply in replies] == [Resend(1)]

    handled, again = sender.receive(replies[0], 0.0)
    assert handled is None
    assert [receiver.receive(e, 0.0)[0] for e in again] == [message(2), message(3)]


def test_a_double_changes_nothing(sender: Link, receiver: Link) -> None:
    envelope = sender.send(message(1))
    receiver.receive(envelope, 0.0)
    assert receiver.receive(envelope, 0.0) == (None, [])
    assert receiver.received == 1


def test_a_ping_tells_of_a_lost_tail(sender: Link, receiver: Link) -> None:
    sender.send(message(1))  # lost
    handled, replies = receiver.receive(sender.ping(), 0.0)
    assert handled is None
    assert [reply.message for reply in replies] == [Resend(0)]


def test_a_ping_without_a_lost_tail_asks_for_nothing(sender: Link, receiver: Link) -> None:
    receiver.receive(sender.send(message(1)), 0.0)
    assert receiver.receive(sender.ping(), 0.0) == (None, [])


def test_it_asks_again_only_after_the_interval(sender: Link, receiver: Link) -> None:
    sender.send(message(1))  # lost
    ping = sender.ping()
    assert len(receiver.receive(ping, 1.0)[1]) == 1
    assert receiver.receive(ping, 1.19)[1] == []
    assert len(receiver.receive(ping, 1.21)[1]) == 1


def test_it_acknowledges_only_as_far_as_it_is_safe(sender: Link, receiver: Link) -> None:
    for n in (1, 2):
        receiver.receive(sender.send(message(n)), 0.0)
    sender.receive(receiver.ping(), 0.0)
    assert sender.unacknowledged == 2

    receiver.acknowledge(1)
    sender.receive(receiver.send(Leave()), 0.0)
    assert sender.unacknowledged == 1
    assert [e.message for e in sender.again(0)] == [message(2)]


def test_safe_never_falls(receiver: Link, sender: Link) -> None:
    for n in (1, 2):
        receiver.receive(sender.send(message(n)), 0.0)
    receiver.acknowledge(2)
    receiver.acknowledge(1)
    assert receiver.ping().received == 2


def test_what_is_sent_again_carries_the_newest_acknowledgement(
    sender: Link, receiver: Link
) -> None:
    envelope = sender.send(message(1))
    sender.receive(receiver.send(message(9)), 0.0)
    sender.acknowledge(1)
    assert envelope.received == 0
    assert [e.received for e in sender.again(0)] == [1]


def test_a_message_without_a_number_is_not_handled(sender: Link, receiver: Link) -> None:
    envelope = sender.plain(message(1))
    assert (envelope.session, envelope.number) == (7, 0)
    assert receiver.receive(envelope, 0.0) == (None, [])
    assert sender.unacknowledged == 0


def test_an_acknowledgement_of_what_was_never_sent_does_no_harm(sender: Link) -> None:
    sender.send(message(1))
    sender.receive(Envelope(Ping(0), 7, 0, 1000), 0.0)
    assert sender.unacknowledged == 0
    sender.check()


def test_the_check_sees_more_safe_than_received(receiver: Link) -> None:
    receiver.acknowledge(1)
    with pytest.raises(AssertionError):
        receiver.check()
