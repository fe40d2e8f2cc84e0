"""Who exists: submitted runs, their parts, assignment, cancelling, verdict, retention.

`judge_*` look at the state and return rows or refusals; `apply` takes rows without
conditions, in life and in replay alike. Jobs are bytes in `RunRecord.states`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from pypelinin.cluster.growing import NIL, resolve
from pypelinin.cluster.record import RunRecord, take_jobs
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.retrying import repeated
from pypelinin.config import Limits
from pypelinin.errors import BadMessage, DefinitionError
from pypelinin.graph import states
from pypelinin.graph.graph import JOBS_MAX, Graph
from pypelinin.wire.codec import Record, pack_record, unpack_again
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    GONE,
    Details,
    Header,
    Kind,
    Place,
    Refusal,
    Structure,
)
from pypelinin.wire.messages import Added, AddPipeline
from pypelinin.wire.rows import (
    BY_CLIENT,
    CancelledJobs,
    CancelledRuns,
    ClosedRun,
    FailedJob,
    FinishedRun,
    Forgotten,
    Grew,
    Overruled,
    PartAdded,
    PausedRuns,
    Released,
    Retried,
    Submitted,
)

KINDS_MAX = 10_000
SURPLUS_MAX = 1000
"""Finished runs above what is kept of them, until they are forgotten together."""
PARTS_MAX = 380
"""Each part of a run is two frames of the messages that describe it whole."""


class Runs:
    """All runs the Router knows, by number and by id."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.by_number: dict[int, RunRecord] = {}
        self.numbers: dict[str, int] = {}
        self.next_number = 1
        self.open_count = 0
        self.finished_order: dict[int, None] = {}
        self.stale: dict[int, None] = {}
        """Finished runs that changed since their image was taken."""
        self.lent: Counter[str] = Counter()
        """How many runs are others again, whose results they may use."""
        self._declared: dict[str, Kind] = {}
        """What the classes of workers say of their jobs, by Brokers that joined; in memory only."""
        self.no_room: Refusal | None = None
        """Why no new run is taken, if that is so."""
        self._partial_bytes = 0
        self._partial_since: dict[int, tuple[int, float]] = {}
        self._taken: dict[int, int] = {}
        """Bytes of finished runs whose client has taken all; in memory only."""
        self._taken_bytes = 0

    def get(self, run: str) -> RunRecord | None:
        number = self.numbers.get(run)
        return None if number is None else self.by_number[number]

    # --- judging -----------------------------------------------------------------------

    def judge_parts(
        self, message: AddPipeline, wall: float, fits: Callable[[Kind], Refusal | None] | None
    ) -> Iterator[tuple[Added, list[Record]]]:
        """For each part of the message: the answer, and the rows to write and apply.

        The caller applies the rows of one part before it asks for the next.
        """
        blobs = message.blobs
        if len(blobs) != 3 * len(message.places):
            yield Added("", refuse("malformed", "Each part is three frames.")), []
            return
        for i, place in enumerate(message.places):
            header_bytes, structure, details = blobs[3 * i : 3 * i + 3]
            try:
                header = unpack_again(Header, header_bytes, FRAME_BYTES_MAX)
                refusal, rows = self._judge_part(
                    place, header, header_bytes, structure, details, wall,
                    None if message.queue_anyway else fits,
                )  # fmt: skip
            except (BadMessage, DefinitionError) as error:
                yield Added("", refuse("malformed", f"A part is not valid: {error.what}")), []
                continue
            yield Added(header.run, refusal), rows

    def _judge_part(
        self,
        place: Place,
        header: Header,
        header_bytes: bytes,
        structure: bytes,
        details: bytes,
        wall: float,
        fits: Callable[[Kind], Refusal | None] | None,
    ) -> tuple[Refusal | None, list[Record]]:
        rows: list[Record] = []
        run = self.get(header.run)
        if self.no_room is not None and (run is None or not run.complete):
            return self.no_room, []
        if not 0 <= place.index < place.total:
            return refuse("malformed", "The part is outside its run."), []
        if run is None:
            refusal = self._judge_header(header, place, fits)
            if refusal is not None:
                return refusal, []
            number = self.next_number
            rows.append(Submitted(number, place.total, header_bytes, wall))
            missing = place.total
        else:
            if run.header.digest != header.digest or run.base_parts != place.total:
                return refuse("conflict", f"Run {header.run} exists with other content."), []
            if run.complete or run.parts[place.index] is not None:
                return None, []
            number, missing = run.number, run.missing
        if self._partial_bytes + len(structure) + len(details) > self.limits.partial_bytes_max:
            return refuse("busy", "Too many incomplete definitions."), []
        _checked_part(header, structure, details)
        rows.append(PartAdded(number, place.index, structure, details))
        if missing == 1:
            refusal = self._judge_whole(header, run, place.index, (structure, details))
            if refusal is not None:
                return refusal, [] if run is None else [Forgotten(array("I", [number]))]
        return None, rows

    def _judge_header(
        self, header: Header, place: Place, fits: Callable[[Kind], Refusal | None] | None
    ) -> Refusal | None:
        if not 1 <= header.jobs <= JOBS_MAX or not 1 <= len(header.kinds) <= KINDS_MAX:
            return refuse("malformed", "A run has 1 to 1,000,000 jobs and at least one kind.")
        if not 1 <= place.total <= PARTS_MAX or not 8 <= len(header.run) <= 64:
            return refuse("malformed", "The run's id or number of parts is out of bounds.")
        if any(kind.terms is not None and not kind.sane for kind in header.kinds):
            return refuse("malformed", "What jobs of the run need is out of bounds.")
        for kind in self._with_declared(header) if fits is not None else ():
            assert fits is not None
            refusal = fits(kind)
            if refusal is not None:
                return refusal
        return None

    def _judge_whole(
        self, header: Header, run: RunRecord | None, index: int, last: tuple[bytes, bytes]
    ) -> Refusal | None:
        """All parts are here: do they follow each other and make up the run?"""
        parts = [last] if run is None else [*run.parts]
        parts[index] = last
        expected = 0
        with_own = set()
        for i, part in enumerate(parts):
            packed, packed_details = part or (b"", b"")
            details = unpack_again(Details, packed_details, FRAME_BYTES_MAX)
            with_own.add((bool(details.kind_of), bool(details.ends)))
            decoded = unpack_again(Structure, packed, FRAME_BYTES_MAX)
            if decoded.first != expected:
                return refuse("malformed", f"Part {i} does not begin at job {expected}.")
            expected += len(decoded.offsets) - 1
        if len(with_own) > 1:
            return refuse("malformed", "Some parts have kinds or payloads and some have none.")
        if expected != header.jobs:
            return refuse("malformed", f"{expected} jobs came, {header.jobs} were announced.")
        return None

    def declare(self, workers: Iterable[str], kinds: Iterable[Kind]) -> list[RunRecord]:
        """A Broker offers *workers*, whose classes say this; returns the runs it is news for."""
        said = {kind.worker: kind for kind in kinds}
        news = {name for name in workers if self._declared.get(name) != said.get(name)}
        for name in news:
            self._declared.pop(name, None)
        self._declared |= {name: said[name] for name in news & said.keys()}
        listed = [
            run
            for run in (self.by_number.values() if news else ())
            if any(kind.worker in news for kind in run.header.kinds)
        ]
        for run in listed:
            self.set_kinds(run)
        return listed

    def set_kinds(self, run: RunRecord) -> None:
        """To be called when the header is new."""
        run.full_kinds = self._with_declared(run.header)

    def _with_declared(self, header: Header) -> tuple[Kind, ...]:
        known = self._declared
        if not any(kind.worker in known for kind in header.kinds):
            return header.kinds
        return tuple(
            kind.over(known[kind.worker]) if kind.worker in known else kind for kind in header.kinds
        )

    def judge_cancel(self, runs: Iterable[RunRecord]) -> list[Record]:
        numbers = [run.number for run in runs if not run.finished_at and not run.cancelled]
        return [CancelledRuns(array("I", numbers))] if numbers else []

    def named(self, ids: Iterable[str]) -> list[RunRecord]:
        """Those that are known."""
        return [run for run in map(self.get, dict.fromkeys(ids)) if run is not None]

    def judge_release(self, runs: Iterable[RunRecord]) -> list[Record]:
        """Nobody asks any more for the results of these finished runs."""
        kept = (
            (run.number, [j for j, found in run.results.items() if found != GONE]) for run in runs
        )
        return [Released(number, array("I", jobs)) for number, jobs in kept if jobs]

    def lends(self, number: int) -> bool:
        """Whether another run may use its results."""
        return bool(self.lent) and self.lent[self.by_number[number].id] > 0

    def let_go(self, runs: Iterable[RunRecord]) -> None:
        """Nobody needs these finished runs: they may be forgotten when they take much."""
        for run in runs:
            if run.number not in self._taken:
                self._taken[run.number] = run.size
                self._taken_bytes += run.size

    @property
    def too_many(self) -> bool:
        """Whether finished runs should be forgotten soon."""
        surplus = len(self.finished_order) - self.limits.history_runs_max
        return surplus > SURPLUS_MAX or self._taken_bytes > self.limits.taken_bytes_max

    def judge_retention(self, wall: float, now: float) -> list[Record]:
        """Finished runs that are too old, too many or too large, and what never became whole."""
        gone = dict.fromkeys(self._abandoned(now) if self._partial_bytes else ())
        surplus = len(self.finished_order) - self.limits.history_runs_max
        for number in self.finished_order:
            old = wall - self.by_number[number].finished_at > self.limits.history_s
            if not old and surplus <= 0:
                break
            if not self.lends(number):
                gone[number] = None
                surplus -= 1
        over = self._taken_bytes - self.limits.taken_bytes_max
        for number, size in self._taken.items():
            if over <= 0:
                break
            if not self.lends(number):
                gone[number] = None
                over -= size
        return [Forgotten(array("I", gone))] if gone else []

    def _abandoned(self, now: float) -> list[int]:
        """Runs whose parts stopped coming; in memory only, so a restart gives them time."""
        before, self._partial_since = self._partial_since, {}
        gone = []
        for number, run in self.by_number.items():
            if not run.complete:
                since = before.get(number, (run.missing, now))
                since = since if since[0] == run.missing else (run.missing, now)
                self._partial_since[number] = since
                if now - since[1] > self.limits.partial_s:
                    gone.append(number)
        return gone

    # --- applying ----------------------------------------------------------------------

    def apply(self, row: Record, lsn: int) -> None:
        """Take a fact about runs; unconditional."""
        match row:
            case Submitted():
                self._submitted(row, lsn)
            case PartAdded():
                self._part_added(row, lsn)
            case CancelledRuns() | PausedRuns():
                self._marked(row, lsn)
            case FinishedRun():
                self._finished(row, lsn)
            case Forgotten(runs):
                for number in runs:
                    self._forget(number)
            case CancelledJobs():
                self._cancelled_jobs(row, lsn)
            case Retried():
                self._retried(row, lsn)
            case Released():
                self._released(row)
            case Grew() | Overruled() | ClosedRun():
                run = self.by_number[row.number]
                run.lsn = lsn
                self._apply_growth(run, row)

    def _marked(self, row: CancelledRuns | PausedRuns, lsn: int) -> None:
        for run in map(self.by_number.__getitem__, row.runs):
            run.lsn = lsn
            if isinstance(row, PausedRuns):
                run.paused = row.paused
            else:
                run.cancelled = True

    def _cancelled_jobs(self, row: CancelledJobs, lsn: int) -> None:
        run = self.by_number[row.number]
        run.lsn = lsn
        run.cancelling.update(dict.fromkeys(row.out))
        for job in row.jobs:
            run.cancelling.pop(job, None)
            run.set_state(job, states.CANCELLED)

    def _submitted(self, row: Submitted, lsn: int) -> None:
        header = unpack_again(Header, row.header, FRAME_BYTES_MAX)
        run = RunRecord(row.number, header, row.header, row.at, [None] * row.parts, lsn, row.parts)
        run.base_parts = row.parts
        self.set_kinds(run)
        self.by_number[row.number] = run
        self.numbers[header.run] = row.number
        self.next_number = row.number + 1

    def _part_added(self, row: PartAdded, lsn: int) -> None:
        run = self.by_number[row.number]
        run.lsn = lsn
        self.take_part(run, row.index, row.structure, row.details)

    def take_part(self, run: RunRecord, index: int, structure: bytes, details: bytes) -> None:
        """One part more; with the last one the run is open."""
        run.parts[index] = (structure, details)
        run.missing -= 1
        self._partial_bytes += len(structure) + len(details)
        if run.missing:
            return
        for part in run.parts:
            assert part is not None
            self._partial_bytes -= len(part[0]) + len(part[1])
            take_jobs(
                run,
                unpack_again(Structure, part[0], FRAME_BYTES_MAX),
                unpack_again(Details, part[1], FRAME_BYTES_MAX),
            )
        run.states = bytearray(run.header.jobs)
        run.counts[states.OPEN] = run.header.jobs
        self.open_count += 1

    def _retried(self, row: Retried, lsn: int) -> None:
        run = repeated(self.by_number[self.numbers[row.source]], row, lsn)
        self.set_kinds(run)
        self.by_number[row.number] = run
        self.numbers[run.id] = row.number
        self.next_number = row.number + 1
        self.open_count += 1
        self.lent[row.source] += 1

    def _released(self, row: Released) -> None:
        run = self.by_number[row.number]
        run.results.update(dict.fromkeys(row.jobs, GONE))
        if run.finished_at:
            self.stale[row.number] = None

    def _apply_growth(self, run: RunRecord, row: Grew | Overruled | ClosedRun) -> None:
        if isinstance(row, Grew):
            self._grew(run, row.job, row.growth)
        elif isinstance(row, ClosedRun):
            run.closed = True
        else:
            run.growing.pop(row.job, None)
            run.results.pop(row.job, None)
            run.set_state(row.job, states.FAILED)
            self.keep_failure(FailedJob(row.number, row.job, row.failure))

    def _grew(self, run: RunRecord, job: int, packed: bytes) -> None:
        found = resolve(packed, run.header, run.by_name())
        run.growing.pop(job, None)
        run.additions += job == BY_CLIENT
        run.header, run.header_bytes = found.header, b""
        self.set_kinds(run)
        run.parts.append((pack_record(found.structure), pack_record(found.details)))
        before = len(run.states)
        if not run.kind_of:
            run.kind_of = array("I", bytes(4 * before))
        if not run.ends:
            run.ends, run.payloads = array("I", range(1, before + 1)), bytearray(NIL * before)
        take_jobs(run, found.structure, found.details)
        run.feeds += found.feeds
        run.by_name().update((name, before + i) for i, name in enumerate(found.names))
        run.states += bytes(len(found.names))
        run.counts[states.OPEN] += len(found.names)

    def _finished(self, row: FinishedRun, lsn: int) -> None:
        run = self.by_number[row.number]
        rest = states.CANCELLED if run.cancelled else states.SKIPPED
        for job, state in enumerate(run.states):
            if state not in states.ENDED:
                run.set_state(job, rest)
        run.finished_at = row.at
        run.lsn = lsn
        run.growing.clear()
        run.failed_again.clear()
        run.cancelling.clear()
        run.lost.clear()
        run.memory_kills.clear()
        run.crashes.clear()
        run.crash_nodes.clear()
        run.floors.clear()
        run.assignment = 0  # from here on it never changes: its image is taken once
        self.open_count -= 1
        self.finished_order[row.number] = None

    def _forget(self, number: int) -> None:
        run = self.by_number.pop(number)
        del self.numbers[run.id]
        if run.retry_of:
            self.lent -= Counter((run.retry_of,))
        self.finished_order.pop(number, None)
        self._taken_bytes -= self._taken.pop(number, 0)
        if not run.complete:
            self._partial_bytes -= sum(len(p[0]) + len(p[1]) for p in run.parts if p is not None)
        elif not run.finished_at:
            self.open_count -= 1

    def keep_failure(self, failed: FailedJob) -> None:
        """Final ones stay; those that were tried again make room."""
        run = self.by_number[failed.run]
        if failed.job not in run.failures and len(run.failures) >= self.limits.kept_failures_max:
            other = next((job for job in run.failures if run.states[job] != states.FAILED), None)
            if other is None:
                return
            del run.failures[other]
        run.failures[failed.job] = failed.failure

    def check(self) -> None:
        assert self.open_count == sum(run.open for run in self.by_number.values())
        for run in self.by_number.values():
            if run.open:
                assert sum(run.counts) == len(run.states) == run.header.jobs
                counts = [run.states.count(state) for state in range(8)]
                assert run.counts == counts, f"run {run.number} miscounts its jobs"
            elif run.finished_at:
                ended = sum(run.counts[state] for state in states.ENDED)
                assert ended == run.header.jobs, "a finished run has open jobs"


