"""Classes of the project in results."""

from __future__ import annotations

import collections
import dataclasses
import enum
import io
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from pypelinin.tasks.inside.classes import opened, pickler, shape, use

PROJECT = """
import dataclasses, enum

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int

    class Inner:
        pass
"""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module whose code travels by value."""
    module = types.ModuleType("project_of_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(PROJECT, vars(module))
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)


def stored(value: object) -> bytes:
    file = io.BytesIO()
    pickler()(file, protocol=5).dump(value)
    return file.getvalue()


def test_they_are_those_of_the_module_of_who_loads_them(project: Any) -> None:
    before = stored([project.Color.RED, project.Point(1), project.Point.Inner()])
    exec(PROJECT, vars(project))  # as another process has it
    red, point, inner = pickle.loads(before)
    assert red is project.Color.RED
    assert point == project.Point(1)
    assert isinstance(inner, project.Point.Inner)


CHANGED = {
    "a field more": "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    y: int\n",
    "no class": "Point = 3\n",
    "no module": "",
}


@pytest.mark.parametrize("changed", CHANGED)
def test_with_other_fields_or_none_they_have_the_stored_content(
    project: Any, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(project.Point(1))
    exec(CHANGED[changed], vars(project))
    if not CHANGED[changed]:
        monkeypatch.delitem(sys.modules, project.__name__)
    point = pickle.loads(before)
    assert (type(point).__name__, point.x) == ("Point", 1)
    assert changed == "no module" or type(point) is not project.Point


def test_in_a_task_they_are_those_that_came_with_its_code(project: Any) -> None:
    """In a slot the module is not there, or is another one than the code's."""
    before = stored([project.Color.RED, project.Point(1)])
    exec(PROJECT, vars(project))
    color, point = project.Color, project.Point
    packed = cloudpickle.dumps(lambda data: (data[0] is color.RED, data[1] == point(1)))
    exec(PROJECT, vars(project))
    work, brought = opened(packed)
    for known, same in ((brought, True), ({}, False), (None, False)):
        use(known)
        assert work(pickle.loads(before)) == (same, same)


class Slotted:
    __slots__ = ("a", "b")


def test_what_objects_consist_of() -> None:
    assert shape(Slotted) == ("__slots__.a", "__slots__.b")
    assert shape(collections.namedtuple("Pair", "x y"))[:2] == ("_fields.x", "_fields.y")
    assert shape(enum.Enum("Size", {"BIG": 1})) == ("BIG=1",)
    made = dataclasses.make_dataclass("Made", ["only"])
    assert shape(made) == ("__dataclass_fields__.only",)
    assert shape(object) == ()


def test_what_is_installed_or_local_or_builtin_is_as_ever() -> None:
    class Local:
        pass

    for value in (Path("x"), type(None), 3, [len]):
        assert pickle.loads(stored(value)) == value
    assert isinstance(pickle.loads(stored(Local())), Local)


SCRIPT = """
import sys
from pypelinin.tasks import Pipeline, Runner, task
from project import Color, Point

class Mine:
    pass

@task("Makes")
def makes(data):
    return [Color.RED, Point(1), Mine()]

@task("Reads")
def reads(data, version):
    (red, point, mine), = data
    return [red is Color.RED, point == Point(1), isinstance(mine, Mine)]

made = makes()
Runner("data", "log", 1).run(
    Pipeline("p", [made, reads(version=sys.argv[1])(made)]), raise_on_failure=True
)
red, point, mine = made.result.output
print(made.status.name, made.children[0].output)
print(red is Color.RED, point == Point(1), isinstance(mine, Mine))
"""


def test_a_result_of_an_earlier_run_is_as_one_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[4]
    for version in "12":
        done = subprocess.run(
            [sys.executable, "script.py", version], cwd=tmp_path, env={"PYTHONPATH": str(root)},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.splitlines() == ["SUCCESS [True, True, True]", "True True True"]
