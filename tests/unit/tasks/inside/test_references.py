"""Results of other tasks among arguments."""

from __future__ import annotations

from typing import Any

from pypelinin.tasks.inside.references import Reference, mapped, resolved


def test_references_are_found_in_all_builtin_containers() -> None:
    value: Any = {"a": [Reference(0), (Reference(1), 5)], "b": {Reference(1)}, "c": "text"}
    assert resolved(value, ["x", "y"]) == {"a": ["x", ("y", 5)], "b": {"y"}, "c": "text"}


def test_what_is_changed_is_a_copy() -> None:
    value = [[1], {"a": 2}]
    changed = mapped(value, lambda one: one * 10 if isinstance(one, int) else one)
    assert changed == [[10], {"a": 20}]
    assert value == [[1], {"a": 2}]
