"""What `KeyedStore` asks of a store that fills it in; the meaning is in `contract`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pypelinin.stores import KeyedStore
from tests.unit.stores.contract import attempt, save


class Recording(KeyedStore):
    """Writes down what it is asked."""

    def __init__(self, kept: dict[str, Any] | None = None) -> None:
        self.kept = kept or {}
        self.asked: list[tuple[object, ...]] = []

    def pipelines(self) -> list[str]:
        return []

    def _write(self, pipeline: str, job: str, fence: int, entries: Mapping[str, str]) -> None:
        self.asked.append(("write", pipeline, job, fence, list(entries.items())))

    def _read(self, pipeline: str, keys: Iterable[str] | None) -> dict[str, Any]:
        self.asked.append(("read", pipeline, keys))
        return self.kept

    def _keys(self, pipeline: str) -> list[str]:
        self.asked.append(("keys", pipeline))
        return list(self.kept)


def test_keys_are_written_in_their_order_so_that_savers_never_wait_in_a_circle() -> None:
    store = Recording()
    save(store, {"b": 1, "a": 2}, fence=5)
    assert store.asked == [("write", "p1", "count", 5, [("a", "2"), ("b", "1")])]


def test_a_fence_is_written_even_with_nothing_to_keep() -> None:
    store = Recording()
    save(store, None, fence=5)
    assert store.asked == [("write", "p1", "count", 5, [])]


def test_only_what_is_required_is_read() -> None:
    store = Recording({"a": 1})
    assert store.retrieve(attempt(requires=["a"])) == {"a": 1}
    assert store.asked == [("read", "p1", ("a",))]


def test_nothing_is_read_for_a_worker_that_requires_nothing() -> None:
    store = Recording()
    assert store.retrieve(attempt()) == {}
    assert store.asked == []


def test_load_orders_keys() -> None:
    with Recording({"b": 1, "a": 2}) as store:
        assert list(store.load("p1")) == ["a", "b"]
