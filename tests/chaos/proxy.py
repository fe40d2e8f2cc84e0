"""A network that can be bad, between a daemon and its Router: a TCP proxy in a thread."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Self


class _Pair:
    """Two sockets; what comes in on one goes out on the other."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = {"up": (near, far), "down": (far, near)}

    def close(self) -> None:
        for end in self.ends["up"]:
            end.close()


class Proxy:
    """Forwards connections to *target* ("tcp://host:port") as long as it is told to.

    `stall("up")` stops what goes to the target, "down" what comes from it: nothing is lost,
    as with TCP, but nothing arrives. `cut` breaks all connections; new ones are taken.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._woken, self._wake = socket.socketpair()
        self._stalled: frozenset[str] = frozenset()
        self._cut = self._over = False
        self._pairs: list[_Pair] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._wake.send(b"x")
        self._thread.join()
        for end in (self._server, self._woken, self._wake):
            end.close()

    def stall(self, *directions: str) -> None:
        """Stop these directions and no others."""
        self._stalled = frozenset(directions)
        self._wake.send(b"x")

    def cut(self) -> None:
        self._cut = True
        self._wake.send(b"x")

    def _serve(self) -> None:
        while not self._over:
            with selectors.DefaultSelector() as selector:
                selector.register(self._server, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                for pair, direction in self._open():
                    end = pair.ends[direction][0]
                    selector.register(end, selectors.EVENT_READ, (pair, direction))
                for key, _ in selector.select():
                    if key.fileobj is self._server:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._woken.recv(100)
                    elif key.data[0] in self._pairs:
                        self._forward(*key.data)
            if self._cut or self._over:
                self._cut = False
                for pair in self._pairs:
                    pair.close()
                self._pairs.clear()

    def _open(self) -> Iterator[tuple[_Pair, str]]:
        for pair in self._pairs:
            for direction in {"up", "down"} - self._stalled:
                yield pair, direction

    def _accept(self) -> None:
        near, _ = self._server.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
        else:
            self._pairs.append(_Pair(near, far))

    def _forward(self, pair: _Pair, direction: str) -> None:
        source, sink = pair.ends[direction]
        with suppress(OSError):
            if data := source.recv(1 << 16):
                sink.sendall(data)
                return
        pair.close()
        self._pairs.remove(pair)
