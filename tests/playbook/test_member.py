"""Belonging to a cluster: hello, welcome, silence, and Routers one must not believe."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.cluster.events import Say, Send
from pypelinin.cluster.link import Link
from pypelinin.cluster.member import Member, Reconnect
from pypelinin.config import Limits
from pypelinin.machine import Command
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Refusal
from pypelinin.wire.messages import (
    JoinPipeliner,
    Leave,
    Ping,
    Refused,
    Rejoin,
    Resend,
    Wait,
    Welcome,
    Withdraw,
)
from tests.playbook.scene import ints

BEAT = 1.0


@pytest.fixture
def member() -> Member:
    return Member("i", Limits(heartbeat_interval_s=BEAT), lambda n: JoinPipeliner("p", "i", n))


def welcome(hello: int, epoch: int = 1, lsn: int = 5, cluster: str = "c", **more: str) -> Welcome:
    return Welcome(more.get("incarnation", "i"), hello, 100 + hello, cluster, epoch, lsn)


def sent(commands: list[Command]) -> list[Record]:
    return [command.envelope.message for command in commands if isinstance(command, Send)]


def hellos(commands: list[Command]) -> list[int]:
    return [m.hello for m in sent(commands) if isinstance(m, JoinPipeliner)]


def joined(member: Member, now: float = 0.0, **more: Any) -> Link:
    """Says hello, is welcomed; returns the Router's side of the link."""
    member.leave(now)
    (hello,) = hellos(member.tick(now))
    told, _ = member.receive(Envelope(welcome(hello, **more)), now)
    assert told is not None
    member.check()
    return Link(100 + hello, 0.2)


def test_it_says_hello_every_beat_with_rising_numbers(member: Member) -> None:
    assert hellos(member.tick(0.0)) == [1]
    assert member.deadline() == BEAT
    assert member.tick(0.9) == []
    assert hellos(member.tick(1.0)) == [2]
    assert not member.joined


def test_a_welcome_begins_a_link_and_is_for_the_owner_too(member: Member) -> None:
    member.tick(0.0)
    assert member.receive(Envelope(welcome(1)), 0.1) == (welcome(1), [])
    assert member.link is not None
    assert (member.link.session, member.cluster, member.epoch) == (101, "c", 1)


@pytest.mark.parametrize("other", [welcome(1), welcome(3), welcome(2, incarnation="j")])
def test_only_the_welcome_of_the_newest_hello_counts(member: Member, other: Welcome) -> None:
    member.tick(0.0)
    member.tick(1.0)
    assert member.receive(Envelope(other), 1.0) == (None, [])
    assert not member.joined


def test_a_double_of_a_welcome_does_not_begin_anew(member: Member) -> None:
    joined(member)
    link = member.link
    assert member.receive(Envelope(welcome(1)), 0.1)[0] is None
    assert member.link is link


def test_while_joined_it_pings_every_beat(member: Member) -> None:
    joined(member)
    assert member.tick(0.9) == []
    assert sent(member.tick(1.0)) == [Ping(0)]
    assert member.deadline() == 2.0


def test_messages_of_its_session_are_acknowledged_at_once(member: Member) -> None:
    router = joined(member)
    message, commands = member.receive(router.send(Withdraw(ints(1))), 0.1)
    assert (message, commands) == (Withdraw(ints(1)), [])
    assert member.link is not None
    assert member.link.ping().received == 1


def test_a_gap_is_asked_for(member: Member) -> None:
    router = joined(member)
    router.send(Withdraw(ints(1)))  # lost
    message, commands = member.receive(router.send(Withdraw(ints(2))), 0.1)
    assert (message, sent(commands)) == (None, [Resend(0)])


def test_messages_of_another_session_are_not_for_it(member: Member) -> None:
    joined(member)
    assert member.receive(Envelope(Withdraw(ints(1)), 999, 1), 0.1) == (None, [])


