"""The ends of a segment."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pypelinin.errors import NotPicklable
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.inside.ends import Collected, End, Reduced
from pypelinin.streams.inside.portions import Chunk, Part
from pypelinin.streams.inside.program import Reduce
from pypelinin.streams.inside.words import Args, Multiple, Object

CHILD = Chunk(0, 0, b"", 1)


class Told:
    """Who hears of items that failed."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, Any, str]] = []

    def fail(self, stage: str, item: Any, error: Exception) -> None:
        self.failed.append((stage, item, type(error).__name__))


def items(*given: Any) -> Part:
    return Part(False, pack_value("items", list(given)))


def store(given: Any) -> Part:
    return Part(True, pack_value("store", given))


def add(store: list[int], works: list[int], others: list[list[int]]) -> None:
    store += works
    for other in others:
        store += other


def reduced(
    function: Any = add, stores: tuple[Any, ...] = (), **named: Any
) -> tuple[Reduced, Told]:
    told = Told()
    named.setdefault("store", list)
    return Reduced(told, Reduce(function, "add", **named), stores), told


# --- items ----------------------------------------------------------------------------------------


def test_items_are_collected_with_holes_for_children() -> None:
    end = Collected()
    end.add_child(CHILD)
    end.take([items(1, 2), items(), items(3)])
    end.add_child(CHILD)
    end.add(None)
    assert (end.items, end.holes, end.children) == ([1, 2, 3, None], [0, 3], [CHILD, CHILD])
    part = end.part()
    assert part is not None
    assert not part.is_store
    assert unpack_value(part.data) == [1, 2, 3, None]
    assert end.again() == []


def test_of_nothing_there_is_no_part() -> None:
    assert Collected().part() is None
    assert reduced()[0].part() is None
    end = End()
    assert end.part() is None
    with pytest.raises(NotImplementedError):
        end.add(1)


def test_what_cannot_be_sent_is_left_out_and_the_holes_stay_where_they_were() -> None:
    end = Collected()
    lock = threading.Lock()
    end.add_child(CHILD)
    for item in (lock, 1, 2, lock):
        end.add(item)
        end.add_child(CHILD)
    with pytest.raises(NotPicklable):
        end.part()
    failed: list[Any] = []
    end.leave_out(lambda item, _error: failed.append(item))
    assert failed == [lock, lock]
    assert end.items == [1, 2]
    assert end.holes == [0, 0, 1, 2, 2]
    assert end.part() is not None


# --- stores ---------------------------------------------------------------------------------------


def test_a_store_is_made_when_the_first_item_comes() -> None:
    made: list[int] = []

    def new() -> list[int]:
        made.append(1)
        return []

    end, _ = reduced(store=new)
    assert (end.kept, made) == ((), [])
    end.add(4)
    end.add(5)
    assert (end.kept, made) == (([4, 5],), [1])


def test_a_store_that_there_is_goes_on() -> None:
    end, _ = reduced(stores=([1],))
    end.add(2)
    assert end.emitted() == [[1, 2]]


def test_others_are_given_at_once_and_the_first_is_gone_on_with() -> None:
    calls: list[tuple[list[int], list[list[int]]]] = []

    def seen(store: list[int], works: list[int], others: list[list[int]]) -> None:
        calls.append((works, others))
        add(store, works, others)

    end, _ = reduced(seen)
    end.take([store([1]), items(9), store([2]), store([3])])
    assert end.kept == ([1, 2, 3, 9],) or end.kept == ([9, 1, 2, 3],)
    assert ([9], []) in calls
    assert any(works == [] and len(others) >= 2 for works, others in calls)
    assert end.part() == store(end.kept[0])


def test_one_store_alone_needs_no_call() -> None:
    end, told = reduced(lambda *_: 1 / 0)
    end.take([store([1])])
    assert end.emitted() == [[1]]
    assert told.failed == []


def test_what_the_function_returns_goes_through_again() -> None:
    def halved(store: list[int], works: list[int], others: list[list[int]]) -> Any:
        add(store, works, others)
        if others:
            return Multiple([None, 100])
        return works[0] // 2 or None

    end, _ = reduced(halved)
    end.add(4)
    assert end.again() == [2]
    assert end.again() == []
    end.add(1)
    assert end.again() == []
    end.take([store([7])])
    assert end.again() == [100]


def test_args_are_not_spread() -> None:
    got: list[Any] = []
    end, _ = reduced(lambda store, works, others: got.extend(works))
    args = Args(1, a=2)
    end.add(args)
    assert got == [args]


@pytest.mark.parametrize(
    ("emit", "expected"),
    [
        (lambda s: None, []),
        (lambda s: s, [[1]]),
        (lambda s: Multiple([1, None, 2]), [1, 2]),
        (lambda s: Multiple(i for i in range(2)), [0, 1]),
    ],
)
def test_what_is_emitted(emit: Any, expected: list[Any]) -> None:
    end, _ = reduced(emit=emit)
    end.add(1)
    assert end.emitted() == expected


def test_an_empty_reduce_emits_an_empty_store() -> None:
    end, _ = reduced(store=Object)
    assert end.emitted() == [Object()]


def broken(*_: Any) -> Any:
    raise KeyError


@pytest.mark.parametrize("named", [{"function": broken}, {"store": broken}])
def test_an_item_that_fails_is_told(named: Any) -> None:
    end, told = reduced(**named)
    end.add(3)
    assert told.failed == [("add", 3, "KeyError")]


def test_a_recurrence_that_fails_is_told() -> None:
    def breaks() -> Any:
        yield 1
        raise KeyError

    end, told = reduced(lambda *_: Multiple(breaks()))
    end.add(3)
    assert told.failed == [("add", 3, "KeyError")]
    end, told = reduced(lambda *_: Multiple(None))  # type: ignore[arg-type]  # the error to be seen
    end.add(3)
    assert told.failed == [("add", 3, "TypeError")]


def test_stores_that_cannot_be_merged_are_told() -> None:
    end, told = reduced(broken)
    end.take([store([1]), store([2])])
    assert told.failed == [("add", [[2]], "KeyError")]


@pytest.mark.parametrize("emit", [broken, lambda s: Multiple(map(broken, [1]))])
def test_an_emit_that_fails_is_told(emit: Any) -> None:
    end, told = reduced(emit=emit)
    end.add(1)
    assert end.emitted() == []
    assert told.failed == [("add", [[1]], "KeyError")]


def test_a_store_that_cannot_be_sent_is_named() -> None:
    end, _ = reduced(lambda *_: None, store=threading.Lock)
    end.add(1)
    with pytest.raises(NotPicklable, match="The store of add cannot be sent"):
        end.part()
