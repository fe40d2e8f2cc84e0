"""The scribe: rows are applied as they are written, answers wait for the newest one."""

from __future__ import annotations

from pypelinin.cluster.events import Publish, Say, SendAfter, Write
from pypelinin.cluster.scribe import Scribe
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.wire.codec import Envelope
from pypelinin.wire.messages import Rejoin
from pypelinin.wire.rows import Joined, Left


def test_a_row_is_numbered_and_counts_at_once() -> None:
    scribe = Scribe(State(Limits()))
    scribe.write([Joined(1, "a", "i"), Joined(2, "b", "i"), Left(1, "left")])
    assert [c.lsn for c in scribe.commands if isinstance(c, Write)] == [1, 2, 3]
    assert list(scribe.state.members) == [2]
    assert scribe.state.lsn == 3


def test_an_answer_waits_for_all_rows_before_it_and_none_behind() -> None:
    scribe = Scribe(State(Limits()))
    scribe.write([Joined(1, "a", "i")])
    scribe.answer(b"peer", Rejoin())
    scribe.write([Left(1, "left")])
    assert scribe.commands[1] == SendAfter(b"peer", Envelope(Rejoin()), 1)


def test_hints_are_numbered_and_carry_the_epoch() -> None:
    scribe = Scribe(State(Limits()))
    scribe.state.epoch = 4
    scribe.publish("node left", node="a")
    scribe.publish("node left", node="b")
    assert scribe.take() == [
        Publish("node left", {"epoch": 4, "seq": 1, "node": "a"}),
        Publish("node left", {"epoch": 4, "seq": 2, "node": "b"}),
    ]


def test_take_gives_the_turn_once_and_in_order() -> None:
    scribe = Scribe(State(Limits()))
    scribe.say("info", "one")
    scribe.say("error", "two")
    assert scribe.take() == [Say("info", "one"), Say("error", "two")]
    assert scribe.take() == []
