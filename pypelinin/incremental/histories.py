"""What people do with histories: find one, look at it, compare it, and let it forget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from pypelinin.graph.fingerprint import Tags, canonical, same
from pypelinin.incremental.explaining import (
    HISTORY_FILE,
    Difference,
    histories_below,
    known_as,
    project_of,
    shown,
    since,
)
from pypelinin.incremental.history import History, Stored
from pypelinin.incremental.jobs.base import SEPARATOR
from pypelinin.incremental.reasons import LAST_RUN, Change, reason_of


class Place(NamedTuple):
    """Histories of a project, and the directory where its paths begin."""

    project: Path
    histories: list[Path]


def find(here: Path, root: str | None = None) -> Place:
    """Those at *root* (what `new` got as `dir_config`), or below `.ppg`, here or further up."""
    if root is not None:
        given = Path(root)
        tried = (given, given / HISTORY_FILE, given / "history" / HISTORY_FILE)
        return Place(here, [path for path in tried if path.is_file()][:1])
    project = project_of(here)
    return Place(here, []) if project is None else Place(project, histories_below(project))


class Line(NamedTuple):
    """A job of a history in a line."""

    job: str
    has_record: bool
    outcome: str
    run: str
    reason: str


def overview(history: History) -> Iterator[Line]:
    """All jobs that it knows, by name."""
    names = dict.fromkeys(sorted([*history.packed, *history.reasons.keys()]))
    for job in names:
        reason = reason_of(history, job)
        if reason is None:
            yield Line(job, job in history.packed, "", "", "")
        else:
            yield Line(job, job in history.packed, reason.outcome, reason.run, reason.text)


def facts(history: History) -> dict[str, Any]:
    """What a history is, in numbers."""
    return {
        "history": str(history.path),
        "last_run": history.meta.get(LAST_RUN),
        "records": len(history.packed),
        "files": len(history.files.known),
        "imported": history.meta.get("imported"),
    }


def record_document(history: History, job: str) -> dict[str, Any] | None:
    """A record for people and programs: digests in hex, by view."""
    stored = history.stored(job)
    if stored is None:
        return None
    return {
        "job": job,
        "kind": dict(stored.spec).get("kind", b"").decode(errors="replace"),
        "outputs": {name: _views(tags) for name, tags in stored.outputs.items()},
        "inputs": {
            name: {**_views(tags), **_text(history, tags)} for name, tags in stored.inputs.items()
        },
    }


def _views(tags: Tags) -> dict[str, str]:
    return {view: digest.hex() for view, digest in tags}


def _text(history: History, tags: Tags) -> dict[str, str]:
    text = history.text_of(canonical(tags)) if tags else None
    return {} if text is None else {"text": text}


def forget(history: History, names: Iterable[str]) -> list[str]:
    """Forget the records of these (ids, files, or patterns with `*`), so that they run again.

    Returns the ids; durable when it returns. Raises KeyError, before anything is forgotten, for
    a name that stands for none.
    """
    found: dict[str, None] = {}
    for name in names:
        matching = [job for job in history.packed if _fits(job, name)]
        known = known_as(history, name)
        if known in history.packed:
            matching.append(str(known))
        if not matching:
            raise KeyError(name)
        found.update(dict.fromkeys(matching))
    history.forget(found)
    for job in found:
        history.imported.drop(job)
    history.commit()
    return list(found)


def _fits(job: str, pattern: str) -> bool:
    if not set(pattern) & set("*?["):
        return False
    return any(fnmatchcase(part, pattern) for part in (job, *job.split(SEPARATOR)))


class Compared(NamedTuple):
    """How two histories differ."""

    only_before: list[str]
    only_now: list[str]
    changed: dict[str, tuple[Difference, ...]]


def compare(before: History, now: History) -> Compared:
    """What of *before* is another in *now*."""
    changed = {}
    for job in sorted(before.packed.keys() & now.packed.keys()):
        if before.packed[job] == now.packed[job]:
            continue
        old, new = before.stored(job), now.stored(job)
        assert old is not None
        assert new is not None
        changes = list(_between(old, new))
        if changes:
            changed[job] = tuple(_shown_between(before, now, changes))
    return Compared(
        sorted(before.packed.keys() - now.packed.keys()),
        sorted(now.packed.keys() - before.packed.keys()), changed,
    )  # fmt: skip


def _between(old: Stored, new: Stored) -> Iterator[Change]:
    for mine, other in ((old.outputs, new.outputs), (old.inputs, new.inputs)):
        for name in dict.fromkeys([*mine, *other]):
            if name not in other:
                yield Change("removed", name, canonical(mine[name]))
            elif name not in mine:
                yield Change("added", name, b"", canonical(other[name]))
            elif not same(mine[name], other[name]):
                yield Change("changed", name, canonical(mine[name]), canonical(other[name]))


def _shown_between(before: History, now: History, changes: list[Change]) -> Iterator[Difference]:
    for change in changes:
        for digest in (change.old, change.new):
            text = before.text_of(digest) if digest else None
            if text is not None:
                now.text(digest, text)
        yield from shown(now, [change])


def compare_with_files(history: History, project: Path) -> dict[str, tuple[Difference, ...]]:
    """By job, what is missing or another now than when its record was made."""
    found = {}
    for job in sorted(history.packed):
        stored = history.stored(job)
        changes = tuple(map(Difference, since(history, stored, project) if stored else ()))
        if changes:
            found[job] = changes
    return found


__all__ = [
    "Compared", "Line", "Place", "compare", "compare_with_files", "facts", "find", "forget",
    "overview", "record_document",
]  # fmt: skip
