"""Modules that a function imports when it runs, without running them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pypelinin.runtime.code_views import codes_of
from pypelinin.tasks.imports import Sources, imported


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.syspath_prepend(tmp_path)

    def make(**texts: str) -> None:
        for name, text in texts.items():
            place = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)

    return make


def names(text: str, package: str = "") -> list[str]:
    code = compile(text, "made", "exec")
    return [name for inner in codes_of(code) for name in imported(inner, package)]


def test_all_that_may_be_a_module_is_named() -> None:
    assert names("def f():\n    import json.decoder as j, os") == ["json.decoder", "os"]
    assert names("from a import b, c") == ["a", "a.b", "a.c"]
    assert names("from .a import b", "top.inner") == ["top.inner.a", "top.inner.a.b"]
    assert names("from .. import b", "top.inner") == ["top", "top.b"]
    assert names("from ..... import b", "top") == []
    assert names("x = 1") == []


def digest(name: str) -> bytes:
    return Sources().digest([name])


def test_the_source_counts_without_comments_and_nothing_is_loaded(
    write: Callable[..., None],
) -> None:
    write(reached__one="raise SystemExit  # 1\n")
    before = digest("reached.one")
    write(reached__one="'What for.'\nraise SystemExit\n")
    assert digest("reached.one") == before != b""
    write(reached__one="raise SystemExit(2)\n")
    assert digest("reached.one") != before


def test_what_it_imports_counts_as_well(write: Callable[..., None]) -> None:
    write(
        reached__a="from . import b\nimport json", reached__b="def g():\n    from reached import a"
    )
    before = digest("reached.a")
    write(reached__b="def g():\n    return 2")
    assert digest("reached.a") != before


def test_what_is_not_of_the_project_does_not_count(write: Callable[..., None]) -> None:
    write(reached_flat="x = 1")
    for name in ("json", "sys", "nowhere", "nowhere.at_all", "reached_flat.x", "pypelinin.tasks"):
        assert digest(name) == b""
    assert digest("reached_flat") != b""


def test_what_is_no_python_counts_as_it_is(write: Callable[..., None]) -> None:
    write(reached_broken="def f(:\n")
    before = digest("reached_broken")
    write(reached_broken="def g(:\n")
    assert digest("reached_broken") not in (before, b"")
