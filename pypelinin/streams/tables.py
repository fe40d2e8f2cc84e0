"""The table of a sweep: its columns, and how it looks as text, as CSV and for pandas.

Rows are mappings by column name; rows and their order are the same in all three: by id.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.errors import DefinitionError

Row = Mapping[str, Any]
INDEX = "id"
TRIALS = "trials"
DEVIATION = "_dev"
ERROR = "_err"
DIGITS = 6
LONG = 12
LARGE = 1e6


def row_of(
    id: int,
    parameters: Mapping[str, Any],
    trials: int,
    names: Sequence[str],
    numbers: Sequence[float],
) -> Row:
    """What became of one combination; *numbers* are mean, deviation and error of each name."""
    found: dict[str, Any] = {INDEX: id, TRIALS: trials}
    found |= {name: parameters[name] for name in sorted(parameters)}
    columns = (name + end for name in names for end in ("", DEVIATION, ERROR))
    return found | dict(zip(columns, numbers, strict=True))


def check_keys(keys: Iterable[str], parameters: Iterable[str]) -> None:
    """Raise DefinitionError if results of these names would have no column of their own."""
    taken = {INDEX, TRIALS, *parameters}
    for key in sorted(keys):
        for column in (key, key + DEVIATION, key + ERROR):
            if column in taken:
                raise DefinitionError(
                    f"The result {key!r} needs a column {column!r}, which is there already.",
                    remedy="Rename the result or the parameter.",
                )
            taken.add(column)


# --- text --------------------------------------------------------------------------------


def text(rows: Sequence[Row]) -> str:
    """The table as pandas would print it, whole."""
    if not rows:
        return "(no rows)"
    index = [INDEX, *(str(row[INDEX]) for row in rows)]
    width = max(map(len, index))
    lines = ["".ljust(width), *(name.ljust(width) for name in index)]
    for name in list(rows[0])[1:]:
        cells = [f" {name}", "", *_cells([row[name] for row in rows])]
        width = max(map(len, cells)) + 1
        lines = [line + cell.rjust(width) for line, cell in zip(lines, cells, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _cells(values: Sequence[Any]) -> list[str]:
    """The values of one column; a space stands where a sign could be."""
    if all(isinstance(value, float) for value in values):
        return _floats(values)
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    shown = str(value).replace("\n", "\\n")  # a row is a line
    return shown if shown.startswith("-") and not isinstance(value, str) else f" {shown}"


def _floats(values: Sequence[float]) -> list[str]:
    cells = _without_zeros([_float(value, "f") for value in values])
    sizes = [abs(value) for value in values if not math.isnan(value)]
    is_small = any(0 < size < 10**-DIGITS for size in sizes)
    is_large = max(map(len, cells)) > LONG and any(size > LARGE for size in sizes)
    return [_float(value, "e") for value in values] if is_small or is_large else cells


def _without_zeros(cells: list[str]) -> list[str]:
    """Without the zeros that all of them end in, but one behind the point."""
    numbers = [cell for cell in cells if cell[-1].isdigit()]
    while numbers and all(re.search(r"\.\d+0$", cell) for cell in numbers):
        numbers = [cell[:-1] for cell in numbers]
        cells = [cell[:-1] if cell[-1].isdigit() else cell for cell in cells]
    return cells


def _float(value: float, kind: str) -> str:
    return "NaN" if math.isnan(value) else f"{value: .{DIGITS}{kind}}"


# --- files -------------------------------------------------------------------------------


def check_output(output: str | os.PathLike[str]) -> Path:
    """The absolute path of *output*. Raises DefinitionError if it cannot be written."""
    path = Path(output).absolute()
    if not path.parent.is_dir():
        raise DefinitionError(
            f"{output} cannot be written: {path.parent} is no directory.", remedy="Make it first."
        )
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DefinitionError(f"{output} cannot be written.", remedy="Name another file.")
    return path


def write(rows: Sequence[Row], path: Path) -> None:
    """The table as a CSV file, as pandas would write it: what is not a number stays empty."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(list(rows[0]) if rows else [INDEX, TRIALS])
        writer.writerows([_plain(value) for value in row.values()] for row in rows)


def _plain(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def frame(rows: Sequence[Row]) -> Any:  # a pandas.DataFrame, which may not be installed
    """The table as a pandas.DataFrame. Raises ModuleNotFoundError that names the extra."""
    try:
        pandas = importlib.import_module("pandas")
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise  # it is there, and lacks something itself
        raise ModuleNotFoundError(
            "The table of a sweep is a pandas.DataFrame, and pandas is not installed: "
            "pip install 'pypelinin[streams]' (`rows` has the same without it).",
            name="pandas",
        ) from None
    return pandas.DataFrame(list(rows)).set_index(INDEX)
