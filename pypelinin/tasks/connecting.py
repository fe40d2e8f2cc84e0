"""Connections: who reads whose result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

from pypelinin.tasks.exceptions import TaskError


class Node:
    """Something with a name that has parents and children.

    `child(parent)` connects and gives the child back, so `d(c(b(a)))` reads as a chain;
    `child([a, b])` and `child(a)(b)` give it two parents.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._parents: dict[Node, None] = {}
        self._children: dict[Node, None] = {}

    @property
    def parents(self) -> list[Any]:
        """Those whose results it gets, in the order in which they were connected."""
        return list(self._parents)

    @property
    def children(self) -> list[Any]:
        return list(self._children)

    def __call__(self, parents: Node | Iterable[Node]) -> Self:
        """Make *parents* parents of this. Raises TaskError for what is no task."""
        self.connect_parent(parents)
        return self

    def connect_parent(self, parents: Node | Iterable[Node]) -> None:
        for parent in _nodes(parents):
            self.connect(parent, as_child=False)

    def connect_child(self, children: Node | Iterable[Node]) -> None:
        for child in _nodes(children):
            self.connect(child, as_child=True)

    def connect(self, node: Node, as_child: bool) -> None:
        """One more child, or parent; twice is as once. Raises TaskError for what is no task."""
        (other,) = _nodes([node])
        up, down = (self, other) if as_child else (other, self)
        up._children[down] = None
        down._parents[up] = None

    def disconnect(self) -> None:
        """Let go of all parents and children."""
        for parent in self._parents:
            parent._children.pop(self, None)
        for child in self._children:
            child._parents.pop(self, None)
        self._parents.clear()
        self._children.clear()


def refuse_class(one: object) -> None:
    """Raises TaskError if *one* is a class of tasks."""
    if isinstance(one, type) and issubclass(one, Node):
        raise TaskError(
            f"Supplied node is not instantiated: {one.__name__} is a class.",
            remedy=f"Write {one.__name__}(...), with its parameters.",
        )


def _nodes(found: object) -> Sequence[Node]:
    listed: list[Any] = list(found) if isinstance(found, Iterable) else [found]
    for one in listed:
        refuse_class(one)
        if not isinstance(one, Node):
            raise TaskError(
                f"Supplied node is not of type Node: {one!r}.",
                remedy="Tasks are connected with tasks: child(parent) or child([a, b]).",
            )
    return listed


__all__ = ["Node", "refuse_class"]
