"""Modules and functions stay small enough to be read at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests.architecture.tree import Module, assert_none, functions, modules

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
MODULE_LINES_AIM = 120
FUNCTION_LINES_AIM = 10


def module_lines(module: Module) -> int:
    return len(module.source.splitlines())


def function_lines(module: Module) -> dict[str, int]:
    return {
        f"{module.name}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for node in functions(module)
    }


def too_long(tree: Iterable[Module]) -> Iterator[str]:
    for module in tree:
        if module_lines(module) > MODULE_LINES_MAX:
            yield f"{module.name}: {module_lines(module)} lines, at most {MODULE_LINES_MAX}"
        for name, lines in function_lines(module).items():
            if lines > FUNCTION_LINES_MAX:
                yield f"{name}: {lines} lines, at most {FUNCTION_LINES_MAX}"


def averages(tree: list[Module]) -> str:
    files = [lines for module in tree if (lines := module_lines(module))] or [0]
    bodies = [lines for module in tree for lines in function_lines(module).values()] or [0]
    return (
        f"sizes: module {sum(files) / len(files):.0f} lines (aim {MODULE_LINES_AIM}), "
        f"function {sum(bodies) / len(bodies):.1f} (aim {FUNCTION_LINES_AIM}), "
        f"largest {max(files)} and {max(bodies)}"
    )


def test_nothing_is_above_the_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    tree = modules()
    with capsys.disabled():
        print(f"\n{averages(tree)}")
    assert_none(too_long(tree))


# --- each rule can fail -----------------------------------------------------------------------


def test_a_long_module_is_seen() -> None:
    at_limit = Module("pypelinin.cli", "x = 1\n" * MODULE_LINES_MAX)
    above = Module("pypelinin.cli", at_limit.source + "x = 1\n")
    assert list(too_long([at_limit])) == []
    assert len(list(too_long([above]))) == 1


def test_a_long_function_is_seen() -> None:
    at_limit = "class A:\n    def f(self):\n" + "        x = 1\n" * (FUNCTION_LINES_MAX - 1)
    above = at_limit + "        x = 1\n"
    assert list(too_long([Module("pypelinin.cli", at_limit)])) == []
    assert len(list(too_long([Module("pypelinin.cli", above)]))) == 1


def test_averages_of_nothing() -> None:
    assert averages([]).startswith("sizes: module 0 lines")
