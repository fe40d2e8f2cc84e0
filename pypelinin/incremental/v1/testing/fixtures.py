"""The fixtures of `pypelinin.incremental.testing.fixtures`, with graphs of version 1."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.incremental.testing import fixtures
from pypelinin.incremental.testing.fixtures import job_trace_log, no_pipegraph
from pypelinin.incremental.v1 import graph


def begin() -> Any:
    """A graph that nobody looks at."""
    return fixtures.begun(graph.new_pipegraph, quiet=True, interactive=False)


@pytest.fixture
def new_pipegraph(no_pipegraph: None) -> Any:  # noqa: ARG001 - it makes the place
    """A graph in an empty directory. `new_pipegraph.new_pipegraph()` begins the next one there."""
    return begin()


@pytest.fixture(params=[True, False], ids=["with a graph", "without a graph"])
def both_ppg_and_no_ppg(
    request: pytest.FixtureRequest,
    no_pipegraph: None,  # noqa: ARG001 - it makes the place
) -> Any:
    """The test runs twice: with a graph, and without one."""
    return begin() if request.param else fixtures.NoGraph()


__all__ = ["both_ppg_and_no_ppg", "job_trace_log", "new_pipegraph", "no_pipegraph"]
