"""What a task gets from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, TypeVar, overload

T = TypeVar("T")


class TaskInputs(list[T]):
    """The results of a task's parents, in the order in which they were connected.

    It is a list, and answers by the name of a parent, too: `data[0]`, `data["Load(csv)"]`, and
    `data["Load"]` if only one parent is of that class.
    """

    def __init__(self, values: Iterable[T] = (), names: Sequence[str] = ()) -> None:
        super().__init__(values)
        self.names = tuple(names)
        """Of the parents, by place."""

    @overload
    def __getitem__(self, key: str | SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> list[T]: ...
    def __getitem__(self, key: Any) -> Any:
        """Raises KeyError for a name that is none, or means several parents."""
        return super().__getitem__(self._place(key) if isinstance(key, str) else key)

    def _place(self, name: str) -> int:
        if name in self.names:
            return self.names.index(name)
        same = [i for i, known in enumerate(self.names) if known.partition("(")[0] == name]
        if len(same) == 1:
            return same[0]
        what = "means several of" if same else "is none of"
        raise KeyError(f"{name!r} {what} the inputs {', '.join(self.names) or 'of this task'}")

    def get(self, name: str, default: Any = None) -> Any:
        """By name; *default* if that is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> tuple[str, ...]:
        """The names of the parents."""
        return self.names

    def values(self) -> list[T]:
        return list(self)

    def items(self) -> Iterator[tuple[str, T]]:
        """(name of a parent, its result)."""
        return zip(self.names, self, strict=True)


__all__ = ["TaskInputs"]
