"""For tests of projects whose code works with a graph and without one; see `fixtures`, too."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from pypelinin.incremental import state
from pypelinin.incremental.exceptions import JobError, JobsFailed
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.growing import JobGeneratingJob


def run_pipegraph(*args: Any, **options: Any) -> None:
    """Run the graph, if there is one; see `PyPipeGraph.run`."""
    if state.graph is not None:
        state.graph.run(*args, **options)


run = run_pipegraph


def force_load(
    job: Any, prefix: str | None = None, kind: type[JobGeneratingJob] = JobGeneratingJob
) -> Any:
    """A job that has *job* (or several) loaded; nothing without a graph."""
    if state.graph is None:
        return None
    if isinstance(job, Job):
        prefix = job.job_id
    elif prefix is None:
        prefix = f"fl_{len(state.graph.jobs)}"
    return kind(f"{prefix}_force_load", _nothing).depends_on(job)


def _nothing() -> None:
    """It only is there to depend on something."""


class RaisesDirectOrInsidePipegraph:
    """`with RaisesDirectOrInsidePipegraph(ValueError): ...`: it is raised in the block, or, if
    there is a graph, by a job when the graph is run at the block's end.
    """

    def __init__(self, expected_exception: type[BaseException], search_message: str | None = None):
        self.expected_exception = expected_exception
        self.search_message = search_message
        self.value: BaseException | None = None

    def __enter__(self) -> RaisesDirectOrInsidePipegraph:
        return self

    def run_graph(self) -> None:
        run_pipegraph()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if value is None and state.graph is not None:
            try:
                self.run_graph()
            except JobsFailed as error:
                first = error.exceptions[0]
                value = first.exception if isinstance(first, JobError) else first
        if value is None:
            raise AssertionError(f"{self.expected_exception.__name__} was not raised.")
        self.value = value
        if not isinstance(value, self.expected_exception):
            if kind is not None:
                return False
            raise value
        if self.search_message is not None and self.search_message not in str(value):
            raise AssertionError(f"{self.search_message!r} is not in {str(value)!r}.")
        return True


__all__ = ["RaisesDirectOrInsidePipegraph", "force_load", "run", "run_pipegraph"]
