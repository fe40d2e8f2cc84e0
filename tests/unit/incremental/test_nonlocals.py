"""Which outer variables of a function nothing tracks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.exceptions import FunctionUsesUndeclaredNonLocalsError
from pypelinin.incremental.nonlocals import check, global_names, undeclared

data = [1]
more = {"a": 1}


def helper() -> None: ...


class Kind:
    pass


def test_data_is_found_and_code_is_not() -> None:
    def function() -> Any:
        return [
            data, helper, Kind, os, len, Path,
            not_there,  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose
        ]  # fmt: skip

    assert undeclared(function) == ["data"]


def test_data_of_inner_functions_is_found() -> None:
    def function() -> Any:
        return [lambda: more for _ in (1,)]

    assert undeclared(function) == ["more"]


def test_what_is_closed_over_is_found_but_not_self() -> None:
    class Holder:
        def make(self, text: str) -> Any:
            return lambda: (self, text)

    assert undeclared(Holder().make("x")) == ["text"]


def test_defaults_and_what_is_allowed_are_declared() -> None:
    def bound(data: Any = data) -> Any:
        return data, more

    assert undeclared(bound, ["more"]) == []


def test_attributes_and_assigned_names_are_none() -> None:
    def function(x: Any) -> Any:
        more = x.data
        return more, more

    assert undeclared(function) == []


def test_jobs_are_none(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.ParameterInvariant("p", 1)
    assert undeclared(lambda: job) == []


def test_the_error_says_how_to_declare() -> None:
    with pytest.raises(FunctionUsesUndeclaredNonLocalsError) as caught:
        check(lambda: (data, more), None, "a.txt")
    text = str(caught.value)
    assert "a.txt" in text
    assert "data, more" in text
    assert "data=data" in text
    assert "depends_on_params" in text
    check(lambda: (data, more), ("data", "more"), "a.txt")


def test_names_are_read_once_from_a_code() -> None:
    def function() -> Any:
        return data

    assert global_names(function.__code__) is global_names(function.__code__)
