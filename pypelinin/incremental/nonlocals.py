"""Outer variables of a function that nothing tracks: the classic way to stale results."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from typing import Any

from pypelinin.incremental.exceptions import FunctionUsesUndeclaredNonLocalsError
from pypelinin.incremental.functions import global_names, unwrapped


def undeclared(function: Callable[..., Any], allowed: Collection[str] = ()) -> list[str]:
    """Names of variables outside of *function* that hold data.

    Modules, functions, classes and jobs are none of them, nor what *allowed* names. Of what
    `wrap_for_function_invariant` gave, those of the function in it: its arguments are tracked.
    """
    inner: Any = unwrapped(getattr(function, "wrapped_function", function))
    code = getattr(inner, "__code__", None)
    if code is None:
        return []
    found = [
        name
        for name in global_names(code)
        if name in inner.__globals__ and is_data(inner.__globals__[name])
    ]
    for name, cell in zip(code.co_freevars, inner.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if name not in ("self", "__class__") and is_data(value):
            found.append(name)
    return [name for name in found if name not in allowed]


def is_data(value: object) -> bool:
    """Whether a change of it could change a result without anybody noticing."""
    if isinstance(value, (types.ModuleType, type)) or callable(value):
        return False
    return not hasattr(value, "job_id")


def check(function: Callable[..., Any], allowed: Collection[str] | None, what: str) -> None:
    """Raises FunctionUsesUndeclaredNonLocalsError, with the names and what to do."""
    found = undeclared(function, allowed or ())
    if found:
        first, listed, quoted = found[0], ", ".join(found), ", ".join(map(repr, found))
        raise FunctionUsesUndeclaredNonLocalsError(
            f"The function {getattr(function, '__qualname__', function)!r} of {what} reads outer "
            f"variables that nothing tracks: {listed}.",
            remedy=f"Bind them as default arguments (def f(path, {first}={first})), depend on them "
            f"with depends_on_params, or say allowed_non_locals=[{quoted}].",
        )
