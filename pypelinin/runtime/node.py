"""The Broker daemon: a socket to the Router, slots, and samples for the user's store."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from pypelinin.cluster.broker import Broker as BrokerMachine
from pypelinin.cluster.courier import EvidenceFound, Sampled, TakeEvidence
from pypelinin.cluster.sharing import OthersChanged, Share
from pypelinin.cluster.slots import Configured, KillSlot, RecallLot, RunLot, StartSlot
from pypelinin.config import VERSION, Limits
from pypelinin.errors import DefinitionError
from pypelinin.graph.job import checked_labels
from pypelinin.graph.needs import MEMORY_MIN, checked_resource
from pypelinin.ids import new_id
from pypelinin.machine import Command, Event
from pypelinin.runtime.access import AccessSpec, access_file, named
from pypelinin.runtime.capacity import capacity_of, cores_here, devices_here, memory_here
from pypelinin.runtime.claims import Claims, claims_of, cores_granted
from pypelinin.runtime.daemons import Daemon, MemberWorld, host_of, router_of
from pypelinin.runtime.descriptors import demand_for_slots
from pypelinin.runtime.evidence import Collector
from pypelinin.runtime.loop import READ, WRITE, Waitable
from pypelinin.runtime.monitor import node_sample, sample
from pypelinin.runtime.places import NodeName
from pypelinin.runtime.session import Sessions
from pypelinin.runtime.sockets import PeerSocket
from pypelinin.runtime.values import check_plain, pack_value
from pypelinin.units import parse_bytes
from pypelinin.wire.definitions import ValuePlace

StoreSpec = type | str | None
SLOTS_MAX = 10_000
SAMPLE_BEATS = 5
"""Each so many heartbeats the Router is told how the node is."""


class _BrokerWorld(MemberWorld):
    """A socket to the Router, the slots, and samples for the store."""

    def __init__(self, daemon: Broker, peer: PeerSocket, name: str, claims: Claims | None) -> None:
        super().__init__(daemon, peer)
        self._claims = claims
        self._broker = daemon
        self._name = name
        self._slots: Any = None
        self._sessions = Sessions()
        self._interval = 0.0
        self._sample_at = float("inf")
        beat_s = daemon.limits.heartbeat_interval_s
        self._collector = Collector(daemon.limits.log_bytes_max, beat_s / 2)
        self._look_s = SAMPLE_BEATS * beat_s
        self._look_at = 0.0

    def waitables(self, now: float) -> list[Waitable]:
        found = super().waitables(now)
        if self._slots is not None:
            found += [(fd, READ | WRITE if out else READ) for fd, out in self._slots.fds(now)]
        return found

    def deadline(self) -> float | None:
        times = [self._sample_at, self._look_at, self._collector.deadline()]
        if self._slots is not None and (look := self._slots.deadline()) is not None:
            times.append(look)
        if self._claims is not None:
            times.append(self._claims.deadline())
        return min(times)

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        events = super().collect(now, ready)
        if self._claims is not None and self._claims.changed(now):
            events.append(OthersChanged())
        if self._slots is not None:
            events += self._slots.read(now, ready)
        if now >= self._sample_at:
            self._sample_at = now + self._interval
            self._save_sample()
        return events + self._evidence(now)

    def _evidence(self, now: float) -> list[Event]:
        """What jobs printed and used, and how the node is."""
        events: list[Event] = []
        if self._slots is not None and self._collector.is_due(now):
            self._slots.beat(now)
        if (found := self._collector.take(now)) is not None:
            events.append(EvidenceFound(*found))
        if now >= self._look_at:
            self._look_at = now + self._look_s
            if self._collector.dropped:
                lost, self._collector.dropped = self._collector.dropped, 0
                text = f"What {lost:,} jobs printed or used is not kept: the Router is behind."
                self._daemon.logger.warning(text)
            if (seen := node_sample()) is not None:
                events.append(Sampled(seen))
        return events

    def _save_sample(self) -> None:
        try:
            found = sample(self._name)
        except Exception as error:  # some hosts hide what is asked for; jobs go on
            self._daemon.logger.warning(f"No monitoring sample: {type(error).__name__}: {error}")
        else:
            self._slots.save_monitoring(found)

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        events: list[Event] = []
        for command in commands:
            match command:
                case RunLot():
                    self._slots.run(command, now)
                case RecallLot(slot):
                    events.append(self._slots.recall(slot))
                case StartSlot(slot, shape):
                    self._slots.start(slot, shape)
                case KillSlot(slot, gently):
                    self._slots.kill(slot, gently)
                case Share():
                    assert self._claims is not None
                    events.append(self._claims.update(command))
                case Configured(values, place):
                    self._configure(values, place, now)
                case TakeEvidence():
                    self._collector.taken()
                case _:
                    super().perform((command,), now)
        return events

    def _configure(self, values: dict[str, object], place: ValuePlace, now: float) -> None:
        from pypelinin.runtime.slots import Slots
        from pypelinin.runtime.surroundings import Setup

        store = values.get("store")
        configuration = dict(store) if isinstance(store, dict) else {}
        if self._broker.store_configuration is not None:
            configuration = self._broker.store_configuration
        setup = Setup(
            self._broker.path, self._broker.workers, self._broker.store, configuration,
            place, values_at(self._broker.api), affinity=self._broker.affinity,
            access=self._broker._access_file,
        )  # fmt: skip
        kept = () if self._claims is None else (self._claims.fd,)
        collector = self._collector if self._daemon.limits.log_bytes_max else None
        self._slots = Slots(setup, self._name, kept, collector, self._sessions)
        interval = values.get("monitoring interval")
        if isinstance(interval, (int, float)) and interval > 0 and self._broker.store:
            self._interval = max(0.1, float(interval))
            self._sample_at = now + min(1.0, self._interval)

    def close(self) -> None:
        if self._slots is not None:
            self._slots.close()
        self._sessions.close()
        if self._claims is not None:
            self._claims.close()
        super().close()


class Broker(Daemon):
    """Runs jobs on this node for the Router at *api*.

    *workers*: a module (or its name), or several; each lists its workers in `__all__`.
    Functions and commands run without any.
    *store_class*: a class, or "module:Class"; it is created in every slot with the
    Router's "store" configuration, or *store_configuration* if that is given.
    *number_of_workers*: how many cores it offers, so how many jobs of one core run at once;
    those this process may use if not given. *memory*: how much it offers (bytes or "16GB"; what
    is there if not given). *resources*: others by name, a count or a list of indices, as in
    {"gpu": 2, "licence": [7, 9]}; GPUs are found by themselves. *affinity*: each job runs on
    cores of its own. *access*: an access file (role broker), `PYPELININ_ACCESS` if not given; it
    knows the Router's address, too.
    """

    role = "broker"

    def __init__(
        self,
        api: str | None = None,
        broadcast: str | None = None,
        store_class: StoreSpec = None,
        workers: str | ModuleType | Iterable[str | ModuleType] = (),
        logger: logging.Logger | None = None,
        number_of_workers: int | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        memory: int | str | None = None,
        resources: Mapping[str, int | Sequence[int]] | None = None,
        store_configuration: Mapping[str, Any] | None = None,
        affinity: bool = False,
        access: AccessSpec = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(logger, limits)
        self.access, self._access_file = named(access), access_file(access)
        self.api, self.broadcast = router_of(api, self.access), broadcast
        self.affinity = affinity
        listed = [workers] if isinstance(workers, (str, ModuleType)) else list(workers)
        self.workers = [w if isinstance(w, str) else w.__name__ for w in listed]
        self.store = store_spec(store_class)
        self.store_configuration = (
            None if store_configuration is None else dict(store_configuration)
        )
        check_plain("store_configuration", self.store_configuration)
        usual = cores_granted() or cores_here()
        self.slots = usual if number_of_workers is None else number_of_workers
        if self.slots < 1:
            raise DefinitionError(f"A Broker needs at least one slot, not {self.slots}.")
        if self.slots > SLOTS_MAX:
            raise DefinitionError(f"A Broker has at most {SLOTS_MAX} slots, not {self.slots}.")
        self.memory = memory_here() if memory is None else checked_size(memory)
        self.devices = {**devices_here(os.environ), **checked_devices(resources or {})}
        self.labels = checked_labels(labels or {})
        here = os.getcwd()
        self.path = [here, *(entry or here for entry in sys.path)]
        self._name = name

    def start(self) -> None:
        """Serve until stopped; goes on trying while no Router answers.

        Raises ClusterError if the workers or the store cannot be loaded, or the Router
        refuses this Broker.
        """
        demand_for_slots(self.slots, self.limits.log_bytes_max > 0)
        claim = NodeName(self._name or socket.gethostname())
        capacity = capacity_of(self.slots, self.memory, self.devices)
        claims = claims_of(capacity, self.devices)
        world = _BrokerWorld(self, PeerSocket(self.api, self.access), claim.name, claims)
        machine = BrokerMachine(
            claim.name,
            new_id(os.urandom),
            capacity,
            self.labels,
            self.limits,
            VERSION,
            time.time() - time.monotonic(),
            self.devices,
            claims is not None,
        )
        self.logger.info(f"Broker {claim.name} started with {self.slots} slots")
        self.logger.info(f"Trying to connect to router at {self.api}...")
        try:
            self._run(machine, world)
        finally:
            world.close()
            claim.close()


def values_at(api: str) -> str:
    """Where the value server is, as `Values` takes it: beside a socket of this machine that
    stands for the Router's, else on the Router's host."""
    return f"{api}.values" if api.startswith("ipc://") else host_of(api)


def checked_size(memory: int | str) -> int:
    try:
        size = parse_bytes(memory)
    except ValueError as error:
        raise DefinitionError(f"memory: {error}.") from None
    if size < MEMORY_MIN:
        raise DefinitionError(f"A Broker offers at least 1 MiB of memory, not {memory!r}.")
    return size


def checked_devices(resources: Mapping[str, int | Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The indices of each resource. Raises DefinitionError for what is no count and no indices."""
    found = {}
    for name, given in resources.items():
        checked_resource(name)
        indices = range(given) if type(given) is int and 0 <= given <= SLOTS_MAX else given
        if (
            not isinstance(indices, (range, list, tuple))
            or len(indices) > SLOTS_MAX
            or not all(type(i) is int and i >= 0 for i in indices)
        ):
            raise DefinitionError(
                f"A resource is a count or a list of indices, not {name}={given!r}.",
                remedy="Write resources={'gpu': 2} or resources={'gpu': [0, 3]}.",
            )
        if len(set(indices)) != len(indices):
            raise DefinitionError(f"{name} names an index twice: {given!r}.")
        found[name] = tuple(indices)
    return {name: indices for name, indices in found.items() if indices}


def store_spec(store: StoreSpec) -> str | bytes:
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
