"""For tests of projects that work with a graph and without one."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from pypelinin.incremental import state
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.v1 import graph
from pypelinin.incremental.v1.exceptions import RuntimeError
from pypelinin.incremental.v1.growing import JobGeneratingJob


def run_pipegraph() -> None:
    """Run the graph, if there is one."""
    if state.graph is not None:
        graph.run_pipegraph()


def force_load(job: Any, prefix: str | None = None) -> Any:
    """A job that has *job* (or several) loaded; nothing without a graph."""
    if state.graph is None:
        return None
    if isinstance(job, Job):
        prefix = job.job_id
    elif prefix is None:
        prefix = f"fl_{len(state.graph.jobs)}"
    return JobGeneratingJob(f"{prefix}_force_load", _nothing).depends_on(job)


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if value is None and state.graph is not None:
            try:
                run_pipegraph()
            except RuntimeError as error:
                value = error.exceptions[0]
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


__all__ = ["RaisesDirectOrInsidePipegraph", "force_load", "run_pipegraph"]
