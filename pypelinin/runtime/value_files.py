"""Large values: files in the Router's value directory, or behind its value server.

A packed value that is too large to travel with its job is kept in a file, and what travels
is its name: `v`, then name, offset, size and a check. A file is written once, under a name
that nobody else uses, so it can be mapped without a lock. What cannot be read any more, or is
not what was written, is reported as lost, never guessed.

The check is a CRC, or says since which start of the machine the value is there. Between two
starts the kernel gives back what was written, whoever is killed meanwhile; what was there
before counts only if the file is sealed: all of it was on the disk before its mode said so
(see `sealing`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import shutil
import time
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pypelinin.errors import ValueLost
from pypelinin.runtime.values import Piece
from pypelinin.wire.definitions import KEPT

PROBE = "probe"
SEALED = 0o400
_OPEN = 0o600
_CHECK = re.compile(r"[0-9a-f]{8}|@[0-9a-f]{8}")
_NAME = re.compile(r"[0-9a-zA-Z]{1,64}/[0-9a-zA-Z.-]{1,64}")
_PAGE = mmap.ALLOCATIONGRANULARITY
ORPHAN_S = 3600.0


class Reference(NamedTuple):
    """A value that is kept: *size* bytes at *offset* of the file *name*.

    *check* is the CRC in eight digits, or the `this_start` of the machine.
    """

    name: str
    offset: int
    size: int
    check: str

    def pack(self) -> bytes:
        return KEPT + "|".join(map(str, self)).encode()

    @property
    def summed(self) -> bool:
        return not self.check.startswith("@")

    def __str__(self) -> str:
        how = "CRC " + self.check if self.summed else "start " + self.check[1:]
        return f"{self.name} at {self.offset} ({self.size:,} bytes, {how})"


def reference(packed: bytes) -> Reference:
    """Raises ValueLost if it is none."""
    try:
        name, offset, size, check = packed[1:].decode().split("|")
        found = Reference(name, int(offset), int(size), check)
    except ValueError:
        raise ValueLost(f"{packed[:80]!r} is no name of a kept value.") from None
    sound = _NAME.fullmatch(name) and _CHECK.fullmatch(check)
    if not sound or found.offset < 0 or found.size < 1:
        raise ValueLost(f"{packed[:80]!r} is no name of a kept value.")
    return found


@lru_cache(maxsize=1)
def this_start() -> str:
    """A name for the time since this machine was started; empty if it has none."""
    try:
        return "@" + Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
    except (OSError, ValueError):
        return ""


class NotSealed(ValueLost):
    """It was not on the disk yet, as far as anybody knows, when its machine was restarted."""


class ValueFiles:
    """A directory that this process can read and write.

    *start* is that of the machine whose disk it is on. Who is there sums only what is synced.
    """

    def __init__(self, root: str | os.PathLike[str], start: str = "") -> None:
        self.root = Path(root)
        self._start = start if start == this_start() else ""

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        path = self._path(name)
        file = self._created(path)
        try:
            check = "" if durable else self._start
            if check:
                fcntl.flock(file, fcntl.LOCK_SH)  # nobody may seal it yet
            found = [kept.pack() for kept in write_values(file, name, values, check)]
            if durable:
                seal(file)
        except BaseException:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        os.close(file)
        if durable:
            sync_directories(path.parent, self.root)
        return found

    def _created(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            try:
                return os.open(path, flags, _OPEN)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError:  # of somebody who had that name and was killed
                path.unlink(missing_ok=True)

    def get(self, packed: bytes) -> memoryview:
        kept = reference(packed)
        return checked(kept, self._map(kept))

    def part(self, kept: Reference) -> bytes:
        """Those bytes for somebody else, who checks them if they are summed."""
        with open(self._path(kept.name), "rb") as file:
            _check_start(kept, file.fileno())
            file.seek(kept.offset)
            return file.read(kept.size)

    def _map(self, kept: Reference) -> memoryview:
        low = kept.offset - kept.offset % _PAGE
        try:
            file = os.open(self._path(kept.name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check_start(kept, file)
                if os.fstat(file).st_size < kept.offset + kept.size:
                    raise ValueLost(f"The value {kept} is cut off.")
                length = kept.offset - low + kept.size
                mapped = mmap.mmap(file, length, access=mmap.ACCESS_COPY, offset=low)
            finally:
                os.close(file)
        except OSError as error:
            raise ValueLost(f"The value {kept} is gone: {error.strerror}.") from None
        return memoryview(mapped)[kept.offset - low :]

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
    file: int, name: str, values: Iterable[Sequence[Piece]], check: str = ""
) -> Iterator[Reference]:
    """Append values to an open file, each at the beginning of a page; no *check*: sum them."""
    at = 0
    for pieces in values:
        if at % _PAGE:
            at = os.lseek(file, at + -at % _PAGE, os.SEEK_SET)
        crc = size = 0
        for piece in pieces:
            crc = crc if check else zlib.crc32(piece, crc)
            size += memoryview(piece).nbytes
        _write_all(file, [memoryview(piece).cast("B") for piece in pieces])
        yield Reference(name, at, size, check or f"{crc:08x}")
        at += size


def _write_all(file: int, pieces: list[memoryview]) -> None:
    while pieces:
        written = os.writev(file, pieces[:512])
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if pieces:
            pieces[0] = pieces[0][written:]


def sync_directories(lowest: Path, highest: Path) -> None:
    """A file in *lowest*, which is in *highest*, is found again after a crash."""
    for path in (lowest, highest):
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def seal(file: int) -> None:
    """All of an open file is on the disk, and then its mode says so."""
    os.fsync(file)
    os.fchmod(file, SEALED)


def is_sealed(status: os.stat_result) -> bool:
    return not status.st_mode & _OPEN & ~SEALED


def _check_start(kept: Reference, file: int) -> None:
    if not kept.summed and kept.check != this_start() and not is_sealed(os.fstat(file)):
        raise NotSealed(f"The value {kept} was not on the disk when the machine restarted.")


def checked(kept: Reference, data: memoryview) -> memoryview:
    """Raise ValueLost unless *data* is what was kept."""
    if len(data) != kept.size or (kept.summed and f"{zlib.crc32(data):08x}" != kept.check):
        raise ValueLost(f"The value {kept} is not what was written.")
    return data
