"""Beginning a graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.graph import Options

pytestmark = pytest.mark.usefixtures("ppg_here")


def test_what_is_not_said_is_as_the_last_time() -> None:
    graph = ppg.new(cores=3, allow_short_filenames=True)
    assert (graph.cores, graph.run_mode) == (3, ppg.RunMode.NONINTERACTIVE)
    graph = ppg.new(run_mode=ppg.RunMode.NOTEBOOK)
    assert (graph.cores, graph.allow_short_filenames) == (3, True)
    graph = ppg.new(cores=ppg.default, run_mode=ppg.default, allow_short_filenames=ppg.default)
    assert graph.cores == len(os.sched_getaffinity(0))
    assert graph.run_mode is ppg.RunMode.CONSOLE
    assert not graph.allow_short_filenames


@pytest.mark.parametrize("said", ["elsewhere", Path("elsewhere"), ppg.DirConfig("elsewhere")])
def test_the_directory_is_a_path_or_a_config(said: Any) -> None:
    graph = ppg.new(dir_config=said)
    assert graph.get_history_filename() == Path("elsewhere/history/history.sqlite3")
    assert graph.dir_config.log_dir == Path("elsewhere/logs")


def test_each_script_has_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def root() -> str:
        return str(ppg.new(dir_config=ppg.default).dir_config.root)

    monkeypatch.setattr("sys.argv", ["/somewhere/analysis.py"])
    assert root() == ".ppg/per_script/analysis"
    monkeypatch.setattr("sys.argv", ["run.py"])
    assert root() == ".ppg/per_script/run"
    Path(".ppg/history").mkdir(parents=True)
    assert root() == ".ppg"
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/plots.ipynb")
    assert root() == ".ppg/per_script/plots"
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/Untitled3.ipynb")
    with pytest.raises(ValueError, match="name first"):
        root()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"cores": -1}, ValueError),
        ({"cores": 1.5}, ValueError),
        ({"cores": True}, ValueError),
        ({"run_mode": "console"}, TypeError),
        ({"dir_config": 5}, TypeError),
    ],
)
def test_what_cannot_be_is_refused_and_not_kept(said: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        ppg.new(**said)
    assert ppg.new().cores == 2


def test_the_usual_options_are_those_of_a_console() -> None:
    assert Options().run_mode is ppg.RunMode.CONSOLE
    assert Options().log_address == ("localhost", 5005)
