"""Which pipelines a file holds, and what is said of a file that has none."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from pypelinin.cli import submit
from pypelinin.errors import Cycle, DefinitionError

HEAD = "from pypelinin import Job, Pipeline\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "work.py"


def names(source: str) -> list[str]:
    return [pipeline.jobs[0].name for pipeline in submit.load(source)]


def test_all_pipelines_at_module_level_in_order_each_once(file: Path) -> None:
    file.write_text(
        HEAD
        + "a = Pipeline({Job('A'): None})\n"
        + "more = [Pipeline({Job('B'): None}), a, 'no pipeline']\n"
        + "last = (Pipeline({Job('C'): None}),)\n"
        + "if __name__ == '__main__': 1 / 0\n"
    )
    assert names(str(file)) == ["A", "B", "C"]
    assert names(f"{file}:a") == ["A"]
    assert names(f"{file}:more") == ["B", "A"]


def test_a_file_imports_what_lies_beside_it(file: Path) -> None:
    (file.parent / "beside_work.py").write_text("NAME = 'Beside'\n")
    file.write_text(HEAD + "from beside_work import NAME\np = Pipeline({Job(NAME): None})\n")
    before = list(sys.path)
    try:
        assert names(str(file)) == ["Beside"]
        assert sys.path == before
    finally:
        sys.modules.pop("beside_work", None)


def test_a_name_that_is_not_there_gets_a_hint(file: Path) -> None:
    file.write_text(HEAD + "nightly = Pipeline({Job('A'): None})\nother = 3\n")
    with pytest.raises(DefinitionError) as error:
        submit.load(f"{file}:nihtly")
    assert "named 'nihtly'. Did you mean 'nightly'? It has: nightly." in str(error.value)
    with pytest.raises(DefinitionError, match="named 'other'"):
        submit.load(f"{file}:other")


def test_a_file_without_pipelines(file: Path) -> None:
    file.write_text("x = 1\n")
    with pytest.raises(DefinitionError, match="no Pipeline at module level"):
        submit.load(str(file))


@pytest.mark.parametrize("source", ["nowhere.py", "nowhere.py:name", ".", "nowhere.py:2"])
def test_a_missing_file(source: str) -> None:
    with pytest.raises(click.UsageError, match="There is no file"):
        submit.load(source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n1 / 0\n", "work.py, line 2: ZeroDivisionError: division by zero."),
        ("x = 1\ndef f(:\n", "work.py, line 2: SyntaxError: "),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named 'nothing"),
        ("import sys\nsys.exit(3)\n", "work.py, line 2: SystemExit: 3."),
        (HEAD + "p = Pipeline({})\n", "work.py, line 2: A pipeline needs at least one job."),
    ],
)
def test_a_file_that_raises_is_named_with_the_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(DefinitionError) as error:
        submit.load(str(file))
    assert said in str(error.value)


def test_a_cycle_is_shown(file: Path) -> None:
    file.write_text(HEAD + "p = Pipeline({Job('A'): Job('B'), Job('B'): Job('A')})\n")
    with pytest.raises(Cycle, match=r"work\.py, line 2: The jobs form a cycle: \w -> \w -> \w\."):
        submit.load(str(file))
