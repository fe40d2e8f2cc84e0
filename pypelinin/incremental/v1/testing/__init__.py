"""For tests of projects that work with a graph of version 1 and without one."""

from __future__ import annotations

from typing import Any

from pypelinin.incremental import state, testing
from pypelinin.incremental.v1 import graph
from pypelinin.incremental.v1.growing import JobGeneratingJob


def run_pipegraph(**options: Any) -> None:
    """Run the graph, if there is one; see `run_pipegraph` of version 1."""
    if state.graph is not None:
        graph.run_pipegraph(**options)


def force_load(job: Any, prefix: str | None = None) -> Any:
    """A job that has *job* (or several) loaded; nothing without a graph."""
    return testing.force_load(job, prefix, JobGeneratingJob)


class RaisesDirectOrInsidePipegraph(testing.RaisesDirectOrInsidePipegraph):
    """The same over a graph of version 1."""

    def run_graph(self) -> None:
        run_pipegraph()


__all__ = ["RaisesDirectOrInsidePipegraph", "force_load", "run_pipegraph"]
