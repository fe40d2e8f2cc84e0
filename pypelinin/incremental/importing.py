"""The history of pypipegraph2, taken over so that nothing is rebuilt when a project moves here.

`load` reads its file once and puts what it says into the history, job by job; `Importer` makes a
record of it when the job is first seen. What cannot be compared (values of parameters, of default
arguments, what a generator had made) counts as unchanged, and is told. What a loader or a missing
file gave is known only by pypipegraph2's digest: such fingerprints have a view of their own.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from pypelinin.engine.entry import Entry
from pypelinin.graph.declared import Record
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.incremental.enums import JobKind
from pypelinin.incremental.exceptions import HistoryLoadingFailed
from pypelinin.incremental.hashers import hash_str
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.invariants import (
    FILE_VIEW,
    FileInvariant,
    FunctionInvariant,
    ParameterInvariant,
)
from pypelinin.incremental.jobs.loading import FOREIGN_VIEW
from pypelinin.incremental.reasons import LAST_RUN, texts_of
from pypelinin.incremental.sameness import is_same_function

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph

FILE_NAME = "ppg_history.2.zstd"
SEPARATOR = "!!!"
XXH_VIEW = "xxh3_128"
IMPORTED = "imported"
"""In the history's table `meta`: from where, and when."""
EXTRA = "Install 'pypelinin[incremental]'"
FILE, FUNCTION, VALUE = "file", "function", "value"


# --- reading ------------------------------------------------------------------------------------


def file_of(graph: Graph) -> Path | None:
    """The history that pypipegraph2 left of this project, if there is one."""
    root, name = Path(graph.dir_config.root), FILE_NAME
    places = [Path(str(graph.dir_config.history_dir)) / name]
    if root.parent.name == "per_script":  # there the script is named with its suffix
        places.append(root.with_name(f"{root.name}.py") / "history" / name)
        if root.name == "run":
            places.append(root.parent.parent / "history" / name)
    return next((place for place in places if place.is_file()), None)


def load(history: History, path: Path) -> int:
    """Put what *path* says into *history*; the number of jobs that have no record there yet.

    Raises HistoryLoadingFailed if it cannot be read.
    """
    try:
        data = json.loads(_unzipped(path))
        found = list(_jobs(data, history))
    except HistoryLoadingFailed:
        raise
    except Exception as error:  # whatever damaged bytes lead to
        raise HistoryLoadingFailed(
            f"The history {path} of pypipegraph2 cannot be read: {error!r}. It was not touched, "
            "and nothing was rebuilt.",
            remedy="Move it away to build everything anew.",
        ) from error
    fresh = [(job, body) for job, body in found if job not in history.packed]
    for job, body in fresh:
        history.imported.put(job, body)
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    told = {
        "from": str(path),
        "when": when,
        "jobs": len(fresh),
        "mtime_ns": path.stat().st_mtime_ns,
    }
    history.meta.put(IMPORTED, json.dumps(told))
    return len(fresh)


def _unzipped(path: Path) -> bytes:
    packed = path.read_bytes()
    for name in ("compression.zstd", "backports.zstd", "pyzstd"):
        try:
            plain: bytes = importlib.import_module(name).decompress(packed)
            return plain
        except ImportError:
            continue
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise HistoryLoadingFailed(
            f"{path} is the history of pypipegraph2, and nothing here can unpack it. It was not "
            "touched, and nothing was rebuilt.",
            remedy=f"{EXTRA}, or move the file away to build everything anew.",
        ) from None
    found: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return found


def _jobs(data: dict[str, str], history: History) -> Iterator[tuple[str, bytes]]:
    """(job, what it made and read, packed) of all that is no invariant."""
    seen: dict[str, list[str]] = {}
    for key in data:
        upstream, _, reader = key.partition(SEPARATOR)
        if reader:
            seen.setdefault(reader, []).append(upstream)
    for key, names in data.items():
        job = key.removesuffix(SEPARATOR)
        if job == key or job not in data or job.startswith(("FI", "PI")):
            continue
        read: dict[str, Any] = {}
        for upstream in seen.get(job, ()):
            read.update(json.loads(data[f"{upstream}{SEPARATOR}{job}"]))
        wanted = names.split("\n") if names else []
        outputs = {name: _value(value, history) for name, value in json.loads(data[job]).items()}
        inputs = {name: _value(read.get(name, ""), history) for name in wanted}
        yield job, msgpack.packb((outputs, inputs))


