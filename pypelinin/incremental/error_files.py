"""What failed, in files: `<errors>/<time>/<job number>_exception.txt` has what a job raised, with
its traceback, and what it printed; `constraint_violations.jobs` names the jobs whose output
changed although nothing that they depend on had. `<errors>/latest` leads to the newest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pypelinin.engine import entry as why
from pypelinin.incremental.ends import was_not_begun
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.links import point
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

VIOLATIONS = "constraint_violations.jobs"


class ErrorFiles(Watcher):
    """Each is written when its job fails. What cannot be written is said once."""

    def __init__(self, graph: Graph, say: Callable[[str], None] = lambda _text: None) -> None:
        self._graph = graph
        self._say = say
        self._directory: Path | None = None
        self._written: set[str] = set()

    def began(self, running: Running) -> None:
        errors = self._graph.dir_config.error_dir
        self._directory = errors / self._graph.time_str if isinstance(errors, Path) else None
        self._written.clear()

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        if outcome.outcome is JobOutcome.Failed:
            self._write(f"{job.job_number}_exception.txt", described(job, outcome))
            self._written.add(job.job_id)

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        violations = []
        for outcome in outcomes.values():
            if outcome.outcome is not JobOutcome.Failed or was_not_begun(outcome):
                continue
            if outcome.reason == why.IMPURE:
                violations.append(outcome.job_id)
            if outcome.job_id not in self._written:  # it did its work, and failed all the same
                self.ended(self._graph.jobs[outcome.job_id], outcome)
        if violations:
            self._write(VIOLATIONS, "".join(f"{job_id}\n" for job_id in violations))

    def _write(self, name: str, text: str) -> None:
        directory = self._directory
        if directory is None:
            return
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True)
                point(directory.parent / "latest", directory.name)
                self._remove_old(directory.parent)
            (directory / name).write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:
            self._directory = None
            self._say(f"Errors are not written to files: {error}")

    def _remove_old(self, errors: Path) -> None:
        retention = self._graph.options.log_retention
        if retention is None:
            return
        folders = [path for path in errors.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in sorted(folders, reverse=True)[max(retention, 1) :]:
            shutil.rmtree(path, ignore_errors=True)


def described(job: Job, outcome: RecordedJobOutcome) -> str:
    """All that is known of a failure."""
    where = f"\nDefined at {job.place_of_definition}" if job.place_of_definition else ""
    parts = [f"{job}{where}\n\n{type(outcome.error_or_none).__name__}: {outcome.error_or_none}"]
    if outcome.stack_trace:
        parts.append(outcome.stack_trace.rstrip())
    parts += [f"stdout:\n{outcome.stdout}", f"stderr:\n{outcome.stderr}"]
    return "\n\n".join(parts) + "\n"
