"""The requests of who looks after a cluster: drain nodes, pause, repeat and explain runs."""

from __future__ import annotations

from pypelinin.machine import record
from pypelinin.wire.codec import Record


@record
class DrainNodes(Record):
    """These nodes finish what runs and get nothing new, for the reason *why*; with an empty one
    they get jobs again. Answered by the Cluster."""

    request: int
    nodes: tuple[str, ...]
    why: str


@record
class SetDraining(Record):
    """The Router to a Broker: take nothing new for this reason, or (empty) take jobs again."""

    why: str


@record
class PauseRuns(Record):
    """Hand out nothing more of these runs, or (*paused* false) go on; answered by their Status."""

    request: int
    runs: tuple[str, ...]
    paused: bool


@record
class RetryRun(Record):
    """Begin *new*: the run again, in which what is done is given. Answered by its Status.

    *failed_only*: what was cancelled stays so. *memory*: what each job may use, in bytes, and
    after each kill for memory (empty: as it was).
    """

    request: int
    run: str
    new: str
    failed_only: bool = False
    memory: tuple[int, ...] = ()


@record
class ExplainJob(Record):
    request: int
    run: str
    job: int


@record
class Explanation(Record):
    """Why a job is in its state, in sentences for people."""

    request: int
    state: str
    lines: tuple[str, ...]
