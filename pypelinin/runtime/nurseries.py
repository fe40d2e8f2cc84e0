"""The processes that forks of slots come from, and the way to each.

Usually it is one, exec'd and empty. A *session* is one that holds more: data, or functions. It is
named by the variable PYPELININ_SESSION of a slot's shape and started by who knows how, so that
slots of that shape begin with what it holds.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

import msgpack

from pypelinin.cluster.slots import Shape
from pypelinin.runtime.trees import die_with_parent

SESSION_VARIABLE = "PYPELININ_SESSION"
END_S = 5.0
_LOOK_S = 0.002
Fork = tuple[socket.socket, list[int]]
"""A slot's end of the link, and other descriptors."""


class Process(Protocol):
    """What `subprocess.Popen` and `ForkedProcess` share."""

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


Starter = Callable[[str, Sequence[int]], tuple[Process, socket.socket]]
"""Starts the session of a name; it inherits the descriptors. Returns it and the way to it."""


def session_of(shape: Shape) -> str:
    """The session that slots of this shape are forked from; empty: the usual nursery."""
    return dict(shape.env).get(SESSION_VARIABLE, "")


class Nursery:
    """One of them, and what is still to be sent to it."""

    def __init__(self, session: str, process: Process, control: socket.socket) -> None:
        self.session = session
        self.slots: set[int] = set()
        self._process = process
        self.control = control
        self._requests: deque[tuple[bytes, Fork | None]] = deque()

    def request(self, request: list[object], fork: Fork | None = None) -> None:
        self._requests.append((msgpack.packb(request), fork))
        self.flush()

    def flush(self) -> None:
        """Send as many as its socket takes; it answers forks, and then there is room.

        Raises OSError if it is gone.
        """
        while self._requests:
            request, fork = self._requests[0]
            fds = [] if fork is None else [fork[0].fileno(), *fork[1]]
            try:
                socket.send_fds(self.control, [request], fds)
            except BlockingIOError:
                return
            self._requests.popleft()
            if fork is not None:
                fork[0].close()

    def close(self) -> None:
        """End it, and all slots that were forked from it; returns when they are gone."""
        for _, fork in self._requests:
            if fork is not None:
                fork[0].close()
        self._requests.clear()
        self.control.close()
        end_process(self._process)


def end_process(process: Process) -> None:
    """Wait until it has ended, as it was told to; if it does not, kill it."""
    try:
        process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_nursery(temporary: str, kept: Sequence[int]) -> Nursery:
    """The usual one: with nothing in it; it and its slots inherit *kept*. Raises OSError."""
    return Nursery("", *spawned("pypelinin.runtime.nursery", [temporary], kept))


def spawned(
    module: str, words: Sequence[str], kept: Sequence[int]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new interpreter that runs *module*, and our end of the way to it.

    The number of its own end is its first argument, before *words*. Raises OSError.
    """
    ours, theirs = way()
    program = [sys.executable, "-P", "-m", module, str(theirs.fileno()), *words]
    fds = [theirs.fileno(), *kept]
    try:
        return subprocess.Popen(program, pass_fds=fds, stdin=subprocess.DEVNULL), ours
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def way() -> tuple[socket.socket, socket.socket]:
    """Our end and theirs of the way to a nursery."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


# --- forked from this process -------------------------------------------------------------------


class ForkedProcess:
    """A child of this process, with the face of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while self._code is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, 0 if until is None else os.WNOHANG)
                if pid:
                    self._code = os.waitstatus_to_exitcode(status)
                    break
                if until is None or time.monotonic() < until:
                    time.sleep(_LOOK_S)
                    continue
                raise subprocess.TimeoutExpired("nursery", timeout or 0.0)
            self._code = self._code if self._code is not None else 0  # somebody else waited for it
        return self._code

    def kill(self) -> None:
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def fork_nursery(kept: Sequence[int]) -> tuple[ForkedProcess, socket.socket]:
    """A nursery that is a fork of this process: its slots have all that is in memory here now.

    Only the calling thread goes on in it. It keeps the standard streams and *kept* open.
    Raises OSError.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    ours, theirs = way()
    try:
        pid = os.fork()
    except BaseException:
        ours.close()
        theirs.close()
        raise
    if not pid:
        be_nursery(parent, theirs, kept)
    theirs.close()
    return ForkedProcess(pid), ours


def be_nursery(parent: int, control: socket.socket, kept: Sequence[int] | None) -> NoReturn:
    """In a fresh fork of *parent*: serve, with nothing open but *kept* (None: all)."""
    try:
        die_with_parent(parent)
        gc.freeze()  # what is here is never looked at again, so it stays shared
        for handled in signal.valid_signals():
            if callable(signal.getsignal(handled)):
                signal.signal(handled, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C in the terminal is the caller's business
        number = control.detach()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if kept is not None:
            stay = sorted({0, 1, 2, number, *kept})
            for low, high in zip(stay, [*stay[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
                os.closerange(low + 1, high)
        from pypelinin.runtime import nursery

        nursery.live(socket.socket(fileno=number), "")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


__all__ = [
    "Fork", "ForkedProcess", "Nursery", "Process", "SESSION_VARIABLE", "Starter", "be_nursery",
    "end_process", "fork_nursery", "session_of", "spawned", "start_nursery", "way",
]  # fmt: skip
