"""The graph: which jobs there are, and what they read of each other."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.exceptions import JobOutputConflict
from pypelinin.incremental.jobs.base import Job, redefined
from pypelinin.incremental.jobs.invariants import (
    FileInvariant,
    FunctionInvariant,
    ParameterInvariant,
)
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.watching import Watcher

INVARIANTS: dict[str, Callable[..., Any]] = {
    "file": FileInvariant, "parameter": ParameterInvariant, "function": FunctionInvariant,
}  # fmt: skip
ALL_CORES = 0
"""As `cores`: all that this process may use."""


@dataclass
class DirConfig:
    """Where a project keeps what is its own; False: below *root*, None: not at all."""

    root: Path | str = ".ppg"
    log_dir: Path | str | bool | None = False
    error_dir: Path | str | bool | None = False
    history_dir: Path | str | bool = False
    run_dir: Path | str | bool = False
    cache_dir: Path | str | None = "cache"

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        for name, usual in (
            ("log", "logs"), ("error", "errors"), ("history", "history"), ("run", "run"),
        ):  # fmt: skip
            value = getattr(self, f"{name}_dir")
            if value is False:
                setattr(self, f"{name}_dir", self.root / usual)
            elif value is not None:
                setattr(self, f"{name}_dir", Path(value))
            elif name in ("history", "run"):
                raise ValueError(f"{name}_dir cannot be switched off.")
        self.cache_dir = None if self.cache_dir is None else Path(self.cache_dir)


@dataclass
class Options:
    """How graphs run; see `new`."""

    cores: int = ALL_CORES
    run_mode: RunMode = RunMode.CONSOLE
    dir_config: DirConfig | None = None
    log_level: int = 20
    allow_short_filenames: bool = False
    log_retention: int | None = 3
    prevent_absolute_paths: bool = True
    push_events: bool = False
    log_address: tuple[str, int] | None = ("localhost", 5005)
    quiet: bool = False


class Graph:
    """Jobs and what they depend on. Jobs become part of the one that is current.

    *jobs* are by their id; *job_inputs* are, for each, the names of the outputs that it reads,
    in the order in which it came to depend on them; *outputs_to_job_ids* says who makes what.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.cores = options.cores or len(os.sched_getaffinity(0))
        self.run_mode = options.run_mode
        self.dir_config = options.dir_config or DirConfig()
        self.allow_short_filenames = options.allow_short_filenames
        self.prevent_absolute_paths = options.prevent_absolute_paths
        self.time_str = time.strftime("%Y-%m-%d_%H-%M-%S")
        self.jobs: dict[str, Job] = {}
        self.job_inputs: dict[str, dict[str, None]] = {}
        self.outputs_to_job_ids: dict[str, str] = {}
        self.later: deque[tuple[Job, Callable[[], Any]]] = deque()
        """Functions that say what a job depends on, when a run begins."""
        self.directories: dict[str, str] = {}
        """Where directories of outputs really are."""
        self.linked: dict[str, str] = {}
        """Of them those behind a symbolic link: their other name in the project."""
        self.shared: dict[Any, Any] = {}
        """What jobs have found out of each other; function invariants, by their code."""
        self.last_run_result: dict[str, RecordedJobOutcome] = {}
        self.do_raise: list[Any] = []
        self.log_file: Path | None = None
        """Of the last run."""
        self.restart_afterwards = False
        """Whether the script is run again when the run that is under way is over."""
        self.dump_at_run: list[str] = []
        """Jobs for `subgraph_debug.py`, which the next run writes."""
        self.running: Any = None
        """The run that is under way."""

    # --- definition ------------------------------------------------------------------------------

    def register(self, job: Job) -> Any:
        """Take *job* in; the job that is there already, if it is the same.

        Raises JobRedefinitionError (strict modes) and JobOutputConflict.
        """
        known = self.jobs.get(job.job_id)
        if known is not None:
            if self.running is not None:
                self.running.defined(known, False)
            return known if known is job else self._again(job, known)
        for output in job.outputs:
            other = self.outputs_to_job_ids.get(output)
            if other is None and self.linked:
                other = self._other_name(output)
            if other is not None and other != job.job_id:
                raise self._conflict(job, output, other)
        job.job_number = len(self.jobs)
        job.place_of_definition = place_of_definition()
        self.jobs[job.job_id] = job
        self.job_inputs[job.job_id] = {}
        for output in job.outputs:
            self.outputs_to_job_ids[output] = job.job_id
        try:
            job.registered()
        except BaseException:  # it is refused, and no part of the graph
            del self.jobs[job.job_id], self.job_inputs[job.job_id]
            for output in job.outputs:
                del self.outputs_to_job_ids[output]
            raise
        if self.running is not None:
            self.running.defined(job, True)
        return job

    def _other_name(self, output: str) -> str | None:
        """The job that writes this file by another name, through a symbolic link."""
        directory, name = os.path.split(output)
        real = self.linked.get(directory)
        if real is not None:
            output = os.path.join(real, name)
            if (job_id := self.outputs_to_job_ids.get(output)) is not None:
                return job_id
        for link, leads_to in self.linked.items():
            if link != directory and leads_to == os.path.dirname(output):
                job_id = self.outputs_to_job_ids.get(os.path.join(link, name))
                if job_id is not None:
                    return job_id
        return None

    def _again(self, job: Job, known: Job) -> Job:
        """It is defined once more."""
        if not is_same_class(type(job), type(known)):
            if self.run_mode.is_strict():
                raise redefined(job, known, f"as a {type(known).__name__}")
        elif job.definition() == known.definition():
            return known
        elif self.run_mode.is_strict() and not job.replaceable:
            raise redefined(job, known, "in another way")
        known.replaced()
        number, pruned = known.job_number, known.prune_reason
        job.func_invariant = known.func_invariant  # it goes when registered
        known.__class__ = type(job)
        known.__dict__.clear()
        known.__dict__.update(job.__dict__)
        known.job_number, known.prune_reason = number, pruned
        known.place_of_definition = place_of_definition()
        known.registered()
        return known

    def _conflict(self, job: Job, output: str, other: str) -> JobOutputConflict:
        known = self.jobs[other]
        return JobOutputConflict(
            f"{output!r} would be written by two jobs: {known!r}, defined at "
            f"{known.place_of_definition}, and {job!r}, defined at {place_of_definition()}.",
            remedy="Each file has one job that writes it.",
        )

    def connect(self, job: Job, upstream: Job, outputs: Iterable[str]) -> None:
        """*job* reads these outputs of *upstream*."""
        mine = self.job_inputs.get(job.job_id)
        if mine is None:
            raise KeyError(f"{job.job_id} is not part of the graph; readd() it first.")
        before, named = len(mine), tuple(outputs)
        mine.update(dict.fromkeys(named))
        if self.running is not None:
            self.running.connected(job, upstream, named, len(mine) > before)

    def disconnect(self, job: Job, upstream: Job) -> None:
        """*job* does not read *upstream* any more."""
        for output in upstream.outputs:
            self.job_inputs[job.job_id].pop(output, None)

    def remove(self, job: Job) -> None:
        """Take out a job that nothing depends on."""
        del self.jobs[job.job_id], self.job_inputs[job.job_id]
        for output in job.outputs:
            del self.outputs_to_job_ids[output]
        self.later = deque(entry for entry in self.later if entry[0] is not job)
        self.last_run_result.pop(job.job_id, None)

    def producer_of(self, name: str) -> tuple[str, str] | None:
        """(id of the job, name of the output) of who makes it."""
        if name in self.outputs_to_job_ids:
            return self.outputs_to_job_ids[name], name
        path = os.path.normpath(name)
        if path in self.outputs_to_job_ids:
            return self.outputs_to_job_ids[path], path
        return None

    def resolve_later(self) -> None:
        """Ask functions what the jobs depend on; what they give may be functions again.

        Raises what they raise: then they are asked once more the next time.
        """
        while self.later:
            job, function = self.later[0]
            job.depends_on(function())
            self.later.popleft()

    def upstreams_of(self, job: Job) -> list[Job]:
        names = self.job_inputs.get(job.job_id, {})
        ids = dict.fromkeys(self.outputs_to_job_ids[name] for name in names)
        return [self.jobs[job_id] for job_id in ids]

    def has_edge(self, upstream: Job | str, job: Job | str) -> bool:
        """Whether *job* depends directly on *upstream*."""
        names = self.job_inputs.get(job.job_id if isinstance(job, Job) else job, {})
        wanted = getattr(upstream, "job_id", upstream)
        return any(self.outputs_to_job_ids[name] == wanted for name in names)

    def readers_of(self, job: Job) -> list[Job]:
        """What depends on it directly."""
        made = set(job.outputs)
        return [self.jobs[other] for other, names in self.job_inputs.items() if made & names.keys()]

    def check_output(self, name: str) -> None:
        """Raises ValueError for a file outside of the project, unless that is allowed."""
        if not self.prevent_absolute_paths:
            return
        directory, _, last = name.rpartition("/")
        if directory in self.directories and last != "..":
            return
        if os.path.isabs(name) or name == ".." or name.startswith("../"):
            raise ValueError(
                f"{name!r} is no relative path below the project's directory {os.getcwd()!r}. "
                "Write it relative to that, or say new(prevent_absolute_paths=False)."
            )
        root, real = os.path.realpath("."), os.path.realpath(directory)
        if os.path.commonpath([real, root]) != root:
            raise ValueError(
                f"{name!r} leads out of the project through a symbolic link, to {real!r}. "
                "Say new(prevent_absolute_paths=False) if that is meant."
            )
        self.directories[directory] = real
        if real != os.path.normpath(os.path.join(root, directory)):
            inner = os.path.relpath(real, root)
            self.linked[directory] = "" if inner == "." else inner

    def add(self, job: Job) -> Job:
        """Take in a job of another graph; `readd` is the same, said by the job."""
        job.graph = self
        found: Job = self.register(job)
        return found

    def invariant(self, kind: str, *args: Any, **options: Any) -> Job:
        """The invariant that follows a "file", a "parameter" or a "function"."""
        made: Job = INVARIANTS[kind](*args, **options)
        return made

    def watchers(self) -> list[Watcher]:
        """Who is told what happens in a run."""
        return []

    def run(self, *args: Any, **options: Any) -> dict[str, RecordedJobOutcome]:
        """See `graph.PyPipeGraph`."""
        raise NotImplementedError  # that class has them

    def run_for_these(self, jobs: Any, *args: Any, **options: Any) -> dict[str, RecordedJobOutcome]:
        """See `graph.PyPipeGraph`."""
        raise NotImplementedError  # that class has them

    def dump_subgraph_for_debug(self, jobs: Iterable[Job | str] | None = None) -> Path:
        """See `graph.PyPipeGraph`."""
        raise NotImplementedError  # that class has them

    def add_edge(self, upstream: Job, job: Job) -> None:
        """The same as `job.depends_on(upstream)`."""
        job.depends_on(upstream)

    def find_job(self, text: str) -> list[Job]:
        """Jobs with this text in their id."""
        return [job for job_id, job in self.jobs.items() if text in job_id]

    def find_job_from_file(self, filename: str | Path) -> Job:
        """Who makes this file. Raises KeyError."""
        found = self.producer_of(str(filename))
        if found is None:
            raise KeyError(f"No job makes {str(filename)!r}.")
        return self.jobs[found[0]]

    # --- parts of it ---------------------------------------------------------------------------

    def mark_pruned(self) -> None:
        """Note in `prune_reason` of all that depends on pruned jobs why it is left out."""
        for job_id, job in self.jobs.items():
            if job.prune_reason != job_id:  # of an earlier run, and maybe not true any more
                job.prune_reason = None
        readers = self._readers()
        for pruned in [one for one, job in self.jobs.items() if job.prune_reason == one]:
            stack = [pruned]
            while stack:
                for reader in readers.get(stack.pop(), ()):
                    if self.jobs[reader].prune_reason is None:
                        self.jobs[reader].prune_reason = pruned
                        stack.append(reader)

    def prune_all_but(self, ids: Iterable[str]) -> None:
        """Prune all jobs but these, and what they need."""
        kept = self.ancestors_of(ids)
        for job_id, job in self.jobs.items():
            if job_id not in kept:
                job.prune()

    def prune_all_unrelated_to(self, ids: Iterable[str]) -> None:
        """Prune what neither leads to these nor follows from them."""
        chosen = list(ids)
        kept = self.ancestors_of([*chosen, *self.descendants_of(chosen)])
        for job_id, job in self.jobs.items():
            if job_id not in kept:
                job.prune()

    def ancestors_of(self, ids: Iterable[str]) -> set[str]:
        """These and all that they depend on."""
        stack, found = list(ids), set(ids)
        while stack:
            for name in self.job_inputs.get(stack.pop(), ()):
                upstream = self.outputs_to_job_ids[name]
                if upstream not in found:
                    found.add(upstream)
                    stack.append(upstream)
        return found

    def descendants_of(self, ids: Iterable[str]) -> list[str]:
        """All that depends on these, and they, too."""
        readers = self._readers()
        stack = list(ids)
        found = dict.fromkeys(stack)
        while stack:
            for reader in readers.get(stack.pop(), ()):
                if reader not in found:
                    found[reader] = None
                    stack.append(reader)
        return list(found)

    def _readers(self) -> dict[str, list[str]]:
        """Who depends directly on what."""
        readers: dict[str, list[str]] = {}
        for job_id, names in self.job_inputs.items():
            for name in names:
                readers.setdefault(self.outputs_to_job_ids[name], []).append(job_id)
        return readers

    def get_history_filename(self) -> Path:
        """Where the records of this project are."""
        return Path(str(self.dir_config.history_dir)) / "history.sqlite3"


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def is_same_class(one: type[Job], other: type[Job]) -> bool:
    """Whether they are the same kind of job, one perhaps as pypipegraph's version 1 had it."""
    if one is other:
        return True
    return one.__name__ == other.__name__ and (issubclass(one, other) or issubclass(other, one))


def place_of_definition() -> str:
    """`file:line` of the caller outside of this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
