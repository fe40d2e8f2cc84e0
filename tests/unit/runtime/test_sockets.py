from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from pypelinin.cluster.events import Malformed, Received
from pypelinin.errors import ClusterError, DefinitionError, Refused
from pypelinin.machine import Event
from pypelinin.runtime import sockets as module
from pypelinin.runtime.door import door_of
from pypelinin.runtime.keys import new, revoke
from pypelinin.runtime.sockets import PeerSocket, RouterSockets, check_bind, is_loopback
from pypelinin.wire.codec import PROTOCOL, Blobs, Envelope, to_frames
from pypelinin.wire.definitions import FRAME_BYTES_MAX
from pypelinin.wire.messages import (
    NAMES,
    Configuration,
    GetCluster,
    GetStatus,
    JoinPipeliner,
    RunForSlot,
)

ANY = "tcp://127.0.0.1:*"
WAIT_S = 20.0


def ask(number: int, text: str = "x") -> Envelope:
    return Envelope(GetStatus(number, (text,), False))


def frames(envelope: Envelope) -> list[bytes]:
    return to_frames(envelope, NAMES[type(envelope.message)])


def numbers(events: list[Event]) -> list[int]:
    messages = [e.envelope.message for e in events if isinstance(e, Received)]
    return [m.request for m in messages]  # type: ignore[attr-defined]  # each is a request


def gather(
    receive: Callable[[], Iterator[Event]], count: int, between: Callable[[], object] = list
) -> list[Any]:
    """So many events, or a failure; each test knows of what kind they are."""
    found: list[Any] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        found += receive()
        between()
        time.sleep(0.001)
    return found


@pytest.fixture
def router() -> Iterator[RouterSockets]:
    made = RouterSockets(ANY, ANY, insecure=False)
    yield made
    made.close()


@pytest.fixture
def peer(router: RouterSockets) -> Iterator[PeerSocket]:
    made = PeerSocket(router.api_address)
    yield made
    made.close()


@contextmanager
def raw(kind: int, router: RouterSockets, identity: bytes = b"", **options: Any) -> Iterator[Any]:
    with zmq.Context() as context, context.socket(kind) as made:
        made.linger = 0
        made.rcvtimeo = int(WAIT_S * 1000)
        if identity:
            made.identity = identity
        for name, value in options.items():
            setattr(made, name, value)
        made.connect(router.api_address)
        yield made


# --- binding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("tcp://127.0.0.1:5555", True), ("tcp://127.1.2.3:*", True), ("tcp://localhost:1", True),
        ("tcp://[::1]:1", True), ("ipc:///tmp/x", True), ("tcp://0.0.0.0:5555", False),
        ("tcp://*:5555", False), ("tcp://10.0.0.1:5555", False), ("tcp://eth0:5555", False),
        ("tcp://localhost.evil.example:1", False), ("tcp://[::]:1", False), ("tcp://:1", False),
        ("tcp://127.0.0.1.evil.example:1", False),
    ],
)  # fmt: skip
def test_what_stays_on_this_machine(address: str, stays: bool) -> None:
    assert is_loopback(address) is stays


def test_beyond_loopback_only_with_a_word() -> None:
    for api, broadcast in (("tcp://0.0.0.0:*", ANY), (ANY, "tcp://0.0.0.0:*")):
        with pytest.raises(DefinitionError, match=r"lets every machine .* --insecure"):
            RouterSockets(api, broadcast, insecure=False)
        RouterSockets(api, broadcast, insecure=True).close()


def test_a_port_that_is_taken_names_who_has_it(router: RouterSockets) -> None:
    for addresses in ((router.api_address, ANY), (ANY, router.broadcast_address)):
        with pytest.raises(Refused, match=rf"is taken by pid {os.getpid()} \("):
            RouterSockets(*addresses, insecure=False)


def test_an_address_that_is_not_here() -> None:
    with pytest.raises(ClusterError, match=r"Cannot bind tcp://192\.0\.2\.1:\*: "):
        RouterSockets("tcp://192.0.2.1:*", ANY, insecure=True)


