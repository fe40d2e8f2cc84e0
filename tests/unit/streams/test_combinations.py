"""Combinations of parameters: their order, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams.combinations import Combinations


def test_a_product_turns_its_first_name_fastest() -> None:
    found = Combinations({"b": (1, 2), "a": iter("xyz")})
    assert found.names == ("b", "a")
    assert [(one["b"], one["a"]) for one in found] == [
        (1, "x"), (2, "x"), (1, "y"), (2, "y"), (1, "z"), (2, "z"),
    ]  # fmt: skip
    assert len(found) == 6


def test_a_list_is_taken_as_it_is() -> None:
    given = [{"a": 1, "b": 2}, {"b": 0, "a": 3}]
    found = Combinations(given)
    assert list(found) == given
    assert found.names == ("a", "b")


def test_what_is_got_can_be_changed() -> None:
    for found in (Combinations({"a": [1]}), Combinations([{"a": 1}])):
        found[0]["a"] = 2
        assert found[0] == {"a": 1}


@pytest.mark.parametrize("nothing", [{}, [{}]])
def test_no_parameter_is_one_combination(nothing: Any) -> None:
    assert list(Combinations(nothing)) == [{}]


def test_a_large_product_takes_no_room() -> None:
    found = Combinations({name: range(1000) for name in "abcde"})
    assert len(found) == 1000**5
    assert found[1000**5 - 1] == dict.fromkeys("abcde", 999)


def test_there_is_an_end() -> None:
    for id in (-1, 2):
        with pytest.raises(IndexError):
            Combinations({"a": [1, 2]})[id]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ([{"a": 1}, {"b": 1}], r"must have same keys; found \['b'\] against \['a'\]"),
        ([{"a": 1}, {"a": 1, "b": 2}], r"found \['a', 'b'\] against \['a'\]"),
        ({"a": "fast"}, r"values of 'a' are a list, not 'fast'\. One value .* \{'a': \['fast'\]\}"),
        ({"a": 3}, "values of 'a' are a list, not 3"),
        ({"a": []}, "no values of 'a'"),
        ([], "list of parameters is empty"),
        (3, "or a list of dicts of parameters, not 3"),
        ("ab", "not 'ab'"),
        ([1, 2], "not 1"),
        ({1: [2]}, "name of a parameter is a text, not 1"),
        ({"id": [2]}, "No parameter can be named 'id'"),
        ([{"trial": 2}], "No parameter can be named 'trial'"),
        ({"trials": [2]}, "No parameter can be named 'trials'"),
    ],
)
def test_what_is_wrong_is_told(variables: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Combinations(variables)
