"""All the Router's journal stands for: epoch, members, runs, attempts.

`apply` is the only writer. A replay of the rows gives the same state as the life that
wrote them; `digest` is how the simulator compares the two.
"""

from __future__ import annotations

from pypelinin.cluster.attempts import Attempts
from pypelinin.cluster.runs import Runs
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import record
from pypelinin.wire.codec import Record
from pypelinin.wire.rows import (
    Assigned,
    CancelledJobs,
    CancelledRuns,
    ClosedRun,
    Epoch,
    FinishedRun,
    Forgotten,
    GivenUp,
    Grew,
    HandedOut,
    JobsEnded,
    Joined,
    Left,
    LotsClosed,
    Overruled,
    PartAdded,
    PausedRuns,
    Released,
    Retried,
    Submitted,
)

_OF_ATTEMPTS = frozenset((HandedOut, JobsEnded, LotsClosed, GivenUp))
_OF_RUNS = frozenset(
    (
        CancelledJobs,
        Submitted,
        PartAdded,
        CancelledRuns,
        FinishedRun,
        Forgotten,
        Released,
        Grew,
        Overruled,
        ClosedRun,
        Retried,
        PausedRuns,
    )
)


@record
class JournalledMember:
    """A Broker that joined and did not leave, by the journal."""

    node: int
    name: str
    incarnation: str
    hello: int = 0
    """The newest that was taken."""


class State:
    """The Router's durable state; *lsn* is the number of its newest row."""

    def __init__(self, limits: Limits) -> None:
        self.runs = Runs(limits)
        self.attempts = Attempts(self.runs, limits)
        self.members: dict[int, JournalledMember] = {}
        self.cluster = ""
        self.epoch = 0
        self.lsn = 0
        self.next_node = 1
        self.next_assignment = 1

    def apply(self, row: Record) -> None:
        """Take the next row; total and unconditional."""
        self.lsn += 1
        kind = type(row)
        if kind in _OF_ATTEMPTS:
            self.attempts.apply(row, self.lsn)
            return
        if kind in _OF_RUNS:
            self.runs.apply(row, self.lsn)
            return
        match row:
            case Assigned(assignment, _, runs):
                self.next_assignment = assignment + 1
                for number in runs:
                    self.runs.by_number[number].assignment = assignment
            case Joined(node, name, incarnation, hello):
                self.members[node] = JournalledMember(node, name, incarnation, hello)
                self.next_node = max(self.next_node, node + 1)
            case Left(node):
                self.members.pop(node, None)
            case Epoch(epoch, base, cluster):
                self.epoch, self.cluster = epoch, cluster
                self.attempts.begin_epoch(epoch, base)
                for run in self.runs.by_number.values():
                    run.assignment = 0

    def digest(self) -> dict[str, object]:
        """Everything durable in a form that compares; what is in memory only is left out."""
        return {
            "head": (self.lsn, self.epoch, self.cluster),
            "members": dict(self.members),
            "next": (self.next_node, self.next_assignment, self.attempts.next_attempt),
            "lots": {
                lot.fence: (
                    lot.node, lot.runs.tolist(), lot.jobs.tolist(), lot.follows, lot.next,
                )
                for lot in self.attempts.lots.values()
            },
            "runs": {
                run.id: (
                    run.number, run.packed_header(), run.missing, run.cancelled, run.finished_at,
                    bytes(run.states).replace(bytes((states.QUEUED,)), bytes((states.OPEN,))),
                    dict(run.failed_again), dict(run.lost), dict(run.failures), run.assignment,
                    dict(run.results), dict(run.cancelling), dict(run.memory_kills),
                    dict(run.crash_nodes), run.paused, run.retry_of,
                )
                for run in self.runs.by_number.values()
            },
        }  # fmt: skip

    def check(self) -> None:
        self.runs.check()
        self.attempts.check()
