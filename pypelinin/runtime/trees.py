"""Processes below a process: who they are, what memory they use, and their end.

Linux only, read from /proc; elsewhere a process has no descendants that we know of. A process
that adopts orphans (`adopt_orphans`) has all that its children left behind below it, however
often they forked.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_S = os.sysconf("SC_CLK_TCK")
FREEZE_ROUNDS = 50
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when the thread that forked it ends; at once if it has."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def be_told_of_the_parents_end() -> None:
    """SIGCHLD for this process when its parent ends, instead of any signal that was asked for
    before: to end what is below it needs time."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGCHLD)


def adopt_orphans() -> None:
    """Whoever loses his parent below this process becomes its child."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int) -> list[int]:
    """The processes that *pid* and its threads are the parents of."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def descendants(pids: Iterable[int]) -> list[int]:
    """All processes below *pids*, those too, each once; parents first."""
    found = dict.fromkeys(pids)
    stack = list(found)
    while stack:
        for child in children(stack.pop()):
            if child not in found:
                found[child] = None
                stack.append(child)
    return list(found)


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory that are there for *pids*; what two of them share counts twice."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1])
    return total * PAGE_BYTES


def proportional(pids: Iterable[int]) -> int:
    """The same with what is shared divided among who shares it, and what is swapped out; slow."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith(("Pss:", "SwapPss:")):
                    total += int(line.split()[1]) * 1024
    return total


def usage(pids: Iterable[int]) -> tuple[float, int]:
    """(CPU seconds of *pids* and of what they waited for, bytes of the largest peak of one)."""
    ticks, peak = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{pid}/stat") as file:
                ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
            with open(f"/proc/{pid}/status") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        peak = max(peak, int(line.split()[1]) * 1024)
    return ticks / TICKS_S, peak


def kill_all(roots: Iterable[int]) -> None:
    """SIGKILL for *roots* and all below, even if they fork as fast as they can.

    First all are stopped, so that none can fork any more while the others are found.
    """
    stopped: dict[int, None] = {}
    roots = list(roots)
    for _ in range(FREEZE_ROUNDS):
        fresh = [pid for pid in descendants(roots) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            stopped[pid] = None
            _signal(pid, signal.SIGSTOP)
    for pid in reversed(stopped):  # children first: none is handed to anybody else
        _signal(pid, signal.SIGKILL)


def reap(
    pids: Iterable[int], deadline_s: float, used: Callable[[Any], None] | None = None
) -> list[int]:
    """Wait for the end of *pids*, children of this process; returns those that did not end.

    *used* is given the resource usage of each that did.
    """
    left = list(pids)
    until = time.monotonic() + deadline_s
    while True:
        left = [pid for pid in left if not _reaped(pid, used)]
        if not left or time.monotonic() >= until:
            return left
        time.sleep(0.001)


def _reaped(pid: int, used: Callable[[Any], None] | None) -> bool:
    try:
        found, _, resources = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    if found == pid and used is not None:
        used(resources)
    return found == pid


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


__all__ = [
    "adopt_orphans", "be_told_of_the_parents_end", "children", "descendants", "die_with_parent",
    "kill_all", "proportional", "reap", "resident", "usage",
]  # fmt: skip
