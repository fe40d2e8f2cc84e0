"""What the playbook tests share: runs to submit, a Router to talk to, members that talk to it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from pypelinin.cluster.events import Committed, Received, Send, SendAfter, Write
from pypelinin.cluster.link import Link
from pypelinin.cluster.router import Router
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.graph.job import Job
from pypelinin.machine import Command, Event
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, Envelope, Record, pack_plain, pack_record, unpack_plain
from pypelinin.wire.definitions import Capacity, Place
from pypelinin.wire.messages import (
    AddPipeline,
    GetStatus,
    HeldLot,
    JobFailure,
    JobsFinished,
    JobsOut,
    JoinBroker,
    JoinPipeliner,
    Leave,
    Lot,
    Progress,
    Refused,
    Rejoin,
    RunStatus,
    Status,
    Wait,
    Welcome,
)
from pypelinin.wire.rows import pack_row, unpack_row

CLIENT = b"client"
WALL = 1_000_000.0
"""Seconds since 1970 when a scene's clock says 0."""


def ints(*values: int) -> array[int]:
    return array("I", values)


def run_id(number: int) -> str:
    return f"{number:032}"


def pack(_what: str, value: object) -> bytes:
    return b"m" + pack_plain(value)


def unpack_payloads(data: bytes) -> list[object]:
    """The msgpack values of a lot, one a job."""
    values = []
    while data:
        end = next(n for n in range(1, len(data) + 1) if _is_value(data[:n]))
        values.append(unpack_plain(data[:end]))
        data = data[end:]
    return values


def _is_value(data: bytes) -> bool:
    try:
        unpack_plain(data)
    except Exception:
        return False
    return True


def wide(count: int, worker: str = "A", **options: Any) -> Pipeline:
    """*count* jobs that wait for nothing."""
    jobs = [Job(worker, name=f"{worker}{i}") for i in range(count)]
    return Pipeline({tuple(jobs): None}, **options)


def chain(*workers: str, **options: Any) -> Pipeline:
    jobs = [Job(worker) for worker in workers]
    pairs = list(zip(jobs, [*jobs[1:], None], strict=True))
    return Pipeline(pairs, **options)


def submission(
    pipeline: Pipeline,
    number: int = 1,
    *,
    watch: bool = False,
    queue_anyway: bool = True,
    submitter: str = "me",
) -> AddPipeline:
    """The request that submits *pipeline* as run *number*."""
    header, parts = pipeline.compile(run_id(number), submitter, pack)
    places = tuple(Place(i, len(parts)) for i in range(len(parts)))
    blobs = Blobs([blob for part in parts for blob in (header, *part)])
    return AddPipeline(number, watch, queue_anyway, places, blobs)


def state_with(*pipelines: Pipeline) -> State:
    """A state that knows them as runs 1, 2, ..."""
    state = State(Limits())
    for number, pipeline in enumerate(pipelines, 1):
        for added, rows in state.runs.judge_parts(submission(pipeline, number), WALL, None):
            assert added.refusal is None
            for row in rows:
                state.apply(row)
    return state


