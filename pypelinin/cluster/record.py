"""One run as the Router has it: its jobs in arrays, what became of them, how it grew."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub

from pypelinin.cluster.growing import NIL, is_grown, name_of, split_result
from pypelinin.graph import states
from pypelinin.wire.codec import pack_record
from pypelinin.wire.definitions import Details, Failure, Header, Kind, Structure, Terms
from pypelinin.wire.messages import RunStatus

RECORD_BYTES = 4096


@dataclass(slots=True)
class RunRecord:
    """One run in the Router. *parts* holds (structure, details) as they were received."""

    number: int
    header: Header
    header_bytes: bytes
    at: float
    parts: list[tuple[bytes, bytes] | None]
    lsn: int = 0
    missing: int = 0
    states: bytearray = field(default_factory=bytearray)
    counts: list[int] = field(default_factory=lambda: [0] * 8)
    kind_of: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))
    payloads: bytearray = field(default_factory=bytearray)
    widest: int = 1
    """Bytes of the largest payload of a job."""
    reads: dict[int, array[int]] = field(default_factory=dict)
    """Of which jobs each job reads the results, in the order in which it names them."""
    results: dict[int, bytes] = field(default_factory=dict)
    """Packed results by job; None is not kept, nor what was released."""
    failures: dict[int, Failure] = field(default_factory=dict)
    failed_again: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    memory_kills: Counter[int] = field(default_factory=Counter)
    crashes: Counter[int] = field(default_factory=Counter)
    crash_nodes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """On which nodes slots died with each job, one name a time."""
    floors: dict[int, int] = field(default_factory=dict)
    """The lowest fence that may still be adopted, of jobs that were tried before."""
    cancelled: bool = False
    paused: bool = False
    retry_of: str = ""
    """The id of the run that this one is again; results of that one may be its own."""
    cancelling: dict[int, None] = field(default_factory=dict)
    """Jobs on nodes that shall end: a failure of theirs is a cancel."""
    finished_at: float = 0.0
    assignment: int = 0
    watchers: dict[bytes, None] = field(default_factory=dict)
    followers: dict[bytes, None] = field(default_factory=dict)
    """Peers that are told the outcome of each job."""
    taken: bool = False
    """Its client said that he has all its results, or will not ask."""

    growing: dict[int, bytes] = field(default_factory=dict)
    """What jobs that have ended want to add, until it is judged."""
    feeds: list[tuple[int, int]] = field(default_factory=list)
    """Edges (up, job) that jobs gained later."""
    base_parts: int = 0
    """How many parts were submitted; the others grew."""
    additions: int = 0
    closed: bool = False
    full_kinds: tuple[Kind, ...] = ()
    """Those of the header with what the classes of their workers say, if they say anything; in
    memory only."""
    names: dict[str, int] | None = None
    """Jobs by name, known only if the run grows."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What its jobs have in common, by number."""
        return self.full_kinds or self.header.kinds

    @property
    def size(self) -> int:
        """About how many bytes it takes while nobody asks for its results."""
        parts = sum(len(part[0]) + 2 * len(part[1]) for part in self.parts if part is not None)
        return RECORD_BYTES + len(self.header_bytes) + parts

    @property
    def id(self) -> str:
        return self.header.run

    @property
    def more(self) -> bool:
        """Whether its client may still add jobs."""
        return self.header.open and not self.closed and not self.cancelled

    @property
    def plain(self) -> bool:
        """Whether an order of jobs is all that there is to know of it."""
        grown = self.growing or len(self.parts) > self.base_parts
        return not (self.reads or grown or self.header.open)

    @property
    def complete(self) -> bool:
        return self.missing == 0

    @property
    def open(self) -> bool:
        return self.missing == 0 and not self.finished_at

    @property
    def state(self) -> str:
        if not self.finished_at:
            return "running"
        if self.counts[states.FAILED]:
            return "failed"
        ended = self.counts[states.CANCELLED]
        return "cancelled" if ended and (self.cancelled or ended == self.header.jobs) else "done"

    def kind(self, job: int) -> Kind:
        return self.kinds[self.kind_of[job] if self.kind_of else 0]

    def terms(self, job: int) -> Terms | None:
        """On what terms the next try of the job runs, or the one that runs now."""
        return self.kind(job).terms_after(self.memory_kills[job] if self.memory_kills else 0)

    def payload(self, job: int) -> bytes:
        """The job's own msgpack value: its name and data."""
        if not self.ends:
            return NIL
        return bytes(self.payloads[self.ends[job - 1] if job else 0 : self.ends[job]])

    def inputs(self, job: int) -> list[bytes]:
        """The packed results that *job* reads (empty: None)."""
        return [self.results.get(up, b"") for up in self.reads.get(job, ())]

    def keep_result(self, job: int, result: bytes) -> None:
        """What an attempt returned, and what it wants to add to the run."""
        if is_grown(result):
            result, self.growing[job] = split_result(result)
        if result:
            self.results[job] = result

    def by_name(self) -> dict[str, int]:
        if self.names is None:
            jobs = range(len(self.states))
            self.names = {name_of(self.payload(job), self.kind(job)): job for job in jobs}
        return self.names

    def packed_header(self) -> bytes:
        self.header_bytes = self.header_bytes or pack_record(self.header)
        return self.header_bytes

    def set_state(self, job: int, state: int) -> None:
        self.counts[self.states[job]] -= 1
        self.counts[state] += 1
        self.states[job] = state

    def status(self) -> RunStatus:
        final = ((j, f) for j, f in self.failures.items() if self.states[j] == states.FAILED)
        job, error = next(final, (0, None))
        counts = self.counts
        return RunStatus(
            self.id, self.state, self.header.jobs, counts[states.DONE], counts[states.FAILED],
            counts[states.SKIPPED], counts[states.CANCELLED], self.at, self.finished_at,
            error, str(job) if error else "", self.header.labels, "", counts[states.OUT],
            self.paused and not self.finished_at, self.retry_of,
        )  # fmt: skip


def take_jobs(run: RunRecord, structure: Structure, details: Details) -> None:
    """The jobs of one part more, behind those that are known."""
    base = len(run.payloads)
    run.kind_of.extend(details.kind_of)
    run.ends.extend(array("I", [base + end for end in details.ends]))
    run.payloads += details.payloads
    sizes = map(sub, details.ends, array("I", [0]) + details.ends)
    run.widest = max(run.widest, max(sizes, default=1))
    run.reads.update(_reads(structure))


def _reads(structure: Structure) -> Iterator[tuple[int, array[int]]]:
    """(job, the jobs whose results it reads) of those that read any."""
    if not structure.reads:
        return
    offsets, upstreams = structure.offsets, structure.upstreams
    for job in range(len(offsets) - 1):
        low, high = offsets[job], offsets[job + 1]
        read = [upstreams[i] for i in range(low, high) if structure.reads[i]]
        if read:
            yield structure.first + job, array("I", read)
