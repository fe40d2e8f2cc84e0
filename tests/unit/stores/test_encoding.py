from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.stores.encoding import checked_name, decode, encode, is_shortened, shortened

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.text() | st.sampled_from(["$bytes", "$float", "$$bytes", "$", "$other"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner, max_size=3)
)


class Colour(IntEnum):
    RED = 1


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, a NaN being equal to a NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return bool(one == other)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    assert same(decode(encode("key", value)), value)


@given(VALUES)
def test_the_text_is_json_and_utf8(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(encode("key", value).encode(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ü", '"ü"'),
        (b"ab", '{"$bytes": "YWI="}'),
        (bytearray(b"ab"), '{"$bytes": "YWI="}'),
        (memoryview(b"ab"), '{"$bytes": "YWI="}'),
        (float("-inf"), '{"$float": "-inf"}'),
        ({"$bytes": 1}, '{"$$bytes": 1}'),
        ({"$bytes": 1, "b": 2}, '{"$bytes": 1, "b": 2}'),
        ((1, (2,)), "[1, [2]]"),
        (Counter("aab"), '{"a": 2, "b": 1}'),
        (OrderedDict(a=1), '{"a": 1}'),
        (MappingProxyType({"a": 1}), '{"a": 1}'),
        (Colour.RED, "1"),
        ("\udc80ü", '"\\udc80\\u00fc"'),
    ],
)
def test_how_a_value_is_written(value: Any, text: str) -> None:
    assert encode("key", value) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), r"cannot keep 'page': the value is of type builtins\.object; text, numbers"),
        ({"a": [1, {2}]}, r"the value at \['a'\]\[1\] is of type builtins\.set"),
        (1j, r"builtins\.complex"),
        ({"a": {1: 2}}, r"the value at \['a'\] has the dict key 1 of type int; keys must be text"),
        ({None: 1}, r"the value has the dict key None of type NoneType"),
    ],
)
def test_what_cannot_be_kept_is_named(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode("page", value)


def test_a_value_that_contains_itself_is_named() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="cannot keep 'page': it contains itself"):
        encode("page", value)


def test_a_number_too_long_to_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"cannot keep 'page': .*digits"):
        encode("page", 10**5000)


@pytest.mark.parametrize("text", ["", "{", '{"$new": 1}', '{"$bytes": "?"}', '{"$float": "x"}'])
def test_what_was_not_written_here_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_names_must_be_text_that_every_store_keeps() -> None:
    assert checked_name("key", "ü/..") == "ü/.."
    with pytest.raises(TypeError, match="a pipeline is named by text, not by 3 of int"):
        checked_name("pipeline", 3)
    with pytest.raises(ValueError, match=r"key 'a.x00' has a character that cannot be kept"):
        checked_name("key", "a\0")


def test_a_name_is_cut_only_beyond_the_limit() -> None:
    assert shortened("x" * 180, 180) == "x" * 180
    cut = shortened("x" * 181, 180)
    assert cut.startswith("x" * 60)
    assert len(cut) == 132
    assert is_shortened(cut)
    assert not is_shortened("x" * 180)


def test_a_name_that_looks_cut_is_cut() -> None:
    cut = shortened("x" * 181, 180)
    assert shortened(cut, 180) != cut
    assert is_shortened(shortened(cut, 180))
