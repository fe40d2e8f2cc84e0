"""Why jobs run: what differs from their records, kept in the history for whoever asks later.

`Reasons` watches a run: when a job is handed out it notes what is another than before, and when
it ended, how. Texts of functions and parameters are kept with their digests, so that the next
change of them can be shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from pypelinin.engine import entry as why
from pypelinin.engine import table
from pypelinin.engine.entry import Entry, inputs_now
from pypelinin.graph.fingerprint import canonical, same
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import HistoryLoadingFailed
from pypelinin.incremental.functions import text_of_function
from pypelinin.incremental.history import Files, History
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.invariants import FunctionInvariant, ParameterInvariant
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

LAST_RUN = "last run"
"""In the history's table `meta`: when it was."""
NAMED_MAX = 5
TEXTS = {
    why.ALWAYS: "it runs in every run",
    why.NEW: "there is no record of a success",
    why.RELOADED: "it was asked to load again",
    why.SPEC: "it is defined in another way",
    why.OUTPUTS: "what it makes has other names",
    why.INPUTS: "it reads more, or less, than before",
    why.INPUT: "what it reads changed",
    why.ALTERED: "what it made was changed by others",
    why.ABSENT: "what it made is missing",
    why.WOKEN: "a job that runs needs it",
    why.BROKEN: "what it reads failed",
    why.LOST: "what it reads was lost",
    why.BARRIER: "something failed before",
    why.FAILURE: "it failed",
    why.IMPURE: "it made something else from the same",
    why.EXPANSION: "what it generated cannot be taken in",
}


class Stat(NamedTuple):
    """Of a file: bytes, time of the last change in ns."""

    size: int
    changed_ns: int


class Change(NamedTuple):
    """One thing that differs from the record.

    *kind*: changed, added, removed (of what it reads), renamed (of what it makes), altered,
    missing, needed (by the job of that name), failed.
    """

    kind: str
    name: str
    old: bytes = b""
    new: bytes = b""
    """Digests; of a function or a parameter the key of its text."""
    was: Stat | None = None
    now: Stat | None = None


class Reason(NamedTuple):
    """Why a job ran, or could not; *number* is one of `engine.entry`."""

    run: str
    outcome: str
    number: int
    changes: tuple[Change, ...] = ()

    @property
    def text(self) -> str:
        return TEXTS.get(self.number, "")


def changes_of(entry: Entry, files: Files) -> list[Change]:
    """What of a job that was found to be WANTED differs from its record."""
    if entry.why == why.WOKEN:
        readers = [job for job in entry.consumers or () if job.state in (table.WANTED, table.READY)]
        return [Change("needed", reader.name) for reader in readers[:NAMED_MAX]]
    found = [
        _differs("altered", name, files.before.get(name), files.altered.get(name))
        for name in entry.names(entry.altered)
    ]
    if entry.why == why.ABSENT:
        found += [Change("missing", name) for name in entry.names(entry.kept & ~entry.there)]
    record = entry.record
    if record is None:
        return found
    now = inputs_now(entry)
    for key, old in record.inputs.items():
        if key not in now:
            found.append(Change("removed", key[1], canonical(old)))
        elif not same(old, now[key]):
            found.append(_changed(key[1], canonical(old), canonical(now[key]), files))
    found += [
        Change("added", key[1], b"", canonical(now[key])) for key in now.keys() - record.inputs
    ]
    found += [Change("renamed", name) for name in sorted(record.outputs.keys() ^ {*entry.outputs})]
    return found


def _changed(name: str, old: bytes, new: bytes, files: Files) -> Change:
    change = _differs("changed", name, files.before.get(name), files.known.get(name))
    return change._replace(old=old, new=new)


def _differs(
    kind: str, name: str, was: tuple[int, int, bytes] | None, now: tuple[int, int, bytes] | None
) -> Change:
    """A change of a file, as far as it is one."""
    return Change(
        kind, name, was[2] if was else b"", now[2] if now else b"",
        Stat(*was[:2]) if was else None, Stat(*now[:2]) if now else None,
    )  # fmt: skip


