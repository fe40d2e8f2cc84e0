"""A project in an empty directory, with a graph of version 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.incremental import state, v1

Define = Callable[[], Any]


@pytest.fixture
def ppg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, in a new directory, with a graph that nobody looks at."""
    monkeypatch.chdir(tmp_path)
    v1.new_pipegraph(quiet=True, interactive=False)
    yield v1
    state.change(None)


@pytest.fixture
def again(ppg: ModuleType) -> Callable[[Define], list[str]]:
    """Define a graph anew and run it: what ran of it, by name, without what always runs."""

    def run(define: Define) -> list[str]:
        ppg.new_pipegraph(quiet=True, interactive=False)
        define()
        ppg.run_pipegraph()
        jobs = ppg.util.global_pipegraph.jobs.values()
        return sorted(job.job_id for job in jobs if job.start_time is not None)

    return run
