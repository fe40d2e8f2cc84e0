"""Compaction: what the rows up to a base come to, so that the journal stays short.

A finished run never changes, so its image is written once, some in each turn; the last
turn writes the images of what is open and of everything else, names the base, and the rows
before it can go. An image is a fact like a row: `restore` takes it without conditions.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator, Mapping

from pypelinin.cluster.attempts import OpenLot
from pypelinin.cluster.events import Compact, KeepImage
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.state import JournalledMember, State
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Command
from pypelinin.wire.codec import Record, unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Header
from pypelinin.wire.rows import FailedJob, Grown, Joined, LotImage, LotRow, RunImage, StateImage


def run_image(run: RunRecord) -> RunImage:
    parts = [blob for part in run.parts for blob in (part or (b"", b""))]
    failures = tuple(FailedJob(run.number, job, why) for job, why in run.failures.items())
    return RunImage(
        run.number, run.packed_header(), run.at, tuple(parts),
        bytes(run.states.translate(_WITHOUT_QUEUES)), _flat(run.failed_again), _flat(run.lost),
        failures, run.cancelled, run.finished_at, run.assignment, run.lsn, _flat(run.floors),
        array("I", run.results), tuple(run.results.values()), array("I", run.cancelling),
        None if run.plain else _grown(run), _flat(run.memory_kills),
        array("I", [job for job, nodes in run.crash_nodes.items() for _ in nodes]),
        tuple(node for nodes in run.crash_nodes.values() for node in nodes),
        run.paused, run.retry_of,
    )  # fmt: skip


def _grown(run: RunRecord) -> Grown:
    feeds = array("I", [number for pair in run.feeds for number in pair])
    return Grown(
        feeds, run.base_parts, run.additions, run.closed,
        array("I", run.growing), tuple(run.growing.values()),
    )  # fmt: skip


def state_image(state: State) -> StateImage:
    members = [Joined(m.node, m.name, m.incarnation, m.hello) for m in state.members.values()]
    lots = [
        LotImage(lot.node, lot.next, LotRow(lot.fence, lot.runs, lot.jobs, lot.follows))
        for lot in state.attempts.lots.values()
    ]
    return StateImage(
        state.lsn, state.epoch, state.cluster, state.next_node, state.next_assignment,
        state.attempts.next_attempt, state.runs.next_number, _flat(state.attempts.bases),
        tuple(members), tuple(lots), array("I", state.runs.finished_order),
    )  # fmt: skip


_WITHOUT_QUEUES = bytes(states.OPEN if s == states.QUEUED else s for s in range(256))


def _flat(counter: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(number for pair in counter.items() for number in pair)


def _pairs(flat: tuple[int, ...]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def restore(state: State, image: Record) -> None:
    """Take an image into *state*: first that of the state, then the runs by number."""
    if isinstance(image, StateImage):
        _restore_state(state, image)
    elif isinstance(image, RunImage):
        _restore_run(state, image)


def _restore_state(state: State, image: StateImage) -> None:
    state.lsn, state.epoch, state.cluster = image.lsn, image.epoch, image.cluster
    state.next_node, state.next_assignment = image.next_node, image.next_assignment
    state.attempts.next_attempt = image.next_attempt
    state.attempts.epoch = image.epoch
    state.attempts.bases = _pairs(image.bases)
    state.runs.next_number = image.next_number
    state.runs.finished_order = dict.fromkeys(image.finished)
    for member in image.members:
        state.members[member.node] = JournalledMember(
            member.node, member.name, member.incarnation, member.hello
        )
    for item in image.lots:
        lot = item.lot
        state.attempts.lots[lot.fence] = OpenLot(
            lot.fence, item.node, lot.runs, lot.jobs, lot.follows, item.next
        )


def _restore_run(state: State, image: RunImage) -> None:
    runs = state.runs
    header = unpack_record(Header, image.header, FRAME_BYTES_MAX)
    parts = [
        (structure, details) if structure else None
        for structure, details in zip(image.parts[::2], image.parts[1::2], strict=True)
    ]
    run = RunRecord(image.number, header, image.header, image.at, [None] * len(parts), image.lsn)
    run.missing = run.base_parts = len(parts)
    runs.set_kinds(run)
    runs.by_number[image.number] = run
    runs.numbers[header.run] = image.number
    for index, part in enumerate(parts):
        if part is not None:
            runs.take_part(run, index, *part)
    if (grown := image.grown) is not None:
        run.feeds = list(zip(grown.feeds[::2], grown.feeds[1::2], strict=True))
        run.base_parts, run.additions, run.closed = grown.parts, grown.additions, grown.closed
        run.growing = dict(zip(grown.pending_jobs, grown.pending, strict=True))
    run.cancelled, run.finished_at = image.cancelled, image.finished_at
    run.assignment, run.lsn = image.assignment, image.lsn
    run.floors = _pairs(image.floors)
    run.failed_again, run.lost = Counter(_pairs(image.failed_again)), Counter(_pairs(image.lost))
    run.memory_kills = Counter(_pairs(image.memory_kills))
    for job, node in zip(image.crash_jobs, image.crash_nodes, strict=True):
        run.crashes[job] += 1
        run.crash_nodes[job] = (*run.crash_nodes.get(job, ()), node)
    run.cancelling = dict.fromkeys(image.cancelling)
    run.paused, run.retry_of = image.paused, image.retry_of
    if run.retry_of:
        runs.lent[run.retry_of] += 1
    run.results = dict(zip(image.result_jobs, image.results, strict=True))
    run.failures = {failed.job: failed.failure for failed in image.failures}
    if run.complete:
        run.states = bytearray(image.states)
        run.counts = [run.states.count(s) for s in range(len(run.counts))]
    if run.finished_at:
        runs.open_count -= 1
        runs.finished_order[run.number] = None


class Compaction:
    """When and what to compact; part of the Router."""

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._base = 0
        self._imaged: dict[int, bool] = {}
        """Runs with an image in the journal; whether it is final."""
        self._todo: deque[int] = deque()
        self._running = False

    def restored(self, image: Record) -> None:
        """This image is in the journal already."""
        if isinstance(image, StateImage):
            self._base = image.lsn
        elif isinstance(image, RunImage):
            self._imaged[image.number] = bool(image.finished_at)

    def step(self) -> list[Command]:
        """A bounded piece of work, if there is any; call once a turn."""
        state = self._state
        if not self._running:
            if state.lsn - self._base < self._limits.journal_rows_max:
                return []
            self._running = True
            for number in state.runs.stale:
                self._imaged[number] = False
            state.runs.stale.clear()
            self._todo = deque(n for n in state.runs.finished_order if not self._imaged.get(n))
        commands: list[Command] = []
        for _ in range(min(len(self._todo), self._limits.images_in_turn_max)):
            number = self._todo.popleft()
            if number in state.runs.by_number:
                commands.append(self._keep(number))
        if not self._todo:
            commands += self._finish()
        return commands

    def _keep(self, number: int) -> Command:
        run = self._state.runs.by_number[number]
        self._imaged[number] = bool(run.finished_at)
        return KeepImage(number, self._state.lsn, run_image(run))

    def _finish(self) -> Iterator[Command]:
        """Everything that is not final yet, in one turn, and the base."""
        state = self._state
        gone = array("I", [n for n in self._imaged if n not in state.runs.by_number])
        for number in gone:
            del self._imaged[number]
        for number in state.runs.by_number:
            if not self._imaged.get(number):
                yield self._keep(number)
        yield KeepImage(0, state.lsn, state_image(state))
        yield Compact(state.lsn, gone)
        self._base, self._running = state.lsn, False
