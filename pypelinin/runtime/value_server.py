"""The value directory for those who cannot read it: a small process beside the Router.

Run as `python -m pypelinin.runtime.value_server DIRECTORY PROBE ADDRESS [KEYS]`: with keys only
their holders get in, for what their role may do. It prints its port and ends with its standard
input. Values cross in parts of 1 MiB over a connection of their own, so they hold up no message.

Requests: [id, probe, "put", name, offset, part], [id, probe, "close", name, size] and
[id, probe, "get", name, offset, size, check]; answers: [id, "", data] or [id, what is wrong].
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import zmq

from pypelinin.cluster.roles import NOBODY, VALUE_VERBS
from pypelinin.errors import ClusterError, Refused, ValueLost
from pypelinin.runtime.access import Access
from pypelinin.runtime.authenticator import Authenticator, self_test
from pypelinin.runtime.authenticator import secure as secure_server
from pypelinin.runtime.descriptors import Gate
from pypelinin.runtime.handshakes import Handshakes, secure
from pypelinin.runtime.keys import KeyRing
from pypelinin.runtime.sealing import Sealer
from pypelinin.runtime.value_files import (
    Reference,
    ValueFiles,
    checked,
    reference,
    seal,
    this_start,
)
from pypelinin.runtime.values import Piece

PART_BYTES = 1024 * 1024
PARTS_AHEAD = 8
SILENCE_S = 30.0
CACHE_BYTES_MAX = 1024**3
PENDING_MAX = 1024
_PAGE = 4096


class Server:
    """Serves one directory; whoever knows its probe may read and write."""

    def __init__(self, directory: str, probe: str, ring: KeyRing | None = None) -> None:
        self._ring = ring
        self._files = ValueFiles(directory)
        self._probe = probe.encode()
        self._open: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()

    def answer(self, peer: bytes, frames: Sequence[bytes], key: str = "") -> list[bytes]:
        """Frames of the answer to a request; what is wrong is told, never raised."""
        if len(frames) < 4:
            return [b"", b"malformed"]
        number, probe, verb, name, *rest = frames
        if self._ring is not None and not self._may(key, verb):
            return [number, b"this key may not do that, or is not valid any more"]
        if probe != self._probe:
            return [number, b"the probe is not this cluster's"]
        try:
            return [number, b"", self._do(peer, verb, name, rest)]
        except (OSError, ValueError, LookupError, ArithmeticError, ValueLost) as error:
            return [number, str(error).encode(errors="replace") or b"error"]

    def _may(self, key: str, verb: bytes) -> bool:
        holder = self._ring.holders.get(key) if self._ring is not None else None
        return holder is not None and holder.role in VALUE_VERBS.get(verb, NOBODY)

    def _do(self, peer: bytes, verb: bytes, name: bytes, rest: list[bytes]) -> bytes:
        if verb == b"get":
            offset, size, check = int(rest[0]), int(rest[1]), rest[2].decode()
            size = max(0, min(size, PART_BYTES))
            return self._files.part(Reference(name.decode(), offset, size, check))
        if verb == b"put":
            file_number = self._open.get((peer, name)) or self._create(peer, name)
            os.pwrite(file_number, rest[1], int(rest[0]))
            return b""
        if verb == b"close":
            return self._close(peer, name, int(rest[0]))
        raise ValueError("unknown request")

    def _create(self, peer: bytes, name: bytes) -> int:
        path = self._part(peer, name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._open[peer, name] = number
        while len(self._open) > PENDING_MAX:
            (other, left), old = self._open.popitem(last=False)
            os.close(old)
            self._part(other, left).unlink(missing_ok=True)
        return number

    def _part(self, peer: bytes, name: bytes) -> Path:
        path = self._files._path(name.decode())
        return path.with_name(f"{path.name}.{peer.hex()[:16]}.part")

    def _close(self, peer: bytes, name: bytes, size: int) -> bytes:
        number = self._open.pop((peer, name), None)
        if number is None:
            raise ValueError("nothing was put")
        part = self._part(peer, name)
        try:
            if os.fstat(number).st_size != size:
                raise ValueError("parts are missing")
            seal(number)
        finally:
            os.close(number)
        part.rename(self._files._path(name.decode()))
        return b""


def serve(directory: str, probe: str, address: str, keys: str = "") -> None:
    """Until standard input ends. Raises ClusterError, DefinitionError."""
    context = zmq.Context()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(context.socket(zmq.ROUTER))
        ring = KeyRing(Path(keys)) if keys else None
        if ring is not None:
            guard = Authenticator(context, ring, lambda *_: None, lambda: None)
            stack.callback(guard.close)
            secure_server(server, ring)
        server.linger = 0
        server.setsockopt(zmq.MAXMSGSIZE, 2 * PART_BYTES)
        server.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            server.bind(address)
        except zmq.ZMQError:  # the port of the last time is taken
            server.bind(f"{address.rpartition(':')[0]}:*")
        last = server.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(last, bytes)
        if ring is not None:
            self_test(last.decode(), ring)
        port = last.decode().rpartition(":")[2]
        try:
            os.write(sys.stdout.fileno(), f"{port}\n".encode())
        except BrokenPipeError:
            return  # who started it has ended meanwhile
        found = Server(directory, probe, ring)
        poller = zmq.Poller()
        poller.register(server, zmq.POLLIN)
        poller.register(sys.stdin.fileno(), zmq.POLLIN)
        gate = Gate([int(port)])
        with contextlib.closing(Sealer(Path(directory))), contextlib.closing(gate):
            while sys.stdin.fileno() not in (ready := dict(poller.poll(1000))):
                gate.look(time.monotonic())
                if server in ready:
                    parts = server.recv_multipart(copy=False)
                    key = str(parts[0].get("User-Id")) if ring is not None else ""
                    peer, *frames = [part.bytes for part in parts]
                    with contextlib.suppress(zmq.Again):
                        server.send_multipart([peer, *found.answer(peer, frames, key)], zmq.NOBLOCK)
    context.term()


class RemoteValues:
    """The value directory of another host; what was read is kept here for a while.

    Raises ClusterError if the server is silent for 30 s, Refused if it does not take our key.
    """

    def __init__(self, address: str, probe: str, access: Access | None = None) -> None:
        self._probe = probe.encode()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._handshakes = Handshakes(self._socket, address, access)
        secure(self._socket, access)
        self._socket.connect(address)
        self._address = address
        self._number = 0
        self._cache = Cache(Path(tempfile.gettempdir(), f"pypelinin-cache-{os.getuid()}"))

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        del durable  # the server's disk is written through with "close"
        kept: list[Reference] = []
        listed = [list(pieces) for pieces in values]
        size = 0

        def requests() -> Iterator[list[bytes]]:
            nonlocal size
            for pieces in listed:
                size += -size % _PAGE
                begin, crc = size, 0
                for piece in pieces:
                    view = memoryview(piece).cast("B")
                    crc = zlib.crc32(view, crc)
                    for at in range(0, len(view), PART_BYTES):
                        part = bytes(view[at : at + PART_BYTES])
                        yield [b"put", name.encode(), b"%d" % (size + at), part]
                    size += len(view)
                kept.append(Reference(name, begin, size - begin, f"{crc:08x}"))

        for _ in self._ask(requests()):
            pass
        for _ in self._ask(iter([[b"close", name.encode(), b"%d" % size]])):
            pass
        packed = [found.pack() for found in kept]
        for name_of, pieces in zip(packed, listed, strict=True):  # who reads it may run here
            self._cache.put(name_of, pieces)
        return packed

    def get(self, packed: bytes) -> memoryview:
        kept = reference(packed)
        found = self._cache.get(packed)
        if found is not None:
            return found
        data = bytearray(kept.size)
        ends = range(0, kept.size, PART_BYTES)
        requests = (
            [b"get", kept.name.encode(), b"%d" % (kept.offset + at),
             b"%d" % min(PART_BYTES, kept.size - at), kept.check.encode()]
            for at in ends
        )  # fmt: skip
        for number, part in self._ask(requests):
            data[number * PART_BYTES : number * PART_BYTES + len(part)] = part
        found = checked(kept, memoryview(data))
        self._cache.put(packed, [found])
        return found

    def _ask(self, requests: Iterator[list[bytes]]) -> Iterator[tuple[int, bytes]]:
        """(number from 0, answer) of each request, a few under way at a time."""
        first = self._number
        waiting = 0
        for request in requests:
            self._socket.send_multipart([b"%d" % self._number, self._probe, *request])
            self._number += 1
            waiting += 1
            if waiting == PARTS_AHEAD:
                yield self._answer(first)
                waiting -= 1
        for _ in range(waiting):
            yield self._answer(first)

    def _answer(self, first: int) -> tuple[int, bytes]:
        until = time.monotonic() + SILENCE_S
        while self._wait(until):
            number, error, *data = self._socket.recv_multipart()
            if int(number) < first:
                continue  # of a question that was given up
            if error:
                raise ValueLost(f"The value server at {self._address}: {error.decode()}.")
            return int(number) - first, data[0]
        raise ClusterError(
            f"The value server at {self._address} was silent for {SILENCE_S:.0f} s.",
            remedy="It runs beside the Router; is its port reachable from here?",
        )

    def _wait(self, until: float) -> bool:
        """Whether there is an answer in time."""
        while (left := until - time.monotonic()) > 0:
            both = [(self._socket, zmq.POLLIN), (self._handshakes.socket, zmq.POLLIN)]
            ready = dict(zmq.zmq_poll(both, int(left * 1000 + 0.999)))
            if self._socket in ready:
                return True
            if (refusal := self._handshakes.news()) is not None:
                raise Refused(refusal.what, remedy=refusal.remedy)
        return False

    def close(self) -> None:
        self._handshakes.close()
        self._socket.close()
        self._context.term()

    __del__ = close  # results may be opened when their manager is gone


class Cache:
    """Values that were fetched, shared by the processes of this user; the oldest go first."""

    def __init__(self, root: Path, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._root = root
        self._bytes_max = bytes_max
        self._unseen_bytes_max = 0
        """What may yet be put before the whole directory is looked at."""

    def get(self, packed: bytes) -> memoryview | None:
        kept = reference(packed)
        path = self._path(kept)
        try:
            if not self._is_ours():
                return None
            with open(path, "rb") as file:
                data = memoryview(bytearray(file.read()))
            os.utime(path)
            return checked(kept, data)
        except (OSError, ValueLost):
            return None

    def put(self, packed: bytes, pieces: Sequence[Piece]) -> None:
        """Keep a copy if that is possible."""
        path = self._path(reference(packed))
        with contextlib.suppress(OSError):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            with tempfile.NamedTemporaryFile(dir=self._root, delete=False) as file:
                file.writelines(pieces)
                self._unseen_bytes_max -= file.tell()
            os.rename(file.name, path)
            if self._unseen_bytes_max < 0:
                self._unseen_bytes_max = self._bytes_max // 64
                self._shrink()

    def _is_ours(self) -> bool:
        """Its name can be guessed, so somebody else may have made it. Raises OSError."""
        found = self._root.lstat()
        private = found.st_uid == os.getuid() and not found.st_mode & 0o077
        return private and stat.S_ISDIR(found.st_mode)

    def _shrink(self) -> None:
        entries = []
        with os.scandir(self._root) as listed:
            for entry in listed:
                # Another process may have dropped it meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    entries.append((entry.stat(), entry.path))
        size = sum(found.st_size for found, _ in entries)
        for known, path in sorted(entries, key=lambda pair: pair[0].st_mtime):
            if size <= self._bytes_max:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            size -= known.st_size

    def _path(self, kept: Reference) -> Path:
        # copies are not synced: what is not summed is good until this machine restarts
        check = kept.check if kept.summed else kept.check + this_start()
        return self._root / f"{kept.name.replace('/', '-')}-{kept.offset}-{check}"


if __name__ == "__main__":
    serve(*sys.argv[1:5])
