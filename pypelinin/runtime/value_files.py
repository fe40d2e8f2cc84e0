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
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pypelinin.errors import ValueLost
from pypelinin.runtime.values import Piece
from pypelinin.wire.definitions import KEPT

PROBE = "probe"
_NAME = re.compile(r"[0-9a-zA-Z]{1,64}/[0-9a-zA-Z.-]{1,64}")
_PAGE = mmap.ALLOCATIONGRANULARITY
ORPHAN_S = 3600.0
FRESH_S = 60.0
"""What was written more recently is in memory as it was written, unless the machine restarted."""


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


class ValueFiles:
    """A directory that this process can read and write.

    What is *passing* goes with the processes that use it: no crash comes between a write and a
    read, so sizes are all that is checked.
    """

    def __init__(self, root: str | os.PathLike[str], *, passing: bool = False) -> None:
        self.root = Path(root)
        self._passing = passing

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        path = self._path(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, flags, 0o600)
        try:
            summed = not self._passing
            found = [kept.pack() for kept in write_values(file, name, values, summed=summed)]
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
        found, written_at = self._map(kept)
        return found if self._passing or _is_fresh(written_at) else checked(kept, found)

    def _map(self, kept: Reference) -> tuple[memoryview, float]:
        """The value, and when its file was written."""
        low = kept.offset - kept.offset % _PAGE
        try:
            file = os.open(self._path(kept.name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = os.fstat(file)
                if status.st_size < kept.offset + kept.size:
                    raise ValueLost(f"The value {kept} is cut off.")
                length = kept.offset - low + kept.size
                mapped = mmap.mmap(file, length, access=mmap.ACCESS_COPY, offset=low)
            finally:
                os.close(file)
        except OSError as error:
            raise ValueLost(f"The value {kept} is gone: {error.strerror}.") from None
        return memoryview(mapped)[kept.offset - low :], status.st_mtime

    def close(self) -> None:
        """Nothing is open."""

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
            with os.scandir(self.root) as found:
                entries = list(found)
            for entry in entries:
                if entry.is_dir() and entry.name not in known and entry.stat().st_mtime < until:
                    self.drop(entry.name)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueLost(f"{name[:80]!r} is no name of a kept value.")
        return self.root / name


def write_values(
    file: int, name: str, values: Iterable[Sequence[Piece]], *, summed: bool = True
) -> Iterator[Reference]:
    """Append values to an open file, each at the beginning of a page."""
    at = 0
    for pieces in values:
        if at % _PAGE:
            at = os.lseek(file, at + -at % _PAGE, os.SEEK_SET)
        crc = size = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc) if summed else 0
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


def _is_fresh(written_at: float) -> bool:
    """Whether no disk can have spoiled it yet: reading it again for its CRC tells nothing."""
    age_s = time.time() - written_at
    return 0 <= age_s < min(FRESH_S, time.clock_gettime(time.CLOCK_BOOTTIME))


def checked(kept: Reference, data: memoryview) -> memoryview:
    """Raise ValueLost unless *data* is what was kept."""
    if len(data) != kept.size or zlib.crc32(data) != kept.crc:
        raise ValueLost(f"The value {kept} is not what was written.")
    return data
