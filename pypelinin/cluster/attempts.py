"""Who tries: lots on nodes, fences, outcomes, retries, adoption after a restart.

A lot is a run of attempts: job i of it has the fence *lot fence* + i, and its jobs end in
order, so "how far" is one number. A lot of an old attempt is not in the table any more:
whatever is said about it changes nothing. `judge_*` return rows, `apply` takes them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.runs import Runs
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.ids import fence_attempt, fence_epoch, make_fence
from pypelinin.wire.codec import Record
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import HeldLot, Progress, is_sound
from pypelinin.wire.rows import (
    Ended,
    FailedJob,
    GivenUp,
    HandedOut,
    JobsEnded,
    LotClosed,
    LotRow,
    LotsClosed,
)

Pair = tuple[int, int]
"""(run number, job)."""

MEMORY = "memory"
CRASHES = ("exit", "signal")
"""Causes that are a slot's end, of which nobody knows whose fault it was."""
_FROM_BROKER = bytes((states.DONE, states.FAILED, states.UNBEGUN))


@dataclass(slots=True)
class OpenLot:
    """Jobs *next* ... of it have no outcome yet."""

    fence: int
    node: int
    runs: array[int]
    jobs: array[int]
    follows: bytes = b""
    next: int = 0

    def rest(self, start: int = 0) -> list[Pair]:
        start = max(start, self.next)
        return list(zip(self.runs[start:], self.jobs[start:], strict=True))

    def follower(self, position: int) -> bool:
        """Whether the job there begins only if the one before it is done."""
        return self.follows[position : position + 1] == b"\1"


