"""How many files this process may have open, and what to do when that is few.

ZeroMQ ends the whole process if it cannot open what it needs for a context, and spins while
there are connections that it cannot accept. So both are seen to before.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import socket
import stat
import struct

from pypelinin.errors import ClusterError

CONTEXT_FILES = 16
"""What a context with some sockets opens."""
ROUTER_FILES_MIN = 256
BROKER_FILES = 64
SLOT_FILES = 5
"""A link, both ends of a token pipe, and the two files that its jobs print to."""
PRINTED_FILES = 2
"""Those two: not there if nothing of what jobs print is kept."""
SPARE_MIN = 24
RESERVE = 100
"""Connections that may wait to be accepted, and files held for them."""
LOOK_S = 0.5
_OWN = "/proc/self/fd"
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A packet filter of one instruction: return 0 bytes of the packet."""

_REMEDY = "Raise the limit: `ulimit -n`, LimitNOFILE= of systemd, --ulimit nofile= of Docker."


def raised_limit(wanted: int) -> int:
    """Raise this process's limit of open files to *wanted*, as far as it may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft >= wanted:
        return soft
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def demand_for_router() -> None:
    """Raises ClusterError if there could hardly be any members."""
    limit = raised_limit(65_536)
    if limit < ROUTER_FILES_MIN:
        raise ClusterError(
            f"A Router needs at least {ROUTER_FILES_MIN} open files, this one may have {limit}.",
            remedy=_REMEDY,
        )


def demand_for_slots(slots: int, keeps_output: bool = True) -> None:
    """Raises ClusterError, which says how many slots there could be."""
    each = SLOT_FILES if keeps_output else SLOT_FILES - PRINTED_FILES
    wanted = BROKER_FILES + each * slots
    limit = raised_limit(wanted)
    if limit >= wanted:
        return
    most = (limit - BROKER_FILES) // each
    can = f"there can be {most} slots" if most > 0 else "there can be none"
    raise ClusterError(
        f"A Broker with {slots} slots needs {wanted} open files, this one may have {limit}: {can}.",
        remedy=f"{'Say --slots ' + str(most) + ', or raise' if most > 0 else 'Raise'}"
        f"{_REMEDY.removeprefix('Raise')}",
    )


def demand(count: int) -> None:
    """Raises ClusterError unless so many more files can be opened now."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise ClusterError(
            f"Too many open files: a connection needs {count} more, there is room for "
            f"{len(opened)}.",
            remedy=_REMEDY,
        ) from None
    finally:
        for file in opened:
            os.close(file)


def files_spare() -> int:
    """How many more files this process may open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 30
    return limit - len(os.listdir(_OWN))


def _listeners(ports: list[int]) -> dict[int, socket.socket]:
    """Own handles of what listens on these ports here."""
    listeners: dict[int, socket.socket] = {}
    for name in os.listdir(_OWN) if os.path.isdir(_OWN) else ():
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # that which listed them is gone
            continue
        with contextlib.suppress(OSError, IndexError, TypeError):
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            port = found.getsockname()[1]
            if listens and port in ports and port not in listeners:
                found.setblocking(False)  # for ZeroMQ, too: it looks before it accepts
                listeners[port] = found
                continue
        found.close()
    return listeners


class Gate:
    """Lets nobody new in while there are hardly any files left; who is in stays.

    Who comes then is not answered, as by a host that is off, and goes on trying.
    """

    def __init__(self, ports: list[int]) -> None:
        self._listeners = list(_listeners(ports).values()) if ports else []
        self._reserve: list[int] = []
        self._look_at = 0.0
        self.shut = False
        if ports:
            self._refill()

    def _refill(self) -> None:
        with contextlib.suppress(OSError):
            if files_spare() <= RESERVE + 2 * SPARE_MIN:
                return  # others need them more
            while len(self._reserve) < RESERVE:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def look(self, now: float) -> str:
        """Shut it, or open it again; returns what happened, if something did."""
        if now < self._look_at or not self._listeners:
            return ""
        self._look_at = now + LOOK_S
        try:
            spare = files_spare()
        except OSError:  # not even one for the look
            spare = 0
        if not self.shut and spare < SPARE_MIN:
            self._close_it()
            return "Too many open files: no more connections are taken. " + _REMEDY
        if self.shut and spare >= 2 * SPARE_MIN + RESERVE - len(self._reserve):
            self._refill()
            self._open_it()
            return "There are files to open again: connections are taken."
        return ""

    def _close_it(self) -> None:
        self.shut = True
        code = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
        program = struct.pack("HP", 1, ctypes.addressof(code))
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # where there are no filters
                listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
            self._turn_away(listener)

    def _open_it(self) -> None:
        self.shut = False
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)

    def _turn_away(self, listener: socket.socket) -> None:
        """Whoever waits at the gate: each file of the reserve is worth one of them."""
        while True:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                return
            except OSError:
                if not self._reserve:
                    return
                os.close(self._reserve.pop())

    def close(self) -> None:
        """What listens on these ports goes on, open."""
        if self.shut:
            self._open_it()
        for listener in self._listeners:
            listener.close()
        for file in self._reserve:
            os.close(file)
        self._listeners, self._reserve = [], []
