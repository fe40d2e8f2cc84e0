"""A PlainRun: the order of jobs that always run, and nothing else.

For jobs that always run (policy ALWAYS) joined by order-only edges: a job is WAITING
until its upstreams are settled, READY from its hand-out until its outcome, BLOCKED if an
upstream broke. Jobs are integers; all state is arrays; every operation is iterative and a
whole run costs O(jobs + edges).

The Run is fed final outcomes in any order and any batching: neither changes a decision.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from pypelinin.graph import states
from pypelinin.graph.graph import Graph

WAITING, READY, DONE, FAILED, BLOCKED, CANCELLED = range(6)
_SETTLED = frozenset((DONE, FAILED, BLOCKED, CANCELLED))
_VERDICT = {states.DONE: DONE, states.FAILED: FAILED, states.CANCELLED: CANCELLED}


class PlainRun:
    """One execution of *graph*; call `start` once, then `settle` with each outcome."""

    __slots__ = ("_downstreams", "_first", "_missing", "_open", "cancelled", "graph", "state")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.state = bytearray(graph.jobs)
        self.cancelled = False
        offsets = graph.offsets
        self._missing = array("I", [offsets[j + 1] - offsets[j] for j in range(graph.jobs)])
        self._first, self._downstreams = _turned(graph)
        self._open = graph.jobs

    @property
    def over(self) -> bool:
        """Nothing is waiting or running."""
        return self._open == 0

    def start(self, known: bytes = b"") -> list[int]:
        """The jobs to hand out first. *known*: recorded states of a run that goes on.

        Jobs that were handed out before and have no outcome are among them; who queues
        them unites sets.
        """
        ready = [job for job, count in enumerate(self._missing) if not count]
        for job in ready:
            self.state[job] = READY
        if known:
            ended = [(job, status) for job, status in enumerate(known) if status in _VERDICT]
            ready += self.settle([job for job, _ in ended], [status for _, status in ended])
        return [job for job in ready if self.state[job] == READY]

    def settle(self, jobs: Iterable[int], statuses: Sequence[int] | bytes) -> list[int]:
        """Take final outcomes; returns the jobs that became READY by them."""
        ready: list[int] = []
        state, missing, first, downstreams = (
            self.state,
            self._missing,
            self._first,
            self._downstreams,
        )
        for job, status in zip(jobs, statuses, strict=True):
            if state[job] in _SETTLED:
                continue
            if status != states.DONE or state[job] != READY:
                self._settle_slowly(job, _VERDICT[status], ready)
                continue
            state[job] = DONE
            self._open -= 1
            for down in downstreams[first[job] : first[job + 1]]:
                missing[down] -= 1
                if not missing[down] and state[down] == WAITING:
                    state[down] = READY
                    ready.append(down)
        return ready

    def line(self, job: int, jobs_max: int) -> list[int]:
        """Up to *jobs_max* jobs behind *job*: each waits for the one before, and only it does."""
        line: list[int] = []
        first = self._first
        while len(line) < jobs_max and first[job + 1] == first[job] + 1:
            job = self._downstreams[first[job]]
            if self._missing[job] != 1 or self.state[job] != WAITING:
                break
            line.append(job)
        return line

    def cancel(self) -> None:
        """Nothing waiting will start any more; what is READY still gets its outcome."""
        self.cancelled = True
        for job, state in enumerate(self.state):
            if state == WAITING:
                self.state[job] = CANCELLED
                self._open -= 1

    def _settle_slowly(self, job: int, verdict: int, ready: list[int]) -> None:
        """Everything but a READY job's success: a break spreads to all that wait for it.

        An outcome can also come for a job that a rebuilt Run does not know as READY yet
        (its upstreams' outcomes are in the same batch, behind it).
        """
        self.state[job] = verdict
        self._open -= 1
        spread = [job]
        while spread:
            broken = spread.pop()
            verdict = self.state[broken]
            for down in self._downstreams[self._first[broken] : self._first[broken + 1]]:
                self._missing[down] -= 1
                if self.state[down] != WAITING:
                    continue
                if verdict != DONE:
                    self.state[down] = BLOCKED
                    self._open -= 1
                    spread.append(down)
                elif not self._missing[down]:
                    self.state[down] = READY
                    ready.append(down)

    def check(self) -> None:
        """Assert the invariants; O(jobs + edges)."""
        unsettled_jobs = [job for job, state in enumerate(self.state) if state not in _SETTLED]
        assert self._open == len(unsettled_jobs)
        for job in unsettled_jobs:
            state = self.state[job]
            upstreams = [self.state[up] for up in self.graph.upstreams_of(job)]
            unsettled = sum(up not in _SETTLED for up in upstreams)
            if state == READY:
                assert all(up == DONE for up in upstreams), f"job {job} started too early"
            if state == WAITING:
                assert self._missing[job] == unsettled > 0, f"job {job} waits for nothing"
                assert all(up not in (FAILED, BLOCKED) for up in upstreams)


def _turned(graph: Graph) -> tuple[array[int], array[int]]:
    """Downstreams of every job as (offsets, targets), by counting."""
    jobs = graph.jobs
    first = array("I", bytes(4 * (jobs + 1)))
    for up in graph.upstreams:
        first[up + 1] += 1
    for job in range(jobs):
        first[job + 1] += first[job]
    place = first[:-1]
    downstreams = array("I", bytes(4 * len(graph.upstreams)))
    offsets, upstreams = graph.offsets, graph.upstreams
    for job in range(jobs):
        for up in upstreams[offsets[job] : offsets[job + 1]]:
            downstreams[place[up]] = job
            place[up] += 1
    return first, downstreams
