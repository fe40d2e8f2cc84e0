"""The table of a sweep: as text and as CSV it is what pandas makes of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.errors import DefinitionError
from pypelinin.streams import tables

ROWS: list[tables.Row] = [
    {"id": 0, "trials": 3, "a": -1, "mode": "fast", "v": 0.5, "v_dev": 0.25, "v_err": math.nan},
    {"id": 1, "trials": 20, "a": 10, "mode": "x", "v": 1.0, "v_dev": 1e3, "v_err": 12.123456789},
]
TEXT = """\
    trials   a  mode    v    v_dev      v_err
id
0        3  -1  fast  0.5     0.25        NaN
1       20  10     x  1.0  1000.00  12.123457"""
CSV = """\
id,trials,a,mode,v,v_dev,v_err
0,3,-1,fast,0.5,0.25,
1,20,10,x,1.0,1000.0,12.123456789
"""
COLUMNS = {
    "plain": [0.0, 1.5, -2.25],
    "whole": [1.0, -20.0, 300.0],
    "tiny": [1e-7, 1.0, 0.0],
    "large": [1234567.0, 1.5, 2.25],
    "larger": [1e15, 1.0, -1.0],
    "huge": [1e300, -1e-300, 0.0],
    "nothing": [math.nan, math.nan, math.nan],
    "x": [math.nan],
    "endless": [-29391.1, 254.25, math.inf],
    "some": [math.nan, 1.25, math.inf],
    "negative": [-1.0, -2.0, -3.0],
    "a name that is long": [1.0, 2.0, 3.0],
}


def rows(values: list[float], name: str = "v") -> list[tables.Row]:
    return [{"id": id, "trials": 2, name: value} for id, value in enumerate(values)]


def stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_a_row_has_parameters_and_results_in_order() -> None:
    row = tables.row_of(4, {"y": 1, "x": 2}, 9, ["b", "z"], [1.0, 0.1, 0.2, 5.0, 0.5, 0.6])
    assert list(row.items()) == [
        ("id", 4), ("trials", 9), ("x", 2), ("y", 1),
        ("b", 1.0), ("b_dev", 0.1), ("b_err", 0.2), ("z", 5.0), ("z_dev", 0.5), ("z_err", 0.6),
    ]  # fmt: skip


def test_the_text() -> None:
    assert tables.text(ROWS) == TEXT
    assert tables.text([]) == "(no rows)"


def test_a_row_is_a_line() -> None:
    found = [tables.row_of(0, {"a": "x\ny"}, 2, [], [])]
    assert tables.text(found).splitlines()[2:] == ["0        2  x\\ny"]


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tables.write(ROWS, path)
    assert path.read_bytes().decode() == CSV
    tables.write([], path)
    assert path.read_text() == "id,trials\n"


@pytest.mark.needs_all
def test_pandas_has_the_same() -> None:
    frame = tables.frame(ROWS)
    assert frame.index.name == "id"
    assert stripped(frame.to_string()) == TEXT
    assert frame.to_csv() == CSV


@pytest.mark.needs_all
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_look_as_in_pandas(name: str) -> None:
    found = rows(COLUMNS[name], name)
    assert tables.text(found) == stripped(tables.frame(found).to_string())


@pytest.mark.needs_all
@given(st.lists(st.floats(), min_size=1, max_size=5), st.sampled_from([1.0, 1e3, 1e-3, 0.1]))
def test_any_numbers_look_as_in_pandas(values: list[float], unit: float) -> None:
    found = rows([round(value % 1e4, 3) * unit for value in values])
    assert tables.text(found) == stripped(tables.frame(found).to_string())


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pypelinin\[streams\]'"):
        tables.frame(ROWS)


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "parameters", "column"),
    [
        (["a"], ["a"], "a"),
        (["trials"], [], "trials"),
        (["id"], [], "id"),
        (["a"], ["a_dev"], "a_dev"),
        (["a"], ["a_err"], "a_err"),
        (["a", "a_dev"], [], "a_dev"),
        (["a_err", "a"], [], "a_err"),
    ],
)
def test_a_column_is_there_once(keys: list[str], parameters: list[str], column: str) -> None:
    with pytest.raises(DefinitionError, match=f"needs a column {column!r}"):
        tables.check_keys(keys, parameters)


def test_names_that_only_look_alike_are_fine() -> None:
    tables.check_keys(["a", "b", "dev"], ["c", "b_", "_dev"])


# --- where the file goes ------------------------------------------------------------------


def test_a_file_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tables.check_output("a.csv") == tmp_path / "a.csv"
    (tmp_path / "a.csv").touch()
    assert tables.check_output(tmp_path / "a.csv") == tmp_path / "a.csv"


@pytest.mark.parametrize("name", ["no/a.csv", ".", "/proc/version/a.csv"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match="cannot be written"):
        tables.check_output(name)
