"""Fixtures for projects, used as projects use them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.testing.fixtures import *  # noqa: F403 - as projects do

seen: list[bool] = []


def write(path: Path) -> None:
    path.write_text("x")


def test_a_test_has_a_graph_and_may_begin_another(new_pipegraph: Any) -> None:
    assert new_pipegraph is ppg.global_pipegraph
    assert list(Path().iterdir()) == []
    for _ in range(2):
        ppg.FileGeneratingJob("a.txt", write)
        ppg.run()
        assert new_pipegraph.new_pipegraph() is not new_pipegraph
    assert ppg.global_pipegraph.jobs == {}
    assert ppg.global_pipegraph.new_pipegraph(cores=1).cores == 1


def test_a_test_has_none(no_pipegraph: None) -> None:
    assert not ppg.inside_ppg()
    assert list(Path().iterdir()) == []


def test_a_test_has_one_and_then_none(both_ppg_and_no_ppg: Any) -> None:
    both_ppg_and_no_ppg.new_pipegraph()
    seen.append(ppg.inside_ppg())
    assert seen in ([True], [True, False], [False])


def test_what_becomes_of_each_job_is_logged(
    new_pipegraph: Any, job_trace_log: pytest.LogCaptureFixture
) -> None:
    ppg.FileGeneratingJob("a.txt", write)
    ppg.run()
    assert "FileGeneratingJob: a.txt is handed out." in job_trace_log.messages
    assert new_pipegraph.log_file.exists()
    assert logging.getLogger("pypelinin.incremental").level == logging.DEBUG
