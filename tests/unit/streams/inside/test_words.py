"""What functions of a stream give and get."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pypelinin.streams.inside.words import Args, Multiple, Object, items_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        (0, [0]),
        ([1, 2], [[1, 2]]),
        ((), [()]),
        ("", [""]),
        (False, [False]),
        (Multiple([]), []),
        (Multiple([None]), []),
        (Multiple([1, None, 0, False]), [1, 0, False]),
        (Multiple((1, [2])), [1, [2]]),
        (Multiple({"a": 1}), ["a"]),
        (Multiple("ab"), ["a", "b"]),
        (Multiple(i for i in range(3)), [0, 1, 2]),
    ],
)
def test_what_was_meant(given: Any, expected: list[Any]) -> None:
    assert list(items_of(given)) == expected


def test_a_multiple_in_a_multiple_is_an_item() -> None:
    inner = Multiple([1])
    assert list(items_of(Multiple([inner]))) == [inner]


@pytest.mark.parametrize("no", [None, 5])
def test_a_multiple_of_what_is_no_iterable(no: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(items_of(Multiple(no)))


def test_how_they_look() -> None:
    assert repr(Args(1, "x", d=[2])) == "Args(1, 'x', d=[2])"
    assert repr(Args()) == "Args()"
    assert repr(Multiple([1])) == "Multiple([1])"
    assert repr(Object(a=1, b="x")) == "Object(a=1, b='x')"
    assert repr(Object()) == "Object()"


def test_an_object_is_what_is_in_it() -> None:
    store = Object(a=1)
    store.b = 2
    assert store == Object(a=1, b=2)
    assert store != Object(a=1)
    assert store != {"a": 1, "b": 2}
    assert not hasattr(store, "c")
    with pytest.raises(TypeError, match="unhashable"):
        hash(store)


def test_they_travel() -> None:
    args = pickle.loads(pickle.dumps(Args(1, a=2)))
    assert (args.args, args.kwargs) == ((1,), {"a": 2})
    assert pickle.loads(pickle.dumps(Multiple([1]))).workList == [1]
    assert pickle.loads(pickle.dumps(Object(a=[1]))) == Object(a=[1])


def test_any_name_is_free() -> None:
    assert Args(self=1).kwargs == {"self": 1}
    assert vars(Object(self=1)) == {"self": 1}
