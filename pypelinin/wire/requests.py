"""The messages between clients and the Router; see `messages` for the rest and the table.

A request carries a number of the client's and gets one reply with the same number;
`PipelineFinished` and `JobsDone` come unasked to whoever said `watch` or `follow`.
"""

from __future__ import annotations

from dataclasses import field

from pypelinin.machine import record
from pypelinin.wire.codec import Blobs, Ints, Record
from pypelinin.wire.definitions import Capacity, Failure, Place, Refusal, ValuePlace
from pypelinin.wire.evidence import NodeSample


@record
class GetConfiguration(Record):
    request: int
    role: str
    version: str
    seen_epoch: int = 0
    clock: float = 0.0


@record
class Configuration(Record):
    request: int
    cluster: str
    epoch: int
    version: str
    broadcast: str
    values: dict[str, object]
    clock: float = 0.0
    place: ValuePlace | None = None


@record
class AddPipeline(Record):
    """Parts of runs; *blobs* holds header, structure and details of each place in turn."""

    request: int
    watch: bool
    queue_anyway: bool
    places: tuple[Place, ...]
    blobs: Blobs
    follow: bool = False
    """Tell the outcome of each job as it comes (`JobsEnded`)."""


@record
class Added(Record):
    """*refusal* is None if the part (and with the last one the run) is accepted."""

    run: str
    refusal: Refusal | None


@record
class PipelineAdded(Record):
    request: int
    results: tuple[Added, ...]


@record
class GetStatus(Record):
    request: int
    runs: tuple[str, ...]
    watch: bool


@record
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
    paused: bool = False
    retry_of: str = ""
    """The run that this one is again."""


@record
class Status(Record):
    request: int
    runs: tuple[RunStatus, ...]


@record
class PipelineFinished(Record):
    runs: tuple[RunStatus, ...]


@record
class GetPipelines(Record):
    """The newest runs first, *limit* of them after skipping *offset*; state "" is all."""

    request: int
    state: str
    offset: int
    limit: int


@record
class Cancel(Record):
    """Begin nothing more of these runs; *running*: end what runs of them, too."""

    request: int
    runs: tuple[str, ...]
    running: bool = False


@record
class CancelJobs(Record):
    """End these jobs of a run, running or not; answered by the run's Status."""

    request: int
    run: str
    jobs: Ints


@record
class AddJobs(Record):
    """The client's *index*-th addition to a run that is open, or (*growth* empty) its last;
    answered by the run's Status."""

    request: int
    run: str
    index: int
    growth: bytes


@record
class ReleaseResults(Record):
    """Nobody will ask for the results of these runs any more, as far as they are over; answered
    by their Status."""

    request: int
    runs: tuple[str, ...]


@record
class GetCluster(Record):
    request: int


@record
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
    capacity: Capacity | None = None
    free: Capacity | None = None
    """What of its offer nobody has."""
    version: str = ""
    why: str = ""
    """Why it is draining."""
    sample: NodeSample | None = None


@record
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


@record
class GetDefinition(Record):
    request: int
    run: str


@record
class JobFailure(Record):
    job: int
    failure: Failure


@record
class Definition(Record):
    """A run whole: *blobs* is header, states of the jobs, then structure, details, ..."""

    request: int
    status: RunStatus
    failures: tuple[JobFailure, ...]
    running: Ints
    blobs: Blobs


@record
class GetResults(Record):
    """How jobs of a run ended; *first* is where to begin, *follow* tells the others later."""

    request: int
    run: str
    first: int = 0
    follow: bool = False


@record
class Outcomes(Record):
    """Jobs of a run that ended so; *results* as in `Progress`."""

    run: str
    jobs: Ints
    statuses: bytes
    failures: tuple[JobFailure, ...] = ()
    results: tuple[bytes, ...] = ()


@record
class Results(Record):
    """The answer: jobs up to *next* were looked at (-1: all of them)."""

    request: int
    outcomes: Outcomes
    next: int


@record
class JobsDone(Record):
    """Unasked, to who follows: outcomes that are recorded now."""

    runs: tuple[Outcomes, ...]


@record
class Refused(Record):
    """The answer to a request that cannot be taken (request 0: to bytes that are none)."""

    request: int
    refusal: Refusal
