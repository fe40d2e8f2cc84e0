"""Lines of JSON between a daemon and its keeper, and errors as data."""

from __future__ import annotations

import socket

import pytest

from pypelinin.cli.supervision import described, rebuilt, receive, send
from pypelinin.errors import BadMessage, ClusterError, PypelininError, Refused, VersionMismatch


def test_a_line_arrives_whole() -> None:
    one, other = socket.socketpair()
    with one, other:
        send(one, {"text": "a\nb", "number": 1})
        assert receive(other) == {"text": "a\nb", "number": 1}


def test_the_end_of_the_other_side_is_told() -> None:
    one, other = socket.socketpair()
    one.close()
    assert receive(other) is None
    send(other, {"nobody": "hears this"})
    other.close()


@pytest.mark.parametrize("kind", [Refused, VersionMismatch, BadMessage])
def test_an_error_keeps_its_class_and_text(kind: type[PypelininError]) -> None:
    error = rebuilt(described(kind("It happened.", remedy="Do this.")))
    assert type(error) is kind
    assert str(error) == "It happened. Do this."


@pytest.mark.parametrize("kind", ["Nothing", "annotations", "RemoteTraceback"])
def test_what_is_no_error_of_ours_becomes_one(kind: str) -> None:
    assert type(rebuilt({"kind": kind, "what": "x", "remedy": ""})) is ClusterError
