"""What a client is told when the Router does not let it in."""

from __future__ import annotations

import socket as plain
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from pypelinin.errors import DefinitionError
from pypelinin.runtime import handshakes as module
from pypelinin.runtime.access import Access
from pypelinin.runtime.authenticator import Authenticator
from pypelinin.runtime.authenticator import secure as secure_server
from pypelinin.runtime.handshakes import Handshakes, mechanism_of, secure
from pypelinin.runtime.keys import KeyRing, new, pair
from pypelinin.wire.definitions import Refusal

WAIT_S = 30.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Router in this process answers, however slow this machine is."""
    monkeypatch.setattr(module, "PROBE_S", WAIT_S)


@contextmanager
def router(
    ring: KeyRing | None, guarded: bool = True, at: str = "tcp://127.0.0.1:*"
) -> Iterator[str]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        guard = None
        if ring is not None:
            secure_server(socket, ring)
            if guarded:
                guard = Authenticator(context, ring, lambda *_: None, lambda: None)
        socket.bind(at)
        yield socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if guard is not None:
            guard.close()


@contextmanager
def connected(address: str, access: Access | None) -> Iterator[Handshakes]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        found = Handshakes(socket, address, access)
        secure(socket, access)
        socket.connect(address)
        yield found
        found.close()


def told(address: str, access: Access | None) -> Refusal:
    """What the client hears first."""
    with connected(address, access) as handshakes:
        return news_of(handshakes)


def news_of(handshakes: Handshakes) -> Refusal:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        handshakes.socket.poll(100)
        if (found := handshakes.news()) is not None:
            return found
    raise AssertionError("nothing was told")


@pytest.fixture
def alice(tmp_path: Path) -> Access:
    return new(tmp_path / "keys", "alice", "client")


@pytest.fixture
def ring(alice: Access, tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def test_an_unknown_key(ring: KeyRing, alice: Access) -> None:
    with router(ring) as address:
        found = told(address, Access("eve", "admin", *pair(), alice.router))
    assert found.code == "key"
    assert f"{address} refused the key 'eve': it is unknown there, or was revoked" in found.what


def test_no_key_where_one_is_wanted(ring: KeyRing) -> None:
    with router(ring) as address:
        found = told(address, None)
    assert found.what == f"The Router at {address} wants a key, and you have none."
    assert "PYPELININ_ACCESS" in found.remedy


def test_a_key_where_there_are_none(alice: Access) -> None:
    with router(None) as address:
        found = told(address, alice)
    assert f"the Router at {address} has none" in found.what


def test_the_key_of_another_router(ring: KeyRing, alice: Access) -> None:
    with router(ring) as address:
        found = told(address, replace(alice, router=pair()[0]))
    assert "its key is not the one in that access file" in found.what


def test_an_authenticator_that_is_not_there(ring: KeyRing, alice: Access) -> None:
    with router(ring, guarded=False) as address:
        assert "or it checks no keys now" in told(address, alice).what


def test_who_gets_in_is_told_nothing(ring: KeyRing, alice: Access) -> None:
    with router(ring) as address, connected(address, alice) as handshakes:
        assert handshakes.socket.poll(int(WAIT_S * 1000))
        assert handshakes.news() is None


def test_the_same_is_told_once_in_a_while(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 3600.0)
    with router(ring) as address, connected(address, None) as handshakes:
        assert "wants a key" in news_of(handshakes).what
        for _ in range(40):
            handshakes.socket.poll(20)
            assert handshakes.news() is None


def test_a_router_is_not_asked_all_the_time(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "mechanism_of", lambda address: asked.append(address) or "NULL")
    with router(None) as address, connected(address, None) as handshakes:
        assert [handshakes._ended() for _ in range(5)] == [None] * 5
    assert asked == [address]


def test_what_a_router_wants(ring: KeyRing, tmp_path: Path) -> None:
    with router(ring) as address:
        assert mechanism_of(address) == "CURVE"
    with router(None) as address:
        assert mechanism_of(address) == "NULL"
    assert mechanism_of(address) == ""  # it is gone
    with router(ring, at=f"ipc://{tmp_path}/r") as address:
        assert mechanism_of(address) == "CURVE"
    assert mechanism_of("tcp://127.0.0.1:nonsense") == ""


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, b"\xff" * 5])
def test_who_is_no_router(answer: bytes) -> None:
    """Its connections end in the handshake, too, but nothing follows from that."""
    with plain.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.settimeout(WAIT_S)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(WAIT_S)
                peer.recv(100)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert mechanism_of(address) == ""
        thread.join()


def test_an_access_that_is_no_pair(alice: Access) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        for broken in (replace(alice, public=pair()[0]), replace(alice, secret="x" * 40)):
            with pytest.raises(DefinitionError, match="holds no key pair"):
                secure(socket, broken)
