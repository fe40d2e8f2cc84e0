"""Whether a function still is what pypipegraph2 wrote down of it: its source and its closure.

The source is without `def name`, without docstring, and for a lambda the whole statement; of the
closure there is the `repr` of each variable that holds data. Default arguments were not followed.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

from pypelinin.incremental.functions import normalised, source_of, unwrapped

_ADDRESS = "at 0x"


def is_same_function(function: Callable[..., Any], source: str, closure: str) -> bool:
    """Whether *function* has this source and this closure, both as pypipegraph2 writes them."""
    inner: Any = unwrapped(function)
    if getattr(inner, "__code__", None) is None:
        return source.strip() == str(inner).strip()
    if closure_text(inner) != closure:
        return False
    wanted = comparable(source)
    return any(comparable(text) == wanted for text in _sources(function, inner))


def _sources(function: Any, inner: Any) -> Iterator[str]:
    """What may be its source: a lambda's is more than its code, a decorator's is less."""
    text = source_of(inner.__code__)
    if text is not None:
        yield text
    for one in (inner.__code__, function):
        try:
            yield inspect.getsource(one)
        except (OSError, TypeError, IndexError, SyntaxError):
            continue


def comparable(source: str) -> str:
    """The tokens of a `def`; of anything else its text with single spaces."""
    text = source.strip("\n")
    if text.lstrip().startswith("("):
        text = f"def _{text.lstrip()}"
    text = textwrap.dedent(text).strip()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return " ".join(text.split())
    first = tree.body[0] if tree.body else None
    if isinstance(first, (ast.FunctionDef, ast.AsyncFunctionDef)) and not first.decorator_list:
        return normalised(text)
    return " ".join(text.split())


def closure_text(function: Any) -> str:
    """What is written of a closure: data only, sorted where it has no order, no addresses."""
    parts = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if name == "self" or isinstance(value, (types.ModuleType, types.FunctionType)):
            continue
        parts.append(f"\n{_shown(value)}")
    return "".join(parts)


def _shown(value: Any) -> str:
    try:
        if isinstance(value, dict):
            value = sorted(value.items())
        elif isinstance(value, (set, frozenset)):
            value = sorted(value)
    except TypeError:  # what cannot be sorted is written as it is
        pass
    return repr(value).split(_ADDRESS)[0]


__all__ = ["closure_text", "comparable", "is_same_function"]
