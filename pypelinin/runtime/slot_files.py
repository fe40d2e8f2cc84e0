"""The two files that the jobs of one slot print to, without a name: gone with their last user.

What was read is given back to the disk (a hole), so that they do not grow with the slot's life.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile

_HOLE = 3  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
HOLE_BYTES_MIN = 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class SlotFile:
    """One file; closed when the slot is gone and nobody has something to read there."""

    __slots__ = ("fd", "_punched", "_users")

    def __init__(self, directory: str) -> None:
        self.fd = _nameless(directory)
        self._punched = 0
        self._users = 1

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, begin: int, end: int) -> bytes:
        return os.pread(self.fd, end - begin, begin)

    def is_worth_freeing(self, end: int) -> bool:
        """Whether there is much before *end*."""
        return end - self._punched >= HOLE_BYTES_MIN

    def free(self, end: int) -> None:
        """Nobody will read what is before *end*."""
        page_end = end - end % 4096
        if not self.is_worth_freeing(page_end):
            return
        offset, length = ctypes.c_int64(self._punched), ctypes.c_int64(page_end - self._punched)
        self._punched = page_end  # a file system that cannot do it is not asked again
        _libc.fallocate(self.fd, _HOLE, offset, length)

    def begin_again(self) -> None:
        """Somebody has emptied it."""
        self._punched = 0

    def use(self) -> None:
        self._users += 1

    def let_go(self) -> None:
        self._users -= 1
        if not self._users:
            os.close(self.fd)


def slot_files(directory: str) -> tuple[SlotFile, SlotFile]:
    """One for standard output and one for standard error, or OSError and none."""
    first = SlotFile(directory)
    try:
        return first, SlotFile(directory)
    except OSError:
        first.let_go()
        raise


def _nameless(directory: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    with contextlib.suppress(OSError, AttributeError):
        return os.open(directory, flags | os.O_TMPFILE, 0o600)
    fd, name = tempfile.mkstemp(dir=directory)
    os.close(fd)
    try:
        return os.open(name, flags)
    finally:
        os.unlink(name)