def _value(value: Any, history: History) -> tuple[Any, ...]:
    """What was written of an output: of a file, of a function, or of something else."""
    if isinstance(value, dict) and {"hash", "mtime", "size"} <= value.keys():
        return FILE, value["hash"], int(value["mtime"]), int(value["size"])
    if isinstance(value, dict) and "source" in value:
        views = [one for key, one in value.items() if re.fullmatch(r"\d+\.\d+", key)]
        closure = views[0][1] if views and isinstance(views[0], list) else ""
        digest = hash_str(value["source"])
        history.text(digest, value["source"])
        return FUNCTION, digest, closure
    return VALUE, value if isinstance(value, str) else json.dumps(value)


# --- taking over --------------------------------------------------------------------------------


def take_over(graph: Graph, history: History) -> None:
    """When a run begins: have the history of pypipegraph2, if there is one and nothing ran here.

    Raises HistoryLoadingFailed; the next run will try it again.
    """
    if not history.packed and not any(map(history.meta.get, (LAST_RUN, IMPORTED))):
        path = file_of(graph)
        if path is not None:
            load(history, path)
    if history.meta.get(IMPORTED) is not None:
        history.importer = Importer(graph, history)


class Importer:
    """Makes records of what pypipegraph2 wrote; *told* counts what could not be compared."""

    def __init__(self, graph: Graph, history: History) -> None:
        self.graph = graph
        self.history = history
        self.told: Counter[str] = Counter()
        self._written_ns: int = json.loads(history.meta.get(IMPORTED) or "{}").get("mtime_ns", 0)
        self._generators: dict[str, tuple[str, bytes]] = {}
        self._files: dict[tuple[str, str], Tags] = {}
        self._parameters: set[str] = set()

    def record(self, job: Job) -> Record | None:
        """The record of a job that is seen for the first time; it is remembered."""
        body = self.history.imported.get(job.job_id)
        if body is None:
            return None
        made, read = msgpack.unpackb(body, use_list=False)
        producers = self.graph.outputs_to_job_ids
        inputs = self._inputs(job, read)
        record = Record(
            job.spec(),
            {name: self._tags(name, value) for name, value in made.items()},
            {(producers.get(name) or name, name): tags for name, tags in inputs.items()},
        )
        self.history.remember(job.job_id, record)
        self.history.imported.drop(job.job_id)
        self.told["jobs"] += 1
        return record

    def _inputs(self, job: Job, read: dict[str, Any]) -> dict[str, Tags]:
        """What it read, by the names that we have for it."""
        now = self.graph.job_inputs[job.job_id]
        found = {name: self._tags(name, value) for name, value in read.items()}
        jobs, producers = self.graph.jobs, self.graph.outputs_to_job_ids
        new = [jobs[producers[name]] for name in now if name not in found]
        for invariant in new:
            if not isinstance(invariant, FunctionInvariant):
                continue
            for name, value in read.items():
                if name not in now and name in found and self._is_same(invariant, value):
                    del found[name]
                    found[invariant.job_id] = self._now(invariant)
                    break
        if getattr(job, "func_invariant", None) is None:
            self._settle_own(job, found, new)
        return found

    def _settle_own(self, job: Job, found: dict[str, Tags], new: Sequence[Job]) -> None:
        """Of a job whose function is the library's: their invariant of that does not count, nor
        do ours of what it was told to do."""
        now = self.graph.job_inputs[job.job_id]
        for name in [one for one in found if one.startswith("FI") and one not in now]:
            del found[name]
        for one in new:
            is_invariant = isinstance(one, (FunctionInvariant, ParameterInvariant))
            if is_invariant and one.job_id[2:].startswith(job.job_id):
                found[one.job_id] = self._now(one)

    def _tags(self, name: str, value: Any) -> Tags:
        """The fingerprint of what was written: that of today if it is still the same."""
        kind, *facts = value
        job = self.graph.jobs.get(self.graph.outputs_to_job_ids.get(name, ""))
        if kind == FILE:
            return self._file_tags(name, job, *facts)
        if kind == FUNCTION:
            if isinstance(job, FunctionInvariant) and self._is_same(job, value):
                return self._now(job)
            return ((FOREIGN_VIEW, facts[0]),)
        if isinstance(job, ParameterInvariant):
            return self._now(job)
        tag = (FOREIGN_VIEW, hash_str(facts[0]))
        if job is not None and job.kind is JobKind.JobGenerating:
            if name not in self._generators:
                self.told["generators"] += 1
            self._generators[name] = tag
        return (tag,)

    def _is_same(self, invariant: FunctionInvariant, value: Any) -> bool:
        if value[0] != FUNCTION:
            return False
        source = self.history.text_of(value[1])
        return source is not None and is_same_function(invariant.function, source, value[2])

    def _now(self, invariant: Any) -> Tags:
        """It counts as unchanged; its text is kept for when it does change."""
        if invariant.job_id not in self._parameters:
            self._parameters.add(invariant.job_id)
            for digest, text in texts_of(invariant):
                self.history.text(digest, text)
            if isinstance(invariant, ParameterInvariant):
                self.told["parameters"] += 1
            elif _has_defaults(invariant.function):
                self.told["defaults"] += 1
        tags: Tags = invariant.tags
        return tags

    def _file_tags(self, name: str, job: Job | None, hexdigest: str, mtime: int, size: int) -> Tags:
        key = (name, hexdigest)
        if key not in self._files:
            foreign = (XXH_VIEW, hash_bytes_of(hexdigest))
            same = self._is_same_file(name, hexdigest, mtime, size)
            self._files[key] = (foreign, *self._content(name, job)) if same else (foreign,)
        return self._files[key]

    def _is_same_file(self, name: str, hexdigest: str, mtime: int, size: int) -> bool:
        try:
            stat = os.stat(name)
        except OSError:
            return False
        if stat.st_size != size:
            return False
        # They keep whole seconds: only what is older than their history can be told by its time.
        is_older = stat.st_mtime_ns <= self._written_ns
        return (is_older and int(stat.st_mtime) == mtime) or xxh3_128(name) == hexdigest

    def _content(self, name: str, job: Job | None) -> Tags:
        files = self.history.files
        if isinstance(job, FileInvariant):
            return job.look(files)[0]
        return ((FILE_VIEW, files.digest(name)),)

    # --- while it runs -------------------------------------------------------------------------

    def extended(self, job: Job, prints: Fingerprint) -> Fingerprint:
        """*prints* of a job that ran, with the view that those have who knew it before."""
        if job.job_id in self._generators:
            return tuple((self._generators[job.job_id], *tags) for tags in prints)
        running = self.graph.running
        entry: Entry = running.run.jobs[running.numbers[job.job_id]]
        if entry.promised:
            known = dict(zip(job.outputs, entry.prints or (), strict=False))
        else:
            known = entry.record.outputs if entry.record is not None else {}
        return tuple(
            self._with_view(name, dict(known.get(name, ())), tags, entry.promised)
            for name, tags in zip(job.outputs, prints, strict=True)
        )

    def _with_view(self, name: str, old: dict[str, bytes], new: Tags, promised: bool) -> Tags:
        if not old or old.keys() & {view for view, _ in new}:
            return new
        if XXH_VIEW in old:
            return ((XXH_VIEW, bytes.fromhex(xxh3_128(name))), *new)
        if FOREIGN_VIEW in old and promised:  # nothing that it depends on has changed
            return ((FOREIGN_VIEW, old[FOREIGN_VIEW]), *new)
        return new

    def lines(self) -> list[str]:
        """What was taken over, for people; empty if nothing was."""
        told = self.told
        if not told["jobs"]:
            return []
        source = json.loads(self.history.meta.get(IMPORTED))["from"]
        lines = [f"Records of {told['jobs']} jobs were taken over from {source}."]
        what = [f"{told[key]} {text}" for key, text in _NOT_COMPARED if told[key]]
        if what:
            lines.append(f"These cannot be compared and count as unchanged: {', '.join(what)}.")
        return lines


_NOT_COMPARED = (
    ("parameters", "values of parameters"), ("defaults", "functions with default arguments"),
    ("generators", "jobs that generate jobs"),
)  # fmt: skip


def _has_defaults(function: Any) -> bool:
    return bool(
        getattr(function, "__defaults__", None) or getattr(function, "__kwdefaults__", None)
    )


def hash_bytes_of(hexdigest: str) -> bytes:
    """The bytes of a digest; of what is none, its own digest."""
    try:
        return bytes.fromhex(hexdigest)
    except ValueError:
        return hash_str(hexdigest)


def xxh3_128(path: str) -> str:
    """pypipegraph2's digest of a file. Raises HistoryLoadingFailed without the extra, OSError."""
    try:
        xxhash = importlib.import_module("xxhash")
    except ImportError:
        raise HistoryLoadingFailed(
            f"{path!r} has to be compared with its digest in the history of pypipegraph2.",
            remedy=f"{EXTRA}.",
        ) from None
    state = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            state.update(chunk)
    found: str = state.hexdigest()
    return found


__all__ = ["FILE_NAME", "IMPORTED", "Importer", "file_of", "load", "take_over", "xxh3_128"]