def test_nothing_is_left_open() -> None:
    gc.collect()  # else it might close files of other tests meanwhile
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        made = RouterSockets(ANY, ANY, insecure=False)
        PeerSocket(made.api_address).close()
        with pytest.raises(Refused):
            RouterSockets(made.api_address, ANY, insecure=False)
        made.close()
        with pytest.raises(DefinitionError):
            PeerSocket("nonsense")
    assert set(os.listdir("/proc/self/fd")) == before


# --- messages ---------------------------------------------------------------------------------


def test_messages_go_both_ways_in_order(router: RouterSockets, peer: PeerSocket) -> None:
    for number in range(500):
        peer.send(ask(number))
    received = gather(router.receive, 500, peer.flush)
    assert numbers(received) == list(range(500))
    address = received[0].peer
    for number in range(500):
        router.send(address, ask(number))
    assert numbers(gather(peer.receive, 500, router.flush)) == list(range(500))


def test_large_frames_pass_up_to_the_limit(router: RouterSockets, peer: PeerSocket) -> None:
    from pypelinin.wire.messages import AddPipeline, JobsOut

    blob = b"x" * FRAME_BYTES_MAX
    peer.send(Envelope(AddPipeline(1, False, False, (), Blobs([blob, blob]))))
    (event,) = gather(router.receive, 1, peer.flush)
    assert event.envelope.message.blobs == (blob, blob)
    answer = JobsOut(1, 1, (RunForSlot(1, "r"),), (), Blobs([blob]))
    router.send(event.peer, Envelope(answer))
    (event,) = gather(peer.receive, 1, router.flush)
    assert event.envelope.message == answer


