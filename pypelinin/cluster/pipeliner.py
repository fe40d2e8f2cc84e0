"""The Pipeliner: knows the order of the jobs of a run, and nothing else.

`Planner` drives the engine for the runs it was assigned; `Pipeliner` is a Planner that
belongs to a cluster over a link. Stateless: on a new welcome it drops its runs, and the
Router assigns them anew with what is settled. Small runs never come here: see `planning`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from pypelinin.cluster.events import Drain, Malformed, Received, Say, Stop
from pypelinin.cluster.member import Member
from pypelinin.cluster.refusals import REMEDIES
from pypelinin.config import VERSION, Limits
from pypelinin.engine.plain import PlainRun
from pypelinin.errors import BadMessage
from pypelinin.graph import states
from pypelinin.graph.graph import Graph
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Record, unpack_again
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Structure
from pypelinin.wire.messages import (
    AddJob,
    AssignedRun,
    AssignRuns,
    JobsSettled,
    JoinPipeliner,
    Leave,
    PipelineSettled,
    Ready,
    Refused,
    Settled,
    SettledRun,
    Welcome,
    Withdraw,
)

FINAL = bytes((states.DONE, states.FAILED, states.CANCELLED))


class Planner:
    """The Runs of one Pipeliner; takes the Router's messages, returns the answers."""

    def __init__(self, batch_jobs_max: int) -> None:
        self._runs: dict[int, tuple[int, PlainRun]] = {}
        self._batch_jobs_max = batch_jobs_max

    def __len__(self) -> int:
        return len(self._runs)

    def clear(self) -> None:
        self._runs.clear()

    def handle(self, messages: Sequence[Record]) -> list[Record]:
        """Answers to a batch: few `AddJob` and one `PipelineSettled` for all of it."""
        ready: list[Ready] = []
        touched: dict[int, None] = {}
        for message in messages:
            if isinstance(message, AssignRuns):
                begin = 0
                for assigned in message.runs:
                    end = begin + 1 + max(0, assigned.parts)
                    if self._assigned(assigned, message.blobs[begin:end], ready):
                        touched[assigned.number] = None
                    begin = end
            elif isinstance(message, JobsSettled):
                for settled in message.runs:
                    found = self._runs.get(settled.number)
                    if found is None or not _fits(settled, *found):
                        continue
                    touched[settled.number] = None
                    self._ready(
                        settled.number, found[1].settle(settled.jobs, settled.statuses), ready
                    )
            elif isinstance(message, Withdraw):
                for number in message.runs:
                    if number in self._runs:
                        touched[number] = None
                        self._runs[number][1].cancel()
        answers: list[Record] = list(self._cut(ready))
        over = [self._finished(number) for number in touched if self._runs[number][1].over]
        for i in range(0, len(over), self._batch_jobs_max):
            answers.append(PipelineSettled(tuple(over[i : i + self._batch_jobs_max])))
        return answers

    def _assigned(self, assigned: AssignedRun, blobs: Sequence[bytes], ready: list[Ready]) -> bool:
        """Begin to plan a run; False if what was sent of it is not a graph."""
        known = blobs[0] if blobs else b""
        try:
            run = PlainRun(join_parts(blobs[1:]))
        except (BadMessage, IndexError, OverflowError):
            return False
        if len(blobs) != 1 + assigned.parts or len(known) not in (0, run.graph.jobs):
            return False
        self._runs[assigned.number] = (assigned.assignment, run)
        first = run.start(known)
        if assigned.cancelled:
            run.cancel()
        self._ready(assigned.number, first, ready)
        return True

    def _ready(self, number: int, jobs: list[int], ready: list[Ready]) -> None:
        if jobs:
            ready.append(Ready(number, self._runs[number][0], array("I", jobs)))

    def _finished(self, number: int) -> SettledRun:
        assignment, _ = self._runs.pop(number)
        return SettledRun(number, assignment)

    def _cut(self, ready: list[Ready]) -> Iterator[AddJob]:
        """*ready* in messages of at most `batch_jobs_max` jobs and rows."""
        batch: list[Ready] = []
        room = self._batch_jobs_max
        for item in ready:
            jobs = item.jobs
            while len(jobs) > room:
                batch.append(Ready(item.number, item.assignment, jobs[:room]))
                jobs = jobs[room:]
                yield AddJob(tuple(batch))
                batch, room = [], self._batch_jobs_max
            if jobs:
                batch.append(Ready(item.number, item.assignment, jobs))
                room -= len(jobs)
        if batch:
            yield AddJob(tuple(batch))

    def check(self) -> None:
        for _, run in self._runs.values():
            run.check()
            assert not run.over


def _fits(settled: Settled, assignment: int, run: PlainRun) -> bool:
    """Whether these are outcomes of that run, of this assignment."""
    if settled.assignment != assignment or len(settled.jobs) != len(settled.statuses):
        return False
    return max(settled.jobs, default=0) < run.graph.jobs and not settled.statuses.strip(FINAL)


def join_parts(parts: Iterable[bytes]) -> Graph:
    """The graph of packed `Structure`s in order. Raises BadMessage."""
    offsets, upstreams = array("I", [0]), array("I")
    for packed in parts:
        part = unpack_again(Structure, packed, FRAME_BYTES_MAX)
        base = len(upstreams)
        offsets.extend(
            array("I", [base + end for end in part.offsets[1:]]) if base else part.offsets[1:]
        )
        upstreams.extend(part.upstreams)
    return Graph(offsets, upstreams)


class Pipeliner:
    """The Pipeliner daemon's machine."""

    def __init__(self, name: str, incarnation: str, limits: Limits) -> None:
        self.name = name
        self.planner = Planner(limits.batch_jobs_max)
        self.member = Member(incarnation, limits, self._hello)

    def _hello(self, number: int) -> Record:
        return JoinPipeliner(self.name, self.member.incarnation, number, VERSION)

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        commands: list[Command] = []
        messages: list[Record] = []
        for event in batch:
            if isinstance(event, Drain):
                return [*commands, *self.member.send(Leave()), Stop()]
            if isinstance(event, Malformed) and event.code == "version":
                text = f"{event.what} {REMEDIES['version']}"
                commands.append(Say("error", text) if self.member.cluster else Stop(text))
            if not isinstance(event, Received):
                continue
            found = event.envelope.message
            if isinstance(found, Refused) and self.member.is_hopeless(found.refusal):
                return [*commands, Stop(f"{found.refusal.what} {found.refusal.remedy}".strip())]
            message, more = self.member.receive(event.envelope, now)
            commands += more
            if isinstance(message, Welcome):
                self.planner.clear()
                messages.clear()
                commands.append(Say("info", f"Joined cluster {message.cluster[:8]}."))
            elif message is not None:
                messages.append(message)
        for answer in self.planner.handle(messages):
            commands += self.member.send(answer)
        return commands + self.member.tick(now)

    def deadline(self) -> float:
        return self.member.deadline()

    def check(self) -> None:
        self.member.check()
        self.planner.check()
