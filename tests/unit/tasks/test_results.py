"""Results of runs, from the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pypelinin.tasks import Pipeline, PipelineError, PipelineResult, TaskResult, task


@task("N")
def node(data: Any, n: int) -> None: ...


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """Of two tasks, the second of which has no result."""
    first = node("a", n=1)
    node("b", n=2)(first)
    first.set_data_path(str(tmp_path / "data"))
    first.store_output({"x": 1})
    first.store_params()
    return {**Pipeline("p", [first]).to_dict(), "run": {"data_path": str(tmp_path / "data")}}


def test_it_is_a_mapping_that_loads_when_it_is_asked(told: dict[str, Any]) -> None:
    results = PipelineResult(told)
    assert list(results) == ["N(a)", "N(b)"]
    assert len(results) == 2
    assert results["N(a)"] == {"x": 1}
    assert "N(a)" in results
    with pytest.raises(FileNotFoundError, match="There is no result"):
        results["N(b)"]
    with pytest.raises(KeyError, match="no task 'N' in this run"):
        results["N"]


def test_results_may_have_moved(told: dict[str, Any], tmp_path: Path) -> None:
    shutil.move(tmp_path / "data", tmp_path / "moved")
    results = PipelineResult(told)
    with pytest.raises(FileNotFoundError):
        results["N(a)"]
    results.set_data_path(str(tmp_path / "moved"))
    assert results["N(a)"] == {"x": 1}
    assert PipelineResult(told, str(tmp_path / "moved"))["N(a)"] == {"x": 1}
    assert repr(results) == f"<PipelineResult of 2 tasks in {str(tmp_path / 'moved')!r}>"


def test_without_a_place_or_without_tasks(told: dict[str, Any]) -> None:
    del told["run"]
    with pytest.raises(PipelineError, match="does not say where"):
        PipelineResult(told)["N(a)"]
    with pytest.raises(PipelineError, match="it has no tasks"):
        PipelineResult({})


def test_hashes_in_a_file_are_no_paths(told: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "result.dump.gz").write_bytes(b"elsewhere")
    told["tasks"]["N(a)"]["hash"] = "../.."
    filename = PipelineResult(told).filename("N(a)")
    assert os.path.realpath(filename).startswith(str(tmp_path / "data" / "N(a)"))


def test_one_result_from_its_parameters(told: dict[str, Any], tmp_path: Path) -> None:
    key = told["tasks"]["N(a)"]["hash"]
    result = TaskResult.from_file(str(tmp_path / "data" / "N(a)" / key / "params.yaml"))
    assert result.output() == {"x": 1}
    assert result.description is not None
    assert result.description["params"] == {"n": 1}
    assert result.parents == {}
