"""The Router: the one authority, and the front desk for everybody.

One turn: take all events, let the resident Pipeliner answer, match queues with nodes,
then say what to send and write. Facts are rows, applied as they are written; whatever is
sent builds on them and carries its basis, so hand-out need not wait for the commit. Only
what says "accepted" or "finished" waits: answers to clients and acknowledgements on links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pypelinin.cluster import answers, explaining, witnessed
from pypelinin.cluster.desk import Desk, Peer
from pypelinin.cluster.dispatch import Dispatch
from pypelinin.cluster.events import (
    CommitFailed,
    Committed,
    Drain,
    Malformed,
    Received,
    RoomChanged,
    SendAfter,
    Stop,
)
from pypelinin.cluster.images import Compaction, restore
from pypelinin.cluster.membership import Membership
from pypelinin.cluster.news import News
from pypelinin.cluster.operations import Operations
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import no_room, refuse
from pypelinin.cluster.scribe import Scribe
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import BATCH_ROWS_MAX, Kind, Refusal, ValuePlace
from pypelinin.wire.evidence import Evidence, GetLogs, NodeSample
from pypelinin.wire.messages import (
    AddJob,
    AddJobs,
    AddPipeline,
    Cancel,
    CancelJobs,
    Cluster,
    Configuration,
    DrainNodes,
    ExplainJob,
    GetCluster,
    GetConfiguration,
    GetDefinition,
    GetJob,
    GetPipelines,
    GetResults,
    GetStatus,
    JobsFinished,
    JobsReturned,
    JoinBroker,
    JoinPipeliner,
    Leave,
    PauseRuns,
    PipelineAdded,
    PipelineSettled,
    Refused,
    Rejoin,
    ReleaseResults,
    RetryRun,
    Status,
)
from pypelinin.wire.rows import Epoch, FinishedRun


class Router:
    """The Router daemon's machine. First `replay` every row, then `begin`."""

    def __init__(
        self,
        limits: Limits,
        values: dict[str, object],
        broadcast: str,
        version: str,
        wall_offset_s: float,
        new_cluster: str,
        place: ValuePlace | None = None,
    ) -> None:
        self.limits = limits
        self.state = State(limits)
        self.scribe = Scribe(self.state)
        self.desk = Desk(self.scribe, limits)
        self.compaction = Compaction(self.state, limits)
        self.planning = Planning(self.scribe, self.desk, limits)
        self.dispatch = Dispatch(self.scribe, self.desk, self.planning, limits)
        self.members = Membership(self.scribe, self.desk, self.dispatch, self.planning, limits)
        self.operations = Operations(self.scribe, self.desk, self.dispatch, self.planning)
        self.news = News(self.scribe, self.desk, self.dispatch, limits)
        self._values = values
        self._broadcast = broadcast
        self._version = version
        self._wall_offset_s = wall_offset_s
        self._new_cluster = new_cluster
        self.place = place
        self._started_at = 0.0
        self._stop_after: int | None = None
        self._stuck = False
        self._retention_at = 0.0

    # --- life --------------------------------------------------------------------------

    def restore(self, image: Record) -> None:
        """An image of the journal: that of the state first, then runs by number."""
        restore(self.state, image)
        self.compaction.restored(image)

    def replay(self, row: Record) -> None:
        """A row of the journal, in order, behind the images."""
        self.state.apply(row)

    def begin(self, now: float) -> list[Command]:
        """A new epoch: every assignment is void, members have a lease's time to return."""
        cluster = self.state.cluster or self._new_cluster
        base = self.state.lsn
        self._started_at = now + self._wall_offset_s
        self.scribe.write([Epoch(self.state.epoch + 1, base, cluster, self._started_at)])
        self.desk.begin_turn(now)
        self.members.begin(now)
        return self._end_turn(now)

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        if self.desk.begin_turn(now):
            self.members.wait_anew(now)
        drains = 0
        for event in batch:
            match event:
                case Received(peer, envelope):
                    self._received(peer, envelope, now)
                case Committed(lsn):
                    self.desk.committed(lsn)
                case Malformed(peer, code, what):
                    self.scribe.answer(peer, Refused(0, refuse(code, what)))
                case Drain():
                    drains += 1
                case RoomChanged():
                    self._room_changed(event)
                case CommitFailed(what):
                    return [Stop(f"The journal takes no more rows: {what}")]
        self._due(now)
        return self._end_turn(now) + self._ending(drains)

    def _received(self, peer: bytes, envelope: Envelope, now: float) -> None:
        if not envelope.session:
            self._request(peer, envelope.message, now)
            return
        found = self.desk.receive(peer, envelope, now)
        if found is not None:
            self._from_member(*found, now)

    def _room_changed(self, event: RoomChanged) -> None:
        """On a full disk what runs is recorded from a reserve, and nothing new is begun."""
        runs, before = self.state.runs, self.state.runs.no_room
        runs.no_room = no_room(event.short) if event.short else None
        self._stuck = event.stuck
        if event.short and before is None:
            self.scribe.say("error", f"{event.short} Until there is room nothing new is begun.")
        elif before is not None and not event.short:
            self.scribe.say("info", "The journal's disk has room again: going on.")

    def _ending(self, drains: int) -> list[Command]:
        """Asked to end: when all is durable and the members know it; asked twice: now."""
        if (drains and self._stop_after is not None) or drains > 1:
            return [Stop()]
        if drains:
            self._stop_after = self.state.lsn
        if self._stop_after is None:
            return []
        if self._stuck:
            return [Stop("The disk is full: what came last is not recorded, nor acknowledged.")]
        if self.desk.durable < self._stop_after:
            return []
        self.desk.ping(float("inf"))
        return [*self.scribe.take(), Stop()]

    def _end_turn(self, now: float) -> list[Command]:
        self._plan(now)
        self.operations.drain_suspects()
        full = self.state.runs.no_room is not None
        if not full:
            self.dispatch.hand_out(now)
        self.news.tell(now)
        if now >= self._retention_at or self.state.runs.too_many:  # all that ended is told
            self._retention_at = now + 60.0
            self.scribe.write(self.state.runs.judge_retention(now + self._wall_offset_s, now))
        self.desk.end_turn(self.state.lsn)
        return [*self.scribe.take(), *(() if full else self.compaction.step())]

    def _plan(self, now: float) -> None:
        """Tell the Pipeliners what is settled; the resident one answers at once."""
        while self.planning.pending or self.planning.stopping:
            stopping, self.planning.stopping = self.planning.stopping, {}
            self._cancel_runs([self.state.runs.by_number[number] for number in stopping])
            for number, jobs in self.planning.flush():
                self.dispatch.enqueue(self.state.runs.by_number[number], jobs)
        self.scribe.write(self.planning.take_released())
        if self.planning.over:
            self._finish_runs(now)

    def deadline(self) -> float:
        times = [self.desk.deadline(), *self.members.awaited.values()]
        if self.dispatch.retries:
            times.append(self.dispatch.retries[0][0])
        return min(times)

    def _due(self, now: float) -> None:
        """Whatever time has brought: silence, tries again, old runs."""
        self.members.due(now)
        self.dispatch.due(now)
        self.desk.ping(now)

    # --- clients -----------------------------------------------------------------------

    def _request(self, peer: bytes, message: Record, now: float) -> None:
        match message:
            case AddPipeline():
                self._add_pipeline(peer, message, now)
            case GetStatus() | GetPipelines() | GetDefinition() | GetResults():
                self.scribe.answer(peer, self._answer(peer, message))
            case GetCluster() | GetLogs():
                self._look(peer, message, now)
            case Cancel() | CancelJobs() | AddJobs() | ReleaseResults():
                self._change(peer, message, now)
            case DrainNodes() | PauseRuns() | RetryRun() | ExplainJob():
                self.scribe.answer(peer, self._operate(message, now))
            case GetConfiguration():
                self._configuration(peer, message, now)
            case JoinBroker():
                self.members.join_broker(peer, message, now)
            case JoinPipeliner():
                self.members.join_pipeliner(peer, message, now)
            case Rejoin():
                pass
            case _:
                text = f"{type(message).__name__} is nothing a client can ask."
                self.scribe.answer(peer, Refused(0, refuse("malformed", text)))

    def _look(self, peer: bytes, message: GetCluster | GetLogs, now: float) -> None:
        if isinstance(message, GetCluster):
            self.scribe.answer(peer, self._cluster(message, now))
        else:
            self.scribe.commands.append(witnessed.logs(self.state, peer, message))

    def _answer(self, peer: bytes, message: Record) -> Record:
        if isinstance(message, GetStatus):
            for run in self.state.runs.named(message.runs) if message.watch else ():
                run.watchers[peer] = None
            return answers.status(self.state, message)
        if isinstance(message, GetPipelines):
            return answers.pipelines(self.state, message)
        if isinstance(message, GetResults):
            followed = self.state.runs.get(message.run)
            if message.follow and followed is not None and followed.open:
                followed.followers[peer] = None
            return answers.results(self.state, message)
        assert isinstance(message, GetDefinition)
        return answers.definition(self.state, self.dispatch.coordinator, message)

    def _change(
        self, peer: bytes, message: Cancel | CancelJobs | AddJobs | ReleaseResults, now: float
    ) -> None:
        match message:
            case Cancel():
                self._cancel(peer, message, now)
            case CancelJobs():
                self._cancel_jobs(peer, message, now)
            case AddJobs():
                self._add_jobs(peer, message, now)
            case ReleaseResults():
                self._release_results(peer, message)

    def _configuration(self, peer: bytes, message: GetConfiguration, now: float) -> None:
        wall = now + self._wall_offset_s
        self.desk.compare_clocks(message.role, message.clock, wall)
        if message.seen_epoch > self.state.epoch:
            text = f"This Router is at epoch {self.state.epoch}, you saw {message.seen_epoch}."
            self.scribe.answer(peer, Refused(message.request, refuse("version", text)))
            return
        reply = Configuration(
            message.request, self.state.cluster, self.state.epoch, self._version,
            self._broadcast, self._values, wall, self.place,
        )  # fmt: skip
        self.scribe.answer(peer, reply)

    def _add_pipeline(self, peer: bytes, message: AddPipeline, now: float) -> None:
        if self.dispatch.queues.count > self.limits.queued_jobs_max:
            refusal = refuse("busy", f"{self.dispatch.queues.count:,} jobs are queued already.")
            self.scribe.answer(peer, Refused(message.request, refusal))
            return
        results = []
        opened = []
        wall = now + self._wall_offset_s
        for added, rows in self.state.runs.judge_parts(message, wall, self._fits):
            self.scribe.write(rows)
            results.append(added)
            run = self.state.runs.get(added.run)
            if run is None:
                continue
            if message.watch:
                run.watchers[peer] = None
            if message.follow:
                run.followers[peer] = None
            if rows and run.complete:
                opened.append(run)
        self.planning.assign(opened)
        self.scribe.answer(peer, PipelineAdded(message.request, tuple(results)))

    @property
    def _fits(self) -> Callable[[Kind], Refusal | None] | None:
        """Why no node could run a kind; None while nodes that are to come back may offer it."""
        return None if self.members.awaited else self.dispatch.coordinator.refusal

    def _cancel(self, peer: bytes, message: Cancel, now: float) -> None:
        runs = self.state.runs.named(message.runs)
        for run in runs if message.running else ():
            self.dispatch.end_running(run)
        self._cancel_runs(runs)
        self._plan(now)
        self._tell_status(peer, message.request, runs)

    def _cancel_runs(self, runs: list[RunRecord]) -> None:
        fresh = [run for run in runs if not run.finished_at and not run.cancelled]
        self.scribe.write(self.state.runs.judge_cancel(fresh))
        self.planning.withdraw(run.number for run in fresh)
        self.dispatch.cancel(fresh)

    def _operate(
        self, message: DrainNodes | PauseRuns | RetryRun | ExplainJob, now: float
    ) -> Record:
        if isinstance(message, ExplainJob):
            return explaining.explanation(self.state, self.dispatch, message, now)
        found: Refusal | list[RunRecord]
        if isinstance(message, DrainNodes):
            refusal = self.operations.drain(message)
            return Refused(message.request, refusal) if refusal else self._cluster(message, now)
        if isinstance(message, PauseRuns):
            found = self.operations.pause(message)
        elif self.state.runs.no_room is not None:
            found = self.state.runs.no_room
        elif self.dispatch.queues.count > self.limits.queued_jobs_max:
            found = refuse("busy", f"{self.dispatch.queues.count:,} jobs are queued already.")
        else:
            run = self.operations.retry(message, now + self._wall_offset_s, self._fits)
            found = run if isinstance(run, Refusal) else [run]
        if isinstance(found, Refusal):
            return Refused(message.request, found)
        return Status(message.request, answers.statuses(found[:BATCH_ROWS_MAX]))

    def _cancel_jobs(self, peer: bytes, message: CancelJobs, now: float) -> None:
        run = self.state.runs.get(message.run)
        if run is not None and run.open and not run.cancelled:
            self.dispatch.cancel_jobs(run, message.jobs)
            self._plan(now)
        self._tell_status(peer, message.request, [] if run is None else [run])

    def _add_jobs(self, peer: bytes, message: AddJobs, now: float) -> None:
        run = self.state.runs.get(message.run)
        if message.growth and (run is None or message.index >= run.additions):
            refusal = self.state.runs.no_room or self.planning.judge_addition(message)
        else:
            refusal = self.planning.judge_addition(message)
        self._plan(now)
        if refusal is None:
            self._tell_status(peer, message.request, self.state.runs.named([message.run]))
        else:
            self.scribe.answer(peer, Refused(message.request, refusal))

    def _release_results(self, peer: bytes, message: ReleaseResults) -> None:
        runs = self.state.runs.named(message.runs)
        for run in runs:
            run.taken = True
        self._tell_status(peer, message.request, runs)
        self.scribe.release(runs)

    def _tell_status(self, peer: bytes, request: int, runs: list[RunRecord]) -> None:
        self.scribe.answer(peer, Status(request, answers.statuses(runs[:BATCH_ROWS_MAX])))

    def _cluster(self, message: GetCluster | DrainNodes, now: float) -> Cluster:
        nodes = [
            answers.member(self.state, peer, self.dispatch.coordinator, self.planning.owner, now)
            for peer in self.desk.peers.values()
        ]
        nodes += answers.awaited(self.state, self.members.awaited)
        return answers.cluster(
            self.state, message.request, self._version, nodes, self.dispatch.queues.count,
            self._started_at,
        )  # fmt: skip

    # --- members -----------------------------------------------------------------------

    def _from_member(self, peer: Peer, message: Record, now: float) -> None:
        match message:
            case JobsFinished(lots):
                self.dispatch.progressed(peer.node, lots, now)
            case GetJob(offer, ahead, pace) if peer.node in self.dispatch.coordinator.nodes:
                node = self.dispatch.coordinator.nodes[peer.node]
                node.draining, node.at_once = message.draining, message.at_once
                node.offer(offer, ahead, pace, self.limits.lot_jobs_max)
            case JobsReturned(lots):
                for lot in lots:
                    rows = self.state.attempts.judge_returned(peer.node, lot.fence, lot.start)
                    self.dispatch.close(rows)
            case Leave():
                self.members.lost(peer, "left")
                self.scribe.farewell(peer.address, peer.link)
                peer.link.acknowledge(peer.link.received)  # said once all of it is durable
                farewell = SendAfter(peer.address, peer.link.ping(), self.state.lsn)
                self.scribe.commands.append(farewell)
            case AddJob() | PipelineSettled() if peer.role == "pipeliner":
                self._from_pipeliner(peer.link.session, message)
            case Evidence() if peer.role == "broker":
                self.scribe.commands += witnessed.kept(self.state, peer.name, message)
            case NodeSample():
                peer.sample = message

    # --- jobs --------------------------------------------------------------------------

    def _from_pipeliner(self, session: int, message: Record) -> None:
        by_number = self.state.runs.by_number
        if isinstance(message, AddJob):
            for ready in message.runs:
                if self.planning.is_from_owner(session, ready.number, ready.assignment):
                    self.dispatch.enqueue(by_number[ready.number], ready.jobs)
        elif isinstance(message, PipelineSettled):
            for settled in message.runs:
                if self.planning.is_from_owner(session, settled.number, settled.assignment):
                    self.planning.over[settled.number] = None

    def _finish_runs(self, now: float) -> None:
        """Runs whose planning is over and of which no node has anything any more."""
        for number in list(self.planning.over):
            run = self.state.runs.by_number[number]
            if not run.counts[states.OUT] and not run.counts[states.QUEUED]:
                self.scribe.write([FinishedRun(number, now + self._wall_offset_s)])
                self.planning.finished(number)
                self.dispatch.forget(number)
                self.news.finished.append(run)
                self.scribe.release([run] if run.taken else ())

    def check(self) -> None:
        self.state.check()
        self.desk.check()
        self.planning.check()
        self.dispatch.check()
