"""What the Router tells unasked: finished runs to who watches, hints to everybody."""

from __future__ import annotations

from array import array

from pypelinin.cluster import answers
from pypelinin.cluster.desk import Desk
from pypelinin.cluster.dispatch import Dispatch
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.scribe import Scribe
from pypelinin.config import Limits
from pypelinin.wire.definitions import BATCH_ROWS_MAX
from pypelinin.wire.messages import ForgetRuns, JobsDone, Outcomes, PipelineFinished

PROGRESS_S = 0.1
"""At most one "job finished" event in this time."""


class News:
    """Gathers what is new in a turn; `tell` says it at the turn's end."""

    def __init__(self, scribe: Scribe, desk: Desk, dispatch: Dispatch, limits: Limits) -> None:
        self.finished: list[RunRecord] = []
        self._scribe = scribe
        self._desk = desk
        self._dispatch = dispatch
        self._limits = limits
        self._progress_at = 0.0
        self._forgettable: list[int] = []
        self._forget_at = 0.0

    def tell(self, now: float) -> None:
        self._tell_followers()
        self._tell_finished()
        self._tell_forgettable(now)
        self._tell_progress(now)

    def _tell_followers(self) -> None:
        """Outcomes of this turn, to who wants each job's; told again only if asked for."""
        if not self._dispatch.told:
            return
        told, self._dispatch.told = self._dispatch.told, {}
        by_number = self._scribe.state.runs.by_number
        followed: dict[bytes, list[Outcomes]] = {}
        for number, ended in told.items():
            run = by_number[number]
            final = [(job, run.states[job]) for job, _ in ended]  # a verdict may differ
            for part in answers.outcomes(run, final):
                for peer in run.followers:
                    followed.setdefault(peer, []).append(part)
        for peer, parts in followed.items():
            for batch in answers.batches(parts):
                self._scribe.answer(peer, JobsDone(tuple(batch)))

    def _tell_progress(self, now: float) -> None:
        """A hint now and then while jobs end; never one for each."""
        if self._dispatch.ended and now >= self._progress_at:
            self._progress_at = now + PROGRESS_S
            running = sum(
                len(lot.jobs) - lot.next for lot in self._scribe.state.attempts.lots.values()
            )
            self._scribe.publish(
                "job finished",
                jobs=self._dispatch.ended,
                queued=self._dispatch.queues.count,
                running=running,
            )
            self._dispatch.ended = 0

    def _tell_finished(self) -> None:
        """The news of this turn, to those who watch and those who can forget."""
        if not self.finished:
            return
        watched: dict[bytes, list[RunRecord]] = {}
        for run in self.finished:
            for watcher in run.watchers:
                watched.setdefault(watcher, []).append(run)
            run.watchers = {}
            run.followers = {}
        for watcher, runs in watched.items():
            for i in range(0, len(runs), BATCH_ROWS_MAX):
                rows = answers.statuses(runs[i : i + BATCH_ROWS_MAX])
                self._scribe.answer(watcher, PipelineFinished(rows))
        self._scribe.publish("pipeline finished", runs=[run.id for run in self.finished[:1000]])
        self._forgettable += [run.number for run in self.finished]
        self.finished = []

    def _tell_forgettable(self, now: float) -> None:
        """Brokers may drop the headers of finished runs; told now and then, in one go."""
        if not self._forgettable or now < self._forget_at:
            return
        self._forget_at = now + self._limits.heartbeat_interval_s
        for peer in self._desk.peers.values():
            known = [number for number in self._forgettable if number in peer.runs]
            for i in range(0, len(known), self._limits.batch_jobs_max):
                some = array("I", known[i : i + self._limits.batch_jobs_max])
                for number in some:
                    del peer.runs[number]
                self._desk.tell(peer, ForgetRuns(some))
        self._forgettable = []