def packed(reason: Reason) -> bytes:
    data: bytes = msgpack.packb(reason)
    return data


def reason_of(history: History, job: str) -> Reason | None:
    """Why it ran when it last ran, or was to run. Raises HistoryLoadingFailed."""
    body = history.reasons.get(job)
    if body is None:
        return None
    try:
        run, outcome, number, changes = msgpack.unpackb(body, use_list=False)
        return Reason(run, outcome, number, tuple(_unpacked(*change) for change in changes))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise HistoryLoadingFailed(
            f"The history {history.path} has a reason of {job!r} that cannot be read: {error!r}."
        ) from error


def _unpacked(kind: str, name: str, old: bytes, new: bytes, was: Any, now: Any) -> Change:
    return Change(kind, name, old, new, was and Stat(*was), now and Stat(*now))


class Reasons(Watcher):
    """Notes the reasons of a run in its history."""

    def __init__(self, history: History, run: str = "") -> None:
        self.history = history
        self.run = run or time.strftime("%Y-%m-%d %H:%M:%S")
        self.running: Running | None = None
        self._noted: dict[str, Reason] = {}
        self._has_text: set[str] = set()

    def began(self, running: Running) -> None:
        self.running = running
        self.history.meta.put(LAST_RUN, self.run)

    def _entry(self, job_id: str) -> Entry | None:
        assert self.running is not None
        return self.running.run.jobs.get(self.running.numbers.get(job_id, -1))

    def started(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            entry = self._entry(job.job_id)
            if entry is None:
                continue
            changes = tuple(changes_of(entry, self.history.files))
            self._noted[job.job_id] = Reason(self.run, "", entry.why, changes)

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        self._note(job.job_id, outcome)
        if outcome.outcome is JobOutcome.Success:
            self._keep_texts(job.job_id)

    def _note(self, job_id: str, outcome: RecordedJobOutcome) -> None:
        reason = self._noted.get(job_id) or Reason(self.run, "", why.ALWAYS)
        outcome.changes = reason.changes
        self.history.reasons.put(job_id, packed(reason._replace(outcome=outcome.outcome.name)))

    def _keep_texts(self, job_id: str) -> None:
        """The texts behind what a record of this job names."""
        assert self.running is not None
        entry = self._entry(job_id)
        for upstream, _, _ in entry.inputs if entry is not None else ():
            if upstream.invariant and upstream.name not in self._has_text:
                self._has_text.add(upstream.name)
                for digest, text in texts_of(self.running.graph.jobs[upstream.name]):
                    self.history.text(digest, text)

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        """What was not begun has its reason, too; and what came of it may be known better now."""
        for job_id, outcome in outcomes.items():
            if job_id in self._noted:
                reason = self._noted[job_id]
                outcome.changes = reason.changes
                if outcome.has_failed:
                    self._note(job_id, outcome)
            elif outcome.outcome is JobOutcome.UpstreamFailed:
                self.history.reasons.put(job_id, packed(self._blocked(job_id, outcome)))
        self.history.commit()

    def _blocked(self, job_id: str, outcome: RecordedJobOutcome) -> Reason:
        entry = self._entry(job_id)
        assert self.running is not None
        changes: tuple[Change, ...] = ()
        if entry is not None and isinstance(entry.cause, int):
            changes = (Change("failed", self.running.jobs[entry.cause].job_id),)
        outcome.changes = changes
        return Reason(self.run, outcome.outcome.name, outcome.reason, changes)


def texts_of(job: Job) -> Iterator[tuple[bytes, str]]:
    """(digest, text) of what an invariant follows."""
    if isinstance(job, FunctionInvariant):
        yield canonical(job.tags), text_of_function(job.function)
    elif isinstance(job, ParameterInvariant):
        yield canonical(job.tags), job.text


__all__ = [
    "LAST_RUN", "TEXTS", "Change", "Reason", "Reasons", "Stat", "changes_of", "packed",
    "reason_of", "texts_of",
]  # fmt: skip
