"""The three daemons as the user starts them: `Router(...).start()` and so on.

Each puts its machine, its sockets and the loop together. `start` blocks until SIGTERM (or
`stop()` from another thread) and raises what kept the daemon from running.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import zmq

from pypelinin import __version__
from pypelinin.cluster.broker import Broker as BrokerMachine
from pypelinin.cluster.events import (
    CommitFailed,
    Committed,
    Drain,
    Publish,
    Say,
    Send,
    SendAfter,
    Write,
)
from pypelinin.cluster.member import Reconnect
from pypelinin.cluster.pipeliner import Pipeliner as PipelinerMachine
from pypelinin.cluster.router import Router as RouterMachine
from pypelinin.cluster.slots import Configured, KillSlot, RecallLot, RunLot, StartSlot
from pypelinin.config import DEFAULTS, Limits
from pypelinin.errors import BadMessage, ClusterError, DefinitionError, VersionMismatch
from pypelinin.ids import new_id
from pypelinin.machine import Command, Event, Machine
from pypelinin.runtime.journal import SYNCHRONOUS, Journal
from pypelinin.runtime.loop import Loop, Waitable, World
from pypelinin.runtime.monitor import sample
from pypelinin.runtime.places import NodeName
from pypelinin.runtime.sockets import PeerSocket, RouterSockets
from pypelinin.runtime.values import pack_value
from pypelinin.wire.rows import unpack_row

HostPort = tuple[str, int]
StoreSpec = type | str | None


class _Daemon:
    """What the three have in common: a logger, a loop, an orderly end."""

    role = "daemon"

    def __init__(self, logger: logging.Logger | None, limits: Limits | None) -> None:
        self.logger = logger or logging.getLogger(f"pypelinin.{self.role}")
        self.limits = limits or Limits()
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
        self.logger.log(getattr(logging, command.level.upper()), command.text)


# --- Router ----------------------------------------------------------------------------


class _RouterWorld:
    """Sockets and journal; what must wait for a row waits here."""

    def __init__(self, daemon: Router, sockets: RouterSockets, journal: Journal) -> None:
        self._daemon = daemon
        self._sockets = sockets
        self._journal = journal
        self._deferred: deque[SendAfter] = deque()
        self._durable = self._told = journal.lsn

    def waitables(self, now: float) -> list[Waitable]:
        return [(self._sockets.api, zmq.POLLIN)]

    def deadline(self) -> float | None:
        return time.monotonic() + 0.01 if self._sockets.blocked else None

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        events: list[Event] = []
        committed, error = self._daemon.committed
        if committed > self._told:
            self._told = self._durable = committed
            events.append(Committed(committed))
            self._release()
        if error:
            events.append(CommitFailed(error))
        if self._sockets.blocked:
            self._sockets.flush()
        if self._sockets.api in ready:
            events.extend(self._sockets.receive())
        return events

    def _release(self) -> None:
        while self._deferred and self._deferred[0].lsn <= self._durable:
            waiting = self._deferred.popleft()
            self._sockets.send(waiting.peer, waiting.envelope)

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        rows: list[Write] = []
        for command in commands:
            match command:
                case Send(peer, envelope):
                    self._sockets.send(peer, envelope)
                case Write():
                    rows.append(command)
                case SendAfter(peer, envelope, lsn):
                    if lsn <= self._durable and not self._deferred:
                        self._sockets.send(peer, envelope)
                    else:
                        self._deferred.append(command)
                case Publish(topic, body):
                    self._sockets.publish(topic, msgpack.packb(body))
                case Say():
                    self._daemon._say(command)
        for write in rows:  # behind the sends: the journal's thread wants the interpreter too
            self._journal.append(write.lsn, write.row)
        self._durable = max(self._durable, self._daemon.committed[0])
        self._release()
        if self._deferred:
            self._journal.hurry()
        return ()

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


class Router(_Daemon):
    """The one authority of a cluster.

    *api_host_port* and *broadcast_host_port* are where to bind (port 0: any free one).
    *config*: "store" (keyword arguments of every StoreClass) and "monitoring interval"
    (seconds, 0: off) go to the Brokers; "journal" (a directory), "synchronous" ("full" or
    "normal") and "insecure" (bind beyond loopback) are the Router's own.
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
        self.committed: tuple[int, str] = (0, "")
        self.api = ""
        self.broadcast = ""
        self.started = threading.Event()
        self._world: _RouterWorld | None = None

    def start(self) -> None:
        """Serve until stopped. Raises ClusterError or DefinitionError (see RouterSockets,
        Journal)."""
        insecure = bool(self.config.get("insecure", False))
        sockets = RouterSockets(self._api, self._broadcast, insecure)
        self.api, self.broadcast = sockets.api_address, sockets.broadcast_address
        holder = f"pid {os.getpid()} on {socket.gethostname()}, {self.api}"
        try:
            journal = Journal(self.journal, self._synchronous, holder, self._on_commit)
        except BaseException:
            sockets.close()
            raise
        interval = sys.getswitchinterval()
        try:
            machine, first = self._recover(journal)
            journal.start()
        except BaseException:
            journal.close()
            sockets.close()
            raise
        world = self._world = _RouterWorld(self, sockets, journal)
        self.logger.info(
            f"Router {__version__}: API {self.api}, broadcast {self.broadcast}, "
            f"journal {self.journal}"
        )
        sys.setswitchinterval(0.0005)  # the journal's thread must not hold the loop up
        self.started.set()
        try:
            self._run(machine, world, first)
        finally:
            sys.setswitchinterval(interval)
            world.close()

    def _on_commit(self, lsn: int, error: str) -> None:
        self.committed = (lsn, error)
        loop, world = self._loop, self._world
        if loop is not None and (error or world is None or world.awaits_commit):
            loop.wake()

    def _recover(self, journal: Journal) -> tuple[RouterMachine, list[Command]]:
        values = {
            "store": self.config.get("store") or {},
            "monitoring interval": self.config.get("monitoring interval", 0),
        }
        machine = RouterMachine(
            self.limits, values, self.broadcast, __version__,
            time.time() - time.monotonic(), new_id(os.urandom),
        )  # fmt: skip
        began = time.monotonic()
        for lsn, body in journal.rows():
            try:
                machine.replay(unpack_row(body))
            except BadMessage as error:
                raise VersionMismatch(
                    f"Row {lsn} of the journal {self.journal} is of a newer version: {error.what}.",
                    remedy="Use the version of pypelinin that wrote it.",
                ) from None
        if journal.lsn:
            self.logger.info(f"Replayed {journal.lsn:,} rows in {time.monotonic() - began:.2f} s")
        self.committed = (journal.lsn, "")
        return machine, machine.begin(time.monotonic())


