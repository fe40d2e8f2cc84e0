"""Functions beside what pypipegraph2 writes of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental.sameness import closure_text, comparable, is_same_function


def plain(path: Path) -> None:
    """A docstring
    of two lines."""
    # a comment
    path.write_text("x")


def one_line(path): path.write_text("one")  # fmt: skip


def test_a_function_is_the_same_without_its_name_and_docstring() -> None:
    source = '(path: Path) -> None:\n    \n    # a comment\n    path.write_text("x")'
    assert is_same_function(plain, source, "")
    assert not is_same_function(plain, source.replace('"x"', '"y"'), "")
    assert not is_same_function(plain, source, "\n3")
    assert is_same_function(one_line, '(path): path.write_text("one")', "")


def test_a_lambda_is_the_statement_in_which_it_stands() -> None:
    kept = [
        lambda path: path.write_text(
            "two lines"
        ),
    ]  # fmt: skip
    source = 'lambda path: path.write_text(\n            "two lines"\n        ),'
    assert is_same_function(kept[0], source, "")
    assert not is_same_function(kept[0], source.replace("two", "three"), "")


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(path: Path) -> Any:
        return function(path)

    return inner


@decorated
def wrapped(path: Path) -> None:
    path.write_text("deco")


class Kind:
    @staticmethod
    def static(path: Path) -> None:
        path.write_text("st")

    def method(self, path: Path) -> None:
        path.write_text("x")


def test_decorated_functions_and_methods() -> None:
    source = '@decorated\ndef wrapped(path: Path) -> None:\n    path.write_text("deco")'
    assert is_same_function(wrapped, source, "")
    source = '(self, path: Path) -> None:\n        path.write_text("x")'
    assert is_same_function(Kind().method, source, "")
    source = '@staticmethod\n    def static(path: Path) -> None:\n        path.write_text("st")'
    assert is_same_function(Kind.static, source, "")
    assert not is_same_function(Kind.static, source.replace("st", "x"), "")


def test_a_builtin_is_its_own_text() -> None:
    assert is_same_function(len, "<built-in function len>", "")
    assert not is_same_function(len, "<built-in function sum>", "")


def closing_over(value: Any) -> Callable[[], Any]:
    def inner() -> Any:
        return value

    return inner


class Plain:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "\n3"), ("txt", "\n'txt'"), ([1, "b"], "\n[1, 'b']"), ((1,), "\n(1,)"),
        ({"b": 1, "a": [2]}, "\n[('a', [2]), ('b', 1)]"), ({3, 1, 2}, "\n[1, 2, 3]"),
        (frozenset([2, 1]), "\n[1, 2]"), (None, "\nNone"), (Path("x/y"), "\nPosixPath('x/y')"),
        (Plain(), f"\n<{__name__}.Plain object "), (plain, ""), (os, ""), (b"by", "\nb'by'"),
        ({1, "a"}, None),
    ],
)  # fmt: skip
def test_the_text_of_a_closure(value: Any, text: str | None) -> None:
    expected = f"\n{value!r}" if text is None else text
    assert closure_text(closing_over(value)) == expected


def test_self_and_what_is_not_bound_do_not_count() -> None:
    def outer(self: int) -> Any:
        def inner() -> Any:
            return self, later

        if not self:
            later = 1
        return inner

    assert closure_text(outer(1)) == ""
    assert closure_text(outer(0)) == "\n1"


def test_what_is_no_whole_statement_is_compared_by_its_words() -> None:
    assert comparable("lambda: (\n   1,") == "lambda: ( 1,"
    assert comparable('(p):\n    "doc"\n    return 1') == comparable("(p):\n        return 1")
    assert comparable("") == ""
