"""Room on the journal's disk that is kept for the time when it is full.

A full disk blocks even the checkpoint with which SQLite would make room. So a file stands by
that is deleted then: what runs at that time can still be recorded. When there is room again
the file is made anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

RESERVE_BYTES = 16 * 1024 * 1024
"""The size of the file, and what must be free beside it for new work to be taken."""
ROOMY_BYTES = 256 * 1024 * 1024
"""With so much free it is not the disk that is full."""
LOOK_S = 1.0
FILE = "reserve"


def is_full(error: Exception) -> bool:
    """Whether SQLite could not write for lack of room; then it has written nothing."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


class Reserve:
    """The file, and how much is free beside it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE
        self.short = ""
        """Why no new work should be taken; empty if there is room."""

    @property
    def held(self) -> bool:
        try:
            return self._path.stat().st_size >= RESERVE_BYTES
        except OSError:
            return False

    def free_bytes(self) -> int | None:
        """What this user may still write there; None if the file system does not tell."""
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize if found.f_blocks else None

    def look(self, fill: bool = True) -> None:
        """Take the room if it is there, and say in *short* if there is too little."""
        free = self.free_bytes()
        if fill and not self.held and (free is None or free >= 2 * RESERVE_BYTES):
            self._fill()
            free = self.free_bytes()
        scarce = free is not None and free < RESERVE_BYTES
        if scarce or not self.held:
            left = "too little" if free is None else f"only {free / 1e6:,.1f} MB"
            self.short = f"The disk of the journal {self._directory} is full: {left} free."
        else:
            self.short = ""

    def _fill(self) -> None:
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        except OSError:
            self.give()
        finally:
            os.close(file)

    def give(self) -> None:
        """Let SQLite have the room."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    @property
    def roomy(self) -> bool:
        """Whether so much is free that a lack of room cannot be the reason of anything."""
        free = self.free_bytes()
        return free is not None and free >= ROOMY_BYTES
