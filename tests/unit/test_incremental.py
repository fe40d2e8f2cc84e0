"""The face of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypelinin.incremental as ppg


def test_the_current_graph_is_an_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = ppg.new(dir_config=".state", run_mode=ppg.RunMode.NONINTERACTIVE, log_address=None)
    assert ppg.global_pipegraph is graph
    assert ppg.run() == {}
    ppg.change_global_pipegraph(None)
    assert ppg.global_pipegraph is None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ppg.nonsense


def test_all_that_is_announced_is_there() -> None:
    assert sorted(ppg.__all__) == sorted(set(ppg.__all__))
    assert all(hasattr(ppg, name) for name in ppg.__all__)
