"""Values that are calculated once: one job in version 1, and nothing without a reader."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class Holder:
    """Something with attributes."""


HOLDER: Any = Holder()


def calculated(value: object = 42) -> Any:
    def calculate() -> object:
        with Path("calculated").open("a") as file:
            file.write("x")
        return value

    return calculate


def times() -> int:
    return len(Path("calculated").read_text()) if Path("calculated").exists() else 0


def reading(ppg: ModuleType) -> Any:
    return ppg.FileGeneratingJob("out", lambda: Path("out").write_text(repr(HOLDER.value)))


@pytest.mark.parametrize("name", ["CachedJob", "CachedAttributeLoadingJob"])
def test_a_value_is_calculated_once_and_loaded_where_it_is_read(
    ppg: ModuleType, again: Any, name: str
) -> None:
    def define(text: str = "") -> None:
        cached = getattr(ppg, name)("cache/value", HOLDER, "value", calculated())
        out = reading(ppg).depends_on(cached)
        out.depends_on_params(text)

    assert again(define) == ["cache/value", "cache/value_load", "out"]
    assert Path("out").read_text() == "42"
    assert again(define) == []
    assert "out" in again(lambda: define("new"))
    assert times() == 1
    assert not hasattr(HOLDER, "value")


def test_nothing_is_calculated_that_nobody_reads(ppg: ModuleType) -> None:
    cached = ppg.CachedJob("cache", HOLDER, "value", calculated())
    ppg.CachedDataLoadingJob("cache2", calculated(), lambda value: None)
    ppg.run_pipegraph()
    assert times() == 0
    assert not Path("cache").exists()
    assert not cached.was_run
    assert isinstance(cached, ppg.Job)


def test_the_function_that_loads_gets_the_value(ppg: ModuleType) -> None:
    def load(value: object) -> None:
        HOLDER.value = value

    cached = ppg.CachedDataLoadingJob("cache", calculated([1, 2]), load)
    assert cached.job_id == "cache_load"
    reading(ppg).depends_on(cached)
    ppg.run_pipegraph()
    assert Path("out").read_text() == "[1, 2]"


def test_what_the_value_is_made_from_goes_to_the_job_that_calculates(
    ppg: ModuleType, again: Any
) -> None:
    def define(value: int) -> None:
        source = ppg.FileGeneratingJob("source", lambda: Path("source").write_text("s"))
        cached = ppg.CachedJob("cache", HOLDER, "value", calculated())
        assert cached.depends_on(source) is cached
        cached.use_cores(2).depends_on_params(value)
        assert cached.lfg.cores_needed == 2
        assert source in cached.lfg.prerequisites
        assert source not in cached.prerequisites
        reading(ppg).depends_on(cached)

    again(lambda: define(1))
    assert times() == 1
    again(lambda: define(1))
    assert times() == 1
    again(lambda: define(2))
    assert times() == 2


def test_changes_of_the_calculation_are_ignored_if_that_was_said(
    ppg: ModuleType, again: Any
) -> None:
    def define(value: int) -> None:
        cached = ppg.CachedJob("cache", HOLDER, "value", calculated(value))
        cached.ignore_code_changes()
        reading(ppg).depends_on(cached)

    again(lambda: define(1))
    again(lambda: define(2))
    assert times() == 1
    assert Path("out").read_text() == "1"


def test_a_calculation_that_fails_leaves_nothing(ppg: ModuleType) -> None:
    def bad() -> None:
        raise KeyError("k")

    cached = ppg.CachedJob("cache", HOLDER, "value", bad)
    out = reading(ppg).depends_on(cached)
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    assert isinstance(info.value.exceptions[0], KeyError)
    assert cached.lfg.failed
    assert out.error_reason == "Indirect"
    assert not Path("cache").exists()


def test_an_attribute_belongs_to_one_job(ppg: ModuleType) -> None:
    first = ppg.CachedJob("cache", HOLDER, "value", calculated())
    assert ppg.CachedJob("cache", HOLDER, "value", calculated(3)) is first
    with pytest.raises(ppg.JobContractError, match="object"):
        ppg.CachedJob("cache", Holder(), "value", calculated())
    with pytest.raises(ValueError):
        ppg.CachedJob("other", HOLDER, "value", 3)


@pytest.mark.needs_all
def test_an_array_is_mapped(ppg: ModuleType) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: 'pypelinin[test-all]'")

    def load(array: Any) -> None:
        HOLDER.value = float(array.sum())

    cached = ppg.MemMappedDataLoadingJob("cache", lambda: numpy.arange(4.0), load, numpy.float64)
    reading(ppg).depends_on(cached)
    ppg.run_pipegraph()
    assert Path("out").read_text() == "6.0"
    assert Path("cache").stat().st_size == 32
