"""A pipeline in characters: boxes, and lines of asterisks from parents down to children."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pypelinin.graph.layers import Layers
from pypelinin.tasks.definition import Task

AnyTask = Task[Any, Any]
GAP_X, GAP_Y, BOX_LINES = 3, 3, 3
SWEEPS = 6
CELLS_MAX = 4_000_000
"""Characters of a drawing; what would be larger is listed."""
TASKS_MAX = 5_000


def edges_of(tasks: Sequence[AnyTask]) -> list[tuple[AnyTask, AnyTask]]:
    """(parent, child) of *tasks* among themselves."""
    inside = set(tasks)
    return [(up, task) for task in tasks for up in task.parents if up in inside]


def ascii_of(tasks: Sequence[AnyTask], label: Callable[[AnyTask], str] | None = None) -> str:
    """The drawing; a list of tasks with their parents if that would be too large.

    *label* gives the text of a box, if that is not the name.
    """
    texts = {task: (label or _name)(task) for task in tasks}
    if not tasks:
        return "(no tasks)"
    if len(tasks) <= TASKS_MAX:
        grid = Grid(texts, edges_of(tasks))
        if grid.width * grid.height <= CELLS_MAX:
            return grid.drawn()
    return "\n".join(_listed(tasks, texts))


def _name(task: AnyTask) -> str:
    return task.name


def _listed(tasks: Sequence[AnyTask], texts: dict[AnyTask, str]) -> Iterator[str]:
    for task in tasks:
        parents = ", ".join(parent.name for parent in task.parents)
        yield f"{texts[task]} <- {parents}" if parents else texts[task]


class Grid:
    """Where boxes stand, and where lines that are longer than one step pass."""

    def __init__(self, texts: dict[AnyTask, str], edges: Sequence[tuple[AnyTask, AnyTask]]) -> None:
        ids = {task: str(i) for i, task in enumerate(texts)}
        self.texts = {ids[task]: text for task, text in texts.items()}
        pairs = [(ids[up], ids[down]) for up, down in edges]
        columns = Layers(self.texts, pairs).columns()
        self.steps = list(_steps(pairs, columns))
        """Edges from one layer to the next."""
        nodes = list(columns)
        layers = Layers(nodes, self.steps)
        self.layers = layers.ordered(columns)
        self._above, self._below = layers.before, layers.behind
        self.centres: dict[str, int] = {}
        self._place()
        self.width = max(self.centres[n] + self._size(n) // 2 for n in nodes) + 1
        self.height = len(self.layers) * (BOX_LINES + GAP_Y) - GAP_Y

    def _size(self, node: str) -> int:
        return len(self.texts[node]) + 4 if node in self.texts else 1

    def _place(self) -> None:
        """Everybody below the middle of who stands above, or above that of who stands below."""
        for layer in self.layers:
            self._settle(layer, [0.0] * len(layer))
        for sweep in range(SWEEPS):
            near = self._below if sweep % 2 else self._above
            for layer in reversed(self.layers) if sweep % 2 else self.layers:
                self._settle(layer, [self._wish(node, near[node]) for node in layer])
        left = min(self.centres[node] - self._size(node) // 2 for node in self.centres)
        for node in self.centres:
            self.centres[node] -= left

    def _wish(self, node: str, near: Sequence[str]) -> float:
        if not near:
            return self.centres[node]
        return sum(self.centres[one] for one in near) / len(near)

    def _settle(self, layer: Sequence[str], wishes: Sequence[float]) -> None:
        """As near to the wishes as the sizes allow: between what pushing from either side gives."""
        sizes = [self._size(node) for node in layer]
        apart = [(a + b) / 2 + GAP_X for a, b in itertools.pairwise(sizes)]
        left, right = list(wishes), list(wishes)
        for i, gap in enumerate(apart):
            left[i + 1] = max(left[i + 1], left[i] + gap)
        for i in reversed(range(len(apart))):
            right[i] = min(right[i], right[i + 1] - apart[i])
        for i, node in enumerate(layer):
            self.centres[node] = round((left[i] + right[i]) / 2)
            if i:
                before = layer[i - 1]
                free = self.centres[before] + sizes[i - 1] // 2 + GAP_X + sizes[i] // 2 + 1
                self.centres[node] = max(self.centres[node], free)

    def drawn(self) -> str:
        rows = [[" "] * self.width for _ in range(self.height)]
        top = {n: i * (BOX_LINES + GAP_Y) for i, layer in enumerate(self.layers) for n in layer}
        for up, down in self.steps:
            _line(rows, self.centres[up], self.centres[down], top[up] + BOX_LINES)
        for node, centre in self.centres.items():
            text = self.texts.get(node)
            if text is None:
                for row in range(top[node], top[node] + BOX_LINES):
                    rows[row][centre] = "*"
                continue
            begin = centre - self._size(node) // 2
            border = f"+{'-' * (len(text) + 2)}+"
            for row, line in enumerate((border, f"| {text} |", border)):
                rows[top[node] + row][begin : begin + len(line)] = line
        return "\n".join("".join(row).rstrip() for row in rows)


def _steps(pairs: Sequence[tuple[str, str]], columns: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Edges cut into steps of one layer; the nodes between are added to *columns*."""
    for number, (up, down) in enumerate(pairs):
        before = up
        for column in range(columns[up] + 1, columns[down]):
            node = f"{number}/{column}"
            columns[node] = column
            yield before, node
            before = node
        yield before, down


def _line(rows: list[list[str]], begin: int, end: int, top: int) -> None:
    """From above to below, over GAP_Y rows."""
    for row in range(GAP_Y):
        a = round(begin + (end - begin) * row / GAP_Y)
        b = round(begin + (end - begin) * (row + 1) / GAP_Y)
        low, high = min(a, b), max(a, b)
        for x in range(low, max(high, low + 1)):
            rows[top + row][x] = "*"


__all__ = ["ascii_of", "edges_of"]