def test_a_turn_takes_a_bounded_number(
    router: RouterSockets, peer: PeerSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGES_IN_TURN_MAX", 10)
    for number in range(25):
        peer.send(ask(number))
    sizes = []
    while sum(sizes) < 25:
        sizes.append(len(list(router.receive())))
        peer.flush()
    assert max(sizes) <= 10


BAD = [
    ([b""], "malformed"),
    ([b"noise"], "malformed"),
    ([msgpack.packb([PROTOCOL + 1, "get cluster", [1], 0, 0, 0])], "version"),
    ([msgpack.packb([PROTOCOL, "unknown", [1], 0, 0, 0])], "malformed"),
    ([b"x"] * 5000, "malformed"),
]


@pytest.mark.parametrize(("message", "code"), BAD, ids=[code for _, code in BAD])
def test_what_is_no_message_is_told(router: RouterSockets, message: list[bytes], code: str) -> None:
    with raw(zmq.DEALER, router) as dealer:
        dealer.send_multipart(message)
        (event,) = gather(router.receive, 1)
        assert isinstance(event, Malformed)
        assert event.code == code
        router.send(event.peer, ask(3))
        assert dealer.recv_multipart() == frames(ask(3))


def test_a_peer_is_told_the_same(router: RouterSockets, peer: PeerSocket) -> None:
    peer.send(ask(1))
    (event,) = gather(router.receive, 1, peer.flush)
    for message, code in BAD:
        router.api.send_multipart([event.peer, *message])
        (told,) = gather(peer.receive, 1)
        assert isinstance(told, Malformed)
        assert told.code == code


def test_a_req_socket_gets_its_delimiter_and_a_dealer_none(router: RouterSockets) -> None:
    with raw(zmq.REQ, router) as req, raw(zmq.DEALER, router) as dealer:
        for number in (1, 2):
            req.send_multipart(frames(ask(number)))
            dealer.send_multipart(frames(ask(number)))
            for event in gather(router.receive, 2):
                router.send(event.peer, ask(number + 10))
            assert req.recv_multipart() == dealer.recv_multipart() == frames(ask(number + 10))


# --- peers that are slow, gone or new ---------------------------------------------------------


def test_a_peer_that_is_gone_takes_everything(router: RouterSockets) -> None:
    with raw(zmq.REQ, router) as req:
        req.send_multipart(frames(ask(1)))
        (event,) = gather(router.receive, 1)
    address = event.peer
    deadline = time.monotonic() + WAIT_S
    while address in router._delimited:
        router.send(address, ask(2))
        assert time.monotonic() < deadline
        time.sleep(0.001)
    router.send(b"never seen", ask(3))
    assert not router.blocked


def large(number: int) -> Envelope:
    return ask(number, "x" * 400_000)


@pytest.fixture
def short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_MESSAGES_MAX", 2)


def test_a_slow_peer_loses_nothing_below_the_bound(
    short_queue: None, router: RouterSockets
) -> None:
    with raw(zmq.DEALER, router, rcvhwm=2) as slow, raw(zmq.DEALER, router) as quick:
        slow.send_multipart(frames(ask(1)))
        (event,) = gather(router.receive, 1)
        for number in range(40):
            router.send(event.peer, large(number))
        assert router.blocked
        quick.send_multipart(frames(ask(2)))
        (other,) = gather(router.receive, 1)
        router.send(other.peer, ask(3))
        assert quick.recv_multipart() == frames(ask(3))  # nobody else waits
        slow.rcvtimeo = 100
        got = []
        deadline = time.monotonic() + WAIT_S
        while len(got) < 40:
            assert time.monotonic() < deadline
            router.flush()
            try:
                got.append(slow.recv_multipart())
            except zmq.Again:
                continue
        assert got == [frames(large(number)) for number in range(40)]
        assert not router.blocked


def test_a_slow_peer_over_the_bound_is_let_go_of(
    short_queue: None, router: RouterSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OUTBOX_BYTES_MAX", 1_000_000)
    with raw(zmq.DEALER, router, rcvhwm=2) as slow:
        slow.send_multipart(frames(ask(1)))
        (event,) = gather(router.receive, 1)
        most = 0
        for number in range(100):
            router.send(event.peer, large(number))
            most = max([most, *(outbox.size for outbox in router._outboxes.values())])
        assert 500_000 < most <= 1_400_000


def test_a_newcomer_with_an_old_identity_takes_over(router: RouterSockets) -> None:
    """As a peer whose connection broke unseen and that connected again."""
    with raw(zmq.DEALER, router, b"me") as old, raw(zmq.DEALER, router, b"other") as other:
        old.send_multipart(frames(ask(1)))
        gather(router.receive, 1)
        with raw(zmq.DEALER, router, b"me") as new:
            new.send_multipart(frames(ask(2)))
            (event,) = gather(router.receive, 1)
            assert event.peer == b"me"
            router.send(b"me", ask(3))
            assert new.recv_multipart() == frames(ask(3))
        other.send_multipart(frames(ask(4)))
        assert numbers(gather(router.receive, 1)) == [4]


# --- a peer's own side ------------------------------------------------------------------------


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_what_is_sent_before_the_router_is_there_waits() -> None:
    address = free_address()
    peer = PeerSocket(address.replace("127.0.0.1", "localhost"))
    for number in range(50):
        peer.send(ask(number))
    assert peer.interest == zmq.POLLIN | zmq.POLLOUT
    router = RouterSockets(address, ANY, insecure=False)
    assert numbers(gather(router.receive, 50, peer.flush)) == list(range(50))
    assert peer.interest == zmq.POLLIN
    peer.close()
    router.close()


def test_a_hello_makes_what_waited_void() -> None:
    address = free_address()
    peer = PeerSocket(address)
    for number in range(50):
        peer.send(ask(number))
    for hello in range(1, 4):
        peer.send(Envelope(JoinPipeliner("p", "i", hello)))
    peer.send(Envelope(GetCluster(99)))
    router = RouterSockets(address, ANY, insecure=False)
    hello, question = gather(router.receive, 2, peer.flush)
    assert hello.envelope.message == JoinPipeliner("p", "i", 3)
    assert question.envelope.message == GetCluster(99)
    peer.close()
    router.close()


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTBOX_BYTES_MAX", 1_000_000)
    peer = PeerSocket(free_address())
    for number in range(100):
        peer.send(large(number))
        assert peer._outbox.size <= 1_000_000
    peer.close()


def test_reconnecting_is_another_peer_to_the_router(
    router: RouterSockets, peer: PeerSocket
) -> None:
    addresses = set()
    for number in range(3):
        peer.send(ask(number))
        (event,) = gather(router.receive, 1, peer.flush)
        addresses.add(event.peer)
        peer.reconnect()
    assert len(addresses) == 3


@pytest.mark.parametrize(
    "address", ["", "tcp://", "tcp://127.0.0.1:x", "x://y:1", "\0", "tcp://a b:1"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(DefinitionError, match=r"is no address .*Write tcp://HOST:PORT"):
        PeerSocket(address)


# --- broadcast --------------------------------------------------------------------------------


def test_hints_go_to_who_listens_and_to_nobody(router: RouterSockets) -> None:
    router.publish("topic", b"lost")
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.subscribe("topic")
        sub.rcvtimeo = 10
        sub.connect(router.broadcast_address)
        deadline = time.monotonic() + WAIT_S
        while True:
            assert time.monotonic() < deadline
            router.publish("other", b"not asked for")
            router.publish("topic", b"body")
            try:
                assert sub.recv_multipart() == [b"topic", b"body"]
                break
            except zmq.Again:
                continue


# --- a socket in a directory ----------------------------------------------------------------------


def test_a_directory_that_only_its_user_enters_needs_no_keys(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    made = RouterSockets(f"ipc://{tmp_path}/api", f"ipc://{tmp_path}/broadcast", insecure=False)
    peer = PeerSocket(made.api_address)
    peer.send(ask(1))
    assert numbers(gather(made.receive, 1, peer.flush)) == [1]
    with pytest.raises(Refused, match="is taken"):
        RouterSockets(f"ipc://{tmp_path}/api", ANY, insecure=False)
    peer.send(ask(2))  # and was not taken away
    assert numbers(gather(made.receive, 1, peer.flush)) == [2]
    peer.close()
    made.close()


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_directory_for_others_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    for addresses in ((f"ipc://{tmp_path}/a", ANY), (ANY, f"ipc://{tmp_path}/a")):
        with pytest.raises(DefinitionError, match=r"Other users .* \(chmod 700\)"):
            RouterSockets(*addresses, insecure=False)
    RouterSockets(f"ipc://{tmp_path}/a", ANY, insecure=True).close()


def test_an_abstract_address_is_everybodys() -> None:
    with pytest.raises(DefinitionError, match="Other users"):
        check_bind("ipc://@pypelinin", insecure=False)


# --- keys -----------------------------------------------------------------------------------------


def test_with_keys_any_address_will_do(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    alice = new(keys, "alice", "viewer")
    door = door_of(str(keys), tmp_path, lambda *_: None)
    made = RouterSockets("tcp://0.0.0.0:*", ANY, insecure=False, door=door)
    address = made.api_address.replace("0.0.0.0", "127.0.0.1")
    peer = PeerSocket(address, alice)
    peer.send(ask(1))
    (event,) = gather(made.receive, 1, peer.flush)
    assert isinstance(event, Received)
    made.send(event.peer, ask(5))
    assert numbers(gather(peer.receive, 1)) == [5]
    made.send(event.peer, Envelope(Configuration(1, "c", 1, "1", "", {"store": {"url": "secret"}})))
    (told,) = gather(peer.receive, 1)
    assert told.envelope.message.values == {}
    peer.send(Envelope(JoinPipeliner("p", "i", 1)))
    peer.send(ask(2))
    assert numbers(gather(made.receive, 1, peer.flush)) == [2]
    (told,) = gather(peer.receive, 1)
    assert isinstance(told, Received)
    answer: Any = told.envelope.message
    assert "may not plan runs" in answer.refusal.what
    revoke(keys, "alice")
    gather(peer.receive, 1, made.watch)
    made.send(event.peer, ask(6))
    peer.send(ask(3))
    (told,) = gather(peer.receive, 1, lambda: (peer.flush(), list(made.receive())))
    assert "not valid any more" in told.envelope.message.refusal.what
    peer.close()
    made.close()


def test_a_port_that_is_taken_leaves_no_thread(tmp_path: Path, router: RouterSockets) -> None:
    new(tmp_path / "keys", "alice", "viewer")
    before = set(threading.enumerate())
    door = door_of(str(tmp_path / "keys"), tmp_path, lambda *_: None)
    with pytest.raises(Refused, match="is taken"):
        RouterSockets(router.api_address, ANY, insecure=False, door=door)
    assert set(threading.enumerate()) <= before
