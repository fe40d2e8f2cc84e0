"""Items that come out of a stream in the order in which they would without slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ENTRY_BYTES = 64
"""What an item takes besides its content."""


class Ordering:
    """Holds back what comes before its time.

    Each job that gives items to the outside has *holes* in them for what its children give.
    """

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        """By job of the source, in its order: of it and all below it, how many are not through."""
        self._root: dict[int, int] = {}
        """By job that is not through, the job of the source that it comes from."""
        self._nodes: dict[int, tuple[list[Any], Sequence[int], Sequence[int], int]] = {}
        """By job that is through: items, holes, children, bytes."""

        self.held_bytes = 0
        """About what is held back takes."""

    def begin(self, number: int) -> None:
        """A job of the source."""
        self._open[number] = 1
        self._root[number] = number

    def add(
        self,
        number: int,
        items: list[Any],
        holes: Sequence[int],
        children: Sequence[int],
        size: int = 0,
    ) -> list[Any]:
        """A job is through, with items of *size* bytes; the items whose time has come."""
        root = self._root.pop(number)
        self._root.update(dict.fromkeys(children, root))
        self._open[root] += len(children) - 1
        size += ENTRY_BYTES * (len(items) + 1)
        self._nodes[number] = (items, holes, children, size)
        self.held_bytes += size
        out: list[Any] = []
        while self._open and not self._open[first := next(iter(self._open))]:
            del self._open[first]
            out += self._taken(first)
        return out

    def state(self) -> Any:
        return [self._open, self._root, self._nodes]

    def restore(self, state: Any) -> None:
        self._open, self._root, self._nodes = state
        self.held_bytes = sum(node[-1] for node in self._nodes.values())

    def _taken(self, number: int) -> list[Any]:
        """The items of a job and its children; leftovers of leftovers can be deep."""
        out: list[Any] = []
        stack: list[int | list[Any]] = [number]
        while stack:
            top = stack.pop()
            if isinstance(top, list):
                out += top
                continue
            items, holes, children, size = self._nodes.pop(top)
            self.held_bytes -= size
            pieces: list[int | list[Any]] = []
            before = 0
            for hole, child in zip(holes, children, strict=True):
                pieces += [items[before:hole], child]
                before = hole
            stack += reversed([*pieces, items[before:]])
        return out
