"""Every message between peers, typed; the dict at the end gives their names on the wire.

Client and Router: a request carries a number of the client's and gets one reply with the
same number; `PipelineFinished` comes unasked to whoever said `watch`. Everything between
Router and Broker or Pipeliner after the welcome is numbered by a `cluster.link.Link`.
Fields added later stand at the end and have defaults.
"""

from __future__ import annotations

from pypelinin.machine import record
from pypelinin.wire.codec import Blobs, Ints, Record
from pypelinin.wire.definitions import Capacity, Terms
from pypelinin.wire.evidence import (
    Evidence as Evidence,
)
from pypelinin.wire.evidence import (
    GetLogs as GetLogs,
)
from pypelinin.wire.evidence import (
    Logs as Logs,
)
from pypelinin.wire.evidence import (
    NodeSample as NodeSample,
)
from pypelinin.wire.operations import (
    DrainNodes as DrainNodes,
)
from pypelinin.wire.operations import (
    ExplainJob as ExplainJob,
)
from pypelinin.wire.operations import (
    Explanation as Explanation,
)
from pypelinin.wire.operations import (
    PauseRuns as PauseRuns,
)
from pypelinin.wire.operations import (
    RetryRun as RetryRun,
)
from pypelinin.wire.operations import (
    SetDraining as SetDraining,
)
from pypelinin.wire.requests import (
    Added as Added,
)
from pypelinin.wire.requests import (
    AddJobs as AddJobs,
)
from pypelinin.wire.requests import (
    AddPipeline as AddPipeline,
)
from pypelinin.wire.requests import (
    Cancel as Cancel,
)
from pypelinin.wire.requests import (
    CancelJobs as CancelJobs,
)
from pypelinin.wire.requests import (
    Cluster as Cluster,
)
from pypelinin.wire.requests import (
    Configuration as Configuration,
)
from pypelinin.wire.requests import (
    Definition as Definition,
)
from pypelinin.wire.requests import (
    GetCluster as GetCluster,
)
from pypelinin.wire.requests import (
    GetConfiguration as GetConfiguration,
)
from pypelinin.wire.requests import (
    GetDefinition as GetDefinition,
)
from pypelinin.wire.requests import (
    GetPipelines as GetPipelines,
)
from pypelinin.wire.requests import (
    GetResults as GetResults,
)
from pypelinin.wire.requests import (
    GetStatus as GetStatus,
)
from pypelinin.wire.requests import (
    JobFailure as JobFailure,
)
from pypelinin.wire.requests import (
    JobsDone as JobsDone,
)
from pypelinin.wire.requests import (
    NodeStatus as NodeStatus,
)
from pypelinin.wire.requests import (
    Outcomes as Outcomes,
)
from pypelinin.wire.requests import (
    PipelineAdded as PipelineAdded,
)
from pypelinin.wire.requests import (
    PipelineFinished as PipelineFinished,
)
from pypelinin.wire.requests import (
    Refused as Refused,
)
from pypelinin.wire.requests import (
    ReleaseResults as ReleaseResults,
)
from pypelinin.wire.requests import (
    Results as Results,
)
from pypelinin.wire.requests import (
    RunStatus as RunStatus,
)
from pypelinin.wire.requests import (
    Status as Status,
)

# --- Router and Broker -----------------------------------------------------------------


@record
class HeldLot(Record):
    """A lot a Broker still has, finished or not, for the Router to adopt or drop.

    *statuses* are those of the jobs finished so far; *failures* are by position.
    """

    fence: int
    basis_epoch: int
    basis_lsn: int
    runs: Ints
    jobs: Ints
    statuses: bytes
    failures: tuple[JobFailure, ...]
    follows: bytes = b""
    results: tuple[bytes, ...] = ()


@record
class JoinBroker(Record):
    """A Broker's hello; ends all that an older incarnation of *name* had.

    *hello* rises with each one of an incarnation, so a late double changes nothing. *capacity*
    is all that the node could ever give, *offer* and *ahead* as in `GetJob`.
    *held* are packed `HeldLot`s, given by the Router of *cluster*.
    """

    name: str
    incarnation: str
    capacity: Capacity
    offer: Capacity
    ahead: int
    workers: tuple[str, ...]
    labels: dict[str, str]
    hello: int
    held: Blobs
    cluster: str = ""
    draining: str = ""
    declared: tuple[bytes, ...] = ()
    """Packed `Kind`s: what worker classes say of their jobs."""
    version: str = ""


@record
class Welcome(Record):
    """The answer to that *hello*: a link begins, numbered from 1 on both sides.

    Lots in *drop* are void: kill what runs of them, report nothing.
    """

    incarnation: str
    hello: int
    session: int
    cluster: str
    epoch: int
    lsn: int
    drop: tuple[int, ...] = ()


@record
class Wait(Record):
    """Come back later; the reason is for people."""

    retry_ms: int
    reason: str


@record
class Rejoin(Record):
    """The Router does not know this session; say hello."""


@record
class Leave(Record):
    """The member ends now; what it still had is open again."""


@record
class Ping(Record):
    """Sent every heartbeat: how far this side's numbers and its main loop are."""

    sent: int


@record
class Resend(Record):
    """A gap was seen after *received*; send everything behind it again."""

    received: int


@record
class GetJob(Record):
    """What all lots together that a Broker holds may need, and *ahead* cores more of short jobs.

    *pace* says for each worker measured how many jobs of it make one lot.
    """

    offer: Capacity
    ahead: int
    pace: dict[str, int]
    draining: str = ""
    """Why it takes nothing new at all; else it may be that others on the node leave nothing."""
    at_once: int = -1
    """Cores of the offer that no others on the node have now; -1: all."""


