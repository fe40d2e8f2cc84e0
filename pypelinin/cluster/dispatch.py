"""The way of a job through the Router: queued, handed out, ended, tried again.

Every step writes its row and says what follows: a final outcome goes to the Pipeliner, an
unfinished job back into a queue.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable
from copy import copy
from heapq import heappop, heappush

from pypelinin.cluster import witnessed
from pypelinin.cluster.attempts import CRASHES, OpenLot, Pair
from pypelinin.cluster.coordinator import Coordinator, Node, Placed
from pypelinin.cluster.desk import Desk
from pypelinin.cluster.hand_out import lots_for, with_followers
from pypelinin.cluster.locality import Locality
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.queues import Queues
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.scribe import Scribe
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.wire.codec import Record
from pypelinin.wire.messages import DropJobs, KillJobs, Progress
from pypelinin.wire.rows import CancelledJobs, JobsEnded, LotsClosed


class Dispatch:
    """Queued jobs, the nodes they may go to, and those that are tried again later."""

    def __init__(self, scribe: Scribe, desk: Desk, planning: Planning, limits: Limits) -> None:
        self.queues = Queues()
        self.coordinator = Coordinator()
        self.retries: list[tuple[float, int, int]] = []
        self._later: set[Pair] = set()
        """The jobs in `retries`: a Pipeliner may say only now that they are ready."""
        self.held: dict[int, dict[int, None]] = {}
        """Ready jobs of paused runs, by run."""
        self._streaks: dict[int, dict[Pair, None]] = {}
        """The jobs whose slots died on each node since one was done there."""
        self.locality = Locality(scribe.state.runs)
        self.ended = 0
        self.told: dict[int, list[tuple[int, int]]] = {}
        """(job, status) of this turn, of runs that somebody follows job by job."""
        self._scribe = scribe
        self._state = scribe.state
        self._desk = desk
        self._planning = planning
        self._limits = limits

    def due(self, now: float) -> None:
        """Queue what has waited long enough after a failure."""
        while self.retries and self.retries[0][0] <= now:
            _, number, job = heappop(self.retries)
            self._later.discard((number, job))
            run = self._state.runs.by_number.get(number)
            if run is not None and run.open and run.states[job] == states.OPEN:
                self.enqueue(run, [job], first=True)

    def enqueue(self, run: RunRecord, jobs: Iterable[int], first: bool = False) -> None:
        """Queue those of *jobs* that are open; of a cancelled run none will start."""
        if run.cancelled:
            dead = [j for j in jobs if j < len(run.states) and run.states[j] == states.OPEN]
            self._planning.settle(run.number, dead, bytes((states.CANCELLED,)) * len(dead))
            return
        if run.cancelling:
            jobs = self._without_cancelled(run, list(jobs))
        if run.paused:
            self.held.setdefault(run.number, {}).update(dict.fromkeys(jobs))
            return
        groups: dict[tuple[int, int, str], array[int]] = {}
        size, known = len(run.states), run.states
        kills, crashed = run.memory_kills, run.crash_nodes
        for job in jobs:
            if job < size and known[job] == states.OPEN:
                if self._later and (run.number, job) in self._later:
                    continue
                run.set_state(job, states.QUEUED)
                alike = (
                    run.kind_of[job] if run.kind_of else 0,
                    kills[job] if kills else 0,
                    crashed[job][-1] if job in crashed else "",
                )
                if alike not in groups:
                    groups[alike] = array("I")
                groups[alike].append(job)
        header = run.header
        for (kind, killed, avoid), group in groups.items():
            self.queues.add(
                run.kinds[kind], header.submitter, run.number, group, first, run.widest, killed,
                avoid,
            )  # fmt: skip

    def pause(self, runs: Iterable[RunRecord]) -> None:
        """What is queued of these runs waits apart; what nodes have not begun comes back."""
        self._drop_lots(self.requeue(runs))

    def requeue(self, runs: Iterable[RunRecord]) -> dict[int, RunRecord]:
        """What decides how the queued jobs of these runs wait has changed."""
        fresh = {run.number: run for run in runs}
        for number, jobs in self.queues.drop(set(fresh)) if fresh else ():
            for job in jobs:
                fresh[number].set_state(job, states.OPEN)
            self.enqueue(fresh[number], jobs)
        return fresh

    def resume(self, runs: Iterable[RunRecord]) -> None:
        for run in runs:
            self.enqueue(run, self.held.pop(run.number, ()))

    def later(self, number: int, job: int) -> float | None:
        """When a job that failed is tried again."""
        return next((at for at, n, j in self.retries if (n, j) == (number, job)), None)

    def take_suspects(self) -> list[Pair]:
        """(node, different jobs) where that was too often; the count begins anew."""
        most = self._limits.crashes_in_row_max
        found = [(node, len(jobs)) for node, jobs in self._streaks.items() if len(jobs) >= most]
        for node, _ in found:
            del self._streaks[node]
        return found

    def _without_cancelled(self, run: RunRecord, jobs: list[int]) -> list[int]:
        """Jobs came back from a node that were to end there: they have."""
        dead = array("I", [job for job in jobs if job in run.cancelling])
        if dead:
            self.end_jobs(run, dead, array("I"))
        return [job for job in jobs if job not in dead]

    def end_jobs(self, run: RunRecord, jobs: array[int], out: array[int]) -> None:
        """*jobs* are cancelled now, *out* as soon as their nodes have ended them."""
        self._scribe.write([CancelledJobs(run.number, jobs, out)])
        self._planning.settle(run.number, jobs, bytes((states.CANCELLED,)) * len(jobs))
        if run.followers:
            self.told.setdefault(run.number, []).extend((job, states.CANCELLED) for job in jobs)

    def cancel_jobs(self, run: RunRecord, jobs: Iterable[int]) -> None:
        """End single jobs of a run, wherever they are."""
        wanted = [j for j in dict.fromkeys(jobs) if j < len(run.states)]
        queued = {job for job in wanted if run.states[job] == states.QUEUED}
        if queued:
            for number, taken in self.queues.drop({run.number}):
                for job in taken:
                    run.set_state(job, states.OPEN)
                self.enqueue(run, [job for job in taken if job not in queued])
                assert number == run.number
        waiting = array("I", [job for job in wanted if run.states[job] == states.OPEN])
        self._end(run, waiting, [job for job in wanted if run.states[job] == states.OUT])

    def end_running(self, run: RunRecord) -> None:
        """End all of a run that nodes have."""
        out = [job for job, state in enumerate(run.states) if state == states.OUT]
        if out:
            self._end(run, array("I"), out)

    def _end(self, run: RunRecord, waiting: array[int], jobs: list[int]) -> None:
        out = array("I", jobs)
        self.end_jobs(run, waiting, out)
        running = frozenset(out)
        for peer in self._desk.peers.values():
            lots = self._state.attempts.of_node(peer.node) if peer.node and out else []
            fences = [
                lot.fence + i
                for lot in lots
                for i in range(lot.next, len(lot.jobs))
                if lot.runs[i] == run.number and lot.jobs[i] in running
            ]
            if fences:
                self._desk.tell(peer, KillJobs(tuple(fences)))

    def progressed(self, node: int, items: Iterable[Progress], now: float) -> None:
        """Outcomes of lots: into the journal, to the Pipeliners, or tried again later."""
        attempts = self._state.attempts
        for row in attempts.judge_progress(node, items):
            ended = [(attempts.lots[lot.fence], lot.start, lot.statuses) for lot in row.lots]
            if row.failures:
                self._scribe.commands += witnessed.failed(self._state, row, ended)
            self._scribe.write([row])
            if row.failures or self._streaks:
                self._watch(node, row)
            for lot, start, statuses in ended:
                self._ended(lot, start, statuses, now)

    def _watch(self, node: int, row: JobsEnded) -> None:
        """Notice a node where nothing but crashes happens."""
        if any(states.DONE in lot.statuses for lot in row.lots):
            self._streaks.pop(node, None)
        for failed in row.failures:
            if failed.failure.cause in CRASHES:
                self._streaks.setdefault(node, {})[failed.run, failed.job] = None

    def _ended(self, lot: OpenLot, start: int, statuses: bytes, now: float) -> None:
        if start + len(statuses) == len(lot.jobs):
            self.coordinator.free(lot.node, lot.fence)
        self.ended += len(statuses)
        end = start + len(statuses)
        begin = start
        while begin < end:  # one piece a run
            number = lot.runs[begin]
            stop = begin + 1
            while stop < end and lot.runs[stop] == number:
                stop += 1
            jobs, piece = lot.jobs[begin:stop], statuses[begin - start : stop - start]
            run = self._state.runs.by_number[number]
            if run.reads:
                self.locality.ended(run, jobs, piece, lot.node)
            if run.followers:
                self.told.setdefault(number, []).extend(zip(jobs, piece, strict=True))
            if states.AGAIN in piece or states.UNBEGUN in piece:
                jobs, piece = self._final(lot, begin, piece, now)
            self._planning.settle(number, jobs, piece)
            begin = stop

    def _final(
        self, lot: OpenLot, begin: int, statuses: bytes, now: float
    ) -> tuple[array[int], bytes]:
        """The final ones of these outcomes; the other jobs are queued when it is their time."""
        jobs, final = array("I"), bytearray()
        for position, status in enumerate(statuses, begin):
            number, job = lot.runs[position], lot.jobs[position]
            if status == states.AGAIN:
                self._try_later(number, job, now)
            elif status != states.UNBEGUN:
                jobs.append(job)
                final.append(status)
            elif self._state.attempts.may_start(lot, position):
                self.enqueue(self._state.runs.by_number[number], [job], first=True)
        return jobs, bytes(final)

    def _try_later(self, number: int, job: int, now: float) -> None:
        """After a failure: 0.5 s, 1 s, 2 s ..., less a part that depends on the job."""
        run = self._state.runs.by_number[number]
        times = run.failed_again[job] + run.crashes[job]
        delay = min(self._limits.retry_max_s, self._limits.retry_base_s * 2 ** min(times - 1, 30))
        part = (number * 2654435761 + job * 40503 + times * 97) % 1000 / 1000
        heappush(self.retries, (now + delay * (1 - part / 2), number, job))
        self._later.add((number, job))

    def close(self, rows: Iterable[Record], name: str = "") -> None:
        """Lots that came back or were lost: their jobs are queued again, or given up."""
        for row in rows:
            assert isinstance(row, LotsClosed)
            lots = [copy(self._state.attempts.lots[lot.fence]) for lot in row.lots]
            self._scribe.write([row])
            for lot, closed in zip(lots, row.lots, strict=True):
                if lot.next == closed.start:
                    self.coordinator.free(lot.node, lot.fence)
                if closed.lost:
                    self._scribe.commands += witnessed.lost(self._state, lot, closed.start, name)
                    rows = self._state.attempts.judge_given_up(lot, closed.start, name)
                    self._scribe.write(rows)
                self._reopen(lot, closed.start)

    def _reopen(self, lot: OpenLot, start: int) -> None:
        by_number = self._state.runs.by_number
        grouped: dict[int, list[int]] = {}
        for position, (number, job) in enumerate(lot.rest(start), max(start, lot.next)):
            if not self._state.attempts.may_start(lot, position):
                continue
            if by_number[number].states[job] == states.FAILED:
                self._planning.settle(number, [job], bytes((states.FAILED,)))
            elif number in self._planning.owner:
                grouped.setdefault(number, []).append(job)
        for number, jobs in grouped.items():
            self.enqueue(by_number[number], jobs, first=True)

    def joined(self, node: Node) -> None:
        """*node* is here, with the lots that the journal says it has."""
        lots = []
        for lot in self._state.attempts.of_node(node.number):
            run = self._state.runs.by_number[lot.runs[0]]
            lots.append((lot.fence, run.terms(lot.jobs[0]), run.header.submitter))
        self.coordinator.join(node, lots)

    def hand_out(self, now: float) -> None:
        """Queued jobs to nodes with room: one row and few messages a node."""
        chosen: dict[int, list[Placed]] = {}
        for placed in self.coordinator.place(self.queues, now, self.locality.near):
            chosen.setdefault(placed.node.number, []).append(placed)
        if not chosen:
            return
        peers = {peer.node: peer for peer in self._desk.peers.values() if peer.role == "broker"}
        for number, picked in chosen.items():
            basis = max(self._state.runs.by_number[run].lsn for lot in picked for run in lot.runs)
            lots = [with_followers(self._state.runs, self._planning, lot) for lot in picked]
            row = self._state.attempts.judge_hand_out(self._state.epoch, number, lots)
            self._scribe.write([row])
            node = self.coordinator.nodes[number]
            for lot, placed in zip(row.lots, picked, strict=True):
                self.coordinator.hold(node, lot.fence, placed.held)
            waiting = [lot.waiting for lot in picked]
            for message in lots_for(self._state, peers[number].runs, waiting, row.lots, basis):
                self._desk.tell(peers[number], message)

    def cancel(self, runs: Iterable[RunRecord]) -> None:
        """Nothing queued of these runs will start; tell their Pipeliners so."""
        fresh = {run.number: run for run in runs}
        cancelled = bytes((states.CANCELLED,))
        for number, jobs in self.queues.drop(set(fresh)):
            for job in jobs:
                fresh[number].set_state(job, states.OPEN)
            self._planning.settle(number, jobs, cancelled * len(jobs))
        for _, number, job in self.retries:
            if number in fresh and fresh[number].states[job] == states.OPEN:
                self._planning.settle(number, [job], cancelled)
        for run in fresh.values():
            self.enqueue(run, self.held.pop(run.number, ()))  # which cancels them
        self._drop_lots(fresh)

    def _drop_lots(self, runs: Container[int]) -> None:
        """Have back what nodes have not begun of lots with jobs of these runs."""
        for peer in self._desk.peers.values():
            lots = self._state.attempts.of_node(peer.node) if peer.node else []
            fences = [lot.fence for lot in lots if any(n in runs for n in lot.runs[lot.next :])]
            if fences:
                self._desk.tell(peer, DropJobs(tuple(fences)))

    def forget(self, number: int) -> None:
        """The run is over."""
        self.held.pop(number, None)
        self.locality.forget(number)

    def check(self) -> None:
        self.queues.check()
        self.coordinator.check()
        queued = sum(run.counts[states.QUEUED] for run in self._state.runs.by_number.values())
        assert queued == self.queues.count
        for number in self.held:
            run = self._state.runs.by_number[number]
            assert run.open
            assert run.paused
        for node in self.coordinator.nodes.values():
            fences = {lot.fence for lot in self._state.attempts.of_node(node.number)}
            assert node.held.keys() == fences, node
