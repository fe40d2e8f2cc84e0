"""The processes of a simulated cluster: each drives one machine as the loop would.

A process has lives; what was planned for one life never happens in the next. Its machine
is checked after every turn, and must not ask to be woken at once again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pypelinin.cluster.broker import Broker
from pypelinin.cluster.events import (
    Committed,
    Compact,
    Drain,
    KeepImage,
    Received,
    Send,
    SendAfter,
    Stop,
    Write,
)
from pypelinin.cluster.member import ROUTER, Reconnect
from pypelinin.cluster.pipeliner import Pipeliner
from pypelinin.cluster.router import Router
from pypelinin.cluster.sharing import Share
from pypelinin.cluster.slots import Configured, KillSlot, RecallLot, RunLot, StartSlot
from pypelinin.machine import Command, Event
from pypelinin.testing.history import demand
from pypelinin.testing.hosts import Host
from pypelinin.testing.slots import SimSlots
from pypelinin.testing.timeline import Action
from pypelinin.testing.world import Station, World
from pypelinin.wire.codec import Envelope
from pypelinin.wire.definitions import Capacity
from pypelinin.wire.messages import JobsOut, JobsReturned, Rejoin, Resend, Welcome

LATENCY_S = 0.0002
TICK_S = 1e-6
"""Clocks go on: a machine is woken just after its deadline."""
SPINS_MAX = 50


class _Machine(Protocol):
    def handle(self, batch: Sequence[Event], now: float) -> list[Command]: ...
    def deadline(self) -> float | None: ...
    def check(self) -> None: ...


class Process:
    """One process by name; dead until `start`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.life = 0
        self.up = False
        self.paused_until = 0.0
        self.address = b""
        self.inbox: list[Event] = []
        self._clock_s = 0.0
        self._turn_planned = False
        self._wake_at = float("inf")
        self._connections = 0
        self._spins = 0

    @property
    def now(self) -> float:
        """What this process's own clock shows."""
        return self.world.timeline.now + self._clock_s

    @property
    def incarnation(self) -> str:
        return f"{self.name}/{self.life}".ljust(32, "-")

    def machine_of_life(self) -> _Machine:
        raise NotImplementedError  # each role has its own

    def start(self) -> None:
        self.life += 1
        self.up = True
        self.inbox = []
        self._clock_s = self.world.random.uniform(0, 1e5)
        self._turn_planned = False
        self._wake_at = float("inf")
        self.reconnect()
        self.machine = self.machine_of_life()
        self._plan_turn()

    def crash(self) -> None:
        self.up = False
        self.life += 1
        self.inbox = []
        self.paused_until = 0.0

    def reconnect(self) -> None:
        """A new connection: the Router knows it by another address."""
        self._connections += 1
        self.address = f"{self.name}#{self._connections}".encode()
        self.world.addresses[self.address] = self

    def take(self, event: Event) -> None:
        if self.up:
            self.inbox.append(event)
            self._plan_turn()

    def perform(self, command: Command) -> None:
        raise NotImplementedError  # each role has its own

    # --- turns -------------------------------------------------------------------------

    def _plan_turn(self) -> None:
        if not self._turn_planned:
            self._turn_planned = True
            delay_s = LATENCY_S * self.world.random.choice((1, 1, 1, 20))
            self._in_this_life(self.world.timeline.now + delay_s, self._turn)

    def _in_this_life(self, when: float, action: Action) -> None:
        life = self.life

        def act() -> None:
            if self.up and self.life == life:
                action()

        self.world.timeline.at(when, act)

    def _turn(self) -> None:
        now = self.world.timeline.now
        if now < self.paused_until:
            self._in_this_life(self.paused_until, self._turn)
            return
        self._turn_planned = False
        batch, self.inbox = self.inbox, []
        if len(batch) > 1 and self.world.random.random() < 0.3:
            cut = self.world.random.randint(1, len(batch))
            batch, self.inbox = batch[:cut], batch[cut:]
        self.world.turn(self, batch)
        life = self.life
        commands = self.machine.handle(batch, self.now)
        if batch or commands:
            self.machine.check()
        for command in commands:
            if self.life != life:
                return  # it stopped itself
            self.perform(command)
        self.after_turn()
        if self.inbox:
            self._plan_turn()
        self._plan_wake(bool(batch))

    def after_turn(self) -> None:
        """For processes with more to do than their machine says."""

    def _plan_wake(self, busy: bool) -> None:
        deadline = self.machine.deadline()
        if deadline is None or not self.up:
            return
        now = self.world.timeline.now
        self._spins = 0 if busy or deadline > self.now else self._spins + 1
        demand(self._spins < SPINS_MAX, self.name, "spins: its deadline is never met")
        when = max(now, deadline - self._clock_s) + TICK_S
        if when < self._wake_at:
            self._wake_at = when
            self._in_this_life(when, lambda: self._woken(when))

    def _woken(self, when: float) -> None:
        if when != self._wake_at:
            return  # it was planned to be woken earlier since
        self._wake_at = float("inf")
        if not self._turn_planned:
            self._turn_planned = True
            self._turn()


