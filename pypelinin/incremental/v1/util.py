"""Small helpers of projects, as version 1 has them; `global_pipegraph` is the current graph."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pypelinin.incremental import state, util
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.util import CPUs, assert_uniqueness_of_object, inside_ppg
from pypelinin.incremental.v1.exceptions import as_version_1
from pypelinin.incremental.v1.invariants import FileInvariant, checksum_file


def flatten_jobs(nested: Any) -> Iterator[Job]:
    """The jobs in nested iterables."""
    return util.flatten_jobs(nested)


def job_or_filename(
    found: Any, invariant_class: type[Any] = FileInvariant
) -> tuple[str | None, list[Any]]:
    """(file, what to depend on) of a job that writes one file, of a file's name, or of None."""
    with as_version_1():
        path, jobs = util.job_or_filename(found, invariant_class)
    return None if path is None else str(path), jobs


def stat(filename: str | Path) -> os.stat_result:
    """What the system says of a file."""
    return os.stat(filename)


def file_exists(filename: str | Path) -> bool:
    """Whether there is a file of that name."""
    return os.path.exists(filename)


def output_file_exists(filename: str | Path) -> bool:
    """Whether there is a file of that name, with something in it."""
    return os.path.exists(filename) and os.path.getsize(filename) > 0


def freeze(value: Any) -> Any:
    """The value with dicts, lists and sets in it replaced by what can be a key of a dict."""
    if isinstance(value, Mapping):
        return tuple(sorted((key, freeze(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(map(freeze, value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(freeze, value))
    return value


def load_invariant_stati(filename: str | Path) -> dict[str, Any]:
    """What is remembered of each job's last success, from a file of records."""
    path = Path(filename)
    if path.suffix != ".sqlite3":
        path = Path(f"{path}.sqlite3")
    if not path.exists():
        raise FileNotFoundError(f"There are no records at {str(path)!r}.")
    with as_version_1():
        history = History(path)
    try:
        return {job: history.record(job, {}) for job in history.packed}
    finally:
        history.close()


class _Util(ModuleType):
    @property
    def global_pipegraph(self) -> Any:
        return state.graph

    @global_pipegraph.setter
    def global_pipegraph(self, graph: Any) -> None:
        state.change(graph)


sys.modules[__name__].__class__ = _Util

__all__ = [
    "CPUs", "assert_uniqueness_of_object", "checksum_file", "file_exists", "flatten_jobs",
    "freeze", "inside_ppg", "job_or_filename", "load_invariant_stati", "output_file_exists",
    "stat",
]  # fmt: skip
