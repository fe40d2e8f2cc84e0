"""Parameters as plain data, and back."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from pypelinin.tasks import Secret, TaskError
from pypelinin.tasks.hashing import masked
from pypelinin.tasks.inside.references import Reference
from pypelinin.tasks.saving import held_secrets, plain_of, revealed, value_of

VALUES: list[Any] = [
    None, True, 3, 1.5, "text", [1, [2]], {"a": {"b": 1}}, (1, (2,)), {1, 2}, frozenset("ab"),
    b"\0bytes", Path("a/b"), datetime.datetime(2026, 1, 2, 3, 4), datetime.date(2026, 1, 2), 1j,
    {1: 2}, {"$tuple": [1]}, {(1, 2): {3}}, Reference(2), {"args": [Reference(0)], "kwargs": {}},
    [], {},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_what_is_saved_comes_back_as_it_was(value: Any) -> None:
    plain = json.loads(json.dumps(plain_of(value, "X().n")))
    back = value_of(plain, "X().n", {})
    assert back == value
    assert type(back) is type(value)


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(TaskError, match=r"an item of X\(\).n\['a'\] is a builtins.object"):
        plain_of({"a": (object(),)}, "X().n")
    shown = plain_of({"a": range(3)}, "X().n", strict=False)
    assert shown == {"a": {"$repr": "range(0, 3)"}}
    with pytest.raises(TaskError, match=r"X\(\).n\['a'\] was not saved"):
        value_of(shown, "X().n", {})


@pytest.mark.parametrize("plain", [{"$bytes": 3}, {"$date": "soon"}, {"$tuple": 3}])
def test_what_was_changed_by_hand(plain: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="n is no "):
        value_of(plain, "X().n", {})


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    login = {"user": "me", "password": Secret("abc"), "more": (Secret("def"),)}
    assert "abc" not in repr(login) + json.dumps(plain_of(login, "X().login"))
    assert revealed(login) == {"user": "me", "password": "abc", "more": ("def",)}
    plain = plain_of(Secret("abc"), "X().p")
    with pytest.raises(TaskError, match="secret, whose value was not saved"):
        value_of(plain, "X().p", {})
    assert revealed(value_of(plain, "X().p", {"p": "new"})) == "new"
    assert revealed(value_of(plain, "X().p", {"X().p": "newer", "p": "new"})) == "newer"


def test_secrets_of_the_environment_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskError, match="NO_SUCH_SECRET is not in the environment"):
        Secret.from_environment("NO_SUCH_SECRET")
    monkeypatch.setenv("SOME_SECRET", "abc")
    plain = plain_of(Secret.from_environment("SOME_SECRET"), "X().p")
    assert plain == {"$secret": "SOME_SECRET"}
    monkeypatch.setenv("SOME_SECRET", "def")
    assert revealed(value_of(plain, "X().p", {})) == "def"


def test_secrets_are_found_in_all_plain_containers() -> None:
    value = {Secret("a"): [{Secret("b")}, (Secret("c"), frozenset({Secret("d")}))]}
    assert revealed(value) == {"a": [{"b"}, ("c", frozenset({"d"}))]}
    assert held_secrets(value) == ["a", "b", "c", "d"]
    assert masked(value) == {"***": [{"***"}, ("***", frozenset({"***"}))]}
