"""What helps tests of projects that work with and without a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import testing


def broken(path: Path) -> None:
    raise KeyError("the key")


def test_the_error_is_expected_of_the_jobs_or_of_the_block(ppg_here: ppg.PyPipeGraph) -> None:
    with testing.RaisesDirectOrInsidePipegraph(KeyError, "the key") as found:
        ppg.FileGeneratingJob("aaa", broken)
    assert isinstance(found.value, KeyError)
    with pytest.raises(KeyError), testing.RaisesDirectOrInsidePipegraph(TypeError):
        ppg.FileGeneratingJob("aaa", broken)
    ppg.change_global_pipegraph(None)
    with testing.RaisesDirectOrInsidePipegraph(KeyError):
        broken(Path())
    expected = testing.RaisesDirectOrInsidePipegraph(KeyError)
    with pytest.raises(AssertionError, match="not raised"), expected:
        testing.run()


def test_data_is_loaded_though_nobody_reads_it(ppg_here: ppg.PyPipeGraph) -> None:
    def load() -> str:
        Path("loaded").touch()
        return "data"

    forced = testing.force_load(ppg.DataLoadingJob("load", load))
    assert isinstance(forced, ppg.JobGeneratingJob)
    testing.run_pipegraph(raise_on_job_error=False)
    assert Path("loaded").exists()
    ppg.change_global_pipegraph(None)
    assert testing.force_load(None) is None
