"""A graph in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import start
from pypelinin.incremental.graph import Options


@pytest.fixture
def ppg_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ppg.PyPipeGraph]:
    """A new graph of two cores below `tmp_path`, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield ppg.new(
        cores=2, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".state", log_address=None
    )
    ppg.change_global_pipegraph(None)
