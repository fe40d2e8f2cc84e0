"""Sessions of a Broker: processes that hold what jobs of a run read, and that nurseries are forked
from.

A session is named `module:function|key|more`. For each key there is one process on a node: it
calls the function with `key` and `more` before each nursery that it forks, so what was loaded
for one is there for the next, shared by copy-on-write. It ends with its Broker, or when the
file *key* is gone.

Run as `python -m pypelinin.runtime.session FD FUNCTION KEY`. Requests: *more*, with the nursery's
end of its socket. It answers nothing; a nursery that cannot be is one whose socket closes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence

from pypelinin.runtime.nurseries import be_nursery, end_process, spawned, way
from pypelinin.runtime.trees import die_with_parent

MODULE = "pypelinin.runtime.session"
LOOK_S = 5.0
"""How often is looked whether the file is still there."""


class Sessions:
    """Starts them; what `Slots` wants to have as *sessions*."""

    def __init__(self) -> None:
        self._holders: dict[str, tuple[subprocess.Popen[bytes], socket.socket]] = {}

    def __call__(self, name: str, kept: Sequence[int]) -> tuple[Held, socket.socket]:
        """Raises OSError if it cannot be started, also for a name that is none."""
        function, _, rest = name.partition("|")
        key, _, more = rest.partition("|")
        if not key or ":" not in function:
            raise OSError(f"{name[:80]!r} is no name of a session")
        ours, theirs = way()
        try:
            self._send(function, key, more, kept, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Held(ours), ours

    def _send(
        self, function: str, key: str, more: str, kept: Sequence[int], theirs: socket.socket
    ) -> None:
        for again in (False, True):
            if key not in self._holders:
                self._holders[key] = spawned(MODULE, [function, key], kept)
            process, control = self._holders[key]
            try:
                socket.send_fds(control, [more.encode() or b"|"], [theirs.fileno()])
                return
            except OSError:
                del self._holders[key]
                control.close()
                end_process(process)
                if again:
                    raise

    def close(self) -> None:
        """End all of them, with what was forked from them."""
        while self._holders:
            _, (process, control) = self._holders.popitem()
            control.close()
            end_process(process)


class Held:
    """A nursery that is a child of a session: it ends when its socket is closed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def kill(self) -> None: ...


# --- in the process ---------------------------------------------------------------------------


def serve(broker: socket.socket, function: str, key: str) -> None:
    """Until the Broker's end is closed, or the file is gone."""
    module, _, name = function.partition(":")
    prepare = getattr(importlib.import_module(module), name)
    poller = select.poll()
    poller.register(broker, select.POLLIN)
    while True:
        if not poller.poll(LOOK_S * 1000):
            if not os.path.exists(key):
                return
            continue
        data, fds, _, _ = socket.recv_fds(broker, 1 << 20, 1)
        if not data:
            return
        if not fds:
            continue
        try:
            prepare(key, "" if data == b"|" else data.decode())
            gc.freeze()
            _fork(fds[0], broker)
        except Exception:
            traceback.print_exc()
        finally:
            os.close(fds[0])


def _fork(fd: int, broker: socket.socket) -> None:
    parent = os.getpid()
    if not os.fork():
        broker.close()
        be_nursery(parent, socket.socket(fileno=fd), None)


def main() -> None:
    die_with_parent(os.getppid())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the Broker decides when we end
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for nurseries
    broker = socket.socket(fileno=int(sys.argv[1]))
    with contextlib.suppress(ConnectionError):
        serve(broker, sys.argv[2], sys.argv[3])
    os._exit(0)


if __name__ == "__main__":
    main()
