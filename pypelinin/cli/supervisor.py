"""The keeper's side of `cli.supervised`: starts daemons, starts them again, stops them in order.

One Supervisor is behind `pypelinin up` and one behind every `LocalCluster`. Each daemon has
a session of its own, so a terminal's Ctrl-C reaches only its keeper.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import IO, Any

from pypelinin.cli.addresses import reachable
from pypelinin.cli.supervision import rebuilt, send
from pypelinin.errors import ClusterError, DefinitionError, PypelininError
from pypelinin.runtime.keys import OWN, OWN_ADMIN, directory_of, own_key, ring_of

SUPERVISED = "pypelinin.cli.supervised"
ROLES = ("router", "broker", "pipeliner")
"""In the order of their start: the Broker has most to do before it is of use."""
LAST_ROLES = ("broker", "pipeliner", "router")
"""In the order of their end: who ends still tells the Router."""
READY_S = 30.0
AGAIN_FIRST_S = 0.2
AGAIN_MAX_S = 30.0
LIVED_S = 60.0
"""Who lived as long is started again at once; who did not, after twice the pause before."""
KILL_S = 5.0
"""From the order to stop at once to SIGKILL."""
TAIL_CHARACTERS = 2000
Output = IO[Any] | int | None
FarRoles = Mapping[str, Callable[[str], "KeptDaemon"]]
"""Role -> what starts its daemon, given the address of the API: a Broker on another host."""


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C comes after the block: a process that was begun is known then, and can be ended."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(signal.SIGINT, came[-1])


class KeptDaemon:
    """One process of one role, and the socket to it."""

    def __init__(self, role: str, output: Output) -> None:
        self.role = role
        self.started_at = time.monotonic()
        self.answer: dict[str, Any] = {}
        """All it has said: "ready", and "error" if it ended by itself."""
        self._received = b""
        self.link, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # -P: a module of the working directory must not stand in for one of ours
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "pypelinin.cli.supervised",
                    role,
                    str(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def configure(self, values: Mapping[str, Any]) -> None:
        send(self.link, dict(values))

    def read(self) -> bool:
        """Take what it says; False when it has ended."""
        try:
            data = self.link.recv(65536)
        except ConnectionError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(line)
        return bool(data)

    def _take(self, line: bytes) -> None:
        self.answer |= json.loads(line)

    def ask_end(self) -> None:
        """Asked once: finish what runs. Twice: stop at once."""
        self.process.terminate()

    def ended(self) -> str:
        """How it ended, once `read` said so."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(KILL_S)
            if "error" in self.answer:
                return rebuilt(self.answer["error"]).what
            return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return "its connection broke"

    def close(self) -> None:
        """End it now, if it has not."""
        self.process.kill()
        self.process.wait()
        self.link.close()


