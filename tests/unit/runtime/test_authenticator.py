"""Who gets in: only known keys, nobody without the Authenticator, and a test that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from pypelinin.errors import ClusterError
from pypelinin.runtime import authenticator as module
from pypelinin.runtime.access import Access
from pypelinin.runtime.authenticator import Authenticator, secure, self_test
from pypelinin.runtime.handshakes import AUTH, NO_DETAIL, SUCCEEDED, watched, what_happened
from pypelinin.runtime.handshakes import secure as secure_client
from pypelinin.runtime.keys import Holder, KeyRing, new, pair, revoke

WAIT_S = 15.0


class Place:
    """A ROUTER that asks for keys, and what its Authenticator heard."""

    def __init__(self, directory: Path) -> None:
        self.alice = new(directory, "alice", "client")
        self.ring = KeyRing(directory)
        self.heard: list[tuple[str, str, str]] = []
        self.changes = 0
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.authenticator = Authenticator(self.context, self.ring, self._hear, self._change)
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        secure(self.socket, self.ring)
        self.socket.bind("tcp://127.0.0.1:*")
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _hear(self, holder: Holder | None, public: str, address: str) -> None:
        self.heard.append((holder.name if holder else "", public, address))

    def _change(self) -> None:
        self.changes += 1

    def close(self) -> None:
        self.authenticator.close()
        self.socket.close()
        self.context.term()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "keys")
    yield made
    made.close()


def knock(address: str, access: Access) -> int:
    """The first thing that happens to who knocks."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.setsockopt(zmq.RECONNECT_IVL, -1)  # once, however slow this machine is
        secure_client(socket, access)
        with watched(socket) as monitor:
            socket.connect(address)
            assert monitor.poll(int(WAIT_S * 1000))
            return what_happened(monitor.recv_multipart())[0]


def stranger(place: Place) -> Access:
    return Access("alice", "admin", *pair(), place.alice.router)


def until(found: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_only_known_keys_get_in(place: Place) -> None:
    assert knock(place.address, place.alice) == SUCCEEDED
    unknown = stranger(place)
    assert knock(place.address, unknown) == AUTH
    assert place.heard == [
        ("alice", place.alice.public, "127.0.0.1"), ("", unknown.public, "127.0.0.1"),
    ]  # fmt: skip


def test_a_message_carries_its_key(place: Place) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        secure_client(socket, place.alice)
        socket.connect(place.address)
        socket.send(b"x")
        assert place.socket.poll(int(WAIT_S * 1000))
        frame = place.socket.recv_multipart(copy=False)[0]
        assert frame.get("User-Id") == place.alice.public


def test_a_key_made_now_is_taken_now(place: Place) -> None:
    bob = new(place.ring.directory, "bob", "viewer")
    assert knock(place.address, bob) == SUCCEEDED
    assert place.changes >= 1


def test_a_revoked_key_is_refused_soon(place: Place) -> None:
    revoke(place.ring.directory, "alice")
    until(lambda: place.changes, "the change")
    assert knock(place.address, place.alice) == AUTH


def test_without_an_authenticator_nobody_gets_in(place: Place) -> None:
    place.authenticator.close()
    assert not place.authenticator.alive
    assert knock(place.address, place.alice) == NO_DETAIL
    place.authenticator.close()  # harmless


def test_another_domain_gets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOMAIN", b"elsewhere")
    made = Place(tmp_path / "keys")
    monkeypatch.undo()
    assert knock(made.address, made.alice) == AUTH
    made.close()


def test_the_self_test_passes_where_strangers_are_refused(place: Place) -> None:
    self_test(place.address, place.ring)
    assert {name for name, *_ in place.heard} == {""}  # it may have knocked twice


def test_the_self_test_fails_where_strangers_get_in(tmp_path: Path) -> None:
    """As libzmq does by itself: CURVE, and nobody who is asked."""
    new(tmp_path / "keys", "alice", "client")
    ring = KeyRing(tmp_path / "keys")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.curve_server = 1
        socket.curve_secretkey = ring.secret.encode()
        socket.bind("tcp://127.0.0.1:*")
        address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        with pytest.raises(ClusterError, match="a key that nobody knows was not refused"):
            self_test(address, ring)


def test_the_self_test_fails_where_nobody_answers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SELF_TEST_S", 0.3)
    place.authenticator.close()
    with pytest.raises(ClusterError, match="self-test"):
        self_test(place.address, place.ring)


def test_from_all_interfaces_to_one() -> None:
    assert module._from_here("tcp://0.0.0.0:7") == "tcp://127.0.0.1:7"
    assert module._from_here("tcp://10.1.1.1:7") == "tcp://10.1.1.1:7"
    assert module._from_here("ipc:///x") == "ipc:///x"
