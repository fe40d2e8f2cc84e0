"""The Router's door: each message by its key, what ends with a key, and what is written down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from pypelinin.runtime.access import Access
from pypelinin.runtime.door import AUDIT_FILE, Door, door_of
from pypelinin.runtime.keys import Holder, new, revoke
from pypelinin.wire.codec import Envelope
from pypelinin.wire.definitions import Refusal
from pypelinin.wire.messages import (
    Added,
    Cancel,
    Configuration,
    DrainNodes,
    GetStatus,
    PauseRuns,
    PipelineAdded,
    RetryRun,
    Status,
)


class Frame:
    """A frame of a message that came with *public*."""

    def __init__(self, public: str) -> None:
        self._public = public

    def get(self, name: str) -> str:
        if not self._public:
            raise zmq.ZMQError(zmq.EINVAL)
        assert name == "User-Id"
        return self._public


class Made:
    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.said: list[tuple[str, str]] = []
        self.alice = new(journal / "keys", "alice", "client")
        self.vera = new(journal / "keys", "vera", "viewer")
        found = door_of("", journal, lambda level, text: self.said.append((level, text)))
        assert found is not None
        self.door: Door = found

    def holder(self, access: Access, peer: bytes = b"p") -> Holder:
        found = self.door.holder(peer, Frame(access.public))
        assert isinstance(found, Holder)
        return found

    def events(self) -> list[dict[str, Any]]:
        self.door.close()
        path = self.journal / AUDIT_FILE
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    found = Made(tmp_path)
    yield found
    found.door.close()


def test_without_keys_there_is_no_door(tmp_path: Path) -> None:
    assert door_of("", tmp_path, print) is None


def test_each_message_is_judged_by_its_role(made: Made) -> None:
    alice, vera = made.holder(made.alice), made.holder(made.vera)
    assert made.door.judge(alice, Cancel(1, ("r",))) is None
    assert made.door.judge(vera, GetStatus(1, (), False)) is None
    refusal = made.door.judge(vera, Cancel(1, ("r",)))
    assert refusal is not None
    assert "'vera' has the role viewer, which may not cancel" in refusal.what
    cancel, refused = made.events()
    assert (cancel["event"], cancel["key"], cancel["runs"]) == ("cancel", "alice", ["r"])
    assert (refused["event"], refused["key"], refused["why"]) == (
        "refused message", "vera", "role",
    )  # fmt: skip


def test_what_an_operator_did_is_written_down(made: Made) -> None:
    new(made.journal / "keys", "root", "admin")
    made.door.ring.look()
    (root,) = (one for one in made.door.ring.holders.values() if one.role == "admin")
    runs = tuple(map(str, range(200)))
    for message in (
        DrainNodes(1, ("n1",), "disk"), PauseRuns(1, runs, True), RetryRun(1, "old", "new"),
    ):  # fmt: skip
        assert made.door.judge(root, message) is None
    drain, pause, retry = made.events()
    assert (drain["nodes"], drain["why"]) == (["n1"], "disk")
    assert (len(pause["runs"]), pause["paused"]) == (100, True)
    assert (retry["run"], retry["new"]) == ("old", "new")


def test_only_brokers_are_told_the_settings(made: Made) -> None:
    broker = new(made.journal / "keys", "b", "broker")
    made.door.ring.look()
    made.holder(made.vera, b"v")
    made.holder(broker, b"b")
    settings = Envelope(Configuration(1, "c", 1, "1", "", {"store": {"password": "x"}}))
    assert made.door.told(b"b", settings) is settings
    for peer in (b"v", b"stranger"):
        told = made.door.told(peer, settings).message
        assert isinstance(told, Configuration)
        assert (told.values, told.cluster) == ({}, "c")


def test_another_role_ends_what_is_open(made: Made) -> None:
    made.holder(made.alice, b"one")
    path = made.journal / "keys" / "alice.toml"
    path.write_text(path.read_text().replace("client", "viewer"))
    assert made.door.ring.look()
    ((peer, _),) = made.door.ended()
    assert peer == b"one"
    assert made.door.lost_somebody
    for _ in range(2):
        assert isinstance(made.door.holder(b"one", Frame(made.alice.public)), Refusal)
        assert not made.door.may_hear(b"one", Status(1, ()))
    assert made.holder(made.alice, b"two").role == "viewer"  # who connects anew


def test_a_message_without_a_key_is_refused(made: Made) -> None:
    assert isinstance(made.door.holder(b"p", Frame("")), Refusal)
    assert isinstance(made.door.holder(b"p", Frame("x" * 40)), Refusal)


def test_a_revoked_key_ends_what_is_open(made: Made) -> None:
    made.holder(made.alice, b"one")
    made.holder(made.vera, b"two")
    revoke(made.journal / "keys", "alice")
    assert made.door.ring.look()
    found = made.door.holder(b"one", Frame(made.alice.public))
    assert isinstance(found, Refusal)
    assert "'alice' is not valid any more" in found.what
    assert not made.door.may_hear(b"one", Status(1, ()))
    assert made.door.may_hear(b"two", Status(1, ()))
    ((peer, refusal),) = made.door.ended()
    assert peer == b"one"
    assert "'alice'" in refusal.what
    assert made.door.lost_somebody
    assert list(made.door.ended()) == []
    again = made.door.holder(b"one", Frame(made.alice.public))
    assert isinstance(again, Refusal)
    assert "'alice'" in again.what
    assert [event["event"] for event in made.events()] == ["refused message", "key removed"]
    assert ("info", "The keys changed: there are 1.") in made.said


def test_a_new_key_of_that_name_is_another_one(made: Made) -> None:
    """The connection that the old one opened gets none of its rights."""
    revoke(made.journal / "keys", "vera")
    new(made.journal / "keys", "vera", "admin")
    made.door.ring.look()
    assert isinstance(made.door.holder(b"p", Frame(made.vera.public)), Refusal)


def test_who_was_never_heard_hears_nothing(made: Made) -> None:
    assert not made.door.may_hear(b"stranger", Status(1, ()))


def test_submits_are_written_down_when_they_are_answered(made: Made) -> None:
    made.holder(made.alice)
    refused = Added("run 2", Refusal("busy", "full"))
    made.door.may_hear(b"p", PipelineAdded(1, (Added("run 1", None), refused)))
    first, second = made.events()
    assert (first["event"], first["run"], first["key"]) == ("submit", "run 1", "alice")
    assert "refused" not in first
    assert second["refused"] == "full"


def test_a_bad_file_is_told_once(made: Made) -> None:
    (made.journal / "keys" / "bad.toml").write_text("x")
    made.door.ring.look()
    for _ in range(3):
        list(made.door.ended())
    told = [text for level, text in made.said if level == "warning"]
    assert len(told) == 1
    assert "bad.toml is left out" in told[0]
    assert [event["file"] for event in made.events()] == ["bad.toml"]


def test_a_dead_authenticator_is_started_again(made: Made) -> None:
    with zmq.Context() as context:
        made.door.open(context)
        made.door.stop_authenticator()
        deadline = time.monotonic() + 30
        while not made.said and time.monotonic() < deadline:
            list(made.door.ended())  # as each turn of the Router does
        made.door.close()
    ((level, text),) = made.said
    assert level == "error"
    assert "nobody new came in" in text
