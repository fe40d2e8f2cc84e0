"""Who may connect: the answer to ZeroMQ's question at each CURVE handshake.

libzmq lets everybody in who has any key if nobody answers; `secure` closes that: without a living
Authenticator in its context a socket takes nobody new. `self_test` shows it before a daemon serves.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import zmq
from zmq.utils import z85

from pypelinin.errors import ClusterError
from pypelinin.runtime.handshakes import AUTH, SUCCEEDED, watched, what_happened
from pypelinin.runtime.keys import Holder, KeyRing, pair
from pypelinin.runtime.loop import READ, Waitable

DOMAIN = b"pypelinin"
ENFORCE_DOMAIN = 93
"""ZMQ_ZAP_ENFORCE_DOMAIN; pyzmq has no name for it."""
ENDPOINT = "inproc://zeromq.zap.01"
LOOK_S = 0.5
"""So often the directory of keys is looked at."""
SELF_TEST_S = 10.0
HANDSHAKE_MS = 5_000
"""Who is not known by then is let go of."""
Context = zmq.Context[zmq.Socket[bytes]]
Heard = Callable[[Holder | None, str, str], None]
"""Called with (who, or None; the public key; the address) of each one that knocks."""


def secure(socket: zmq.Socket[bytes], ring: KeyRing) -> None:
    """Take only peers whose key the context's Authenticator knows; call before the bind."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, ring.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, ring.secret.encode())
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    socket.setsockopt(ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


class Authenticator:
    """A thread that answers for *context* and looks for changes of the keys.

    *heard* and *changed* are called in that thread.
    """

    def __init__(
        self, context: Context, ring: KeyRing, heard: Heard, changed: Callable[[], object]
    ) -> None:
        self._ring = ring
        self._heard = heard
        self._changed = changed
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        try:
            self._socket.bind(ENDPOINT)
        except BaseException:
            self._socket.close()
            raise
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._answer_all, name="keys", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _answer_all(self) -> None:
        look_at = 0.0
        try:
            while True:
                wait = max(0.0, look_at - time.monotonic())
                waiting: list[Waitable] = [(self._socket, READ), (self._woken, READ)]
                ready: set[object] = {
                    what for what, _ in zmq.zmq_poll(waiting, int(wait * 1000 + 0.999))
                }
                if self._woken in ready:
                    return
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    self._look()
                if self._socket in ready:
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        finally:
            self._socket.close()

    def _look(self) -> None:
        if self._ring.look():
            self._changed()

    def _holder(self, public: str) -> Holder | None:
        """Whose key that is, also if it was made a moment ago."""
        if public not in self._ring.holders:
            self._look()
        return self._ring.holders.get(public)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        version, number, domain, address, _identity, mechanism, *keys = [*request, *[b""] * 6][:8]
        public = z85.encode(keys[0]).decode() if len(keys[0]) == 32 else ""
        known = version == b"1.0" and domain == DOMAIN and mechanism == b"CURVE"
        holder = self._holder(public) if known and public else None
        self._heard(holder, public, address.decode(errors="replace"))
        if holder is None:
            return [b"1.0", number, b"400", b"unknown key", b"", b""]
        # not the name: that may be another one's tomorrow, whose rights are others
        return [b"1.0", number, b"200", b"OK", public.encode(), b""]

    def close(self) -> None:
        """From now on nobody new gets in."""
        if self._wake < 0:
            return
        os.write(self._wake, b"\0")
        self._thread.join()
        os.close(self._woken)
        os.close(self._wake)
        self._wake = -1


def self_test(address: str, ring: KeyRing) -> None:
    """Knock at *address* with a key that nobody knows. Raises ClusterError if it is let in."""
    public, secret = pair()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.setsockopt(zmq.CURVE_SERVERKEY, ring.public.encode())
        stranger.setsockopt(zmq.CURVE_PUBLICKEY, public.encode())
        stranger.setsockopt(zmq.CURVE_SECRETKEY, secret.encode())
        with watched(stranger) as monitor:
            stranger.connect(_from_here(address))
            until = time.monotonic() + SELF_TEST_S
            while monitor.poll(max(0, int((until - time.monotonic()) * 1000))):
                event, _ = what_happened(monitor.recv_multipart())
                if event == AUTH:
                    return
                if event == SUCCEEDED:
                    break
    raise ClusterError(
        f"The self-test of {address} failed: a key that nobody knows was not refused.",
        remedy="Nobody is served like that. Report it, with `pypelinin --version`.",
    )


def _from_here(address: str) -> str:
    """*address*, which may be that of all interfaces, to connect to."""
    parts = urlsplit(address)
    everywhere = parts.scheme == "tcp" and parts.hostname in ("0.0.0.0", "::", "*")
    return f"tcp://127.0.0.1:{parts.port}" if everywhere else address
