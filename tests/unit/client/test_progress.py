"""The bar counts what is finished and what failed."""

from __future__ import annotations

import time

import pytest

from pypelinin.client.progress import Bar
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline


def pipelines(states: list[str]) -> list[Pipeline]:
    made = []
    for state in states:
        pipeline = Pipeline({Job("W"): None})
        pipeline.state = state
        pipeline.finished_at = 1.0 if state != "running" else None
        made.append(pipeline)
    return made


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(4, time.monotonic())
    bar.draw(pipelines(["done", "failed", "running", "running"]))
    bar.draw(pipelines(["done", "failed", "done", "running"]))  # too soon for another line
    bar.draw(pipelines(["done", "failed", "done", "done"]))  # the end is always told
    bar.end()
    first, last = capsys.readouterr().err.splitlines()
    assert "2/4 pipelines, 1 failed" in first
    assert "4/4 pipelines, 1 failed" in last
    assert "." not in last.split("]")[0]
