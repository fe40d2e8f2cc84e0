"""Fixtures for projects of version 1, used as projects use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pypelinin.incremental import v1
from pypelinin.incremental.v1.testing.fixtures import *  # noqa: F403 - as projects do


def test_a_test_has_a_graph_and_may_begin_another(new_pipegraph: Any) -> None:
    for text in ("one", "two"):
        v1.FileGeneratingJob("a.txt", lambda text=text: Path("a.txt").write_text(text))
        v1.run_pipegraph()
        new_pipegraph.new_pipegraph()
    assert Path("a.txt").read_text() == "two"


def test_a_test_has_one_and_then_none(both_ppg_and_no_ppg: Any) -> None:
    both_ppg_and_no_ppg.new_pipegraph()
    assert v1.inside_ppg() is hasattr(both_ppg_and_no_ppg, "jobs")
