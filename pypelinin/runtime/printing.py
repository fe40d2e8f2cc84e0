"""In a slot: where its jobs print to, and the notes about those that printed or took time.

Standard output and error are files that the Broker reads, too. A job that printed nothing and
took no time costs a test and a flush; nothing is said of it.
"""

from __future__ import annotations

import errno
import faulthandler
import io
import os
import resource
import sys
import time
from typing import Any, Final

QUICK_S: Final = 0.0002
"""Of shorter jobs only what Python printed is looked at; the rest is seen with the next one."""
USAGE_S: Final = 0.001
"""What shorter jobs use is told only if they print or fail."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Raw(io.FileIO):
    """A file that drops what a full disk does not take."""

    def __init__(self, fd: int, marks: list[bool]) -> None:
        super().__init__(fd, "w", closefd=False)
        self._marks = marks

    def write(self, data: Any) -> int:
        if not self._marks:
            self._marks.append(True)
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return memoryview(data).nbytes

    def seekable(self) -> bool:
        return False


class Buffered(io.BufferedWriter):
    """A buffer that says that something came."""

    def __init__(self, raw: Raw, marks: list[bool]) -> None:
        super().__init__(raw)
        self._marks = marks

    def write(self, data: Any) -> int:
        if not self._marks:
            self._marks.append(True)
        return super().write(data)


class Witness:
    """What a slot tells of its jobs beside their outcomes."""

    def __init__(self, stdout: int, stderr: int) -> None:
        """Jobs print to these files from now on; called once, in the slot's process."""
        self._fds = (stdout, stderr)
        for fd in self._fds:
            os.set_inheritable(fd, False)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        self.marks: list[bool] = []
        out = io.TextIOWrapper(
            Buffered(Raw(1, self.marks), self.marks), "utf-8", "backslashreplace",
            line_buffering=True, write_through=True,
        )  # fmt: skip
        err = io.TextIOWrapper(
            Raw(2, self.marks), "utf-8", "backslashreplace", write_through=True
        )  # fmt: skip
        sys.stdout, sys.stderr = out, err
        sys.__stdout__, sys.__stderr__ = out, err  # type: ignore[misc]  # typeshed has them final
        faulthandler.enable(2, all_threads=False)
        self._flush = out.flush
        self._ends = (0, 0)
        self._children_cpu_s = self._children_peak = 0.0
        self._peaks = _peaks_file()
        self._cpu_mark_s = 0.0

    def begin(self) -> list[bool]:
        """A lot begins. Returns what is not empty when Python has printed something."""
        self._cpu_mark_s = time.process_time()
        return self.marks

    def note(self, position: int, elapsed_s: float, failed: bool) -> list[object] | None:
        """What is to be told of the job that has just ended, if anything; to be asked if it was
        not quick, or failed, or there are marks.

        ["note", position, end of stdout, end of stderr, seconds, CPU seconds of it, peak memory,
        whether that is its own, CPU seconds of the slot so far]
        """
        if self.marks:
            try:
                self._flush()
            except (OSError, ValueError):  # somebody closed it
                self._flush = _nothing
            self.marks.clear()
        ends = (os.lseek(self._fds[0], 0, os.SEEK_END), os.lseek(self._fds[1], 0, os.SEEK_END))
        if elapsed_s < USAGE_S and not failed and ends == self._ends:
            return None
        self._ends = ends
        cpu_s, total_s = self._cpu()
        return ["note", position, *ends, elapsed_s, cpu_s, *self._peak(), total_s]

    def _cpu(self) -> tuple[float, float]:
        """(seconds since the last note or the lot's begin, all of this slot), children too."""
        now_s = time.process_time()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        children_s = children.ru_utime + children.ru_stime
        used_s = now_s - self._cpu_mark_s + children_s - self._children_cpu_s
        self._cpu_mark_s, self._children_cpu_s = now_s, children_s
        return used_s, now_s + children_s

    def _peak(self) -> tuple[int, bool]:
        """(bytes, whether that is of this job alone): of the largest of its processes."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        if child > self._children_peak:  # one that is larger than all before it
            self._children_peak, own = child, max(own, child)
        exact = self._peaks >= 0
        if exact:
            try:
                os.write(self._peaks, b"5")  # the next one begins at what is there now
            except OSError:
                self._peaks, exact = -1, False
        return own * 1024, exact


def _peaks_file() -> int:
    """Where the kernel can be asked to forget the peak of this process; -1 if nowhere."""
    try:
        return os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _nothing() -> None:
    """In place of a flush."""
