"""A stream's state as a file, written aside and moved into place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from pypelinin.errors import DefinitionError
from pypelinin.streams.inside import ambient

VERSION = 1
MAGIC = b"pypelinin stream\n"
SUM_BYTES = 4
HOLDER_BYTES = 500
TRIES_MAX = 100
VARIABLE = "PYPELININ_CHECKPOINT"
"""The file, where the program does not name one."""
_named: dict[str, int] = {}
"""By file that the environment names: streams of this process that keep their state there."""


def named_by_environment() -> str | None:
    """Where a stream keeps its state that does not say so: FILE, the second one FILE.2.

    None where nothing is named, and within a stream: its functions are called again anyway.
    """
    path = os.environ.get(VARIABLE)
    if not path or ambient.is_inside():
        return None
    number = _named[path] = _named.get(path, 0) + 1
    return path if number == 1 else f"{path}.{number}"


class Checkpoint:
    """The file of one stream; *described* is what its program is told by."""

    def __init__(self, path: str | os.PathLike[str], described: Any, interval_s: float) -> None:
        self.path = Path(path).absolute()
        self._described = described
        self._interval_s = interval_s
        self._written = time.monotonic()
        if not self.path.parent.is_dir():
            raise DefinitionError(
                f"The checkpoint {self.path} cannot be written: there is no such folder.",
                remedy="Make the folder first.",
            )

    def _try_to_write(self) -> None:
        aside = self._aside
        try:
            aside.touch()
            aside.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> DefinitionError:
        what = error.strerror or error
        return DefinitionError(f"The checkpoint {self.path} cannot be written: {what}.")

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.new")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No other stream has this file meanwhile: FILE.lock is locked, and says who has it.

        Raises DefinitionError if another one has, or if there cannot be such a file.
        """
        path = self.path.with_name(f"{self.path.name}.lock")
        lock = self._locked(path)
        try:
            with contextlib.suppress(OSError):  # a full disk ends no stream
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            self._try_to_write()  # now that nobody else is about to
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()  # first: who has opened it already looks once more
                fcntl.flock(lock, fcntl.LOCK_UN)  # a process that was forked may have it open
            os.close(lock)

    def _locked(self, path: Path) -> int:
        for _ in range(TRIES_MAX):
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._unwritable(error) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, HOLDER_BYTES, 0).decode(errors="replace")
                os.close(lock)
                raise DefinitionError(
                    f"The checkpoint {self.path} is in use: {holder or 'another process'} runs "
                    "a stream with it.",
                    remedy="Wait for it, or name another file.",
                ) from None
            except OSError:  # a file system without locks
                return lock
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    return lock
            os.close(lock)  # who had it has just ended, and removed it
        raise DefinitionError(
            f"The checkpoint {self.path} cannot be locked: {path} is another file each time.",
            remedy="Keep it on another file system.",
        )

    def read(self) -> dict[str, Any] | None:
        """What was kept last; None if there is no file.

        Raises DefinitionError for another program's, another version's, or a damaged file.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DefinitionError(f"The checkpoint {self.path} cannot be read: {error}.") from error
        try:
            if not data.startswith(MAGIC):
                raise ValueError("it does not begin as a checkpoint does")
            summed, rest = data[len(MAGIC) : len(MAGIC) + SUM_BYTES], data[len(MAGIC) + SUM_BYTES :]
            if summed != _sum_of(rest):
                raise ValueError("its checksum is not that of its content")
            version, described, kept = msgpack.unpackb(rest, strict_map_key=False)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise DefinitionError(
                f"{self.path} is no whole checkpoint: {error}. It was not touched.",
                remedy="Move it away to begin anew.",
            ) from None
        if version != VERSION:
            raise DefinitionError(
                f"{self.path} is the checkpoint of another version of pypelinin: its format is "
                f"{version!r}, this one's {VERSION}.",
                remedy="Move it away to begin anew, or go on with that version.",
            )
        if described != self._described:
            raise DefinitionError(
                f"{self.path} is the checkpoint of another program: its stages are "
                f"{_names(described)}, those of this one {_names(self._described)}.",
                remedy="Move it away to begin anew, or name another file.",
            )
        found: dict[str, Any] = kept
        return found

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._written >= self._interval_s

    def write(self, kept: dict[str, Any]) -> None:
        """Put *kept* in the place of what was there. Raises OSError; then that is still there."""
        self._written = time.monotonic()  # what fails is tried again after the interval
        data = msgpack.packb((VERSION, self._described, kept), use_bin_type=True)
        try:
            with self._aside.open("wb") as file:
                file.write(MAGIC + _sum_of(data) + data)
                file.flush()
                os.fsync(file.fileno())
            self._aside.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                self._aside.unlink()  # it may be what fills the disk
            raise
        self._written = time.monotonic()

    def remove(self) -> None:
        """The stream is over."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _sum_of(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(SUM_BYTES, "big")


def _names(described: Any) -> str:
    found = [name for stages, reduce, _ in described for _, name in [*stages, [0, reduce]] if name]
    return ", ".join(found) or "none"


__all__ = ["VARIABLE", "Checkpoint", "named_by_environment"]
