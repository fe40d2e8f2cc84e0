"""Results of other tasks among the arguments of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Reference(NamedTuple):
    """The result of a task's parent, by its place."""

    place: int


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """*value* with *change* made to all in it, within builtin containers too."""
    kind = type(value)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind(mapped(one, change) for one in value)
    if kind is dict:
        return {mapped(key, change): mapped(one, change) for key, one in value.items()}
    return change(value)


def resolved(value: Any, results: Sequence[Any]) -> Any:
    """*value* with results where it refers to them."""
    return mapped(value, lambda one: results[one.place] if type(one) is Reference else one)


__all__ = ["Reference", "mapped", "resolved"]
