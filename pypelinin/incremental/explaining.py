"""Why a job ran, or would run: from the history of a project, without running its script.

`explain` gives an `Explanation`: what the last run noted, and what has changed since then as far
as files tell. Functions and parameters are known only to the script: `run(dry_run=True)`.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pypelinin.graph.fingerprint import Tags
from pypelinin.incremental.hashers import hash_file
from pypelinin.incremental.history import History, Stored
from pypelinin.incremental.jobs.base import SEPARATOR
from pypelinin.incremental.jobs.invariants import FILE_VIEW
from pypelinin.incremental.reasons import LAST_RUN, Change, Reason, Stat, reason_of

HISTORY_FILE = "history.sqlite3"
LINE_MAX = 100
DIFF_LINES_MAX = 200
VERBS = {
    "changed": "changed", "added": "is read now, and was not before",
    "removed": "is not read any more", "renamed": "is made before or now, not both",
    "altered": "was changed by others", "missing": "is missing",
    "needed": "needs it", "failed": "failed",
}  # fmt: skip


class Difference(NamedTuple):
    """A change with what people want to see of it."""

    change: Change
    diff: tuple[str, ...] = ()
    """Lines of a unified diff of the texts, if there are texts."""

    def lines(self) -> list[str]:
        change = self.change
        facts = _facts(change)
        head = f"{change.name} {VERBS.get(change.kind, change.kind)}{f': {facts}' if facts else ''}"
        return [head, *(f"  {line}" for line in self.diff)]

    def document(self) -> dict[str, Any]:
        change = self.change
        return {
            "kind": change.kind, "name": change.name,
            "old": change.old.hex() or None, "new": change.new.hex() or None,
            "old_size": change.was and change.was.size, "new_size": change.now and change.now.size,
            "old_time": change.was and change.was.changed_ns / 1e9,
            "new_time": change.now and change.now.changed_ns / 1e9,
            "diff": list(self.diff),
        }  # fmt: skip


class Explanation(NamedTuple):
    """*reason* is of the last run in which the job ran, or was to; None: none is known."""

    job: str
    history: Path
    last_run: str
    has_record: bool
    reason: Reason | None
    differences: tuple[Difference, ...]
    since: tuple[Difference, ...]
    """What has changed by now, so that it would run."""

    def lines(self) -> list[str]:
        found = [f"{self.job}: {self._how()}"]
        for difference in self.differences:
            found += (f"  {line}" for line in difference.lines())
        if self.since:
            found.append("Now it would run:")
            for difference in self.since:
                found += (f"  {line}" for line in difference.lines())
        elif self.has_record:
            found.append("By now no file that it reads or makes has changed.")
        else:
            found.append("It has no record of a success, so it would run.")
        return found

    def _how(self) -> str:
        if self.reason is None:
            return "its record is older than the reasons that are kept."
        reason = self.reason
        how = {"Success": "it ran", "UpstreamFailed": "it was not begun", "Failed": "it failed"}
        text = f"{how.get(reason.outcome, reason.outcome)} on {reason.run}"
        text += f", as {reason.text}." if reason.text else "."
        if reason.run != self.last_run:
            text += f" In the last run, {self.last_run}, it was not run."
        return text

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        reason = self.reason
        return {
            "job": self.job, "history": str(self.history), "last_run": self.last_run or None,
            "has_record": self.has_record, "run": reason and reason.run,
            "outcome": reason and reason.outcome, "reason": reason and reason.text,
            "changes": [one.document() for one in self.differences],
            "would_run": not self.has_record or bool(self.since),
            "since": [one.document() for one in self.since],
        }  # fmt: skip


def explain(history: History, job: str, project: Path | None = None) -> Explanation:
    """*job* is the id of a job, or a file that it makes; *project* where its paths begin.

    Raises KeyError if the history knows no such job.
    """
    job_id = known_as(history, job)
    if job_id is None:
        raise KeyError(job)
    reason = reason_of(history, job_id)
    stored = history.stored(job_id)
    return Explanation(
        job_id, history.path, history.meta.get(LAST_RUN) or "", stored is not None, reason,
        tuple(shown(history, reason.changes if reason else ())),
        tuple(map(Difference, since(history, stored, project or Path()))) if stored else (),
    )  # fmt: skip


def known_as(history: History, name: str) -> str | None:
    """The id of the job of that id, or that makes a file of that name."""
    if name in history.packed or history.reasons.get(name) is not None:
        return name
    path = os.path.normpath(name)
    known: list[str] = [*history.packed, *history.reasons.keys()]
    for job_id in known:
        if path in job_id.split(SEPARATOR):
            return job_id
    return None


def shown(history: History, changes: Sequence[Change]) -> Iterator[Difference]:
    """Changes with the diffs of their texts."""
    for change in changes:
        old = history.text_of(change.old) if change.old else None
        new = history.text_of(change.new) if change.new else None
        yield Difference(change, diff_of(change.name, old, new))


def diff_of(name: str, old: str | None, new: str | None) -> tuple[str, ...]:
    """A unified diff of two texts, both of which are known; long lines are cut at commas."""
    if old is None or new is None:
        return ()
    if old == new:
        return ("(its text is the same: the byte code differs)",)
    before, now = _lines(old), _lines(new)
    diff = difflib.unified_diff(before, now, f"{name} (before)", f"{name} (now)", lineterm="")
    lines = list(diff)
    if len(lines) > DIFF_LINES_MAX:
        rest = len(lines) - DIFF_LINES_MAX
        lines = [*lines[:DIFF_LINES_MAX], f"... {rest} more lines of the diff"]
    return tuple(lines)


def _lines(text: str) -> list[str]:
    found = text.splitlines()
    if len(found) == 1 and len(text) > LINE_MAX:
        return text.replace(", ", ",\n").splitlines()
    return found


def _facts(change: Change) -> str:
    if change.was is not None or change.now is not None:
        now = "" if change.kind == "missing" else f" -> {_stat(change.now)}"
        return f"{_stat(change.was)}{now}"
    if change.old and change.new:
        return f"{change.old.hex()[:12]} -> {change.new.hex()[:12]}"
    return ""


def _stat(stat: Stat | None) -> str:
    if stat is None:
        return "(not known)"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stat.changed_ns / 1e9))
    return f"{stat.size:,} bytes of {when}"


# --- what files tell now ------------------------------------------------------------------------


def since(history: History, stored: Stored, project: Path) -> Iterator[Change]:
    """What files tell of a record: what it makes is missing or altered, what it reads changed."""
    stays = b"Temp" not in dict(stored.spec).get("kind", b"")
    for name, tags in stored.outputs.items():
        yield from _file_change(history, project, name, tags, "altered", stays)
    for name, tags in stored.inputs.items():
        yield from _file_change(history, project, name, tags, "changed", False)


def _file_change(
    history: History, project: Path, name: str, tags: Tags, kind: str, must_exist: bool
) -> Iterator[Change]:
    known, old = history.files.known.get(name), dict(tags).get(FILE_VIEW)
    if known is None or old is None:  # no file, or one that is judged in another way
        return
    was = Stat(*known[:2])
    try:
        stat = os.stat(project / name)
    except OSError:
        if must_exist:
            yield Change("missing", name, old, b"", was)
        return
    now = Stat(stat.st_size, stat.st_mtime_ns)
    digest = known[2] if was == now else hash_file(project / name)
    if digest != old:
        yield Change(kind, name, old, digest, was, now)


# --- finding histories --------------------------------------------------------------------------


def histories_below(directory: Path) -> list[Path]:
    """The histories of a project, below its `.ppg`; those that were written last come first."""
    found = (directory / ".ppg").glob(f"**/{HISTORY_FILE}")
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def project_of(directory: Path) -> Path | None:
    """The nearest directory from here upwards that has a `.ppg` with a history."""
    for place in (directory, *directory.parents):
        if histories_below(place):
            return place
    return None


__all__ = [
    "Difference", "Explanation", "diff_of", "explain", "histories_below", "known_as",
    "project_of", "shown", "since",
]  # fmt: skip
