"""ZeroMQ sockets: the Router's, and the one with which everybody else reaches it.

Bytes in become typed messages here or are answered as malformed. Nothing is dropped
silently: what a slow peer's socket does not take waits in an outbox of bounded bytes, and
when that is full the peer is let go of (links resend, clients ask again).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import psutil
import zmq

from pypelinin.cluster.events import Malformed, Received
from pypelinin.errors import BadMessage, ClusterError, DefinitionError, Refused
from pypelinin.machine import Event
from pypelinin.runtime.access import Access
from pypelinin.runtime.descriptors import CONTEXT_FILES, RESERVE, Gate, demand
from pypelinin.runtime.door import Door
from pypelinin.runtime.handshakes import Handshakes, mechanism_of, secure
from pypelinin.runtime.loop import READ, WRITE, Waitable
from pypelinin.wire.codec import Envelope, WrongProtocol, from_frames, to_frames
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Refusal
from pypelinin.wire.messages import MESSAGES, NAMES, GetConfiguration, JoinBroker, JoinPipeliner
from pypelinin.wire.messages import Refused as RefusedMessage

OUTBOX_BYTES_MAX = 64 * 1024 * 1024
QUEUED_MESSAGES_MAX = 100
"""What ZeroMQ keeps for one peer before the outbox, which counts bytes, begins to fill."""
MESSAGES_IN_TURN_MAX = 2_000
_AGAIN = (zmq.EAGAIN, zmq.EHOSTUNREACH)
_LAST, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)


def new_context() -> zmq.Context[zmq.Socket[bytes]]:
    """Raises ClusterError if there are too many open files."""
    demand(CONTEXT_FILES)
    return zmq.Context()


def _tune(socket: zmq.Socket[bytes]) -> None:
    socket.linger = 0
    socket.maxmsgsize = FRAME_BYTES_MAX + 1024
    socket.sndhwm = socket.rcvhwm = QUEUED_MESSAGES_MAX
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10_000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.IPV6, 0)


def _frames(envelope: Envelope) -> list[bytes]:
    return to_frames(envelope, NAMES[type(envelope.message)])


def is_loopback(address: str) -> bool:
    """Whether a bind to *address* (tcp://host:port, ipc://...) stays on this machine."""
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        return True
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False  # the name of an interface, or "*"


def _received(socket: zmq.Socket[bytes], copy: bool = True) -> Iterator[list[Any]]:
    """Whole messages of a socket that is ready, up to a bound that keeps turns short."""
    for _ in range(MESSAGES_IN_TURN_MAX):
        try:
            yield socket.recv_multipart(_LAST, copy=copy)
        except zmq.Again:
            return
        # asking costs a third of the exception that an empty socket raises
        if not int(socket.getsockopt(zmq.EVENTS)) & READ:
            return


def _send(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
    """send_multipart without its checks: these frames are bytes."""
    send = socket.send
    for frame in frames[:-1]:
        send(frame, _MORE)
    send(frames[-1], _LAST)


@dataclass(slots=True)
class _Outbox:
    waiting: deque[list[bytes]] = field(default_factory=deque)
    size: int = 0


class RouterSockets:
    """The API socket (ROUTER) and the broadcast (PUB) of a Router.

    With a *door* only holders of its keys get in, and each message is judged there. Raises
    DefinitionError for an address beyond loopback without keys unless *insecure*, Refused if
    the port is taken, ClusterError if the self-test of the keys fails.
    """

    def __init__(self, api: str, broadcast: str, insecure: bool, door: Door | None = None) -> None:
        self.door = door
        self.context = new_context()
        self.api = self.context.socket(zmq.ROUTER)
        self.broadcast = self.context.socket(zmq.PUB)
        self._outboxes: dict[bytes, _Outbox] = {}
        self._delimited: dict[bytes, None] = {}
        self._bound = True
        self.gate = Gate([])
        try:
            if door is None:
                for address in (api, broadcast):
                    check_bind(address, insecure)
            else:
                door.open(self.context)
                door.secure(self.api)
            _tune(self.api)
            self.api.backlog = RESERVE - 1
            self.api.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self.api.setsockopt(zmq.ROUTER_HANDOVER, 1)
            self._tune_broadcast()
            self.api_address = _bind(self.api, api)
            self.broadcast_address = _bind(self.broadcast, broadcast)
            self._open_gate()
            if door is not None:
                door.self_test(self.api_address)
        except BaseException:
            self.close()
            raise

    def _open_gate(self) -> None:
        bound = (self.api_address, self.broadcast_address)
        self.gate = Gate([port for one in bound if (port := urlsplit(one).port)])

    def _tune_broadcast(self) -> None:
        _tune(self.broadcast)
        self.broadcast.sndhwm = 10_000  # hints are small, and dropped when a listener is slow
        self.broadcast.backlog = RESERVE - 1
        if self.door is not None:
            self.door.secure(self.broadcast)

    def receive(self) -> Iterator[Event]:
        """All messages that are there; call it when the socket is ready."""
        if self.door is not None:
            yield from self._receive_known(self.door)
            return
        for peer, *frames in _received(self.api):
            yield self._read(peer, frames)

    def _read(self, peer: bytes, frames: list[bytes]) -> Received | Malformed:
        if len(frames) > 1 and not frames[0]:  # a REQ socket's delimiter
            frames.pop(0)
            if len(self._delimited) < 100_000:
                self._delimited[peer] = None
        try:
            return Received(peer, from_frames(MESSAGES, frames))
        except WrongProtocol as error:
            return Malformed(peer, "version", error.what)
        except BadMessage as error:
            return Malformed(peer, "malformed", error.what)

    def _receive_known(self, door: Door) -> Iterator[Event]:
        """Messages that their senders' keys allow; who has no right to one is told so."""
        for parts in _received(self.api, copy=False):
            peer, *frames = [part.bytes for part in parts]
            event = self._read(peer, frames)
            found = door.holder(peer, parts[0])
            message = event.envelope.message if isinstance(event, Received) else None
            if message is not None and not isinstance(found, Refusal):
                found = door.judge(found, message) or found
            if isinstance(found, Refusal):
                number = getattr(message, "request", 0)
                self._post(peer, Envelope(RefusedMessage(number, found)))
            else:
                yield event

    def watch(self) -> None:
        """Learn what became of the keys; whose key ended is told, and hears nothing more."""
        if self.door is None:
            return
        for peer, refusal in self.door.ended():
            self._outboxes.pop(peer, None)
            self._post(peer, Envelope(RefusedMessage(0, refusal)))
        if self.door.lost_somebody:
            self.door.lost_somebody = False
            self.gate.close()  # it has a hand on the port, too
            self.broadcast.close()  # all who listen come again, with their keys
            self._bound = False
        if not self._bound:
            self._bind_broadcast()

    def _bind_broadcast(self) -> None:
        """Again where it was, as soon as that is free."""
        self.broadcast = self.context.socket(zmq.PUB)
        self._tune_broadcast()
        try:
            self.broadcast.bind(self.broadcast_address)
            self._bound = True
            self._open_gate()
        except zmq.ZMQError:
            self.broadcast.close()

    def send(self, peer: bytes, envelope: Envelope) -> None:
        if self.door is not None:
            if not self.door.may_hear(peer, envelope.message):
                return
            envelope = self.door.told(peer, envelope)
        self._post(peer, envelope)

    def _post(self, peer: bytes, envelope: Envelope) -> None:
        frames = [peer, *([b""] if peer in self._delimited else []), *_frames(envelope)]
        outbox = self._outboxes.get(peer)
        if outbox is None and self._try(frames):
            return
        if outbox is None:
            outbox = self._outboxes[peer] = _Outbox()
        outbox.waiting.append(frames)
        outbox.size += sum(map(len, frames))
        if outbox.size > OUTBOX_BYTES_MAX:
            del self._outboxes[peer]

    def _try(self, frames: list[bytes]) -> bool:
        """False if the socket cannot take it now; a peer that is gone takes everything."""
        try:
            _send(self.api, frames)
        except zmq.ZMQError as error:
            if error.errno == zmq.EAGAIN:
                return False
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._delimited.pop(frames[0], None)
        return True

    @property
    def blocked(self) -> bool:
        """Whether something waits that no event announces."""
        return bool(self._outboxes) or not self._bound

    def flush(self) -> None:
        """Try again what slow peers did not take."""
        for peer, outbox in list(self._outboxes.items()):
            while outbox.waiting and self._try(outbox.waiting[0]):
                outbox.size -= sum(map(len, outbox.waiting.popleft()))
            if not outbox.waiting:
                del self._outboxes[peer]

    def publish(self, topic: str, body: bytes) -> None:
        with contextlib.suppress(zmq.Again):
            if self._bound:
                _send(self.broadcast, [topic.encode(), body])

    def close(self) -> None:
        self.gate.close()
        self.api.close()
        self.broadcast.close()
        if self.door is not None:
            self.door.close()
        self.context.term()


def check_bind(address: str, insecure: bool) -> None:
    """Raise DefinitionError if somebody could reach *address* who should not, without a key."""
    if not insecure and not is_loopback(address):
        raise DefinitionError(
            f"Binding {address} lets every machine that reaches it run code here.",
            remedy="Make keys with `pypelinin keys new`, bind 127.0.0.1, or say --insecure "
            "(config['insecure'] = True) if the network is yours alone.",
        )
    if not address.startswith("ipc://") or address.startswith("ipc://@"):
        shared = address.startswith("ipc://@")  # abstract: no directory guards it
    else:
        shared = not _is_private(os.path.dirname(address.removeprefix("ipc://")) or ".")
    if shared and not insecure:
        raise DefinitionError(
            f"Other users of this machine reach {address}, and could run code as you.",
            remedy="Put it in a directory that only you can enter (chmod 700), or make keys with "
            "`pypelinin keys new`.",
        )


def _is_private(directory: str) -> bool:
    """Whether only this user can enter *directory*."""
    try:
        found = os.stat(directory)
    except OSError:
        return True  # the bind tells what is wrong
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _bind(socket: zmq.Socket[bytes], address: str) -> str:
    if address.startswith("ipc://") and mechanism_of(address):  # libzmq would take it away
        raise Refused(f"The address {address} is taken.", remedy="Choose another path.")
    try:
        socket.bind(address.replace("localhost", "127.0.0.1"))
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise Refused(
                f"The address {address} is taken{_taken_by(address)}.",
                remedy="Stop that process, or choose another port.",
            ) from None
        raise ClusterError(f"Cannot bind {address}: {error.strerror}.") from None
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _taken_by(address: str) -> str:
    """ " by pid 17 (python ...)" if that can be found out."""
    port = urlsplit(address).port
    with contextlib.suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.pid and found.laddr[1:] == (port,):
                command = " ".join(psutil.Process(found.pid).cmdline())
                return f" by pid {found.pid} ({command[:120]})"
    return ""


class PeerSocket:
    """A DEALER to the Router at *api*, for members and clients; with *access* by its key."""

    def __init__(self, api: str, access: Access | None = None) -> None:
        self.access = access
        self.address = api.replace("localhost", "127.0.0.1")
        self.context = new_context()
        self._outbox = _Outbox()
        self._wake: tuple[int, int] | None = None
        self._wake_lock = threading.RLock()  # a finalizer may wake, too, whatever its thread does
        self.socket, self._handshakes = self._connect()

    def let_wake(self) -> None:
        """From now on `wake` ends a `wait`."""
        if self._wake is None:
            self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        """End the `wait` that sleeps, or the next one; from any thread."""
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if self._wake is not None:
                os.write(self._wake[1], b"\0")

    def _connect(self) -> tuple[zmq.Socket[bytes], Handshakes]:
        socket = self.context.socket(zmq.DEALER)
        _tune(socket)
        socket.setsockopt(zmq.IDENTITY, b"\x01" + os.urandom(11))
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing queues for a Router that is not there
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1_000)
        handshakes = Handshakes(socket, self.address, self.access)
        try:
            secure(socket, self.access)
            socket.connect(self.address)
        except BaseException as error:
            handshakes.close()
            socket.close()
            self.context.term()
            if not isinstance(error, zmq.ZMQError):
                raise
            raise DefinitionError(
                f"{self.address!r} is no address ({error.strerror}).",
                remedy="Write tcp://HOST:PORT.",
            ) from None
        return socket, handshakes

    def reconnect(self) -> None:
        self._handshakes.close()
        self.socket.close()
        self.socket, self._handshakes = self._connect()

    def send(self, envelope: Envelope) -> None:
        if isinstance(envelope.message, (JoinBroker, JoinPipeliner, GetConfiguration)):
            self._outbox = _Outbox()  # a hello tells everything anew
        frames = _frames(envelope)
        if self._outbox.waiting or not self._try(frames):
            self._outbox.waiting.append(frames)
            self._outbox.size += sum(map(len, frames))
            if self._outbox.size > OUTBOX_BYTES_MAX:
                self._outbox = _Outbox()

    def _try(self, frames: list[bytes]) -> bool:
        try:
            _send(self.socket, frames)
        except zmq.ZMQError as error:
            if error.errno in _AGAIN:
                return False
            raise
        return True

    def flush(self) -> None:
        while self._outbox.waiting and self._try(self._outbox.waiting[0]):
            self._outbox.size -= sum(map(len, self._outbox.waiting.popleft()))

    def wait(self, timeout_ms: int) -> bool:
        """Sleep until there is something to receive (or room to send), or the time is over."""
        if self._wake is None:
            return bool(zmq.zmq_poll(self.waitables, timeout_ms))
        woken = self._wake[0]
        found = zmq.zmq_poll([*self.waitables, (woken, READ)], timeout_ms)
        if any(what == woken for what, _ in found):
            os.read(woken, 65536)
        return any(what != woken for what, _ in found)

    @property
    def waitables(self) -> list[Waitable]:
        """What to wait for: input, news of the handshake, room if something waits to be sent."""
        return [(self.socket, self.interest), (self._handshakes.socket, READ)]

    @property
    def interest(self) -> int:
        return READ | WRITE if self._outbox.waiting else READ

    def receive(self) -> Iterator[Event]:
        """All messages that are there; call it when something of `waitables` is ready.

        That nobody listens to this key is told as if the Router had said so.
        """
        refusal = self._handshakes.news()
        if refusal is not None:
            yield Received(b"", Envelope(RefusedMessage(0, refusal)))
        for frames in _received(self.socket):
            try:
                yield Received(b"", from_frames(MESSAGES, frames))
            except WrongProtocol as error:
                yield Malformed(b"", "version", error.what)
            except BadMessage as error:
                yield Malformed(b"", "malformed", error.what)

    def close(self) -> None:
        self._handshakes.close()
        self.socket.close()
        self.context.term()
        with self._wake_lock:
            pipe, self._wake = self._wake or (), None
            for fd in pipe:
                os.close(fd)
