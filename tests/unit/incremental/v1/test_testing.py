"""What helps tests of projects that work with and without a graph."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from pypelinin.incremental.v1 import testing


def broken() -> None:
    raise KeyError("the key")


def test_the_error_is_expected_of_the_jobs(ppg: ModuleType) -> None:
    with testing.RaisesDirectOrInsidePipegraph(KeyError, "the key") as found:
        ppg.FileGeneratingJob("aaa", broken)
    assert isinstance(found.value, KeyError)


def test_without_a_graph_it_is_expected_of_the_block(ppg: ModuleType) -> None:
    ppg.util.global_pipegraph = None
    with testing.RaisesDirectOrInsidePipegraph(KeyError):
        broken()
    expected = testing.RaisesDirectOrInsidePipegraph(KeyError)
    with pytest.raises(AssertionError, match="not raised"), expected:
        pass
    with pytest.raises(KeyError), testing.RaisesDirectOrInsidePipegraph(TypeError):
        broken()
    expected = testing.RaisesDirectOrInsidePipegraph(KeyError, "another text")
    with pytest.raises(AssertionError, match="another text"), expected:
        broken()
    testing.run_pipegraph()
    assert testing.force_load(None) is None


def test_another_error_of_a_job_is_not_hidden(ppg: ModuleType) -> None:
    with pytest.raises(KeyError), testing.RaisesDirectOrInsidePipegraph(TypeError):
        ppg.FileGeneratingJob("aaa", broken)


def test_data_is_loaded_though_nobody_reads_it(ppg: ModuleType) -> None:
    loader = ppg.DataLoadingJob("load", lambda: Path("loaded").touch())
    forced = testing.force_load(loader)
    assert forced.job_id == "load_force_load"
    assert testing.force_load([loader]).job_id != testing.force_load([loader], "mine").job_id
    testing.run_pipegraph()
    assert Path("loaded").exists()