def _tcp(host_port: HostPort) -> str:
    host, port = host_port
    return f"tcp://{host}:{port}" if port else f"tcp://{host}:*"


# --- Pipeliner -------------------------------------------------------------------------


class _MemberWorld:
    """A socket to the Router."""

    def __init__(self, daemon: _Daemon, peer: PeerSocket) -> None:
        self._daemon = daemon
        self._peer = peer

    def waitables(self, now: float) -> list[Waitable]:
        return [(self._peer.socket, self._peer.interest)]

    def deadline(self) -> float | None:
        return None

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        self._peer.flush()
        return list(self._peer.receive()) if self._peer.socket in ready else []

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


class Pipeliner(_Daemon):
    """Plans runs for the Router at *api*. *broadcast* is accepted for the original's sake."""

    role = "pipeliner"

    def __init__(
        self,
        api: str = "tcp://localhost:5555",
        broadcast: str | None = None,
        logger: logging.Logger | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(logger, limits)
        self.api, self.broadcast = api, broadcast

    def start(self) -> None:
        """Serve until stopped; goes on trying while no Router answers."""
        incarnation = new_id(os.urandom)
        name = f"{socket.gethostname()}-{os.getpid()}-{incarnation[:4]}"
        world = _MemberWorld(self, PeerSocket(self.api))
        self.logger.info(f"Pipeliner {name} started, Router at {self.api}")
        try:
            self._run(PipelinerMachine(name, incarnation, self.limits), world)
        finally:
            world.close()


# --- Broker ----------------------------------------------------------------------------


class _BrokerWorld(_MemberWorld):
    """A socket to the Router, the slots, and samples for the store."""

    def __init__(self, daemon: Broker, peer: PeerSocket, name: str) -> None:
        super().__init__(daemon, peer)
        self._broker = daemon
        self._name = name
        self._slots: Any = None
        self._interval = 0.0
        self._sample_at = float("inf")

    def waitables(self, now: float) -> list[Waitable]:
        found = super().waitables(now)
        if self._slots is not None:
            found += [(fd, zmq.POLLIN) for fd in self._slots.fds(now)]
        return found

    def deadline(self) -> float | None:
        look = None if self._slots is None else self._slots.deadline()
        return self._sample_at if look is None else min(look, self._sample_at)

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        events = super().collect(now, ready)
        if self._slots is not None:
            events += self._slots.read(now, ready)
        if now >= self._sample_at:
            self._sample_at = now + self._interval
            self._slots.save_monitoring(sample(self._name))
        return events

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        events: list[Event] = []
        for command in commands:
            match command:
                case RunLot():
                    self._slots.run(command, now)
                case RecallLot(slot):
                    events.append(self._slots.recall(slot))
                case StartSlot(slot):
                    self._slots.start(slot)
                case KillSlot(slot):
                    self._slots.kill(slot)
                case Configured(values):
                    self._configure(values, now)
                case _:
                    super().perform((command,), now)
        return events

    def _configure(self, values: dict[str, object], now: float) -> None:
        from pypelinin.runtime.slots import Setup, Slots

        store = values.get("store")
        configuration = dict(store) if isinstance(store, dict) else {}
        if self._broker.store_configuration is not None:
            configuration = self._broker.store_configuration
        setup = Setup(self._broker.path, self._broker.workers, self._broker.store, configuration)
        self._slots = Slots(setup, self._name)
        interval = values.get("monitoring interval")
        if isinstance(interval, (int, float)) and interval > 0 and self._broker.store:
            self._interval = max(0.1, float(interval))
            self._sample_at = now + min(1.0, self._interval)

    def close(self) -> None:
        if self._slots is not None:
            self._slots.close()
        super().close()


class Broker(_Daemon):
    """Runs jobs on this node for the Router at *api*.

    *workers*: a module (or its name), or several; each lists its workers in `__all__`.
    *store_class*: a class, or "module:Class"; it is created in every slot with the
    Router's "store" configuration, or *store_configuration* if that is given.
    *number_of_workers*: how many slots; the CPUs this process may use if not given.
    """

    role = "broker"

    def __init__(
        self,
        api: str = "tcp://localhost:5555",
        broadcast: str | None = None,
        store_class: StoreSpec = None,
        workers: str | ModuleType | Iterable[str | ModuleType] = (),
        logger: logging.Logger | None = None,
        number_of_workers: int | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        store_configuration: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(logger, limits)
        self.api, self.broadcast = api, broadcast
        listed = [workers] if isinstance(workers, (str, ModuleType)) else list(workers)
        self.workers = [w if isinstance(w, str) else w.__name__ for w in listed]
        if not self.workers:
            raise DefinitionError(
                "A Broker needs at least one workers module.",
                remedy="Write workers='mymodule' (--workers mymodule).",
            )
        self.store = _store_spec(store_class)
        self.store_configuration = (
            None if store_configuration is None else dict(store_configuration)
        )
        self.slots = (
            len(os.sched_getaffinity(0)) if number_of_workers is None else number_of_workers
        )
        if self.slots < 1:
            raise DefinitionError(f"A Broker needs at least one slot, not {self.slots}.")
        self.labels = dict(labels or {})
        here = os.getcwd()
        self.path = [here, *(entry or here for entry in sys.path)]
        self._name = name

    def start(self) -> None:
        """Serve until stopped; goes on trying while no Router answers.

        Raises ClusterError if the workers or the store cannot be loaded, or the Router
        refuses this Broker.
        """
        claim = NodeName(self._name or socket.gethostname())
        world = _BrokerWorld(self, PeerSocket(self.api), claim.name)
        machine = BrokerMachine(
            claim.name, new_id(os.urandom), self.slots, self.labels, self.limits, __version__
        )
        self.logger.info(f"Broker {claim.name} started with {self.slots} slots")
        self.logger.info(f"Trying to connect to router at {self.api}...")
        try:
            self._run(machine, world)
        finally:
            world.close()
            claim.close()


def _store_spec(store: StoreSpec) -> str | bytes:
    """What the slots load the store by: its name if they can import it, else itself."""
    if store is None:
        return ""
    if isinstance(store, str):
        if ":" not in store:
            raise DefinitionError(f"A store is named 'module:Class', not {store!r}.")
        return store
    module, name = store.__module__, store.__qualname__
    if module != "__main__" and "<locals>" not in name:
        with contextlib.suppress(ImportError, AttributeError):
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
            if found is store:
                return f"{module}:{name}"
    return pack_value("the StoreClass", store)


__all__ = ["Broker", "Pipeliner", "Router"]
