"""Loaders of version 1: what they return is the data, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DATA: list[str] = []


class Holder:
    """Something with attributes."""


def test_a_loader_may_return_nothing(ppg: ModuleType, again: Any) -> None:
    def define() -> None:
        DATA.clear()
        loader = ppg.DataLoadingJob("load", lambda: DATA.append("loaded"))
        chained = ppg.DataLoadingJob("next", lambda: DATA.append("chained")).depends_on(loader)
        out = ppg.FileGeneratingJob("out", lambda: Path("out").write_text(repr(DATA)))
        out.depends_on(chained)

    assert again(define) == ["load", "next", "out"]
    assert Path("out").read_text() == "['loaded', 'chained']"
    assert again(define) == []
    assert DATA == []


def test_data_changes_with_what_it_depends_on(ppg: ModuleType, again: Any) -> None:
    def define(value: int) -> Any:
        def inner() -> None:
            loader = ppg.DataLoadingJob("load", lambda: None)
            loader.depends_on_params(value)
            ppg.FileGeneratingJob("out", lambda: Path("out").write_text("o")).depends_on(loader)

        return inner

    assert "out" in again(define(1))
    assert again(define(1)) == []
    assert "out" in again(define(2))


@pytest.mark.parametrize("value", [5, None, "text", {"a": [1]}])
def test_an_attribute_may_have_any_value(ppg: ModuleType, value: object) -> None:
    holder = Holder()
    loader = ppg.AttributeLoadingJob("load", holder, "value", lambda: value)
    out = ppg.FileGeneratingJob(
        "out",
        lambda: Path("out").write_text(repr(holder.value)),  # type: ignore[attr-defined]  # loaded
    )
    out.depends_on(loader)
    ppg.run_pipegraph()
    assert Path("out").read_text() == repr(value)
    assert not hasattr(holder, "value")


def test_an_attribute_belongs_to_one_job(ppg: ModuleType) -> None:
    holder = Holder()
    first = ppg.AttributeLoadingJob("load", holder, "value", lambda: 1)
    assert ppg.AttributeLoadingJob("load", holder, "value", lambda: 2) is first
    with pytest.raises(ppg.JobContractError, match="object"):
        ppg.AttributeLoadingJob("load", Holder(), "value", lambda: 1)
    with pytest.raises(ppg.JobContractError, match="attribute"):
        ppg.AttributeLoadingJob("load", holder, "other", lambda: 1)
    with pytest.raises(ValueError, match="attribute"):
        ppg.AttributeLoadingJob("other", holder, 3, lambda: 1)


def test_a_loader_that_fails_fails_its_readers(ppg: ModuleType) -> None:
    def bad() -> None:
        raise KeyError("no data")

    loader = ppg.DataLoadingJob("load", bad)
    out = ppg.FileGeneratingJob("out", lambda: None).depends_on(loader)
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    assert isinstance(info.value.exceptions[0], KeyError)
    assert out.error_reason == "Indirect"
