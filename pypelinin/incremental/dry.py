"""A dry run: the engine decides, and what its jobs would give is pretended.

It decides twice. Once every job that would run gives what it gave before, or what those who read
it last saw: what runs then *would run*. Once every job gives something new: what runs only then
*may run*, depending on what the others give.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pypelinin.engine import entry as why
from pypelinin.engine import table
from pypelinin.engine.entry import Entry
from pypelinin.engine.run import Run
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.incremental.declaring import Declaring
from pypelinin.incremental.enums import JobKind, JobOutcome
from pypelinin.incremental.exceptions import JobError, RunFailedInternally
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.reasons import Change, changes_of, texts_of

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph

PRETENDED = "pretended"
"""The view of a value that nobody knows yet."""


class PlannedOutcome(RecordedJobOutcome):
    """What would become of a job: NotYet for those that would run.

    *reason* and *changes* say why; *is_certain* is False if it runs only if what it depends on
    gives something new; *diffs* are lines of unified diffs, by the name of what changed.
    """

    __slots__ = ("is_certain", "diffs", "makes_jobs")

    def __init__(self, job_id: str, outcome: JobOutcome, reason: int = 0) -> None:
        super().__init__(job_id, outcome, reason=reason)
        self.is_certain = True
        self.diffs: dict[str, tuple[str, ...]] = {}
        self.makes_jobs = False
        """It makes jobs when it runs, and these are not known here."""

    @property
    def would_run(self) -> bool:
        return self.outcome is JobOutcome.NotYet


class _Pretended:
    """What stands for the run while there is none: jobs ask it for the history."""

    def __init__(self, history: History) -> None:
        self.history = history

    def defined(self, *_: Any) -> None:
        """A job was made: it is known from the graph."""

    def connected(self, *_: Any) -> None:
        """So is what it reads."""


class _Trial:
    """One decision of the whole graph; *gives_new*: whatever runs gives something else."""

    def __init__(
        self, graph: Graph, history: History, wanted: Sequence[str] | None, gives_new: bool
    ) -> None:
        self.gives_new = gives_new
        self.history = history
        self.declaring = declaring = Declaring(graph, history)
        self.jobs = declaring.ordered(declaring.chosen(wanted))
        numbers = {job.job_id: number for number, job in enumerate(self.jobs)}
        self.run = Run([declaring.declared(job, numbers, numbers[job.job_id]) for job in self.jobs])
        self.begun: dict[int, tuple[int, tuple[Change, ...]]] = {}
        """Why each job would run, and what differs from its record."""

    def play(self) -> None:
        while not self.run.over:
            commands = self.run.take()
            self.declaring.look(self.run, self.jobs, commands.look)
            if not commands and not self.run.commands:
                raise RunFailedInternally("A dry run does not end. Please report it.")
            for number in commands.run:
                entry = self.run.jobs[number]
                if number in self.declaring.broken:
                    self.run.failed(number, self.declaring.broken[number])
                    continue
                self.begun[number] = entry.why, tuple(changes_of(entry, self.history.files))
                self.run.done(number, self._gives(entry))

    def _gives(self, entry: Entry) -> Fingerprint:
        """What a job that runs is taken to give."""
        if entry.promised:
            return entry.prints or ()
        return tuple(self._pretended(entry, output) for output in entry.outputs)

    def _pretended(self, entry: Entry, output: str) -> Tags:
        fresh: Tags = ((PRETENDED, os.urandom(16)),)
        if self.gives_new:
            return fresh
        if entry.record is not None and output in entry.record.outputs:
            return entry.record.outputs[output]
        for reader in entry.consumers or ():
            if reader.record is not None and (entry.name, output) in reader.record.inputs:
                return reader.record.inputs[entry.name, output]
        return fresh


def plan(
    graph: Graph, history: History, wanted: Sequence[Job] | None = None
) -> dict[str, RecordedJobOutcome]:
    """What a run would do now, by job. *history* is only read. Raises NotADag."""
    ids = None if wanted is None else [job.job_id for job in wanted]
    kept = graph.later.copy()
    graph.running = _Pretended(history)
    try:
        graph.resolve_later()
        sure, most = (_Trial(graph, history, ids, gives_new) for gives_new in (False, True))
        sure.play()
        most.play()
    finally:
        graph.later = kept
        graph.running = None
    outcomes: dict[str, RecordedJobOutcome] = {}
    for number, job in enumerate(most.jobs):
        outcomes[job.job_id] = _outcome(job, number, sure, most)
    for job_id in graph.jobs.keys() - outcomes.keys():
        outcomes[job_id] = PlannedOutcome(job_id, JobOutcome.Pruned)
    return outcomes


def _outcome(job: Job, number: int, sure: _Trial, most: _Trial) -> PlannedOutcome:
    state = most.run.jobs[number].state
    found = sure.begun.get(number) or most.begun.get(number)
    if found is not None:
        outcome = PlannedOutcome(job.job_id, JobOutcome.NotYet, found[0])
        outcome.is_certain = number in sure.begun
        outcome.changes = found[1]
        outcome.makes_jobs = job.kind is JobKind.JobGenerating
        outcome.diffs = dict(_diffs(job, found[1], most.history))
    elif number in most.declaring.broken:
        outcome = PlannedOutcome(job.job_id, JobOutcome.Failed, why.FAILURE)
        outcome.payload = JobError(most.declaring.broken[number])
    elif state == table.BLOCKED:
        outcome = PlannedOutcome(job.job_id, JobOutcome.UpstreamFailed, why.BROKEN)
    else:
        given = most.run.jobs[number].invariant
        outcome = PlannedOutcome(job.job_id, JobOutcome.Success if given else JobOutcome.Skipped)
    return outcome


def _diffs(
    job: Job, changes: Sequence[Change], history: History
) -> list[tuple[str, tuple[str, ...]]]:
    from pypelinin.incremental.explaining import diff_of

    found = []
    for change in changes:
        invariant = job.graph.jobs.get(change.name)
        now = dict(texts_of(invariant)) if invariant is not None else {}
        diff = diff_of(change.name, history.text_of(change.old), now.get(change.new))
        if diff:
            found.append((change.name, diff))
    return found


def lines_of(outcomes: dict[str, RecordedJobOutcome]) -> list[str]:
    """A plan for people: what would run and why, and what may run."""
    from pypelinin.incremental.explaining import Difference
    from pypelinin.incremental.reasons import TEXTS

    planned = [one for one in outcomes.values() if isinstance(one, PlannedOutcome)]
    sure = [one for one in planned if one.would_run and one.is_certain]
    rest = [one for one in planned if one.would_run and not one.is_certain]
    lines = []
    for one in sure:
        lines.append(f"{one.job_id} would run, as {TEXTS.get(one.reason, 'it must')}.")
        for change in one.changes:
            told = Difference(change, one.diffs.get(change.name, ())).lines()
            lines += (f"  {line}" for line in told)
        if one.makes_jobs:
            lines.append("  It makes jobs, which are not known before it has run.")
    for one in rest:
        changed = ", ".join(change.name for change in one.changes)
        lines.append(f"{one.job_id} may run, if that gives something new: {changed}.")
    for one in planned:
        if one.has_failed:
            lines.append(f"{one.job_id} would fail: {one.error}")
    resting = len(planned) - len(sure) - len(rest)
    lines.append(f"{len(sure)} jobs would run, {len(rest)} may run, {resting} would not.")
    return lines


__all__ = ["PlannedOutcome", "lines_of", "plan"]
