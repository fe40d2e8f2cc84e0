"""The journal's rows: facts, so that replay never judges.

Each says what the Router decided had happened; `apply` takes them without a clock and
without conditions. Rows are committed in order: a durable row implies all before it.
"""

from __future__ import annotations

from array import array
from dataclasses import field

from pypelinin.machine import record
from pypelinin.wire.codec import Ints, Record, pack_tagged, unpack_record, unpack_tagged
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Failure

ROW_BYTES_MAX = 4 * FRAME_BYTES_MAX
BY_CLIENT = 2**32 - 1
IMAGE_BYTES_MAX = 1024 * 1024 * 1024


@record
class Epoch(Record):
    """A Router began; *base* is the last row of the epoch before."""

    epoch: int
    base: int
    cluster: str
    at: float


@record
class Joined(Record):
    """A Broker is here as *node*, or here again; it said so with its *hello* of that number.

    Earlier hellos that are still on their way, even those of before a crash of the Router, say
    nothing any more: what it was given since is not in them.
    """

    node: int
    name: str
    incarnation: str
    hello: int = 0


@record
class Left(Record):
    node: int
    why: str


@record
class Submitted(Record):
    """A run of *parts* parts was begun; it opens when all of them are here."""

    number: int
    parts: int
    header: bytes
    at: float


@record
class PartAdded(Record):
    number: int
    index: int
    structure: bytes
    details: bytes


@record
class Assigned(Record):
    assignment: int
    pipeliner: str
    runs: Ints


@record
class LotRow(Record):
    """*follows* is 1 where a job begins only if the one before it is done; empty: nowhere."""

    fence: int
    runs: Ints
    jobs: Ints
    follows: bytes = b""


@record
class HandedOut(Record):
    """*node* has these lots (adopted ones keep the fence of an older epoch)."""

    node: int
    lots: tuple[LotRow, ...]


@record
class Ended(Record):
    """Jobs *start* ... of a lot ended so; see graph.states."""

    fence: int
    start: int
    statuses: bytes
    results: tuple[bytes, ...] = ()


@record
class FailedJob(Record):
    run: int
    job: int
    failure: Failure


@record
class JobsEnded(Record):
    lots: tuple[Ended, ...]
    failures: tuple[FailedJob, ...]


@record
class LotClosed(Record):
    """The jobs of a lot from *start* on are open again; *lost* counts against them."""

    fence: int
    start: int
    lost: bool


@record
class LotsClosed(Record):
    lots: tuple[LotClosed, ...]


@record
class GivenUp(Record):
    """Jobs that fail without an outcome of a slot (lost too often)."""

    run: int
    jobs: Ints
    failure: Failure


@record
class CancelledRuns(Record):
    runs: Ints


@record
class FinishedRun(Record):
    """The verdict: jobs without an outcome never ran (skipped, or cancelled with the run)."""

    number: int
    at: float


@record
class Forgotten(Record):
    """Retention: nothing of these runs is kept."""

    runs: Ints


@record
class Released(Record):
    """Nobody will read the results of these jobs any more."""

    number: int
    jobs: Ints


@record
class CancelledJobs(Record):
    """*jobs* will not start; *out* are on nodes and count as cancelled unless they succeed."""

    number: int
    jobs: Ints
    out: Ints


@record
class Grew(Record):
    """A run gained what *growth* says, by the outcome of *job* or BY_CLIENT."""

    number: int
    job: int
    growth: bytes


@record
class Overruled(Record):
    """The verdict on a job that says it is done: it failed, for what it wanted to add."""

    number: int
    job: int
    failure: Failure


@record
class ClosedRun(Record):
    """The client adds nothing more."""

    number: int


@record
class Retried(Record):
    """A run that is *source* again: its jobs *open* run anew, the others stand as they ended."""

    number: int
    source: str
    header: bytes
    open: Ints
    at: float


@record
class PausedRuns(Record):
    """Nothing more of these runs is handed out, or (*paused* false) again."""

    runs: Ints
    paused: bool


ROWS: dict[int, type[Record]] = {
    1: Epoch,
    2: Joined,
    3: Left,
    4: Submitted,
    5: PartAdded,
    6: Assigned,
    7: HandedOut,
    8: JobsEnded,
    9: LotsClosed,
    10: GivenUp,
    11: CancelledRuns,
    12: FinishedRun,
    13: Forgotten,
    14: Released,
    15: CancelledJobs,
    16: Grew,
    17: Overruled,
    18: ClosedRun,
    19: Retried,
    20: PausedRuns,
}
_TAGS = {cls: tag for tag, cls in ROWS.items()}


def pack_row(row: Record) -> bytes:
    return pack_tagged(_TAGS[type(row)], row)


def unpack_row(data: bytes) -> Record:
    """Raises BadMessage for a row this version does not know."""
    return unpack_tagged(ROWS, data, ROW_BYTES_MAX)


# --- images: what rows up to a base come to, so that they can be dropped ---------------


@record
class Grown(Record):
    """How a run grew: late edges (up, job) in one flat array, how many parts it began with, how
    often its client added some, whether it is closed, and what is not yet judged by job."""

    feeds: Ints
    parts: int
    additions: int
    closed: bool
    pending_jobs: Ints
    pending: tuple[bytes, ...]


@record
class RunImage(Record):
    """One run as of a row; *parts* are structure and details in turn, empty if missing.

    Counters are (key, value) pairs in one flat tuple, here and below.
    """

    number: int
    header: bytes
    at: float
    parts: tuple[bytes, ...]
    states: bytes
    failed_again: tuple[int, ...]
    lost: tuple[int, ...]
    failures: tuple[FailedJob, ...]
    cancelled: bool
    finished_at: float
    assignment: int
    lsn: int
    floors: tuple[int, ...] = ()
    result_jobs: Ints = field(default_factory=lambda: array("I"))
    results: tuple[bytes, ...] = ()
    cancelling: Ints = field(default_factory=lambda: array("I"))
    grown: Grown | None = None
    memory_kills: tuple[int, ...] = ()
    crash_jobs: Ints = field(default_factory=lambda: array("I"))
    """A job for each time that its slot died, *crash_nodes* where that was."""
    crash_nodes: tuple[str, ...] = ()
    paused: bool = False
    retry_of: str = ""


@record
class LotImage(Record):
    node: int
    next: int
    lot: LotRow


@record
class StateImage(Record):
    """Everything but the runs, as of row *lsn*."""

    lsn: int
    epoch: int
    cluster: str
    next_node: int
    next_assignment: int
    next_attempt: int
    next_number: int
    bases: tuple[int, ...]
    members: tuple[Joined, ...]
    lots: tuple[LotImage, ...]
    finished: Ints
    """Finished runs in the order of their ends."""


def unpack_image(number: int, data: bytes) -> Record:
    """The image of run *number*, or of the state (0). Raises BadMessage."""
    return unpack_record(RunImage if number else StateImage, data, IMAGE_BYTES_MAX, own=True)