def _checked_part(header: Header, packed_structure: bytes, packed_details: bytes) -> None:
    """Raise BadMessage or DefinitionError unless the part is sound in itself."""
    structure = unpack_again(Structure, packed_structure, FRAME_BYTES_MAX)
    details = unpack_again(Details, packed_details, FRAME_BYTES_MAX)
    jobs = len(structure.offsets) - 1
    if jobs < 1 or details.first != structure.first or structure.first + jobs > header.jobs:
        raise BadMessage("its jobs are not within the run")
    Graph(structure.offsets, structure.upstreams).check(structure.first)
    if len(structure.reads) not in (0, len(structure.upstreams)):
        raise BadMessage("it does not say of each edge whether it is read")
    if len(structure.temporary) not in (0, jobs):
        raise BadMessage("it does not say of each job whether its result is temporary")
    if len(details.kind_of) not in (0, jobs) or (not details.kind_of and len(header.kinds) > 1):
        raise BadMessage("it does not have one kind for each job")
    if details.kind_of and max(details.kind_of) >= len(header.kinds):
        raise BadMessage("it names a kind that the header lacks")
    if len(details.ends) not in (0, jobs) or (details.ends or [0])[-1] != len(details.payloads):
        raise BadMessage("its payloads do not have one end for each job")
    if any(low > high for low, high in zip(details.ends, details.ends[1:], strict=False)):
        raise BadMessage("the ends of its payloads fall")