class RouterProcess(Process):
    """The Router with its journal; a new life replays what was committed."""

    machine: Router

    def __init__(self, world: World) -> None:
        super().__init__(world, "router")
        world.journal.on_commit = lambda lsn: self.take(Committed(lsn))

    def machine_of_life(self) -> Router:
        world = self.world
        jump_s = 0.0 if world.promises.forgetting else 1e4  # the wall clock may be set
        wall_offset_s = 1.7e9 - self._clock_s + world.random.uniform(-jump_s, jump_s)
        machine = Router(
            world.limits, {"store": {}}, "", "1", wall_offset_s, f"cluster {self.life}".ljust(32)
        )
        for image in world.journal.images():
            machine.restore(image)
        for row in world.journal.rows_behind():
            machine.replay(row)
        return machine

    def start(self) -> None:
        super().start()
        self.world.router_restarted(self.machine)
        for command in self.machine.begin(self.now):
            self.perform(command)
        self.machine.check()

    def crash(self) -> None:
        self.world.router_crashed(self.machine)
        super().crash()

    def stop(self) -> None:
        """The orderly end: what was written is committed, who waited gets an answer."""
        self.world.journal.finish()
        self.crash()

    def perform(self, command: Command) -> None:
        match command:
            case Write(_, row):
                self.world.history.wrote(row)
                self.world.journal.append(command)
            case KeepImage() | Compact():
                self.world.journal.append(command)
            case Send(peer, envelope):
                if isinstance(envelope.message, JobsOut):
                    self.world.history.sent(envelope.message)
                self._send(peer, envelope)
            case SendAfter(peer, envelope, lsn):
                if isinstance(envelope.message, JobsOut):
                    self.world.history.sent(envelope.message)
                self.world.journal.after(lsn, lambda: self._send(peer, envelope))
            case Stop(error):
                demand(not error, error)
                self.stop()
                self.world.restart_later(self)

    def _send(self, peer: bytes, envelope: Envelope) -> None:
        process = self.world.addresses.get(peer)
        if process is None or process.address != peer:
            return  # nobody is there any more
        count(self.world, envelope)

        def deliver(copy: Envelope) -> None:
            if process.address == peer:
                process.take(Received(ROUTER, copy))

        self.world.network.send((self.name, process.name), envelope, deliver)

    def receive(self, peer: bytes, envelope: Envelope, sender: Station, life: int) -> None:
        """A message arrives, perhaps at a Router that is not there any more."""
        if self.up:
            self.take(Received(peer, envelope))
        elif sender.life == life and self.world.random.random() < 0.5:  # its socket keeps it
            self.world.timeline.after(0.5, lambda: self.receive(peer, envelope, sender, life))


class MemberProcess(Process):
    """Whoever has one peer, the Router."""

    def perform(self, command: Command) -> None:
        match command:
            case Send(_, envelope):
                count(self.world, envelope)
                peer, life, router = self.address, self.life, self.world.router
                router_life = router.life

                def deliver(copy: Envelope) -> None:
                    if self.life != life and router.life != router_life:
                        return  # both ends of that connection are gone
                    router.receive(peer, copy, self, life)

                self.world.network.send((self.name, router.name), envelope, deliver)
            case Reconnect():
                self.world.counters["reconnects"] += 1
                self.reconnect()
            case Stop(error):
                demand(not error, self.name, "stopped:", error)
                self.crash()
                self.world.restart_later(self)


class PipelinerProcess(MemberProcess):
    machine: Pipeliner

    def machine_of_life(self) -> Pipeliner:
        return Pipeliner(self.name, self.incarnation, self.world.limits)


class BrokerProcess(MemberProcess):
    """A Broker and its slots, which go on while it is paused and die with it."""

    machine: Broker
    slots: SimSlots

    def __init__(
        self,
        world: World,
        name: str,
        capacity: Capacity,
        workers: tuple[str, ...],
        labels: dict[str, str],
        host: Host | None = None,
    ) -> None:
        super().__init__(world, name)
        self.capacity = capacity
        self.host = host
        self.workers = workers
        self.labels = labels

    def machine_of_life(self) -> Broker:
        world = self.world
        self.slots = SimSlots(
            (self.name, self.life), self.workers, self.capacity, world.timeline, world.random,
            world.history, world.odds, self.take,
        )  # fmt: skip
        if (host := self.host) is not None:
            place = self.slots.place
            host.join(place, self.take)
            self.slots.held = lambda: host.claim(place)
        return Broker(
            self.name, self.incarnation, self.capacity, self.labels, world.limits, "1", 0.0, None,
            self.host is not None,
        )  # fmt: skip

    def crash(self) -> None:
        self.slots.end_all()
        if self.host is not None:
            self.host.leave(self.slots.place)
        super().crash()

    def drain(self) -> None:
        self.take(Drain())

    def perform(self, command: Command) -> None:
        match command:
            case StartSlot(slot, shape):
                self.slots.start(slot, shape)
            case RunLot():
                self.slots.run(command)
            case RecallLot(slot):
                self.inbox.insert(0, self.slots.recall(slot))
            case KillSlot(slot, gently):
                self.slots.kill(slot, gently)
            case Share():
                assert self.host is not None
                self.inbox.insert(0, self.host.update(self.slots.place, command))
                self.world.counters["shared nodes"] += 1
            case Configured():
                pass
            case _:
                super().perform(command)

    def take(self, event: Event) -> None:
        if isinstance(event, Received) and isinstance(event.envelope.message, Welcome):
            for fence in event.envelope.message.drop if self.up else ():
                lot = self.machine.bench.lots.get(fence)
                if lot is not None:
                    self.world.counters["void lots"] += not lot.finished
                    self.world.counters["late outcomes dropped"] += bool(lot.statuses)
        super().take(event)


_COUNTED = {Resend: "resends", Rejoin: "rejoins", JobsReturned: "returned lots"}


def count(world: World, envelope: Envelope) -> None:
    name = _COUNTED.get(type(envelope.message))
    if name is not None:
        world.counters[name] += 1
