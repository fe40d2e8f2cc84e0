"""The three daemons as the user starts them: `Router(...).start()` and so on.

Each puts its machine, its sockets and the loop together. `start` blocks until SIGTERM (or
`stop()` from another thread) and raises what kept the daemon from running.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack

from pypelinin.cluster.events import (
    CommitFailed,
    Committed,
    Compact,
    Drain,
    DropLogs,
    DropValues,
    KeepEnding,
    KeepEvidence,
    KeepImage,
    Publish,
    ReadLogs,
    RoomChanged,
    Say,
    Send,
    SendAfter,
    Write,
)
from pypelinin.cluster.member import Reconnect
from pypelinin.cluster.pipeliner import Pipeliner as PipelinerMachine
from pypelinin.cluster.router import Router as RouterMachine
from pypelinin.config import DEFAULT_API, DEFAULTS, VERSION, Limits
from pypelinin.errors import BadMessage, ClusterError, DefinitionError, VersionMismatch
from pypelinin.ids import new_id
from pypelinin.machine import Command, Event, Machine
from pypelinin.runtime.access import Access, AccessSpec, named
from pypelinin.runtime.descriptors import demand_for_router
from pypelinin.runtime.door import door_of
from pypelinin.runtime.journal import SYNCHRONOUS, Journal
from pypelinin.runtime.log_files import LogFiles
from pypelinin.runtime.loop import READ, Loop, Waitable, World
from pypelinin.runtime.served_values import ServedValues
from pypelinin.runtime.sockets import PeerSocket, RouterSockets
from pypelinin.runtime.values import check_plain
from pypelinin.wire.codec import Envelope
from pypelinin.wire.rows import unpack_image, unpack_row

HostPort = tuple[str, int] | str
TELL_S = 0.005
"""The machine learns of a commit with the next event, or after so long."""


class Daemon:
    """What the three have in common: a logger, a loop, an orderly end."""

    role = "daemon"

    def __init__(self, logger: logging.Logger | None, limits: Limits | None) -> None:
        self.logger = logger or logging.getLogger(f"pypelinin.{self.role}")
        self.limits = limits or Limits()
        self.started = threading.Event()
        self._loop: Loop | None = None
        self._stop_asked = False

    def stop(self) -> None:
        """Ask to drain and end, as SIGTERM does; from any thread."""
        self._stop_asked = True
        if self._loop is not None:
            self._loop.stop()

    def _run(self, machine: Machine, world: World, first: Sequence[Command] = ()) -> None:
        loop = self._loop = Loop(machine, world, Drain)
        if threading.current_thread() is threading.main_thread():
            loop.catch_signals()
        self.started.set()
        if self._stop_asked:
            loop.stop()
        try:
            error = loop.run(first)
        finally:
            self._loop = None
            loop.close()
        if error:
            raise ClusterError(error)
        self.logger.info("Stopped")

    def _say(self, command: Say) -> None:
        self._log(command.level, command.text)

    def _log(self, level: str, text: str) -> None:
        self.logger.log(getattr(logging, level.upper()), text)


# --- Router ----------------------------------------------------------------------------


class _RouterWorld:
    """Sockets and journal; what must wait for a row waits here."""

    def __init__(
        self,
        daemon: Router,
        sockets: RouterSockets,
        journal: Journal,
        values: ServedValues,
        logs: LogFiles,
    ) -> None:
        self._daemon = daemon
        self._sockets = sockets
        self._journal = journal
        self._deferred: deque[SendAfter | DropValues] = deque()
        self._durable = self._told = journal.lsn
        self._room = RoomChanged("")
        self._values = values
        self._logs = logs

    def waitables(self, now: float) -> list[Waitable]:
        return [(self._sockets.api, READ)]

    def deadline(self) -> float | None:
        now = time.monotonic()
        if self._daemon.committed[0] > self._told:  # news that can wait for company, but not long
            return now if self._daemon.is_stopping else now + TELL_S
        return now + 0.01 if self._sockets.blocked else None

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        events: list[Event] = []
        committed, error = self._daemon.committed
        if committed > self._told:
            self._told = self._durable = committed
            events.append(Committed(committed))
            self._release()
        if error:
            events.append(CommitFailed(error))
        room = RoomChanged(self._journal.reserve.short, self._journal.stuck)
        if room != self._room:
            self._room = room
            events.append(room)
        if self._sockets.blocked:
            self._sockets.flush()
        self._sockets.watch()
        self._values.watch(now)
        if said := self._sockets.gate.look(now):
            self._daemon.logger.warning(said)
        if self._sockets.api in ready:
            events.extend(self._sockets.receive())
        return events

    def _release(self) -> None:
        while self._deferred and self._deferred[0].lsn <= self._durable:
            waiting = self._deferred.popleft()
            if isinstance(waiting, SendAfter):
                self._sockets.send(waiting.peer, waiting.envelope)
            else:
                self._values.drop(waiting.names)

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        rows: list[Write | KeepImage | Compact] = []
        for command in commands:
            match command:
                case Send(peer, envelope):
                    self._sockets.send(peer, envelope)
                case Write() | KeepImage() | Compact():
                    rows.append(command)
                case SendAfter(peer, envelope, lsn):
                    if lsn <= self._durable and not self._deferred:
                        self._sockets.send(peer, envelope)
                    else:
                        self._deferred.append(command)
                case DropValues():
                    self._deferred.append(command)
                case Publish(topic, body):
                    self._sockets.publish(topic, msgpack.packb(body))
                case Say():
                    self._daemon._say(command)
                case _:
                    self._evidence(command)
        self._journal.append(*rows)  # behind the sends: others can work while this commits
        self._durable = max(self._durable, self._daemon.committed[0])
        self._release()
        if self._deferred and self._journal.hurry():
            self._daemon.committed = (self._journal.lsn, "")
            self._durable = self._journal.lsn
            self._release()
        return ()

    def _evidence(self, command: Command) -> None:
        match command:
            case KeepEvidence(node, evidence):
                self._logs.keep(node, evidence)
            case KeepEnding(run, job, fence, failure):
                self._logs.keep_ending(run, job, fence, failure)
            case ReadLogs(peer, question, still_open, running, node):
                answer = self._logs.read(question, still_open, running, node)
                self._sockets.send(peer, Envelope(answer))
            case DropLogs(runs):
                self._logs.drop(runs)

    @property
    def awaits_commit(self) -> bool:
        """Whether a commit is news that cannot wait for the next turn."""
        return bool(self._deferred)

    def close(self) -> None:
        """Commit what is written and answer what waited for it."""
        self._journal.close()
        self._durable = self._journal.lsn
        self._release()
        self._sockets.api.linger = 500
        self._sockets.close()
        self._values.close()


class Router(Daemon):
    """The one authority of a cluster.

    *api_host_port* and *broadcast_host_port* are where to bind (port 0: any free one); for one
    machine also "ipc:///PATH" in a directory that only its user can enter.
    *config*: "store" (keyword arguments of every StoreClass) and "monitoring interval"
    (seconds, 0: off) go to the Brokers; "journal" (a directory), "synchronous" ("full" or
    "normal"), "keys" (the directory of keys; else `keys` in the journal's, if there are some) and
    "insecure" (bind beyond loopback without keys) are the Router's own.
    """

    role = "router"

    def __init__(
        self,
        api_host_port: HostPort = ("127.0.0.1", 5555),
        broadcast_host_port: HostPort = ("127.0.0.1", 5556),
        config: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(logger, limits)
        self.config = dict(config or {})
        self._api, self._broadcast = _tcp(api_host_port), _tcp(broadcast_host_port)
        self.journal = Path(self.config.get("journal", DEFAULTS["journal"])).absolute()
        self._synchronous = self.config.get("synchronous", "full")
        if self._synchronous not in SYNCHRONOUS:
            raise DefinitionError(f"synchronous is 'full' or 'normal', not {self._synchronous!r}.")
        for name in ("store", "monitoring interval"):
            check_plain(f"config[{name!r}]", self.config.get(name))
        self.committed: tuple[int, str] = (0, "")
        self.api = ""
        self.broadcast = ""
        self._world: _RouterWorld | None = None

    def start(self) -> None:
        """Serve until stopped. Raises ClusterError or DefinitionError (see RouterSockets,
        Journal)."""
        demand_for_router()
        insecure = bool(self.config.get("insecure", False))
        keys = str(self.config.get("keys") or "")
        door = door_of(keys, self.journal, self._log)
        if door is not None:
            door.changed = self._wake
        sockets = RouterSockets(self._api, self._broadcast, insecure, door)
        self.api, self.broadcast = sockets.api_address, sockets.broadcast_address
        holder = f"pid {os.getpid()} on {socket.gethostname()}, {self.api}"
        try:
            journal = Journal(self.journal, self._synchronous, holder, self._on_commit)
        except BaseException:
            sockets.close()
            raise
        interval = sys.getswitchinterval()
        served_keys = None if door is None else door.ring.directory
        values = ServedValues(self.journal / "values", host_of(self.api), served_keys)
        try:
            machine, first = self._recover(journal)
            machine.place = values.start(machine.state.cluster, self._synchronous == "full")
            values.sweep(machine.state.runs.numbers)
            logs = self._log_files(machine)
            journal.start()
        except BaseException:
            journal.close()
            sockets.close()
            values.close()
            raise
        world = self._world = _RouterWorld(self, sockets, journal, values, logs)
        self.logger.info(
            f"Router {VERSION}: API {self.api}, broadcast {self.broadcast}, journal {self.journal}"
            + ("" if door is None else f", {len(door.ring.holders)} keys")
        )
        sys.setswitchinterval(0.0005)  # the journal's thread must not hold the loop up
        try:
            self._run(machine, world, first)
        finally:
            sys.setswitchinterval(interval)
            world.close()

    def _wake(self) -> None:
        if (loop := self._loop) is not None:
            loop.wake()

    @property
    def is_stopping(self) -> bool:
        return self._loop is not None and self._loop.asked_to_stop

    def _on_commit(self, lsn: int, error: str) -> None:
        self.committed = (lsn, error)
        loop, world = self._loop, self._world
        if loop is None:
            return
        if error or self.is_stopping or world is None or world.awaits_commit:
            loop.wake()

    def _log_files(self, machine: RouterMachine) -> LogFiles:
        """What jobs printed, beside the journal; that of runs which are gone is deleted."""

        def is_open(run: str) -> bool:
            found = machine.state.runs.get(run)
            return found is not None and found.open

        logs = LogFiles(
            self.journal / "logs", self.limits.logs_bytes_max, is_open, self.logger.warning
        )
        logs.start(machine.state.runs.numbers)
        return logs

    def _recover(self, journal: Journal) -> tuple[RouterMachine, list[Command]]:
        values = {
            "store": self.config.get("store") or {},
            "monitoring interval": self.config.get("monitoring interval", 0),
        }
        began = time.monotonic()
        machine, first = recovered(journal, values, self.broadcast, self.limits)
        if journal.lsn:
            self.logger.info(f"Replayed {journal.lsn:,} rows in {time.monotonic() - began:.2f} s")
        self.committed = (journal.lsn, "")
        return machine, first


def recovered(
    journal: Journal, values: dict[str, object], broadcast: str, limits: Limits
) -> tuple[RouterMachine, list[Command]]:
    """A Router with all that *journal* holds, and the first it wants done.

    Raises JournalDamaged, VersionMismatch.
    """
    machine = RouterMachine(
        limits, values, broadcast, VERSION, time.time() - time.monotonic(), new_id(os.urandom)
    )
    try:
        for number, body in journal.images():
            machine.restore(unpack_image(number, body))
        for _, body in journal.rows():
            machine.replay(unpack_row(body))
    except BadMessage as error:
        raise VersionMismatch(
            f"The journal {journal.directory} is of a newer version: {error.what}.",
            remedy="Use the version of pypelinin that wrote it.",
        ) from None
    return machine, machine.begin(time.monotonic())


def host_of(address: str) -> str:
    """The host part of a bound or connected address; loopback if it has none."""
    return urlsplit(address).hostname or "127.0.0.1"


def router_of(api: str | None, access: Access | None) -> str:
    """Where a member finds its Router."""
    return api or (access.api if access else "") or DEFAULT_API


def _tcp(host_port: HostPort) -> str:
    if isinstance(host_port, str):
        return host_port
    host, port = host_port
    return f"tcp://{host}:{port}" if port else f"tcp://{host}:*"


# --- Pipeliner -------------------------------------------------------------------------


class MemberWorld:
    """A socket to the Router."""

    def __init__(self, daemon: Daemon, peer: PeerSocket) -> None:
        self._daemon = daemon
        self._peer = peer

    def waitables(self, now: float) -> list[Waitable]:
        return self._peer.waitables

    def deadline(self) -> float | None:
        return None

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        self._peer.flush()
        heard = any(socket in ready for socket, _ in self._peer.waitables)
        return list(self._peer.receive()) if heard else []

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        for command in commands:
            match command:
                case Send(_, envelope):
                    self._peer.send(envelope)
                case Reconnect():
                    self._peer.reconnect()
                case Say():
                    self._daemon._say(command)
        return ()

    def close(self) -> None:
        self._peer.socket.linger = 500  # a goodbye on its way
        self._peer.close()


class Pipeliner(Daemon):
    """Plans runs for the Router at *api*. *broadcast* is accepted for the original's sake.

    *access* is an access file (role pipeliner), `PYPELININ_ACCESS` if not given; it knows the
    Router's address, too.
    """

    role = "pipeliner"

    def __init__(
        self,
        api: str | None = None,
        broadcast: str | None = None,
        logger: logging.Logger | None = None,
        *,
        access: AccessSpec = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(logger, limits)
        self.access = named(access)
        self.api, self.broadcast = router_of(api, self.access), broadcast

    def start(self) -> None:
        """Serve until stopped; goes on trying while no Router answers."""
        incarnation = new_id(os.urandom)
        name = f"{socket.gethostname()}-{os.getpid()}-{incarnation[:4]}"
        world = MemberWorld(self, PeerSocket(self.api, self.access))
        self.logger.info(f"Pipeliner {name} started, Router at {self.api}")
        try:
            self._run(PipelinerMachine(name, incarnation, self.limits), world)
        finally:
            world.close()