@record
class RunForSlot(Record):
    """What a slot must know of a run before it gets a job of it."""

    number: int
    run: str


@record
class Lot(Record):
    """Jobs of one worker for one slot, run in order; job i's fence is *fence* + i.

    Where *follows* is 1, a job begins only if the one before it in the lot is done. Empty:
    nowhere. *terms* None: one core and nothing else.
    """

    fence: int
    worker: str
    runs: Ints
    jobs: Ints
    follows: bytes = b""
    terms: Terms | None = None


def is_sound(lot: Lot | HeldLot) -> bool:
    """Whether the arrays of *lot* fit each other."""
    if len(lot.runs) != len(lot.jobs):
        return False
    if not lot.follows:
        return True
    fits = len(lot.follows) == len(lot.jobs) and not lot.follows.strip(b"\0\1")
    return fits and lot.follows[0] == 0


@record
class JobsOut(Record):
    """Lots for a Broker, with the journal row they build on.

    *blobs*: the payload of each run, then of each lot: one msgpack value a job, or empty
    if all are nil (and none at all if that holds for all lots).
    """

    epoch: int
    lsn: int
    runs: tuple[RunForSlot, ...]
    lots: tuple[Lot, ...]
    blobs: Blobs


@record
class Progress(Record):
    """Jobs *start*, *start* + 1, ... of a lot ended with these statuses.

    *results* has one packed value a status (empty: None), or nothing if all are None.
    """

    fence: int
    start: int
    statuses: bytes
    failures: tuple[JobFailure, ...] = ()
    results: tuple[bytes, ...] = ()


@record
class JobsFinished(Record):
    lots: tuple[Progress, ...]


@record
class Returned(Record):
    """The jobs from *start* on were not begun and never will be here."""

    fence: int
    start: int


@record
class JobsReturned(Record):
    lots: tuple[Returned, ...]


@record
class DropJobs(Record):
    """Do not begin what is left of these lots (their runs were cancelled); return it."""

    fences: tuple[int, ...]


@record
class KillJobs(Record):
    """End the attempts with these fences if they run; give back what is behind them."""

    fences: tuple[int, ...]


@record
class ForgetRuns(Record):
    runs: Ints


# --- Router and Pipeliner --------------------------------------------------------------


@record
class JoinPipeliner(Record):
    """A Pipeliner's hello; what it had is void, runs are assigned anew."""

    name: str
    incarnation: str
    hello: int
    version: str = ""


@record
class AssignedRun(Record):
    """A run for this Pipeliner.

    Of the message's blobs the next ones are its own: the states of its jobs so far (empty:
    all open), then *parts* packed `Structure`s.
    """

    number: int
    assignment: int
    jobs: int
    parts: int
    cancelled: bool


@record
class AssignRuns(Record):
    runs: tuple[AssignedRun, ...]
    blobs: Blobs


@record
class Settled(Record):
    """Final outcomes of jobs of one run."""

    number: int
    assignment: int
    jobs: Ints
    statuses: bytes


@record
class JobsSettled(Record):
    runs: tuple[Settled, ...]


@record
class Withdraw(Record):
    """Stop handing out these runs; what is not begun will not be (they are cancelled)."""

    runs: Ints


@record
class Ready(Record):
    number: int
    assignment: int
    jobs: Ints


@record
class AddJob(Record):
    """Jobs whose upstreams are all settled well; a set union, so doubles are harmless."""

    runs: tuple[Ready, ...]


@record
class SettledRun(Record):
    """Nothing of the run is waiting or running; what has no outcome never will have."""

    number: int
    assignment: int


@record
class PipelineSettled(Record):
    runs: tuple[SettledRun, ...]


MESSAGES: dict[str, type[Record]] = {
    "get configuration": GetConfiguration,
    "configuration": Configuration,
    "add pipeline": AddPipeline,
    "pipeline added": PipelineAdded,
    "get status": GetStatus,
    "status": Status,
    "pipeline finished": PipelineFinished,
    "get pipelines": GetPipelines,
    "cancel": Cancel,
    "cancel jobs": CancelJobs,
    "add jobs": AddJobs,
    "release results": ReleaseResults,
    "kill job": KillJobs,
    "get cluster": GetCluster,
    "cluster": Cluster,
    "get definition": GetDefinition,
    "definition": Definition,
    "get results": GetResults,
    "results": Results,
    "jobs done": JobsDone,
    "refused": Refused,
    "join broker": JoinBroker,
    "welcome": Welcome,
    "wait": Wait,
    "rejoin": Rejoin,
    "ping": Ping,
    "resend": Resend,
    "get job": GetJob,
    "job": JobsOut,
    "job finished": JobsFinished,
    "job returned": JobsReturned,
    "drop job": DropJobs,
    "forget pipeline": ForgetRuns,
    "get pipeline": JoinPipeliner,
    "pipeline": AssignRuns,
    "job settled": JobsSettled,
    "withdraw pipeline": Withdraw,
    "add job": AddJob,
    "leave": Leave,
    "pipeline settled": PipelineSettled,
    "drain nodes": DrainNodes,
    "set draining": SetDraining,
    "pause pipelines": PauseRuns,
    "retry pipeline": RetryRun,
    "explain job": ExplainJob,
    "explanation": Explanation,
    "evidence": Evidence,
    "node sample": NodeSample,
    "get logs": GetLogs,
    "logs": Logs,
}
NAMES = {cls: name for name, cls in MESSAGES.items()}
