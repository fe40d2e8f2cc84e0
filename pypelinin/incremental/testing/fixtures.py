"""Fixtures for pytest: each test has a graph, or none, in an empty working directory.

In a conftest.py: `from pypelinin.incremental.testing.fixtures import *`
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental import start, state
from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.graph import Options
from pypelinin.incremental.runlog import LOGGER


class NoGraph:
    """What a test without a graph gets in place of one."""

    def new_pipegraph(self, **options: Any) -> None:
        """Without a graph nothing is begun."""


def begun(new: Callable[..., Any], **usual: Any) -> Any:
    """A new graph; its `new_pipegraph` begins the next one, in the same directory."""

    def new_pipegraph(**options: Any) -> Any:
        new(**(usual | options))
        graph: Any = state.graph
        graph.new_pipegraph = new_pipegraph
        return graph

    return new_pipegraph()


def begin(**usual: Any) -> Any:
    """A graph that nobody looks at."""
    return begun(start.new, run_mode=RunMode.NONINTERACTIVE, log_address=None, quiet=True, **usual)


@pytest.fixture
def no_pipegraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No graph, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    monkeypatch.setattr(state, "graph", None)


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
    return begin() if request.param else NoGraph()


@pytest.fixture
def job_trace_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged of each job; pytest shows it if the test fails."""
    with caplog.at_level(logging.DEBUG, LOGGER):
        yield caplog


__all__ = ["both_ppg_and_no_ppg", "job_trace_log", "new_pipegraph", "no_pipegraph"]
