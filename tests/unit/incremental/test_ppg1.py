"""`import pypipegraph` gets version 1 over this library, and gives back what was there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pypelinin.incremental import ppg1, state, v1


@pytest.fixture
def nothing_before() -> Iterator[None]:
    before = {name: module for name, module in sys.modules.items() if is_ours(name)}
    for name in before:
        del sys.modules[name]
    yield
    ppg1.unreplace_ppg1()
    state.change(None)
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "pypipegraph"


@pytest.mark.usefixtures("nothing_before")
def test_a_script_runs_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ppg1.replace_ppg1()
    ppg1.replace_ppg1()
    ppg = importlib.import_module("pypipegraph")
    assert ppg.is_ppg2 is True
    assert importlib.import_module("pypipegraph.job").FileGeneratingJob is v1.FileGeneratingJob
    assert importlib.import_module("pypipegraph.testing").run_pipegraph
    assert importlib.import_module("pypipegraph.testing.fixtures").new_pipegraph
    assert ppg.ppg_exceptions.RuntimeError is ppg.RuntimeError
    ppg.new_pipegraph(interactive=False)
    assert ppg.util.global_pipegraph is state.graph
    ppg.FileGeneratingJob("aaa", lambda name: Path(name).write_text("a"))
    ppg.run_pipegraph()
    assert Path("aaa").read_text() == "a"
    ppg.util.global_pipegraph = None
    assert not ppg.inside_ppg()
    with pytest.raises(AttributeError):
        ppg.no_such_name


@pytest.mark.usefixtures("nothing_before")
def test_what_was_not_there_is_gone_again() -> None:
    ppg1.unreplace_ppg1()
    ppg1.replace_ppg1()
    importlib.import_module("pypipegraph.testing.fixtures")
    ppg1.unreplace_ppg1()
    assert not any(map(is_ours, sys.modules))
    assert v1.util.__name__ == "pypelinin.incremental.v1.util"


@pytest.mark.usefixtures("nothing_before")
def test_a_module_that_somebody_holds_changes_its_contents() -> None:
    held, part = ModuleType("pypipegraph"), ModuleType("pypipegraph.job")
    held.__dict__.update(FileGeneratingJob="theirs", job=part, only_theirs=3)
    sys.modules.update({"pypipegraph": held, "pypipegraph.job": part})
    ppg1.replace_ppg1()
    assert sys.modules["pypipegraph"] is held
    assert held.FileGeneratingJob is v1.FileGeneratingJob
    assert not hasattr(held, "only_theirs")
    assert held.__name__ == "pypipegraph"
    assert part.FileGeneratingJob is v1.FileGeneratingJob
    ppg1.unreplace_ppg1()
    assert held.FileGeneratingJob == "theirs"
    assert held.only_theirs == 3
    assert not hasattr(held, "is_ppg2")
    assert not hasattr(part, "FileGeneratingJob")
    assert sys.modules["pypipegraph"] is held
    assert "pypipegraph.util" not in sys.modules