def test_what_it_sends_goes_over_the_link_or_nowhere(member: Member) -> None:
    assert member.send(Leave()) == []
    router = joined(member)
    (command,) = member.send(Leave())
    assert isinstance(command, Send)
    assert router.receive(command.envelope, 0.0)[0] == Leave()


def test_after_silence_it_says_hello_again(member: Member) -> None:
    router = joined(member)
    for now in (1.0, 2.0, 3.0):
        assert isinstance(sent(member.tick(now))[0], Ping)
    member.receive(router.ping(), 3.0)
    assert hellos(member.tick(6.0)) == []
    assert hellos(member.tick(6.1)) == [2]


def test_after_long_silence_it_connects_anew_and_not_at_every_beat(member: Member) -> None:
    commands = [member.tick(float(now)) for now in range(13)]
    assert [now for now, c in enumerate(commands) if isinstance(c[0], Reconnect)] == [6, 12]
    assert all(hellos(c) for c in commands)


def test_rejoin_means_a_new_hello_at_once(member: Member) -> None:
    joined(member)
    member.receive(Envelope(Rejoin(), 101), 0.5)
    assert member.deadline() == 0.5
    assert hellos(member.tick(0.5)) == [2]


def test_rejoin_of_a_session_of_before_changes_nothing(member: Member) -> None:
    joined(member)
    member.receive(Envelope(Rejoin(), 7), 0.5)
    assert member.joined


def test_wait_puts_the_next_hello_off(member: Member) -> None:
    member.tick(0.0)
    _, commands = member.receive(Envelope(Wait(3000, "starting")), 0.5)
    assert any(isinstance(c, Say) and "starting" in c.text for c in commands)
    assert member.tick(3.4) == []
    assert hellos(member.tick(3.5)) == [2]


def test_a_refusal_is_said_and_ends_the_link(member: Member) -> None:
    joined(member)
    _, commands = member.receive(Envelope(Refused(0, Refusal("name taken", "No.", "Other."))), 0.5)
    assert commands == [Say("error", "No. Other.")]
    assert (member.joined, member.refusal) == (False, "No.")
    assert member.tick(1.4) == []
    joined(member, 1.5)
    assert member.refusal == ""


@pytest.mark.parametrize(("epoch", "lsn"), [(1, 99), (2, 19)])
def test_a_router_older_than_one_seen_is_refused(member: Member, epoch: int, lsn: int) -> None:
    joined(member, epoch=2, lsn=20)
    member.leave(1.0)
    (hello,) = hellos(member.tick(1.0))
    message, commands = member.receive(Envelope(welcome(hello, epoch, lsn)), 1.0)
    assert message is None
    assert not member.joined
    assert any(isinstance(c, Say) and c.level == "error" and "old" in c.text for c in commands)
    assert member.epoch == 2


def test_a_newer_router_and_another_cluster_are_joined(member: Member) -> None:
    joined(member, epoch=2, lsn=20)
    joined(member, 1.0, epoch=3, lsn=20)
    joined(member, 2.0, epoch=1, lsn=1, cluster="other")
    assert (member.cluster, member.epoch) == ("other", 1)


@pytest.mark.parametrize(("code", "hopeless"), [("key", True), ("role", True), ("busy", False)])
def test_a_key_that_was_never_taken_is_hopeless(member: Member, code: str, hopeless: bool) -> None:
    refusal = Refusal(code, "No.")
    assert member.is_hopeless(refusal) is hopeless
    joined(member)
    assert not member.is_hopeless(refusal)  # it was taken once, so it may be again


def test_the_same_refusal_is_said_once(member: Member) -> None:
    no, other = Refused(0, Refusal("key", "No.")), Refused(0, Refusal("key", "Never."))
    said = [member.receive(Envelope(one), 0.5)[1] for one in (no, no, other)]
    assert [len(commands) for commands in said] == [1, 0, 1]
