"""What functions of a stream give and get: `Args`, `Multiple`, `Object`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any


class Args:
    """An item that is spread out: the next function is called with these arguments.

    A function that also gets a store has the store first. Reducers get the Args as it is.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"Args({', '.join([*map(repr, self.args), *named])})"


class Multiple:
    """Several items where a function would give one; None among them is left out."""

    __slots__ = ("workList",)

    def __init__(self, workList: Iterable[Any]) -> None:
        self.workList = workList

    def __repr__(self) -> str:
        return f"Multiple({self.workList!r})"


class Object:
    """A store with whatever attributes it is given."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, /, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __repr__(self) -> str:
        return f"Object({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Object and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it changes, so it is nobody's key


def items_of(given: Any) -> Iterator[Any]:
    """The items that a function meant with what it returned."""
    if isinstance(given, Multiple):
        return (item for item in given.workList if item is not None)
    return iter(() if given is None else (given,))


__all__ = ["Args", "Multiple", "Object", "items_of"]