class Attempts:
    """All lots that nodes have, and the counters that decide about another try."""

    def __init__(self, runs: Runs, limits: Limits) -> None:
        self.runs = runs
        self.limits = limits
        self.lots: dict[int, OpenLot] = {}
        self.next_attempt = 1
        self.epoch = 0
        self.bases: dict[int, int] = {}
        """epoch -> the last durable row of the epoch before it."""

    # --- judging -----------------------------------------------------------------------

    def judge_hand_out(
        self,
        epoch: int,
        node: int,
        lots: Iterable[tuple[array[int], array[int], bytes]],
    ) -> HandedOut:
        """Number the attempts of *lots*; fences rise and never repeat within an epoch."""
        rows = []
        attempt = self.next_attempt
        for runs, jobs, follows in lots:
            rows.append(LotRow(make_fence(epoch, attempt), runs, jobs, follows))
            attempt += len(jobs)
        return HandedOut(node, tuple(rows))

    def judge_progress(self, node: int, items: Iterable[Progress]) -> list[JobsEnded]:
        """The part of what *node* says that is new and about lots it still has."""
        ended: list[Ended] = []
        failures: list[FailedJob] = []
        seen: dict[int, int] = {}
        again: dict[Pair, int] = {}
        for item in items:
            lot = self.lots.get(item.fence)
            if lot is None or lot.node != node or item.statuses.strip(_FROM_BROKER):
                continue
            begin = seen.get(item.fence, lot.next)
            statuses = item.statuses[max(0, begin - item.start) :]
            if item.start > begin or not statuses or begin + len(statuses) > len(lot.jobs):
                continue
            if states.UNBEGUN in statuses and not _left_out(lot, begin, statuses):
                continue
            results = item.results[max(0, begin - item.start) :]
            if len(results) not in (0, len(statuses)):
                continue
            seen[item.fence] = begin + len(statuses)
            if states.FAILED in statuses:
                why = {f.job: f.failure for f in item.failures}
                statuses = self._judge_failures(lot, begin, statuses, why, failures, again)
            ended.append(Ended(item.fence, begin, statuses, results))
        return [JobsEnded(tuple(ended), tuple(failures))] if ended else []

    def _judge_failures(
        self,
        lot: OpenLot,
        begin: int,
        statuses: bytes,
        why: dict[int, Failure],
        failures: list[FailedJob],
        again: dict[Pair, int],
    ) -> bytes:
        """FAILED, or AGAIN while there are retries left."""
        judged = bytearray(statuses)
        for i, status in enumerate(statuses):
            if status != states.FAILED:
                continue
            position = begin + i
            number, job = lot.runs[position], lot.jobs[position]
            run = self.runs.by_number[number]
            if job in run.cancelling:
                judged[i] = states.CANCELLED
                continue
            failure = why.get(position, Failure("exception", "unknown", "no details were given"))
            if not run.cancelled and self._is_tried_again(run, job, failure, again):
                judged[i] = states.AGAIN
            elif failure.cause in CRASHES and run.crashes[job]:
                failure = replace(failure, text=_evidence(failure, run.crash_nodes[job]))
            failures.append(FailedJob(number, job, failure))
        return bytes(judged)

    def _is_tried_again(
        self, run: RunRecord, job: int, why: Failure, again: dict[Pair, int]
    ) -> bool:
        """With more memory if it had too little and there is more; elsewhere if its slot died,
        until that was once too often; else while it has retries.

        *again* counts those that are judged now and not applied yet.
        """
        kind = run.kind(job)
        if why.cause == MEMORY:
            return run.memory_kills[job] < len(kind.more_memory)
        if why.cause in CRASHES:
            return run.crashes[job] + 1 < self.limits.crashes_max
        tried = run.failed_again[job] + again.get((run.number, job), 0)
        if tried >= kind.retries:
            return False
        again[run.number, job] = again.get((run.number, job), 0) + 1
        return True

    def judge_close(self, lots: Iterable[OpenLot], lost: bool) -> list[LotsClosed]:
        closed = tuple(LotClosed(lot.fence, lot.next, lost) for lot in lots)
        return [LotsClosed(closed)] if closed else []

    def judge_returned(self, node: int, fence: int, start: int) -> list[LotsClosed]:
        """*node* gave the tail of a lot back; what it reported before stands."""
        lot = self.lots.get(fence)
        if lot is None or lot.node != node or not lot.next <= start < len(lot.jobs):
            return []
        return [LotsClosed((LotClosed(fence, start, False),))]

    def judge_held(self, epoch: int, node: int, held: HeldLot) -> tuple[bool, list[Record]]:
        """(may the node go on with this lot, rows) for one line of its inventory."""
        lot = self.lots.get(held.fence)
        if not is_sound(held) or len(held.statuses) > len(held.jobs):
            return False, []
        if lot is not None:
            fits = (
                lot.node == node
                and lot.next <= len(held.jobs)
                and (
                    lot.jobs[: len(held.jobs)] == held.jobs
                    and lot.runs[: len(held.jobs)] == held.runs
                )
            )
            if not fits or len(held.jobs) == len(lot.jobs):
                return fits, []
            return True, [LotsClosed((LotClosed(held.fence, len(held.jobs), False),))]
        if not self.valid(epoch, held.basis_epoch, held.basis_lsn):
            return False, []
        if held.basis_epoch == epoch or held.basis_epoch != fence_epoch(held.fence):
            return False, []
        if not held.jobs:
            return False, []
        pairs = list(zip(held.runs, held.jobs, strict=True))
        if len(set(pairs)) != len(pairs):
            return False, []
        for i, (number, job) in enumerate(pairs):
            run = self.runs.by_number.get(number)
            if run is None or not run.open or job >= len(run.states):
                return False, []
            if run.states[job] != states.OPEN or held.fence + i < run.floors.get(job, 0):
                return False, []
        row = LotRow(held.fence, held.runs, held.jobs, held.follows)
        return True, [HandedOut(node, (row,))]

    def valid(self, epoch: int, basis_epoch: int, basis_lsn: int) -> bool:
        """Whether what was built on that row of that epoch still stands."""
        if basis_epoch == epoch:
            return True
        return basis_lsn <= self.bases.get(basis_epoch + 1, -1)

    def may_start(self, lot: OpenLot, position: int) -> bool:
        """Whether the job there waits for nothing; if not, its Pipeliner will say when."""
        if not lot.follower(position):
            return True
        before = self.runs.by_number[lot.runs[position - 1]]
        return before.states[lot.jobs[position - 1]] == states.DONE

    def judge_given_up(self, lot: OpenLot, start: int, node: str) -> list[Record]:
        """The job that was next when the node of *lot* went away, if that was once too often."""
        number, job = lot.runs[start], lot.jobs[start]
        times = self.runs.by_number[number].lost[job]
        if times <= self.limits.lost_max or not self.may_start(lot, start):
            return []
        text = f"the node went away {times} times while it ran; last {node}"
        return [GivenUp(number, array("I", [job]), Failure("lost", "Lost", text))]

    # --- applying ----------------------------------------------------------------------

    def apply(self, row: Record, lsn: int) -> None:
        match row:
            case HandedOut(node, lots):
                for lot in lots:
                    self._handed_out(node, lot)
            case JobsEnded(lots, failures):
                for ended in lots:
                    self._ended(ended, lsn)
                for failed in failures:
                    self.runs.keep_failure(failed)
                    self._count(failed)
            case LotsClosed(lots):
                for closed in lots:
                    self._closed(closed, lsn)
            case GivenUp(number, jobs, failure):
                run = self.runs.by_number[number]
                run.lsn = lsn
                for job in jobs:
                    run.set_state(job, states.FAILED)
                    self.runs.keep_failure(FailedJob(number, job, failure))

    def _handed_out(self, node: int, row: LotRow) -> None:
        self.lots[row.fence] = OpenLot(row.fence, node, row.runs, row.jobs, row.follows)
        if fence_epoch(row.fence) == self.epoch:
            after = fence_attempt(row.fence) + len(row.jobs)
            self.next_attempt = max(self.next_attempt, after)
        self._set(row.runs, row.jobs, bytes((states.OUT,)) * len(row.jobs), 0)

    def _ended(self, row: Ended, lsn: int) -> None:
        lot = self.lots[row.fence]
        end = row.start + len(row.statuses)
        self._set(lot.runs[row.start : end], lot.jobs[row.start : end], row.statuses, lsn)
        if states.AGAIN in row.statuses or states.UNBEGUN in row.statuses:
            for i, status in enumerate(row.statuses, row.start):
                if status in (states.AGAIN, states.UNBEGUN):
                    floors = self.runs.by_number[lot.runs[i]].floors
                    floors[lot.jobs[i]] = row.fence + i + 1
        for i, result in enumerate(row.results, row.start):
            if result and row.statuses[i - row.start] in (states.DONE, states.FAILED):
                self.runs.by_number[lot.runs[i]].keep_result(lot.jobs[i], result)
        lot.next = end
        if end == len(lot.jobs):
            del self.lots[row.fence]

    def _count(self, failed: FailedJob) -> None:
        """Against its retries, if it is tried again; each cause has a counter of its own."""
        run = self.runs.by_number[failed.run]
        if failed.failure.cause == MEMORY:
            run.memory_kills[failed.job] += 1
        elif failed.failure.cause in CRASHES:
            run.crashes[failed.job] += 1
            run.crash_nodes[failed.job] = (
                *run.crash_nodes.get(failed.job, ()), failed.failure.node,
            )  # fmt: skip
        elif run.states[failed.job] == states.OPEN:
            run.failed_again[failed.job] += 1

    def _set(self, runs: array[int], jobs: array[int], statuses: bytes, lsn: int) -> None:
        """Jobs take new states; AGAIN and UNBEGUN open them."""
        by_number = self.runs.by_number
        number, run = -1, None
        for other, job, status in zip(runs, jobs, statuses, strict=True):
            if other != number:
                number = other
                run = by_number[number]
                run.lsn = lsn or run.lsn  # a hand-out is nothing others build on
            assert run is not None
            if status in (states.AGAIN, states.UNBEGUN):
                status = states.OPEN
            before = run.states[job]
            run.counts[before] -= 1
            run.counts[status] += 1
            run.states[job] = status

    def _closed(self, row: LotClosed, lsn: int) -> None:
        lot = self.lots[row.fence]
        for number, job in lot.rest(row.start):
            run = self.runs.by_number[number]
            run.set_state(job, states.OPEN)
            run.lsn = lsn
        if row.lost and self.may_start(lot, row.start):
            number, job = lot.runs[row.start], lot.jobs[row.start]
            self.runs.by_number[number].lost[job] += 1
            self.runs.by_number[number].floors[job] = row.fence + row.start
        if row.start == lot.next:
            del self.lots[row.fence]
        else:
            lot.runs, lot.jobs = lot.runs[: row.start], lot.jobs[: row.start]
            lot.follows = lot.follows[: row.start]

    def begin_epoch(self, epoch: int, base: int) -> None:
        self.bases[epoch] = base
        self.epoch = epoch
        self.next_attempt = 1

    def of_node(self, node: int) -> list[OpenLot]:
        return [lot for lot in self.lots.values() if lot.node == node]

    def check(self) -> None:
        out: dict[Pair, int] = {}
        for lot in self.lots.values():
            assert lot.next < len(lot.jobs), "a finished lot is still open"
            for pair in lot.rest():
                assert pair not in out, f"{pair} has two attempts"
                out[pair] = lot.fence
                assert self.runs.by_number[pair[0]].states[pair[1]] == states.OUT
        counts = Counter(number for number, _ in out)
        for run in self.runs.by_number.values():
            if run.open:
                assert run.counts[states.OUT] == counts[run.number], "a job is out without a lot"


def _left_out(lot: OpenLot, begin: int, statuses: bytes) -> bool:
    """Whether all that was not begun follows something."""
    return all(
        lot.follower(position)
        for position, status in enumerate(statuses, begin)
        if status == states.UNBEGUN
    )


def _evidence(last: Failure, nodes: Iterable[str]) -> str:
    """What is known of a job whose slots died too often."""
    where = Counter([*nodes, last.node])
    listed = ", ".join(f"{times} x on {node}" for node, times in where.items())
    return f"{last.text}; its slots died {where.total()} times ({listed}): it is not tried again"
