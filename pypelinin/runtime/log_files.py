"""What jobs printed and used, kept by the Router: one file a run, appended to, never changed.

A file is entries one after the other, each a head and its bytes; a place in it is a number that
a reader goes on from. It is not flushed to the disk, and a full disk loses entries, no more:
evidence is no fact. What is too much for a run is left out; what is too much for all deletes
the files of runs that are over, the one longest untouched first.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgpack

from pypelinin.wire.codec import Blobs
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import ENDING, LOGS_BYTES_MAX, USAGE, Evidence, GetLogs, LogEntry, Logs

HEAD = struct.Struct("<4sBIQQI")
"""Mark, kind, job, fence, offset, length."""
MARK = b"\xf7log"
ENTRY_BYTES_MAX = 1024 * 1024
READ_BYTES = 1024 * 1024
ENTRIES_MAX = 2000
"""Of one answer, and ten times as many are looked at for it."""
LIVE_BYTES_MAX = 8 * 1024 * 1024
SAY_S = 60.0
RUN_SHARE = 4
"""A run may have this part of what all may have."""

Key = tuple[str, int, int]
"""Run, fence, stream."""


class LogFiles:
    """*is_open* says whether a run goes on, *warn* tells people."""

    def __init__(
        self,
        directory: Path,
        bytes_max: int,
        is_open: Callable[[str], bool],
        warn: Callable[[str], None],
    ) -> None:
        self.directory = directory
        self.bytes_max = bytes_max
        self._is_open = is_open
        self._warn = warn
        self._warn_at = 0.0
        self._sizes: dict[str, int] = {}
        """Of all files, the one longest untouched first."""
        self._total = 0
        self._incomplete: dict[str, None] = {}
        self._live: dict[Key, tuple[int, int, bytes]] = {}
        """(job, offset, bytes) of what is only to be looked at while it is new."""
        self._live_bytes = 0

    def start(self, known: Iterable[str]) -> None:
        """Learn what is there; files of runs that nobody knows are deleted."""
        runs = set(known)
        found = []
        with contextlib.suppress(OSError):
            self.directory.mkdir(mode=0o700, exist_ok=True)
            for entry in os.scandir(self.directory):
                if entry.name in runs:
                    about = entry.stat()
                    found.append((about.st_mtime, entry.name, about.st_size))
                else:
                    os.unlink(entry.path)
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self._total += size

    # --- writing -----------------------------------------------------------------------

    def keep(self, node: str, evidence: Evidence) -> None:
        """What jobs on *node* printed and used."""
        data, place = evidence.blobs[0], 0
        by_run: dict[str, list[bytes]] = {}
        for one in evidence.printed:
            part = data[place : place + one.size]
            place += one.size
            if one.live:
                self._look(one.run, one.job, one.fence, one.stream, one.offset, part)
                continue
            head = HEAD.pack(MARK, one.stream, one.job, one.fence, one.offset, len(part))
            by_run.setdefault(one.run, []).extend((head, part))
        for usage in evidence.usages:
            packed = msgpack.packb([
                node, usage.began_at, usage.wall_s, usage.cpu_s, usage.memory_peak,
                usage.own_peak, usage.stdout_bytes, usage.stderr_bytes,
            ])  # fmt: skip
            head = HEAD.pack(MARK, USAGE, usage.job, usage.fence, 0, len(packed))
            by_run.setdefault(usage.run, []).extend((head, packed))
            for stream in (0, 1):
                self._overlook((usage.run, usage.fence, stream))
        for run, parts in by_run.items():
            self._append(run, b"".join(parts))

    def keep_ending(self, run: str, job: int, fence: int, failure: Failure) -> None:
        """How an attempt failed."""
        packed = msgpack.packb(
            [failure.node, failure.cause, failure.type, failure.text, failure.traceback]
        )
        self._append(run, HEAD.pack(MARK, ENDING, job, fence, 0, len(packed)) + packed)

    def _append(self, run: str, data: bytes) -> None:
        if not run.isalnum():  # it is to be the name of a file
            return
        size = self._sizes.get(run, 0)
        if size + len(data) > self.bytes_max // RUN_SHARE or not self._make_room(run, len(data)):
            self._leave_out(run, "there is too much of it")
            return
        fd = -1
        try:
            fd = os.open(self._path(run), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            written = os.write(fd, data)
            if written < len(data):  # half an entry is none
                os.ftruncate(fd, size)
                raise OSError("the disk is full")
        except OSError as error:
            self._leave_out(run, str(error))
            return
        finally:
            if fd >= 0:
                os.close(fd)
        self._sizes.pop(run, None)
        self._sizes[run] = size + len(data)
        self._total += len(data)

    def _make_room(self, run: str, more: int) -> bool:
        """Whether *more* bytes fit, after files of runs that are over were deleted."""
        if self._total + more <= self.bytes_max:
            return True
        for other in list(self._sizes):
            if other != run and not self._is_open(other):
                self.drop([other])
                self._incomplete[other] = None
                if self._total + more <= self.bytes_max:
                    return True
        return False

    def _leave_out(self, run: str, why: str) -> None:
        self._incomplete[run] = None
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + SAY_S
            self._warn(f"What jobs of run {run} printed is not kept: {why}. Runs do not suffer.")

    def drop(self, runs: Iterable[str]) -> None:
        """Nobody asks for these any more."""
        for run in runs:
            size = self._sizes.pop(run, None)
            self._incomplete.pop(run, None)
            for key in [key for key in self._live if key[0] == run]:
                self._overlook(key)
            if size is not None:
                self._total -= size
                with contextlib.suppress(OSError):
                    os.unlink(self._path(run))

    def _path(self, run: str) -> str:
        return os.path.join(self.directory, run)

    # --- what is only to be looked at --------------------------------------------------

    def _look(self, run: str, job: int, fence: int, stream: int, offset: int, part: bytes) -> None:
        self._overlook((run, fence, stream))
        self._live[run, fence, stream] = (job, offset, part)
        self._live_bytes += len(part)
        while self._live_bytes > LIVE_BYTES_MAX:
            self._overlook(next(iter(self._live)))

    def _overlook(self, key: Key) -> None:
        found = self._live.pop(key, None)
        if found is not None:
            self._live_bytes -= len(found[2])

    # --- reading -----------------------------------------------------------------------

    def read(self, question: GetLogs, still_open: bool, running: int, node: str) -> Logs:
        """The next entries that are asked for; bounded in what is read and what is answered."""
        entries: list[LogEntry] = []
        parts: list[bytes] = []
        place, end = question.offset, question.offset >= self._sizes.get(question.run, 0)
        if not end:
            try:
                with open(self._path(question.run), "rb") as file:
                    place, end = _scan(file.fileno(), question, entries, parts)
            except OSError as error:
                self._leave_out(question.run, str(error))
                end = True
        if end:
            self._add_live(question, entries, parts)
        dropped = question.run in self._incomplete
        blobs = Blobs([b"".join(parts)])
        return Logs(
            question.request, tuple(entries), blobs, place, end, still_open, running, node, dropped
        )

    def _add_live(self, question: GetLogs, entries: list[LogEntry], parts: list[bytes]) -> None:
        room = LOGS_BYTES_MAX
        for (run, fence, stream), (job, offset, part) in self._live.items():
            if run == question.run and _wanted(question, stream, job, fence) and room > 0:
                entries.append(LogEntry(stream, job, fence, offset, len(part)))
                parts.append(part)
                room -= len(part)


def _wanted(question: GetLogs, kind: int, job: int, fence: int) -> bool:
    return (
        question.kinds >> kind & 1 == 1
        and question.job in (-1, job)
        and question.fence in (0, fence)
    )


def _scan(
    fd: int, question: GetLogs, entries: list[LogEntry], parts: list[bytes]
) -> tuple[int, bool]:
    """(where to go on, whether that is the end); what is no entry is passed over."""
    begin = question.offset
    data = os.pread(fd, READ_BYTES + ENTRY_BYTES_MAX + HEAD.size, begin)
    place, size, looked = 0, 0, 0
    while place + HEAD.size <= len(data) and place < READ_BYTES and size < LOGS_BYTES_MAX:
        mark, kind, job, fence, offset, length = HEAD.unpack_from(data, place)
        if mark != MARK or length > ENTRY_BYTES_MAX:
            found = data.find(MARK, place + 1)
            place = found if found >= 0 else max(place + 1, len(data) - len(MARK) + 1)
            continue
        after = place + HEAD.size + length
        if after > len(data):
            break
        looked += 1
        if looked > 10 * ENTRIES_MAX or len(entries) >= ENTRIES_MAX:
            break
        if _wanted(question, kind, job, fence):
            entries.append(LogEntry(kind, job, fence, offset, length))
            parts.append(data[place + HEAD.size : after])
            size += length
        place = after
    stopped = place >= READ_BYTES or size >= LOGS_BYTES_MAX
    stopped = stopped or looked > 10 * ENTRIES_MAX or len(entries) >= ENTRIES_MAX
    return begin + place, not stopped