class Scene:
    """A Router with a journal. What waits for a commit is delivered by `commit`."""

    def __init__(self, limits: Limits | None = None, rows: Iterable[Record] = ()) -> None:
        self.limits = Limits() if limits is None else limits
        self.router = Router(self.limits, {"store": {}}, "tcp://news", "1", WALL, "c" * 32)
        self.now = 0.0
        self.rows: list[Record] = []
        self.commands: list[Command] = []
        self._mail: dict[bytes, list[Envelope]] = {}
        self._later: list[SendAfter] = []
        for row in rows:
            self.router.replay(row)
            self.rows.append(row)
        self._perform(self.router.begin(self.now))

    @property
    def state(self) -> State:
        return self.router.state

    def turn(self, *events: Event) -> list[Command]:
        for event in events:
            if isinstance(event, Committed):  # what waited for it is on its way before
                self._release(event.lsn)
        commands = self.router.handle(list(events), self.now)
        self._perform(commands)
        self.router.check()
        return commands

    def tick(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.turn()

    def wait(self, seconds: float, *members: _Member) -> None:
        """Time goes by in small steps, or it would be a pause; *members* ping meanwhile."""
        until = self.now + seconds
        while self.now < until:
            self.tick(min(1.0, until - self.now))
            for member in members:
                member.ping()

    def ask(self, message: Record, peer: bytes = CLIENT) -> list[Command]:
        return self.turn(Received(peer, Envelope(message)))

    def commit(self) -> list[Command]:
        """All rows so far are durable."""
        return self.turn(Committed(len(self.rows)))

    def envelopes(self, peer: bytes = CLIENT) -> list[Envelope]:
        """What *peer* got since it was asked last."""
        return self._mail.pop(peer, [])

    def mail(self, peer: bytes = CLIENT) -> list[Record]:
        return [envelope.message for envelope in self.envelopes(peer)]

    def reply(self, message: Record, peer: bytes = CLIENT) -> Record:
        """The durable answer to *message*."""
        self.commit()
        self.envelopes(peer)
        self.ask(message, peer)
        self.commit()
        return self.mail(peer)[0]

    def submit(self, pipeline: Pipeline, number: int = 1, **options: Any) -> None:
        self.ask(submission(pipeline, number, **options))

    def restarted(self, rows: int | None = None) -> Scene:
        """Another Router on the first *rows* rows (all of them) of this journal."""
        return Scene(self.limits, [unpack_row(pack_row(row)) for row in self.rows[:rows]])

    def _perform(self, commands: Sequence[Command]) -> None:
        self.commands += commands
        for command in commands:
            if isinstance(command, Write):
                self.rows.append(command.row)
                assert command.lsn == len(self.rows)
            elif isinstance(command, Send):
                self._mail.setdefault(command.peer, []).append(command.envelope)
            elif isinstance(command, SendAfter):
                self._later.append(command)
                self._release(self.router.desk.durable)

    def _release(self, lsn: int) -> None:
        for waiting in [command for command in self._later if command.lsn <= lsn]:
            self._later.remove(waiting)
            self._mail.setdefault(waiting.peer, []).append(waiting.envelope)


def status(scene: Scene, number: int = 1) -> RunStatus:
    """What the Router says of a run, durably."""
    answer = scene.reply(GetStatus(99, (run_id(number),), False), b"somebody")
    assert isinstance(answer, Status)
    return answer.runs[0]


class _Member:
    """A member's side of the link, by hand."""

    def __init__(self, scene: Scene, name: str, incarnation: str = "") -> None:
        self.scene = scene
        self.name = name
        self.incarnation = incarnation or f"{name}, first life"
        self.address = name.encode()
        self.hellos = 0
        self.link: Link | None = None
        self.welcome: Welcome | None = None

    def _join(self, hello: Record) -> None:
        self.scene.ask(hello, self.address)
        self.scene.commit()

    def read(self) -> list[Record]:
        """What the Router told since the last time, in order."""
        messages = []
        for envelope in self.scene.envelopes(self.address):
            message = envelope.message
            if isinstance(message, Welcome):
                self.welcome = message
                self.link = Link(message.session, 0.2)
            elif isinstance(message, (Refused, Rejoin, Wait)):
                pass
            elif self.link is None or envelope.session != self.link.session:
                continue
            else:
                received, _ = self.link.receive(envelope, self.scene.now)
                self.link.acknowledge(self.link.received)
                if received is None:
                    continue
            messages.append(message)
        return messages

    def tell(self, message: Record) -> list[Command]:
        assert self.link is not None
        return self.scene.turn(Received(self.address, self.link.send(message)))

    def ping(self) -> list[Command]:
        assert self.link is not None
        return self.scene.turn(Received(self.address, self.link.ping()))

    def leave(self) -> None:
        self.tell(Leave())


class Node(_Member):
    """A Broker, by hand: it has lots and says how they ended."""

    def __init__(
        self,
        scene: Scene,
        name: str = "node",
        incarnation: str = "",
        slots: int = 2,
        workers: tuple[str, ...] = ("A", "B", "C"),
        labels: dict[str, str] | None = None,
        capacity: Capacity | None = None,
    ) -> None:
        super().__init__(scene, name, incarnation)
        self.capacity = capacity or Capacity(max(100, slots))
        self.slots, self.workers, self.labels = slots, workers, labels or {}
        self.lots: list[Lot] = []
        self.basis: dict[int, tuple[int, int]] = {}
        self.cluster = ""
        self.draining = ""
        self.declared: tuple[bytes, ...] = ()

    def join(self, *held: HeldLot) -> list[Record]:
        self.hellos += 1
        packed = Blobs(pack_record(lot) for lot in held)
        self._join(
            JoinBroker(
                self.name, self.incarnation, self.capacity,
                Capacity(self.slots, self.capacity.memory), 0,
                self.workers, self.labels, self.hellos, packed, self.cluster, self.draining,
                self.declared,
            )
        )  # fmt: skip
        return self.read()

    def read(self) -> list[Record]:
        messages = super().read()
        for message in messages:
            if isinstance(message, JobsOut):
                self.lots += message.lots
                for lot in message.lots:
                    self.basis[lot.fence] = (message.epoch, message.lsn)
        return messages

    def next_lot(self) -> Lot:
        """The oldest lot it has; it is no more in `lots`."""
        self.read()
        return self.lots.pop(0)

    def end(
        self, lot: Lot, statuses: bytes, *failures: JobFailure, start: int = 0
    ) -> list[Command]:
        return self.tell(JobsFinished((Progress(lot.fence, start, statuses, failures),)))

    def held(self, lot: Lot, statuses: bytes = b"") -> HeldLot:
        """*lot* as this node tells it in a hello."""
        return HeldLot(lot.fence, *self.basis[lot.fence], lot.runs, lot.jobs, statuses, ())


class Planner(_Member):
    """A Pipeliner, by hand."""

    def join(self) -> list[Record]:
        self.hellos += 1
        self._join(JoinPipeliner(self.name, self.incarnation, self.hellos))
        return self.read()
