"""Digests of files and parameters: equal for equals only."""

from __future__ import annotations

import datetime
import enum
import itertools
import os
from collections import OrderedDict, deque, namedtuple
from pathlib import Path
from typing import Any

import pytest

from pypelinin.runtime.hashers import (
    ValuePlusHash,
    encoded,
    hash_bytes,
    hash_file,
    hash_object,
    hash_str,
    without_address,
)

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Sub(str):
    pass


class Many(deque[int]):
    pass


def deep(levels: int) -> Any:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


DIFFERENT = [
    None, True, False, 0, 1, -1, 1.0, -0.0, 0.0, 1j, "1", b"1", bytearray(b"1"), "", b"", "a",
    Sub("a"),
    (), [], {}, set(), frozenset(), (1, 2), (2, 1), (1, 1, 2), [1, 2], [[1], 2], [[1, 2]],
    {1, 2}, frozenset((1, 2)), {1: 2}, {2: 1}, {"1": 2},
    OrderedDict(a=1, b=2), OrderedDict(b=2, a=1),
    {"a": 1, "b": 2}, Point(1, 2), Colour.RED, Number.ONE, Plain(1), Plain(2), Slotted(1),
    Path("a"),
    range(3), range(4), datetime.date(2000, 1, 1), datetime.datetime(2000, 1, 1),
    datetime.timedelta(1), ValuePlusHash(1, "ab"), ValuePlusHash(1, "ac"), ..., "ab", ["ab"],
    ["a", "b"], [["a"], "b"], float("nan"), float("inf"),
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    for one, other in itertools.combinations(DIFFERENT, 2):
        assert encoded(one) != encoded(other), (one, other)


def test_the_order_in_which_a_dict_or_set_was_filled_does_not_count() -> None:
    assert hash_object({"a": 1, "b": {2, 3}}) == hash_object({"b": {3, 2}, "a": 1})


def test_equal_objects_of_a_class_have_one_digest() -> None:
    assert hash_object([Plain([1]), Slotted("x")]) == hash_object([Plain([1]), Slotted("x")])


def test_of_a_member_of_an_enumeration_the_value_counts() -> None:
    before, same, after = (enum.Enum("Limit", {"MOST": value}) for value in (5, 5, 6))
    assert hash_object(before["MOST"]) == hash_object(same["MOST"])
    assert hash_object(before["MOST"]) != hash_object(after["MOST"])


def test_a_value_that_stands_twice_is_no_cycle() -> None:
    inner = [1]
    assert hash_object([inner, inner]) == hash_object([[1], [1]])


def test_arrays_count_by_type_shape_and_content() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: 'pypelinin[test-all]'")
    arrays = [
        numpy.array([1, 2]), numpy.array([2, 1]), numpy.array([[1, 2]]), numpy.array([1.0, 2.0]),
        numpy.int64(1), numpy.int32(1), numpy.array(["a", 1], dtype=object),
    ]  # fmt: skip
    for one, other in itertools.combinations(arrays, 2):
        assert hash_object(one) != hash_object(other)
    assert hash_object(numpy.array([1, 2])) == hash_object(numpy.array([1, 2]))


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"a": [0, len]}, r"parameter\['a'\]\[1\] is <built-in"),
        ([iter(())], r"parameter\[0\] is <tuple_iterator"),
        ([os], r"parameter\[0\] is <module"),
        ([Plain(deque([1]))], r"parameter\[0\]\.value is deque"),
        ([Many([1])], r"parameter\[0\] is Many\(\[1\]\)"),
        ({1: {iter("")}}, r"an item of parameter\[1\] is <str"),
        (deep(10_000), "too deeply"),
    ],
)
def test_what_has_no_lasting_content_is_named(value: Any, part: str) -> None:
    with pytest.raises(TypeError, match=part):
        hash_object(value)


def test_tables_are_refused_as_their_digests_are_not_reliable() -> None:
    class DataFrame:
        __module__ = "pandas.core.frame"

    with pytest.raises(TypeError, match=r"pandas DataFrame.*ValuePlusHash"):
        hash_object([DataFrame()])


def test_a_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"x", b"y" * 3_000_000):
        path.write_bytes(content)
        assert hash_file(path) == hash_bytes(content)
    assert hash_str("ä") == hash_bytes("ä".encode())


def test_what_is_no_regular_file_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(OSError, match=name):
            hash_file(tmp_path / name)


def test_a_repr_without_its_address_is_the_same_in_the_next_process() -> None:
    assert without_address(repr(Plain(1))) == without_address(repr(Plain(2)))
