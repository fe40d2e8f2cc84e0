"""Pipelines in characters."""

from __future__ import annotations

import itertools
from typing import Any

from pypelinin.tasks import Pipeline, Task, task
from pypelinin.tasks.summary import ascii_of, edges_of

CHAIN = """\
+---------+
| Hello() |
+---------+
     *
     *
     *
+---------+
| World() |
+---------+"""


@task("N")
def node(data: Any) -> None: ...


@task("Hello", receives_input=False)
def hello() -> None: ...


@task("World")
def world(data: Any) -> None: ...


def test_the_drawing_of_the_documents() -> None:
    first = hello()
    second = world()(first)
    assert ascii_of([first, second]) == CHAIN
    printed: list[str] = []
    Pipeline("p", [first]).summary(print_fn=printed.append)
    assert printed == [CHAIN]


def multi_path() -> list[Task[Any, Any]]:
    names = ["database", "csv", "normalize-l2", "normalize-l1", "augment", "both"]
    database, csv, l2, l1, augment, both = (node(name) for name in names)
    both([l1, l2(database), augment(l1(csv))])
    return [database, csv, l2, l1, augment, both]


def places(text: str, names: list[str]) -> dict[str, tuple[int, int]]:
    """(row, column) of each name."""
    rows = text.splitlines()
    found = {}
    for name in names:
        ((row, column),) = [(i, row.index(name)) for i, row in enumerate(rows) if name in row]
        found[name] = (row, column)
    return found


def test_branches_and_merges_have_parents_on_top() -> None:
    tasks = multi_path()
    found = places(ascii_of(tasks), [one.name for one in tasks])
    for up, down in edges_of(tasks):
        assert found[up.name][0] < found[down.name][0]
    text = ascii_of(tasks)
    for row in text.splitlines():
        assert row.count("+") % 2 == 0, "boxes do not overlap"
    assert text.count("| N(") == 6
    assert max(map(len, text.splitlines())) < 120


def is_connected(text: str, up: str, down: str) -> bool:
    """Whether asterisks lead from one box to the other, without passing a third."""
    rows = text.splitlines()
    width = max(map(len, rows))
    grid = [row.ljust(width) for row in rows]
    where = places(text, [up, down])

    def around(name: str) -> set[tuple[int, int]]:
        row, column = where[name]
        return {(row + side, column + i) for side in (-2, 2) for i in range(-3, len(name) + 3)}

    stack = [place for place in around(up) if star(grid, place)]
    seen = set(stack)
    while stack:
        row, column = stack.pop()
        for step in itertools.product((-1, 0, 1), (-2, -1, 0, 1, 2)):
            place = (row + step[0], column + step[1])
            if place not in seen and star(grid, place):
                seen.add(place)
                stack.append(place)
    return bool(seen & around(down))


def star(grid: list[str], place: tuple[int, int]) -> bool:
    row, column = place
    return 0 <= row < len(grid) and 0 <= column < len(grid[row]) and grid[row][column] == "*"


def test_lines_lead_from_parents_to_children() -> None:
    tasks = multi_path()
    text = ascii_of(tasks)
    for up, down in edges_of(tasks):
        assert is_connected(text, up.name, down.name), f"{up.name} -> {down.name}\n{text}"
    assert not is_connected(ascii_of([node("a"), node("b")]), "N(a)", "N(b)")


def test_boxes_beside_each_other_never_touch() -> None:
    root = node("root")
    names = ["a", "a longer one", "b" * 30, "c", "dd", "eeeeeeeee"]
    tasks = [root, *(node(name)(root) for name in names)]
    text = ascii_of(tasks)
    (row,) = [row for row in text.splitlines() if "N(a)" in row]
    assert all(f"| N({name}) |" in row for name in names)


def test_other_texts_in_the_boxes() -> None:
    first = hello()
    assert "| Hello()* |" in ascii_of([first], lambda one: f"{one.name}*")
    assert ascii_of([]) == "(no tasks)"


def test_what_is_too_large_is_listed() -> None:
    chain = [node(str(i)) for i in range(20_000)]
    for up, down in itertools.pairwise(chain):
        down(up)
    lines = ascii_of(chain).splitlines()
    assert lines[:2] == ["N(0)", "N(1) <- N(0)"]
    assert len(lines) == 20_000
    wide = [node("root"), *(node(f"{'x' * 300}{i}") for i in range(3000))]
    for one in wide[1:]:
        one(wide[0])
    assert ascii_of(wide).startswith("N(root)\nN(x")
