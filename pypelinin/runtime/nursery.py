"""The nursery: a small process that forks slots on request.

Run as `python -m pypelinin.runtime.nursery FD DIRECTORY`: one thread, no ZeroMQ, nothing of the
user's, so a fork is safe and cheap. It tells the Broker of each fork and each death, and
ends with the Broker's end of the socket; its slots end with it (PDEATHSIG), and DIRECTORY, if
it is not empty, is removed.

Requests: ["fork", slot] with the descriptors of the slot's socket and token pipe.
Answers: ["forked", slot, pid] or ["not forked", slot, why], ["exited", pid, wait status].
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import shutil
import signal
import socket
import sys

import msgpack

from pypelinin.runtime import child

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when its parent ends; at once if that has happened."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


class Nursery:
    def __init__(self, broker: socket.socket) -> None:
        self.broker = broker
        self.woken, self._wake = socket.socketpair()
        self.woken.setblocking(False)
        self._wake.setblocking(False)

    def serve(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the Broker decides when we end
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())
        gc.collect()
        gc.freeze()
        poller = select.poll()
        poller.register(self.broker, select.POLLIN)
        poller.register(self.woken, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == self.woken.fileno():
                    self.reap()
                elif not self.request():
                    return

    def request(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.broker, 65536, 2)
        if not data:
            return False
        _, slot = msgpack.unpackb(data)
        parent = os.getpid()
        try:
            pid = os.fork()
            answer = ["forked", slot, pid]
        except OSError as error:  # too many processes, no memory
            answer = ["not forked", slot, str(error)]
        else:
            if not pid:
                self.become_slot(parent, *fds)
        for fd in fds:
            os.close(fd)
        self.broker.send(msgpack.packb(answer))
        return True

    def become_slot(self, parent: int, link: int, tokens: int) -> None:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C in the terminal is the Broker's business
        self.broker.close()
        self.woken.close()
        self._wake.close()
        child.main(socket.socket(fileno=link), tokens)

    def reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.woken.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(found.si_pid, signal.SIGKILL)  # what its jobs left behind
                pid, status = os.waitpid(found.si_pid, 0)
                self.broker.send(msgpack.packb(["exited", pid, status]))


def main() -> None:
    parent = os.getppid()
    die_with_parent(parent)
    nursery = Nursery(socket.socket(fileno=int(sys.argv[1])))  # a late SIGCHLD writes to it
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        nursery.serve()
    if sys.argv[2:] and sys.argv[2]:  # its owner may have been killed
        shutil.rmtree(sys.argv[2], ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
