"""What counts as a change of a function."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypelinin.runtime.code_views import (
    CODE_VIEW,
    SOURCE_VIEW,
    followed,
    function_tags,
    is_of_library,
    is_of_project,
    normalised,
    unwrapped,
)

numbers = itertools.count()
SAME = [
    "def f(a, b=1):\n    return [x + a for x in (1, 2)]",
    "def g(a, b=1):\n    return [x + a for x in (1, 2)]",
    "def f(a, b=1):\n    # why\n    return [x + a for x in (1, 2)]  # how",
    'def f(a, b=1):\n    """What for."""\n    return [x + a for x in (1, 2)]',
    "def f(a, b=1):\n\n    return [x + a for x in (1, 2)]",
    "import os\n\ndef f(a, b=1):\n    return [x + a for x in (1, 2)]",
]
DIFFERENT = [
    SAME[0],
    "def f(a, b=2):\n    return [x + a for x in (1, 2)]",
    "def f(a, b=1.0):\n    return [x + a for x in (1, 2)]",
    "def f(a, b=True):\n    return [x + a for x in (1, 2)]",
    "def f(a, *, b=1):\n    return [x + a for x in (1, 2)]",
    "def f(a, b=1):\n    return [x + a for x in (2, 1)]",
    "def f(a, b=1):\n    return [x - a for x in (1, 2)]",
    "def f(a, b=1):\n    return [len(a) for x in (1, 2)]",
    "def f(a, b=1):\n    return [max(a) for x in (1, 2)]",
    "def f(a, b=1):\n    return {x + a for x in (1, 2)}",
    "def f(a, b=1):\n    try:\n        return a\n    except KeyError:\n        return b",
    "def f(a, b=1):\n    try:\n        return a\n    except ValueError:\n        return b",
]


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Any]:
    """The last function in a module of this text."""

    def make(text: str) -> Any:
        name = f"text_of_test_{next(numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return [one for one in vars(module).values() if isinstance(one, types.FunctionType)][-1]

    return make


def test_names_comments_docstrings_and_places_do_not_count(made: Callable[[str], Any]) -> None:
    tags = [function_tags(made(text)) for text in SAME]
    assert [view for view, _ in tags[0]] == [CODE_VIEW, SOURCE_VIEW]
    assert all(one == tags[0] for one in tags)


def test_all_else_counts_in_both_views(made: Callable[[str], Any]) -> None:
    views = [dict(function_tags(made(text))) for text in DIFFERENT]
    for one, other in itertools.combinations(views, 2):
        assert one[CODE_VIEW] != other[CODE_VIEW]
        assert one[SOURCE_VIEW] != other[SOURCE_VIEW]


@pytest.mark.parametrize("text", ['def f(): "doc"; return 1', 'def f():\n    "doc"; return 1'])
def test_what_stands_beside_a_docstring_counts(text: str) -> None:
    assert "return 1" in normalised(text)
    assert "doc" not in normalised(text)
    assert normalised(text) != normalised(text.replace("1", "2"))


def closed_over(value: Any) -> Callable[[], Any]:
    def inner() -> Any:
        return value

    return inner


def test_what_a_function_closes_over_counts() -> None:
    values = [1, 2, "1", [1, 2], [2, 1], {"a": 1}, lambda: 1, lambda: 2]
    tags = [function_tags(closed_over(value)) for value in values]
    assert len(set(tags)) == len(values)
    assert function_tags(closed_over({"b": 1, "a": 2})) == function_tags(
        closed_over({"a": 2, "b": 1})
    )


def test_objects_without_content_count_without_their_address() -> None:
    assert function_tags(closed_over(iter(""))) == function_tags(closed_over(iter("")))


def test_a_function_that_closes_over_itself_has_an_end() -> None:
    def inner(n: int) -> int:
        return inner(n - 1) if n else 0

    assert function_tags(inner) == function_tags(inner)


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    def count(self) -> int:
        return self.start

    def __call__(self) -> int:
        return self.start + 1


def test_of_a_method_its_code_counts_and_not_its_object() -> None:
    assert function_tags(Counter(1).count) == function_tags(Counter(2).count)
    assert function_tags(Counter(1)) != function_tags(Counter(1).count)
    assert unwrapped(Counter(1)) is Counter.__call__


class MoreOfIt(Counter):
    """It is called as its base is."""


def test_inherited_calls_and_what_a_cache_is_around_count(made: Callable[[str], Any]) -> None:
    assert function_tags(MoreOfIt(1)) == function_tags(Counter(1))
    assert function_tags(MoreOfIt(1)) != function_tags(MoreOfIt(2))
    cached = [
        functools.cache(made(f"def f(x):\n    {doc}\n    return x + {n}"))
        for doc, n in (("'one'", 1), ("'two'", 1), ("'one'", 2))
    ]
    one, same, other = map(function_tags, cached)
    assert one == same != other
    assert len({function_tags(closed_over(function)) for function in cached}) == 2


def bound_by_default(value: Any) -> Callable[[], Any]:
    def inner(value: Any = value) -> Any:
        return value

    return inner


@pytest.mark.parametrize("binding", [closed_over, bound_by_default])
@pytest.mark.parametrize(
    "held",
    [
        Counter,
        lambda n: Counter(n).count,
        lambda n: [Counter(n)],
        lambda n: (n, iter("")),
        lambda n: {"key": (max, n)},
        lambda n: {max, n},
        lambda n: functools.partial(max, closed_over(n)),
        lambda n: [functools.partial(max, n)],
    ],
)
def test_of_what_a_function_holds_all_parts_count(
    binding: Callable[[Any], Any], held: Callable[[int], Any]
) -> None:
    same, other = function_tags(binding(held(1))), function_tags(binding(held(2)))
    assert function_tags(binding(held(1))) == same
    assert same != other


def test_what_holds_itself_beside_a_function_has_an_end() -> None:
    circle: list[Any] = [max]
    circle.append(circle)
    assert function_tags(closed_over(circle)) == function_tags(closed_over(circle))


def test_of_an_object_that_is_called_its_attributes_count() -> None:
    assert function_tags(Counter(1)) != function_tags(Counter(2))
    assert function_tags(Counter(1)) == function_tags(Counter(1))


def test_builtins_classes_and_partials_can_be_followed() -> None:
    ways = [len, max, Counter, functools.partial(max, 1), functools.partial(max, 2)]
    assert len({function_tags(one) for one in ways}) == len(ways)
    with pytest.raises(TypeError, match="no function"):
        function_tags(5)  # type: ignore[arg-type]  # wrong on purpose


def test_lambdas_of_one_line_differ(made: Callable[[str], Any]) -> None:
    one, other = made("f = lambda: 1"), made("f = lambda: 2")
    assert function_tags(one) != function_tags(other)


HELPED = "def helper():\n    return {}\n\ndef f():\n    return helper()"


def test_helpers_count_only_if_they_are_followed(made: Callable[[str], Any]) -> None:
    one, other = made(HELPED.format(1)), made(HELPED.format(2))
    assert function_tags(one) == function_tags(other)
    assert function_tags(one, follow=True) != function_tags(other, follow=True)
    assert [helper.__name__ for helper in followed(one)] == ["helper"]


def test_helpers_of_one_name_all_count(made: Callable[[str], Any]) -> None:
    text = "g = lambda: {}\nh = lambda: {}\ndef f():\n    return g() + h()"
    tags = [made(text.format(*values)) for values in ("00", "00", "01", "10")]
    one, same, *others = (function_tags(function, follow=True) for function in tags)
    assert one == same
    assert len({one, *others}) == 3


def test_place_and_docstring_of_an_inner_class_do_not_count(made: Callable[[str], Any]) -> None:
    text = "{}def f():\n    class C:\n        {}\n        x = {}\n    return C"
    one, same, other = (
        function_tags(made(text.format(*parts)))
        for parts in (("", "'One.'", 1), ("\n\n", "'Another.'", 1), ("", "'One.'", 2))
    )
    assert one[0] == same[0] != other[0]


def test_only_the_project_is_followed(made: Callable[[str], Any]) -> None:
    function = made("import textwrap\n\ndef f():\n    return textwrap.dedent('')")
    assert followed(function) == []
    assert is_of_project(function)
    assert not is_of_project(functools.wraps)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (functools.__file__, True),
        (pytest.__file__, True),
        ("/usr/lib/python3/dist-packages/numpy/__init__.py", True),
        ("/home/me/.local/lib/python3.11/site-packages/numpy/__init__.py", True),
        (__file__, False),
        ("/home/me/packages/numpy.py", False),
    ],
)
def test_what_is_installed_is_of_a_library(path: str, is_one: bool) -> None:
    assert is_of_library(path) is is_one


def test_a_function_without_source_has_one_view() -> None:
    names: dict[str, Any] = {}
    exec("def f(): return 1", names)
    assert [view for view, _ in function_tags(names["f"])] == [CODE_VIEW]
    assert sys.version_info[:2] == tuple(map(int, CODE_VIEW.partition(":")[2].split(".")))
