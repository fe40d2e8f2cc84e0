"""The side that connects: its key, and words for a handshake that failed.

ZeroMQ goes on trying in silence; `Handshakes` hears of it and says who wants what.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket as plain
import struct
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import zmq

from pypelinin.errors import DefinitionError
from pypelinin.runtime.access import Access
from pypelinin.wire.definitions import Refusal

AUTH = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
NO_DETAIL = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
PROTOCOL = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
SUCCEEDED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
EVENTS = AUTH | NO_DETAIL | PROTOCOL | SUCCEEDED
OTHER_MECHANISM = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
IN_A_ROW = 3
"""A handshake may end because the other side does; three times in a row it is refused."""
PROBE_S = 0.5
PROBE_AGAIN_S = 5.0
"""To ask what a Router wants holds its caller up, so that is done no more often."""
AGAIN_S = 1.0
"""The same news is told once in so long."""
_FACE = struct.Struct("=HI")
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
_MECHANISM = slice(12, 32)
_numbers = itertools.count()


def secure(socket: zmq.Socket[bytes], access: Access | None) -> None:
    """Encrypt what *socket* is about to connect to, and be known there."""
    if access is None:
        return
    try:
        fits = zmq.curve_public(access.secret.encode()) == access.public.encode()
        socket.setsockopt(zmq.CURVE_SERVERKEY, access.router.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, access.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, access.secret.encode())
    except (zmq.ZMQError, ValueError):
        fits = False
    if not fits:
        raise DefinitionError(
            f"The access file of {access.name!r} holds no key pair.",
            remedy="Export it again: pypelinin keys export NAME.",
        )


@contextlib.contextmanager
def watched(socket: zmq.Socket[bytes]) -> Iterator[zmq.Socket[bytes]]:
    """A socket that tells how the handshakes of *socket* go, as long as the block lasts."""
    monitor = _monitor(socket)
    try:
        yield monitor
    finally:
        _unwatch(socket, monitor)


def _monitor(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    address = f"inproc://handshakes-{os.getpid()}-{next(_numbers)}"
    socket.monitor(address, EVENTS)
    monitor: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
    monitor.linger = 0
    monitor.connect(address)
    return monitor


def _unwatch(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    if not socket.closed:
        socket.disable_monitor()
    monitor.close()


def what_happened(frames: list[bytes]) -> tuple[int, int]:
    """(event, its value) of a monitor's message."""
    event, value = _FACE.unpack_from(frames[0])
    return event, value


class Handshakes:
    """How the handshakes of *socket* with *address* go, for whoever has *access* or none."""

    def __init__(self, socket: zmq.Socket[bytes], address: str, access: Access | None) -> None:
        self._watched = socket
        self._address = address
        self._access = access
        self._failed = 0
        self._wanted = ""
        self._probe_at = 0.0
        self._told_at = float("-inf")
        self.socket = _monitor(socket)
        """Readable when there may be news."""

    def news(self) -> Refusal | None:
        """Why nobody listens to us, if that was just learned."""
        last = 0, 0
        while True:
            try:
                last = what_happened(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
            self._failed = self._failed + 1 if last[0] == NO_DETAIL else 0
        now = time.monotonic()
        if not last[0] or now - self._told_at < AGAIN_S:
            return None
        found = self._meaning(*last)
        if found is not None:
            self._told_at = now
        return found

    def _meaning(self, event: int, value: int) -> Refusal | None:
        if event == AUTH:
            return self._refused()
        if event == PROTOCOL and value == OTHER_MECHANISM:
            return self._other_mechanism()
        return self._ended() if event == NO_DETAIL else None

    def _ended(self) -> Refusal | None:
        """The other side closed without a word: what does it want?"""
        if (now := time.monotonic()) >= self._probe_at:
            self._wanted = mechanism_of(self._address)
            self._probe_at = now + PROBE_AGAIN_S
        wanted = self._wanted
        if not wanted:
            self._failed = 0
            return None  # it is no Router, or was just ending
        if (wanted == "CURVE") != (self._access is not None):
            return self._other_mechanism()
        if self._access is None or self._failed < IN_A_ROW:
            return None
        return Refusal(
            "key",
            f"The Router at {self._address} ends the connection of {self._access.name!r}: its key "
            "is not the one in that access file, or it checks no keys now.",
            "Is it the right address? Else ask for a new access file; the Router's log tells more.",
        )

    def _refused(self) -> Refusal:
        name = self._access.name if self._access else ""
        return Refusal(
            "key",
            f"The Router at {self._address} refused the key {name!r}: it is unknown there, or was "
            "revoked.",
            "Ask whoever runs the Router for a new access file (pypelinin keys new).",
        )

    def _other_mechanism(self) -> Refusal:
        if self._access is None:
            return Refusal(
                "key",
                f"The Router at {self._address} wants a key, and you have none.",
                "Give your access file: --access FILE, PYPELININ_ACCESS=FILE or access=FILE.",
            )
        return Refusal(
            "key",
            f"You have a key ({self._access.name!r}), but the Router at {self._address} has none: "
            "what you send could be read by others.",
            "Is it the right address? Without an access file it would be taken.",
        )

    def close(self) -> None:
        _unwatch(self._watched, self.socket)


def mechanism_of(address: str) -> str:
    """What a ZeroMQ peer at *address* wants: "NULL", "CURVE", or "" if that is not known."""
    try:
        with _connected(address) as peer:
            peer.settimeout(PROBE_S)
            peer.sendall(_GREETING)
            greeting = b""
            until = time.monotonic() + PROBE_S
            while len(greeting) < _MECHANISM.stop and time.monotonic() < until:
                if not (part := peer.recv(64)):
                    break
                greeting += part
    except (OSError, ValueError):
        return ""
    if len(greeting) < _MECHANISM.stop or greeting[:1] != b"\xff":
        return ""
    return greeting[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _connected(address: str) -> plain.socket:
    parts = urlsplit(address)
    if parts.scheme == "ipc":
        found = plain.socket(plain.AF_UNIX)
        found.settimeout(PROBE_S)
        try:
            found.connect(address.removeprefix("ipc://"))
        except BaseException:
            found.close()
            raise
        return found
    return plain.create_connection((parts.hostname or "", parts.port or 0), PROBE_S)
