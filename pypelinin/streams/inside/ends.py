"""The ends of a segment: where items are collected, reduced, or taken by a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from pypelinin.errors import NotPicklable
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.inside.failures import pack_items, unpack_items
from pypelinin.streams.inside.portions import Chunk, Part, Suspended
from pypelinin.streams.inside.program import Reduce
from pypelinin.streams.inside.words import items_of

Child = Chunk | Suspended


class Failing(Protocol):
    def fail(self, stage: str, item: Any, error: Exception) -> None:
        """An item failed; may raise to end all."""


class End:
    """What reaches the end of a segment, and what is still on its way there."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.holes: list[int] = []
        """By child: how many items came before it."""
        self.aside: dict[tuple[int, int], list[Any]] = {}
        """Items that are to be handed back, by the place before which they stand."""

    def add(self, item: Any) -> None:
        """An item is through."""
        raise NotImplementedError  # each kind of end does its own

    def take(self, parts: Iterable[Part]) -> None:
        """What came through elsewhere."""
        for part in parts:
            for item in unpack_items(part.data):
                self.add(item)

    def add_child(self, child: Child) -> None:
        """Something that will come later."""
        self.children.append(child)
        self.holes.append(0)

    def again(self) -> list[Any]:
        """Items that are to go through the segment once more."""
        return []

    def part(self) -> Part | None:
        """What is to be told of it, packed. Raises NotPicklable."""
        return None


class Collected(End):
    """Just the items."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []

    def add(self, item: Any) -> None:
        self.items.append(item)

    def add_child(self, child: Child) -> None:
        self.children.append(child)
        self.holes.append(len(self.items))

    def part(self) -> Part | None:
        if not self.items:
            return None
        return Part(False, pack_items(self.items))

    def leave_out(self, fail: Callable[[Any, Exception], None]) -> None:
        """Go on without the items that cannot be sent, after *fail* was told of each."""
        items, holes = self.items, self.holes
        kept = []
        for item in items:
            try:
                pack_items([item])
            except NotPicklable as error:
                fail(item, error)
                kept.append(False)
            else:
                kept.append(True)
        self.items = [item for item, is_kept in zip(items, kept, strict=True) if is_kept]
        self.holes = [sum(kept[:hole]) for hole in holes]


class Reduced(End):
    """A store, made when the first item comes."""

    def __init__(self, play: Failing, reduce: Reduce, store: Sequence[Any] = ()) -> None:
        super().__init__()
        self._play = play
        self._reduce = reduce
        self._store = list(store)
        """The store, if there is one."""
        self._again: list[Any] = []

    @property
    def store(self) -> Any:
        if not self._store:
            self._store.append(self._reduce.store())
        return self._store[0]

    @property
    def kept(self) -> tuple[Any, ...]:
        """The store, if there is one."""
        return tuple(self._store)

    def add(self, item: Any) -> None:
        try:
            found = self._reduce.function(self.store, [item], [])
            if found is not None:
                self._again += items_of(found)
        except Exception as error:
            self._play.fail(self._reduce.name, item, error)

    def take(self, parts: Iterable[Part]) -> None:
        stores = []
        for part in parts:
            if part.is_store:
                stores.append(unpack_value(part.data))
            else:
                super().take([part])
        if not self._store and stores:
            self._store.append(stores.pop(0))
        if stores:
            try:
                self._again += items_of(self._reduce.function(self.store, [], stores))
            except Exception as error:
                self._play.fail(self._reduce.name, stores, error)

    def again(self) -> list[Any]:
        found, self._again = self._again, []
        return found

    def emitted(self) -> list[Any]:
        """What goes on when all is through."""
        try:
            return list(items_of(self._reduce.emit(self.store)))
        except Exception as error:
            self._play.fail(self._reduce.name, self._store, error)
            return []

    def part(self) -> Part | None:
        if not self._store:
            return None
        return Part(True, pack_value(f"The store of {self._reduce.name}", self._store[0]))