class Supervisor:
    """Keeps daemons with *values* as settings; *roles* says which.

    *output* takes what they print, *say* what is worth telling, *changed* is called when a
    daemon was started again. *far* are daemons that are tried again also if they could not
    start, while `failures` says why. `start`, then `watch` until `ask_stop`.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        roles: Iterable[str] = ROLES,
        *,
        output: Output = None,
        say: Callable[[str], object] = bool,
        changed: Callable[[], object] = bool,
        far: FarRoles = MappingProxyType({}),
    ) -> None:
        _checked_plain(values)
        self.values = {"path": [], **values}
        self.api = self.broadcast = ""
        self.access = ""
        """The access file of who starts this, if the Router has keys."""
        self.daemons: dict[str, KeptDaemon] = {}
        self.failures: dict[str, PypelininError] = {}
        """Why the far daemons that are not there could not start."""
        self._far = far
        self._roles = tuple(roles)
        self._output = output
        self._say = say
        self._changed = changed
        self._again: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._asked = 0
        self._closed = False
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    # --- starting ----------------------------------------------------------------------

    def start(self) -> None:
        """All daemons, the Router serving. Raises what kept one of them from it."""
        try:
            for role in self._roles:
                with uninterrupted():
                    self.daemons[role] = KeptDaemon(role, self._output)
            self.access = self._own_key(*OWN_ADMIN)
            for role in (*self._roles[1:], *self._far):
                self._own_key(*OWN[role.split()[0]])  # before the Router looks at them
            self.daemons["router"].configure(self.values)
            ready = self._ready(self.daemons["router"], time.monotonic() + READY_S)
            self.api = reachable(ready["api"], "the Router")
            self.broadcast = reachable(ready["broadcast"], "the Router")
            self.values |= {"api": ready["api"], "broadcast": ready["broadcast"]}
            for role in self._roles[1:]:
                self.daemons[role].configure(self._values_for(role))
            for role in self._far:
                self._start(role)
        except BaseException:
            self.close()
            raise

    def _start(self, role: str) -> None:
        far = self._far.get(role)
        with uninterrupted():
            self.daemons[role] = far(self.api) if far else KeptDaemon(role, self._output)
        self.daemons[role].configure(self._values_for(role))

    def _values_for(self, role: str) -> dict[str, Any]:
        if role == "router":
            return self.values
        return {**self.values, "api": self.api, "access": self._own_key(*OWN[role.split()[0]])}

    def _own_key(self, name: str, role: str) -> str:
        """The access file of one of ours; "" if the Router has no keys."""
        given, journal = self.values.get("keys") or "", self.values["journal"]
        if ring_of(given, journal) is None:
            return ""
        return own_key(directory_of(given, journal), name, role)

    def _ready(self, daemon: KeptDaemon, until: float) -> dict[str, str]:
        """What *daemon* says of itself once it is ready."""
        while "ready" not in daemon.answer:
            if not self._readable([daemon], until - time.monotonic()):
                raise ClusterError(f"The {daemon.role} was not ready within {READY_S:g} s.")
            if not daemon.read():
                raise self.failure(daemon)
        ready: dict[str, str] = daemon.answer["ready"]
        return ready

    def failure(self, daemon: KeptDaemon) -> PypelininError:
        """Why *daemon* ended: its own words if it had any."""
        how = daemon.ended()
        if "error" in daemon.answer:
            return rebuilt(daemon.answer["error"])
        return ClusterError(f"The {daemon.role} ended ({how}).{self._last_words()}")

    def _last_words(self) -> str:
        name = getattr(self._output, "name", None)
        if not isinstance(name, str):
            return ""
        with contextlib.suppress(OSError):
            text = Path(name).read_text(encoding="utf-8", errors="replace").strip()
            return f" It said: {text[-TAIL_CHARACTERS:]}" if text else ""
        return ""

    def check_started(self) -> None:
        """Raise if a daemon could not start; for whoever waits for it in another way."""
        for daemon in self._readable(self._alive(), 0.0):
            if not daemon.read():
                if daemon.role not in self._far:
                    raise self.failure(daemon)
                self._died(daemon)

    def _alive(self) -> list[KeptDaemon]:
        return [daemon for role, daemon in self.daemons.items() if role not in self._again]

    # --- keeping -----------------------------------------------------------------------

    def watch(self) -> None:
        """Start again what dies, until `ask_stop`; then end all of it."""
        try:
            while not self._asked:
                self._keep()
            for daemon in self.daemons.values():  # all that have something to finish, at once
                if daemon.role in self._far:
                    daemon.ask_end()
            for role in sorted(self.daemons, key=lambda role: LAST_ROLES.index(role.split()[0])):
                self._end(self.daemons[role])
        except (OSError, ValueError):
            if not self._closed:  # in another thread, by somebody in a hurry
                raise
        finally:
            self.close()

    def _keep(self) -> None:
        """Wait until something happens, and see to it."""
        soonest = min(self._again.values(), default=None)
        wait = None if soonest is None else max(0.0, soonest - time.monotonic())
        for daemon in self._readable(self._alive(), wait):
            if not daemon.read():
                self._died(daemon)
        for role in [role for role, at in self._again.items() if at <= time.monotonic()]:
            del self._again[role]
            try:
                self._start(role)
            except (PypelininError, OSError) as error:  # what is far may be out of reach
                self._again[role] = time.monotonic() + AGAIN_MAX_S
                self._say(f"The {role} cannot be started: {error}")
            self._changed()

    def _died(self, daemon: KeptDaemon) -> None:
        how = daemon.ended()
        if daemon.role in self._far:
            self.failures[daemon.role] = self.failure(daemon)
        daemon.close()
        lived = time.monotonic() - daemon.started_at
        before = self._pauses.get(daemon.role, AGAIN_FIRST_S / 2)
        pause = AGAIN_FIRST_S if lived > LIVED_S else min(AGAIN_MAX_S, 2 * before)
        self._pauses[daemon.role] = pause
        self._again[daemon.role] = time.monotonic() + pause
        self._say(f"The {daemon.role} ended: {how.rstrip('.')}. Starting it again in {pause:g} s.")

    def _readable(self, daemons: Iterable[KeptDaemon], wait: float | None) -> list[KeptDaemon]:
        """Those that say something or have ended, after at most *wait* seconds."""
        poll = select.poll()
        by_fd = {daemon.link.fileno(): daemon for daemon in daemons}
        for fd in [*by_fd, self._woken.fileno()]:
            poll.register(fd, select.POLLIN)
        found = poll.poll(None if wait is None else max(0, int(wait * 1000 + 0.999)))
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        return [by_fd[fd] for fd, _ in found if fd in by_fd]

    # --- ending ------------------------------------------------------------------------

    def ask_stop(self) -> None:
        """Asked once: finish what runs. Twice: stop at once. From any thread or handler."""
        self._asked += 1
        with contextlib.suppress(OSError):  # woken already, or ended
            self._wake.send(b"\0")

    def _end(self, daemon: KeptDaemon) -> None:
        told = 1 if daemon.role in self._far else 0
        # only a Broker has something to finish
        enough = 2 if daemon.role.startswith("broker") else 1
        kill_at: float | None = None
        while daemon.process.poll() is None:
            for _ in range(told, min(self._asked, enough)):
                daemon.ask_end()
                told += 1
            if self._asked > 1 and kill_at is None:
                kill_at = time.monotonic() + KILL_S
            wait = None if kill_at is None else kill_at - time.monotonic()
            if self._asked > 2 or (wait is not None and wait <= 0):
                break
            if self._readable([daemon], wait) and not daemon.read():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.process.wait(KILL_S)
                break
        daemon.close()

    def close(self) -> None:
        """End everything now; a `watch` in another thread ends too."""
        self._closed = True
        self._asked = 3
        for daemon in self.daemons.values():
            daemon.close()
        self._woken.close()
        self._wake.close()


def _checked_plain(values: Mapping[str, Any]) -> None:
    try:
        json.dumps(values)
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f"The settings of a cluster are plain data: {error}.",
            remedy="Give text, numbers, lists and dicts as the store's configuration.",
        ) from None
