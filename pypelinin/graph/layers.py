"""A layered drawing of a graph: which node stands in which column, and in which row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SWEEPS = 4


class Layers:
    """*nodes* with *edges* (from, to) that form no cycle."""

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self.nodes = list(nodes)
        self.before: dict[str, list[str]] = {node: [] for node in self.nodes}
        self.behind: dict[str, list[str]] = {node: [] for node in self.nodes}
        for start, end in edges:
            self.before[end].append(start)
            self.behind[start].append(end)

    def ordered(self, columns: Mapping[str, int] | None = None) -> list[list[str]]:
        """Columns from left to right; in each, nodes from top to bottom.

        *columns* are those of `columns`, or others that were made of them. Rows follow those of
        the neighbours, so that few edges cross.
        """
        columns = self.columns() if columns is None else columns
        layers: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
        for node in self.nodes:
            layers[columns[node]].append(node)
        layers = [layer for layer in layers if layer]
        for sweep in range(SWEEPS):
            near = self.behind if sweep % 2 else self.before
            rows = {node: float(row) for layer in layers for row, node in enumerate(layer)}
            for layer in reversed(layers) if sweep % 2 else layers:
                layer.sort(key=lambda node: _middle(node, near, rows))
                rows.update((node, float(row)) for row, node in enumerate(layer))
        return layers

    def columns(self) -> dict[str, int]:
        """In which column each node stands: right of all before it, and one that has none before
        it as far right as it can. Raises ValueError if there is a cycle."""
        open_ = {node: len(self.before[node]) for node in self.nodes}
        ready = [node for node in self.nodes if not open_[node]]
        columns = dict.fromkeys(ready, 0)
        while ready:
            node = ready.pop()
            for end in self.behind[node]:
                columns[end] = max(columns.get(end, 0), columns[node] + 1)
                open_[end] -= 1
                if not open_[end]:
                    ready.append(end)
        if len(columns) < len(self.nodes) or any(open_.values()):
            raise ValueError("A graph with a cycle has no layers.")
        for node in self.nodes:
            if not self.before[node] and self.behind[node]:
                columns[node] = min(columns[end] for end in self.behind[node]) - 1
        return columns


def _middle(node: str, near: dict[str, list[str]], rows: dict[str, float]) -> float:
    """Where its neighbours stand; where it stands itself if it has none."""
    found = [rows[one] for one in near[node]]
    return sum(found) / len(found) if found else rows[node]


__all__ = ["Layers"]
