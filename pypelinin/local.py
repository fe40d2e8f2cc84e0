"""Embedded runs: the machines of a cluster in this process, without sockets.

A Router, a Broker and the client of a run talk through queues; slots are processes as on a
node. Nothing runs beside the caller: the machines work while one of his calls waits, and the
journal, if a directory is given, is committed inline.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pypelinin.client.manager import PipelineManager
from pypelinin.cluster.broker import Broker
from pypelinin.cluster.events import (
    Committed,
    Compact,
    DropValues,
    KeepImage,
    Received,
    Say,
    Send,
    SendAfter,
    Stop,
    Write,
)
from pypelinin.cluster.router import Router
from pypelinin.cluster.sharing import Indices, OthersChanged, Share
from pypelinin.cluster.slots import Configured, KillSlot, RecallLot, RunLot, StartSlot
from pypelinin.config import VERSION, Limits
from pypelinin.errors import ClusterError, DefinitionError
from pypelinin.ids import new_id
from pypelinin.machine import Command, Event
from pypelinin.runtime.capacity import capacity_of, cores_here, devices_here, memory_here
from pypelinin.runtime.claims import claims_of, cores_granted
from pypelinin.runtime.daemons import recovered
from pypelinin.runtime.foreign import ForeignSlots, as_engine, default_slots
from pypelinin.runtime.journal import Journal
from pypelinin.runtime.node import StoreSpec, store_spec
from pypelinin.runtime.nurseries import Starter
from pypelinin.runtime.sealing import Sealer
from pypelinin.runtime.slots import Slots
from pypelinin.runtime.surroundings import Setup
from pypelinin.runtime.value_files import ValueFiles, this_start
from pypelinin.runtime.values import check_plain
from pypelinin.wire.codec import Envelope
from pypelinin.wire.definitions import Capacity, ValuePlace
from pypelinin.wire.messages import AddPipeline

NODE = b"node"
CLIENT = b"client"
FOR_EVER_S = 1e9
LINGER_S = 0.001
"""How long an answer may wait for its commit while a job runs that has just begun."""


def embedded_limits(limits: Limits) -> Limits:
    """Nobody here can go away without the others: no heartbeats, no leases."""
    return replace(
        limits,
        heartbeat_interval_s=FOR_EVER_S / 10,
        node_lease_s=FOR_EVER_S,
        pipeliner_lease_s=FOR_EVER_S,
        resend_interval_s=FOR_EVER_S,
        stall_s=FOR_EVER_S,
        client_silence_s=FOR_EVER_S,
        client_deadline_s=FOR_EVER_S,
    )


class Machines:
    """A Router and a Broker, and the queues between them and a client."""

    def __init__(
        self,
        setup: Setup,
        capacity: Capacity,
        directory: Path | None,
        limits: Limits | None = None,
        engine: Executor | None = None,
        devices: Indices | None = None,
        sessions: Starter | None = None,
    ) -> None:
        self.limits = embedded_limits(limits or Limits())
        self.mail: deque[Event] = deque()
        """For the client."""
        self._for_router: list[Event] = []
        self._for_broker: list[Event] = []
        self._early: list[Envelope] = []
        self._written = self._durable = self._told = 0
        """The Router's newest row, the newest that is safe, and that of which it knows so."""
        self._looked = True
        self._begun = False
        self._commit_at = FOR_EVER_S
        self._journal: Journal | None = None
        now, wall = time.monotonic(), time.time()
        self._temporary = "" if directory is not None else _temporary_name()
        self._place = ValuePlace(
            str(directory / "values") if directory else self._temporary,
            "",
            0,
            directory is not None,
            this_start(),
        )
        self._files = ValueFiles(self._place.directory)
        self._router, first = self._recovered(directory, wall - now)
        given = devices or {}
        self._claims = claims_of(capacity, given) if engine is None else None
        self._broker = Broker(
            "local", new_id(os.urandom), capacity, {}, self.limits, VERSION, wall - now, given,
            self._claims is not None,
        )  # fmt: skip
        setup = replace(setup, place=self._place, temporary=self._temporary)
        kept = () if self._claims is None else (self._claims.fd,)
        self._slots: Slots | ForeignSlots = (
            ForeignSlots(engine, setup, "local")
            if engine is not None
            else Slots(setup, "local", kept, sessions=sessions)
        )
        self._deferred: deque[SendAfter | DropValues] = deque()
        self.woken = False
        """Somebody called `wake`: who waits looks up."""
        self._waking = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._sealer = Sealer(Path(self._place.directory)) if directory else None
        self._obey_router(first)

    def _recovered(
        self, directory: Path | None, offset_s: float
    ) -> tuple[Router, Sequence[Command]]:
        if directory is None:
            router = Router(self.limits, {}, "", VERSION, offset_s, new_id(os.urandom), self._place)
            return router, router.begin(time.monotonic())
        self._journal = Journal(directory, "full", f"pid {os.getpid()}", lambda _lsn, _error: None)
        try:
            router, first = recovered(self._journal, {}, "", self.limits)
            router.place = self._place
            self._files.sweep(router.state.runs.numbers)
            self._journal.start(thread=False)
        except BaseException:
            self._journal.close()
            raise
        return router, first

    # --- a turn ------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """What the client says; taken in with the next turn.

        Runs wait until the Broker has joined: before that nobody knows what it offers.
        """
        early = self._early or isinstance(envelope.message, AddPipeline)
        if early and self._broker.member.link is None:
            self._early.append(envelope)
        else:
            self._for_router.append(Received(CLIENT, envelope))

    def wake(self) -> None:
        """From any thread: end the `turn` that sleeps."""
        with self._waking, contextlib.suppress(BlockingIOError):  # it is full
            if self._wake_write >= 0:
                os.write(self._wake_write, b"\0")

    def turn(self, until: float) -> None:
        """Work off what there is; if that is nothing, sleep until something happens.

        Raises ClusterError if the journal cannot be written, or the slots not be started.
        """
        now = time.monotonic()
        self._begun = False
        deadlines = (self._broker.deadline(), self._router.deadline(), self._commit_at)
        due_at = min((deadline for deadline in deadlines if deadline is not None), default=until)
        # what a client says need not wait for a look at the slots, but they are not forgotten
        self._looked = not (self._looked and self._for_router and now < due_at)
        if self._looked:
            self._for_broker += self._collect(now, min(until, due_at))
            now = time.monotonic()
        due = now >= due_at
        for _ in range(100):  # both sides answer each other until there is nothing new
            if not (self._for_broker or self._for_router or due):
                break
            if self._for_broker or due:
                batch, self._for_broker = self._for_broker, []
                self._obey_broker(self._broker.handle(batch, now), now)
            if self._early and self._broker.member.link is not None:
                self._for_router += [Received(CLIENT, envelope) for envelope in self._early]
                self._early.clear()
            if self._for_router or due:
                batch, self._for_router = self._for_router, []
                if self._durable > self._told:
                    batch.insert(0, Committed(self._durable))
                    self._told = self._durable
                self._obey_router(self._router.handle(batch, now))
            due = False
        self._settle(now)

    def _collect(self, now: float, until: float) -> list[Event]:
        """What the slots tell; sleeps if nothing else is to be done."""
        if self._for_router or self._for_broker:
            until = now
        if (deadline := self._slots.deadline()) is not None:
            until = min(until, deadline)
        if self._claims is not None:
            until = min(until, self._claims.deadline())
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        for fd, out in self._slots.fds(now):
            poller.register(fd, select.POLLIN | select.POLLOUT if out else select.POLLIN)
        left_ms = (until - time.monotonic()) * 1000
        timeout_ms = 0 if left_ms <= 0 else int(min(left_ms, 3_600_000.0)) + 1
        ready = {fd for fd, _ in poller.poll(timeout_ms)}
        if self._wake_read in ready:
            os.read(self._wake_read, 65536)
            self.woken = True
        now = time.monotonic()
        events: list[Event] = self._slots.read(now, ready)
        if self._claims is not None and self._claims.changed(now):
            events.append(OthersChanged())
        return events

    def _obey_broker(self, commands: Iterable[Command], now: float) -> None:
        for command in commands:
            match command:
                case Send(_, envelope):
                    self._for_router.append(Received(NODE, envelope))
                case RunLot():
                    self._slots.run(command, now)
                    self._begun = True
                case RecallLot(slot):
                    self._for_broker.append(self._slots.recall(slot))
                case StartSlot(slot, shape):
                    self._slots.start(slot, shape)
                case KillSlot(slot, gently):
                    self._slots.kill(slot, gently)
                case Share():
                    assert self._claims is not None
                    self._for_broker.append(self._claims.update(command))
                case Stop(error):
                    raise ClusterError(error or "What was killed here does not die; see the log.")
                case Configured() | Say():
                    pass

    def _obey_router(self, commands: Sequence[Command]) -> None:
        rows: list[Write | KeepImage | Compact] = []
        for command in commands:
            match command:
                case Write(lsn):
                    self._written = lsn
                    rows.append(command)
                case KeepImage() | Compact():
                    rows.append(command)
                case Send(peer, envelope):
                    self._deliver(peer, envelope)
                case SendAfter() | DropValues():
                    self._deferred.append(command)
        if self._journal is not None:
            self._journal.append(*rows)

    def _settle(self, now: float) -> None:
        """Answer what waits for rows to be durable; rows that nobody waits for can wait, too.

        If a job has just begun there may soon be more to commit with them.
        """
        if self._journal is not None:
            if not self._deferred:
                return
            self._commit_at = min(self._commit_at, now + (LINGER_S if self._begun else 0.0))
            if now < self._commit_at:
                return
            if not self._journal.commit():
                raise ClusterError("The journal cannot be written; see the disk.")
            self._commit_at = FOR_EVER_S
        self._durable = self._written  # the Router hears of it with the next event
        while self._deferred:
            waiting = self._deferred.popleft()
            if isinstance(waiting, SendAfter):
                self._deliver(waiting.peer, waiting.envelope)
                continue
            for name in waiting.names:
                self._files.drop(name)

    def _deliver(self, peer: bytes, envelope: Envelope) -> None:
        queue = self.mail if peer == CLIENT else self._for_broker
        queue.append(Received(b"", envelope))

    def close(self) -> None:
        """Slots end with what they run; what is accepted stays in the journal."""
        if self._wake_write < 0:
            return
        self._slots.close()
        if self._claims is not None:
            self._claims.close()
        if self._sealer is not None:
            self._sealer.close()
        if self._journal is not None:
            self._journal.close()
        with self._waking:  # the numbers may be another file's soon
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _temporary_name() -> str:
    """Where large values of a run that is not to be durable are."""
    name = f"pypelinin-{os.getpid()}-{new_id(os.urandom)[:8]}"
    return os.path.join(tempfile.gettempdir(), name)


class LocalPort:
    """The client's way to machines that work while he waits; the arguments are LocalRunner's."""

    def __init__(
        self,
        slots: int | None = None,
        workers: str | ModuleType | Iterable[str | ModuleType] = (),
        store: StoreSpec = None,
        store_configuration: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        limits: Limits | None = None,
        engine: Executor | None = None,
        sessions: Starter | None = None,
    ) -> None:
        if engine is not None:
            as_engine(engine)
        granted = cores_granted()
        usual = (granted or cores_here()) if engine is None else default_slots(engine)
        count = usual if slots is None else slots
        if type(count) is not int or count < 1:
            raise DefinitionError(f"An embedded run needs at least one slot, not {slots!r}.")
        if granted and engine is None:  # a job's own run has what the job has
            count = min(count, granted)
        listed = [workers] if isinstance(workers, (str, ModuleType)) else list(workers)
        configuration = dict(store_configuration or {})
        check_plain("store_configuration", configuration)
        here = os.getcwd()
        setup = Setup(
            [here, *(entry or here for entry in sys.path)],
            [w if isinstance(w, str) else w.__name__ for w in listed],
            store_spec(store),
            configuration,
        )
        place = None if directory is None else Path(directory).absolute()
        bare = granted is not None and "CUDA_VISIBLE_DEVICES" not in os.environ
        devices = {} if engine is not None or bare else devices_here(os.environ)
        capacity = capacity_of(count, memory_here(), devices)
        self._machines = Machines(setup, capacity, place, limits, engine, devices, sessions)
        self.limits = self._machines.limits

    def send(self, envelope: Envelope) -> None:
        self._machines.send(envelope)

    def wait(self, timeout_ms: int) -> bool:
        until = time.monotonic() + timeout_ms / 1000
        machines, machines.woken = self._machines, False
        while not machines.mail:
            machines.turn(until)
            if machines.woken or time.monotonic() >= until:
                break
        return bool(self._machines.mail)

    def receive(self) -> Iterator[Event]:
        while self._machines.mail:
            yield self._machines.mail.popleft()

    def let_wake(self) -> None: ...

    def wake(self) -> None:
        self._machines.wake()

    def flush(self) -> None: ...

    def reconnect(self) -> None: ...

    def close(self) -> None:
        self._machines.close()


class LocalRunner(PipelineManager):
    """Runs jobs in this process' own slots; the face of a PipelineManager.

    *slots* (default: the CPUs this process may use) is how many jobs run at once. *workers*,
    *store* and *store_configuration* are as for a Broker. With a *directory* everything
    accepted is durable there, and what was not finished goes on with the next LocalRunner of
    that directory. With an *engine*, any `concurrent.futures.Executor`, the jobs run there and
    not in slots of ours; *slots* is then how much of it is used at once. Use it in a `with`
    block: its slots end with it (an engine stays).

    Raises DefinitionError for arguments that make no sense, ClusterError if another run has
    the directory.
    """

    def __init__(
        self,
        slots: int | None = None,
        *,
        workers: str | ModuleType | Iterable[str | ModuleType] = (),
        store: StoreSpec = None,
        store_configuration: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        engine: Executor | None = None,
        limits: Limits | None = None,
    ) -> None:
        port = LocalPort(slots, workers, store, store_configuration, directory, limits, engine)
        super().__init__(port=port, limits=port.limits)
