"""The graph of version 1: it is made by `new_pipegraph`, and run once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pypelinin.incremental import state
from pypelinin.incremental.enums import JobOutcome, RunMode
from pypelinin.incremental.exceptions import HistoryLoadingFailed, JobsFailed, ProjectLocked
from pypelinin.incremental.graph import DirConfig, Options, PyPipeGraph
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.start import usual_root
from pypelinin.incremental.v1.exceptions import (
    PyPipeGraphError,
    RuntimeError,
    as_version_1,
    translated,
)
from pypelinin.incremental.v1.resource_coordinators import LocalSystem

NAMED_MAX = 20


class Graph(PyPipeGraph):
    """What `util.global_pipegraph` is. Jobs belong to it when they are made."""

    def __init__(self, options: Options, coordinator: LocalSystem, quiet: bool) -> None:
        super().__init__(options)
        self.rc = coordinator
        self.quiet = quiet
        self.cache_folder = "cache"
        self.status_filename: str | Path | None = None
        self.logger = logging.getLogger("pypelinin.incremental")
        self.was_run = False

    def get_history_filename(self) -> Path:
        if self.status_filename is None:
            return super().get_history_filename()
        return Path(f"{self.status_filename}.sqlite3")

    def register(self, job: Job) -> Any:
        if self.running is None:
            self._check_not_run("Make its jobs before that, or")
        return super().register(job)

    def run(self, *args: Any, **options: Any) -> dict[str, RecordedJobOutcome]:
        """See PyPipeGraph.run. Raises PyPipeGraphError if it was run before."""
        self._check_not_run("To run again,")
        self.was_run = not options.get("dry_run")
        try:
            return super().run(*args, **options)
        except (HistoryLoadingFailed, ProjectLocked):
            self.was_run = False
            raise

    def _check_not_run(self, hint: str) -> None:
        if self.was_run:
            raise PyPipeGraphError(
                "A pipegraph is run only once, and this one was.",
                remedy=f"{hint} call new_pipegraph() and make the jobs anew.",
            )

    def get_error_count(self) -> int:
        """How many jobs failed themselves."""
        return len(self.do_raise)


def new_pipegraph(
    resource_coordinator: LocalSystem | None = None,
    quiet: bool = False,
    invariant_status_filename: str | Path | None = None,
    dump_graph: bool = True,  # noqa: ARG001 - taken as v1 takes it
    interactive: bool = True,
    cache_folder: str | Path = "cache",
    log_file: str | Path | None = None,
    log_level: int = logging.INFO,
) -> None:
    """Begin a graph, which is `util.global_pipegraph` from now on.

    *resource_coordinator*: a LocalSystem, which says how many cores there are. *quiet*: failures
    are not printed. *invariant_status_filename*: where the records are (with `.sqlite3` behind
    it; usual: `.ppg/per_script/<script>`). *interactive*: read commands while it runs.
    *log_file*: log records go there, too. *dump_graph* is taken and not used.
    """
    coordinator = resource_coordinator or LocalSystem(interactive=interactive)
    is_interactive = interactive and coordinator.interactive
    options = Options(
        cores=coordinator.max_cores_to_use,
        run_mode=RunMode.CONSOLE if is_interactive else RunMode.NONINTERACTIVE,
        dir_config=DirConfig(usual_root(), cache_dir=cache_folder),
        log_level=log_level,
        prevent_absolute_paths=False,
    )
    graph = Graph(options, coordinator, quiet)
    graph.cache_folder = str(cache_folder)
    graph.status_filename = invariant_status_filename
    _log_to(graph.logger, log_file)
    state.change(graph)


def _log_to(logger: logging.Logger, log_file: str | Path | None) -> None:
    """Instead of the file that the graph before this one had."""
    for handler in [one for one in logger.handlers if isinstance(one, _LogFile)]:
        logger.removeHandler(handler)
        handler.close()
    if log_file is not None:
        logger.addHandler(_LogFile(log_file))


class _LogFile(logging.FileHandler):
    """The file that `new_pipegraph` was given."""


new_pipeline = new_pipegraph


def run_pipegraph(dry_run: bool = False, **options: Any) -> dict[str, RecordedJobOutcome]:
    """Run the graph that is current; returns how each job ended, by its id.

    Raises RuntimeError with all that jobs raised, ValueError without a graph or if it was run
    before. With *dry_run* it prints what would be run and why, and raises PyPipeGraphError.
    """
    graph = state.current()
    options.setdefault("print_failures", not getattr(graph, "quiet", False))
    with as_version_1():
        try:
            outcomes = graph.run(dry_run=dry_run, **options)
        except JobsFailed:
            ends = graph.last_run_result.values()
            failed = [end for end in ends if end.outcome is JobOutcome.Failed]
            found = [(end.job_id, translated(end.payload)) for end in failed]
            raise RuntimeError(in_words(found), [error for _, error in found]) from None
    if dry_run:
        from pypelinin.incremental.dry import lines_of

        print("\n".join(lines_of(outcomes)))
        raise PyPipeGraphError("This was a dry run: nothing was run.")
    return outcomes


run = run_pipegraph


def in_words(failures: list[tuple[str, Any]]) -> str:
    """What failed and with what, one a line."""
    lines = [f"{len(failures)} job{'s' * (len(failures) > 1)} failed."]
    for job_id, error in failures[:NAMED_MAX]:
        lines.append(f"{job_id}: {type(error).__name__}: {error}")
    if len(failures) > NAMED_MAX:
        lines.append(f"and {len(failures) - NAMED_MAX} more.")
    return "\n".join(lines)


__all__ = ["Graph", "in_words", "new_pipegraph", "new_pipeline", "run", "run_pipegraph"]
