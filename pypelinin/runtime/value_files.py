"""Large values: files in the Router's value directory, or behind its value server.

A packed value that is too large to travel with its job is kept in a file, and what travels
is its name: `v`, then name, offset, size and CRC. A file is written once, under a name that
nobody else uses, so it can be mapped without a lock. What cannot be read any more, or is not
what was written, is reported as lost, never guessed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import time
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pypelinin.errors import DefinitionError, ValueLost
from pypelinin.runtime.values import Piece
from pypelinin.wire.definitions import INLINE_BYTES_MAX, KEPT, ValuePlace, is_kept

PROBE = "probe"
_NAME = re.compile(r"[0-9a-zA-Z]{1,64}/[0-9a-zA-Z.-]{1,64}")
_PAGE = mmap.ALLOCATIONGRANULARITY
ORPHAN_S = 3600.0


class Reference(NamedTuple):
    """A value that is kept: *size* bytes at *offset* of the file *name*."""

    name: str
    offset: int
    size: int
    crc: int

    def pack(self) -> bytes:
        return KEPT + f"{self.name}|{self.offset}|{self.size}|{self.crc:08x}".encode()

    def __str__(self) -> str:
        return f"{self.name} at {self.offset} ({self.size:,} bytes, CRC {self.crc:08x})"


def reference(packed: bytes) -> Reference:
    """Raises ValueLost if it is none."""
    try:
        name, offset, size, crc = packed[1:].decode().split("|")
        found = Reference(name, int(offset), int(size), int(crc, 16))
    except ValueError:
        raise ValueLost(f"{packed[:80]!r} is no name of a kept value.") from None
    if not _NAME.fullmatch(name) or found.offset < 0 or found.size < 1:
        raise ValueLost(f"{packed[:80]!r} is no name of a kept value.")
    return found


class ValueStore(Protocol):
    """Keeps packed values under names."""

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        """Write values into one new file; returns their references. Raises OSError."""
        ...

    def get(self, packed: bytes) -> memoryview:
        """The packed value a reference stands for; changing it changes nobody else's.

        Raises ValueLost.
        """
        ...


class ValueFiles:
    """A directory that this process can read and write."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        path = self._path(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, flags, 0o600)
        try:
            found = [kept.pack() for kept in write_values(file, name, values)]
            if durable:
                os.fsync(file)
        except BaseException:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        os.close(file)
        if durable:
            _sync_directories(path.parent, self.root)
        return found

    def get(self, packed: bytes) -> memoryview:
        kept = reference(packed)
        return checked(kept, self._map(kept))

    def _map(self, kept: Reference) -> memoryview:
        low = kept.offset - kept.offset % _PAGE
        try:
            file = os.open(self._path(kept.name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(file).st_size < kept.offset + kept.size:
                    raise ValueLost(f"The value {kept} is cut off.")
                length = kept.offset - low + kept.size
                mapped = mmap.mmap(file, length, access=mmap.ACCESS_COPY, offset=low)
            finally:
                os.close(file)
        except OSError as error:
            raise ValueLost(f"The value {kept} is gone: {error.strerror}.") from None
        return memoryview(mapped)[kept.offset - low :]

    def drop(self, name: str) -> None:
        """Forget a file, or all of a directory."""
        with contextlib.suppress(OSError):
            if "/" in name:
                self._path(name).unlink()
            elif re.fullmatch(r"[0-9a-zA-Z]{1,64}", name):
                shutil.rmtree(self.root / name, ignore_errors=True)

    def sweep(self, known: Container[str]) -> None:
        """Drop what belongs to no run and is too old to be of one that is just submitted."""
        until = time.time() - ORPHAN_S
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(self.root)):
                if entry.is_dir() and entry.name not in known and entry.stat().st_mtime < until:
                    self.drop(entry.name)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueLost(f"{name[:80]!r} is no name of a kept value.")
        return self.root / name


def write_values(file: int, name: str, values: Iterable[Sequence[Piece]]) -> Iterator[Reference]:
    """Append values to an open file, each at the beginning of a page."""
    at = 0
    for pieces in values:
        if at % _PAGE:
            at = os.lseek(file, at + -at % _PAGE, os.SEEK_SET)
        crc = size = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
            size += memoryview(piece).nbytes
        _write_all(file, [memoryview(piece).cast("B") for piece in pieces])
        yield Reference(name, at, size, crc)
        at += size


def _write_all(file: int, pieces: list[memoryview]) -> None:
    while pieces:
        written = os.writev(file, pieces[:512])
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if pieces:
            pieces[0] = pieces[0][written:]


def _sync_directories(lowest: Path, highest: Path) -> None:
    for path in (lowest, highest):
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def checked(kept: Reference, data: memoryview) -> memoryview:
    """Raise ValueLost unless *data* is what was kept."""
    if len(data) != kept.size or zlib.crc32(data) != kept.crc:
        raise ValueLost(f"The value {kept} is not what was written.")
    return data


class Values:
    """Values on their way in or out of a process: small ones inline, large ones kept.

    *host* is where the Router is, for who cannot read its directory.
    """

    def __init__(self, place: ValuePlace, host: str = "127.0.0.1") -> None:
        self.place = place
        self._host = host
        self._store: ValueStore | None = None

    @property
    def store(self) -> ValueStore:
        """Raises DefinitionError if this cluster keeps no large values."""
        if self._store is None:
            self._store = self._found()
        return self._store

    def _found(self) -> ValueStore:
        place = self.place
        if place.directory and is_readable(place):
            return ValueFiles(place.directory)
        if not place.port:
            raise DefinitionError(
                f"A value of more than {INLINE_BYTES_MAX:,} bytes needs a Router that keeps "
                "values; this one keeps none."
            )
        from pypelinin.runtime.value_server import RemoteValues  # zmq: only where it is needed

        return RemoteValues(f"tcp://{self._host}:{place.port}", place.probe)

    def keep(self, name: str, pieces: Sequence[Piece], inline_max: int = INLINE_BYTES_MAX) -> bytes:
        """A packed value of this process as it travels. Raises DefinitionError, OSError."""
        if size_of(pieces) <= inline_max:
            return b"".join(pieces)
        return self.store.put(name, [pieces], durable=False)[0]

    def keep_all(self, run: str, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """What the jobs of *run* get, as it travels; durable before this returns, if that is
        what the Router wants. Raises DefinitionError, OSError.
        """
        large = {i: [v] for i, v in enumerate(values) if v and len(v) > INLINE_BYTES_MAX}
        if not large:
            return values
        kept = self.keep_arguments(run, large, durable=self.place.durable)
        return [kept.get(i, value) for i, value in enumerate(values)]

    def keep_arguments(
        self, run: str, values: Mapping[int, Sequence[Piece]], *, durable: bool
    ) -> dict[int, bytes]:
        """References to values of *run*, by their keys."""
        kept = self.store.put(f"{run}/arguments", values.values(), durable=durable)
        return dict(zip(values, kept, strict=True))

    def open(self, packed: bytes | memoryview) -> bytes | memoryview:
        """The packed value itself. Raises ValueLost."""
        return self.store.get(bytes(packed)) if is_kept(packed) else packed


def size_of(pieces: Iterable[Piece]) -> int:
    """Bytes of a packed value."""
    return sum(memoryview(piece).nbytes for piece in pieces)


def is_readable(place: ValuePlace) -> bool:
    """Whether this process can use the directory: on its host, or where its files are shared."""
    if not place.probe:
        return True
    try:
        found = Path(place.directory, PROBE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return found == place.probe and os.access(place.directory, os.R_OK | os.W_OK | os.X_OK)
