"""tcp://HOST:PORT and what is none."""

from __future__ import annotations

import pytest

from pypelinin.cli.addresses import host_port, listening, reachable
from pypelinin.errors import DefinitionError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tcp://127.0.0.1:5555", ("127.0.0.1", 5555)),
        ("tcp://node-7.example:1", ("node-7.example", 1)),
        ("tcp://*:5555", ("*", 5555)),
        ("tcp://127.0.0.1:0", ("127.0.0.1", 0)),
        ("tcp://127.0.0.1:*", ("127.0.0.1", 0)),
    ],
)
def test_an_address_has_host_and_port(text: str, found: tuple[str, int]) -> None:
    assert host_port(text, "--api", free_port=True) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "foo", "5555", "localhost:5555", "tcp://", "tcp://host", "tcp://host:", "tcp://:5555",
        "tcp://host:port", "tcp://host:99999", "tcp://host:-1", "tcp://host:5555/path",
        "tcp://a b:5", "tcp://user@host:5555", "http://host:5555", "tcp://host:5555?x", "tcp://host:0",
        "tcp://host:*",
    ],
)  # fmt: skip
def test_what_is_none_is_named_with_its_origin(text: str) -> None:
    with pytest.raises(
        DefinitionError, match=r"^PYPELININ_API: .* is no address\. Write tcp://HOST"
    ):
        host_port(text, "PYPELININ_API")


def test_all_interfaces_are_reached_by_loopback() -> None:
    assert reachable("tcp://*:5555", "x") == "tcp://127.0.0.1:5555"
    assert reachable("tcp://0.0.0.0:5555", "x") == "tcp://127.0.0.1:5555"
    assert reachable("tcp://kiwi:5555", "x") == "tcp://kiwi:5555"


def test_a_socket_in_a_directory() -> None:
    assert listening("ipc:///run/x/api", "x") == reachable("ipc:///run/x/api", "x")
    assert listening("tcp://127.0.0.1:0", "x") == ("127.0.0.1", 0)
    for text in ("ipc://relative", "ipc://@abstract", "ipc:///" + "x" * 120):
        with pytest.raises(DefinitionError, match="is no address"):
            listening(text, "x")
