"""The messages between clients and the Router; see `messages` for the rest and the table.

A request carries a number of the client's and gets one reply with the same number;
`PipelineFinished` and `JobsDone` come unasked to whoever said `watch` or `follow`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pypelinin.wire.codec import Blobs, Ints, Record
from pypelinin.wire.definitions import Failure, Place, Refusal, ValuePlace


@dataclass(frozen=True, slots=True)
class GetConfiguration(Record):
    request: int
    role: str
    version: str
    seen_epoch: int = 0
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class Configuration(Record):
    request: int
    cluster: str
    epoch: int
    version: str
    broadcast: str
    values: dict[str, object]
    clock: float = 0.0
    place: ValuePlace | None = None


@dataclass(frozen=True, slots=True)
class AddPipeline(Record):
    """Parts of runs; *blobs* holds header, structure and details of each place in turn."""

    request: int
    watch: bool
    queue_anyway: bool
    places: tuple[Place, ...]
    blobs: Blobs
    follow: bool = False
    """Tell the outcome of each job as it comes (`JobsEnded`)."""


@dataclass(frozen=True, slots=True)
class Added(Record):
    """*refusal* is None if the part (and with the last one the run) is accepted."""

    run: str
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class PipelineAdded(Record):
    request: int
    results: tuple[Added, ...]


@dataclass(frozen=True, slots=True)
class GetStatus(Record):
    request: int
    runs: tuple[str, ...]
    watch: bool


@dataclass(frozen=True, slots=True)
class RunStatus(Record):
    """One run; times are seconds since 1970 (0: not yet); state "unknown": not here."""

    run: str
    state: str
    jobs: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    submitted_at: float = 0.0
    finished_at: float = 0.0
    error: Failure | None = None
    error_job: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    running: int = 0


@dataclass(frozen=True, slots=True)
class Status(Record):
    request: int
    runs: tuple[RunStatus, ...]


@dataclass(frozen=True, slots=True)
class PipelineFinished(Record):
    runs: tuple[RunStatus, ...]


@dataclass(frozen=True, slots=True)
class GetPipelines(Record):
    """The newest runs first, *limit* of them after skipping *offset*; state "" is all."""

    request: int
    state: str
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Cancel(Record):
    request: int
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CancelJobs(Record):
    """End these jobs of a run, running or not; answered by the run's Status."""

    request: int
    run: str
    jobs: Ints


@dataclass(frozen=True, slots=True)
class AddJobs(Record):
    """The client's *index*-th addition to a run that is open, or (*growth* empty) its last;
    answered by the run's Status."""

    request: int
    run: str
    index: int
    growth: bytes


@dataclass(frozen=True, slots=True)
class ReleaseResults(Record):
    """Nobody will ask for the results of these runs any more, as far as they are over; answered
    by their Status."""

    request: int
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GetCluster(Record):
    request: int


@dataclass(frozen=True, slots=True)
class NodeStatus(Record):
    name: str
    role: str
    state: str
    slots: int
    running: int
    workers: tuple[str, ...]
    labels: dict[str, str]
    heard_s: float
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Cluster(Record):
    request: int
    cluster: str
    epoch: int
    version: str
    nodes: tuple[NodeStatus, ...]
    runs_open: int
    runs_finished: int
    jobs_queued: int
    jobs_running: int
    lsn: int
    started_at: float


@dataclass(frozen=True, slots=True)
class GetDefinition(Record):
    request: int
    run: str


@dataclass(frozen=True, slots=True)
class JobFailure(Record):
    job: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Definition(Record):
    """A run whole: *blobs* is header, states of the jobs, then structure, details, ..."""

    request: int
    status: RunStatus
    failures: tuple[JobFailure, ...]
    running: Ints
    blobs: Blobs


@dataclass(frozen=True, slots=True)
class GetResults(Record):
    """How jobs of a run ended; *first* is where to begin, *follow* tells the others later."""

    request: int
    run: str
    first: int = 0
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Outcomes(Record):
    """Jobs of a run that ended so; *results* as in `Progress`."""

    run: str
    jobs: Ints
    statuses: bytes
    failures: tuple[JobFailure, ...] = ()
    results: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Results(Record):
    """The answer: jobs up to *next* were looked at (-1: all of them)."""

    request: int
    outcomes: Outcomes
    next: int


@dataclass(frozen=True, slots=True)
class JobsDone(Record):
    """Unasked, to who follows: outcomes that are recorded now."""

    runs: tuple[Outcomes, ...]


@dataclass(frozen=True, slots=True)
class Refused(Record):
    """The answer to a request that cannot be taken (request 0: to bytes that are none)."""

    request: int
    refusal: Refusal
