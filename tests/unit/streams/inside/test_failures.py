"""Items that failed: which, where, and why, whatever the exception is like."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import pytest

from pypelinin.errors import JobError, NotPicklable, RemoteTraceback
from pypelinin.streams.inside.failures import (
    ITEM_TEXT_MAX,
    TEXT_MAX,
    TRACEBACK_MAX,
    ItemFailed,
    error_of,
    failure_of,
    of_the_user,
    pack_items,
    shown,
)


class Plain(Exception):
    pass


class Stuck(Exception):
    """Does not travel."""

    def __reduce__(self) -> Any:
        raise TypeError("not me")


class OneWay(Exception):
    """Travels, and does not arrive."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("only one argument is kept")


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def there_and_back(error: BaseException, item: Any = 7) -> ItemFailed:
    return error_of(failure_of("stage", item, raised(error)))


def test_an_exception_comes_back_itself() -> None:
    error = there_and_back(Plain("why"))
    assert isinstance(error, JobError)
    assert str(error).startswith("stage failed for the item 7: ")
    assert "test_failures.Plain: why" in str(error)
    assert "on_error='skip' or 'collect'" in str(error)
    assert (error.stage, error.item) == ("stage", "7")
    assert type(error.exception) is Plain
    assert error.exception.args == ("why",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in raised" in str(error.__cause__)


def test_a_builtin_needs_no_module() -> None:
    assert "item 7: KeyError: 'x'" in str(there_and_back(KeyError("x")))


@pytest.mark.parametrize(
    "error", [Stuck("why"), OneWay(1, 2), Plain(threading.Lock()), Plain(i for i in "x")]
)
def test_an_exception_that_does_not_travel_is_told_of(error: Exception) -> None:
    found = there_and_back(error)
    assert found.exception is None
    assert type(error).__name__ in str(found)
    assert str(error) in str(found)
    assert found.__cause__ is not None


def test_an_exception_without_words_is_told_of() -> None:
    found = there_and_back(Wordless())
    assert "Wordless: <its text raises ValueError>" in str(found)
    assert isinstance(found.exception, Wordless)


def test_what_is_no_ordinary_exception() -> None:
    assert isinstance(there_and_back(SystemExit(3)).exception, SystemExit)


def test_a_chain_is_in_the_traceback() -> None:
    error = Plain("outer")
    error.__cause__ = raised(KeyError("inner"))
    text = str(there_and_back(error).__cause__)
    assert "inner" in text
    assert "direct cause" in text


def test_long_texts_are_shortened() -> None:
    failure = failure_of("stage", 1, raised(Plain("x" * 10**6)))
    assert len(failure.text) == TEXT_MAX
    assert len(failure.traceback) == TRACEBACK_MAX
    assert len(str(error_of(failure))) < TEXT_MAX + 500


class Shy:
    def __repr__(self) -> str:
        raise ValueError


def test_items_are_shown_shortened() -> None:
    assert shown([1]) == "[1]"
    assert shown("x" * (ITEM_TEXT_MAX - 2)) == repr("x" * (ITEM_TEXT_MAX - 2))
    long = shown("x" * ITEM_TEXT_MAX)
    assert len(long) == ITEM_TEXT_MAX
    assert long.endswith("...")
    assert shown(Shy()) == "<Shy whose repr raises ValueError>"


def test_the_error_itself_travels() -> None:
    found = pickle.loads(pickle.dumps(there_and_back(Plain("why"))))
    assert type(found) is ItemFailed
    assert str(found) == str(there_and_back(Plain("why")))
    assert (found.stage, found.item) == ("stage", "7")
    assert type(found.exception) is Plain


def test_a_traceback_begins_where_the_users_code_does() -> None:
    def broken() -> None:
        json.loads("")

    begins = {"__name__": "pypelinin.streams.anywhere"}
    exec("def play(function):\n    function()", begins)
    with pytest.raises(json.JSONDecodeError) as caught:
        begins["play"](broken)  # type: ignore[operator]  # exec made it
    # the test's own frame stands before that of the package; slots begin in the package
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    text = failure_of("stage", 1, caught.value).traceback
    assert "in play" not in text
    assert "in broken" in text
    assert "in loads" in text


def test_a_traceback_without_the_users_code_stays_whole() -> None:
    begins = {"__name__": "pypelinin.streams.anywhere"}
    exec("def play(item):\n    return item()", begins)
    with pytest.raises(TypeError) as caught:
        begins["play"](1)  # type: ignore[operator]  # exec made it
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    assert of_the_user(caught.value) is None
    assert "in play" in failure_of("stage", 1, caught.value).traceback


def test_the_item_that_cannot_travel_is_told_of_alone() -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="The item <unlocked") as caught:
        pack_items([1, lock])
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__context__ is None  # no word of the whole list


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no."), "job failed for the item 1: ValueError: no."),
        (ValueError("no"), "job failed for the item 1: ValueError: no."),
        (KeyboardInterrupt(), "job failed for the item 1: KeyboardInterrupt."),
    ],
)
def test_it_is_a_sentence(error: BaseException, said: str) -> None:
    assert error_of(failure_of("job", 1, error)).what == said
