"""Cached values: calculated once, kept in a file, loaded for those that read them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.jobs.cached import read_pickle, write_pickle


class Store:
    """Where loaders put what they load; a class, so functions may read it undeclared."""

    entries: dict[str, Any]
    value: Any


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Store.entries = {}
    begin()
    yield
    ppg.change_global_pipegraph(None)
    if "value" in vars(Store):
        del Store.value


def begin() -> ppg.PyPipeGraph:
    return ppg.new(
        cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg", log_level=ppg.default,
        allow_short_filenames=True, log_retention=ppg.default,
        prevent_absolute_paths=ppg.default, push_events=ppg.default, log_address=None,
    )  # fmt: skip


def calc() -> list[int]:
    with open("log", "a") as log:
        log.write("calculated\n")
    return [1, 2, 3]


def calc_otherwise() -> list[int]:
    with open("log", "a") as log:
        log.write("calculated otherwise\n")
    return [1, 2, 3]


def fill(value: Any) -> None:
    Store.value = value


def fill_reversed(value: Any) -> None:
    Store.value = value[::-1]


def write(path: Path) -> None:
    path.write_text(repr(Store.value))


def write_entry(path: Path) -> None:
    path.write_text(repr(Store.entries["a"]))


def data(calc_function: Any = calc, load_function: Any = fill) -> ppg.CachedJobTuple:
    return ppg.CachedDataLoadingJob("cache/data", calc_function, load_function)


def attribute(calc_function: Any = calc) -> ppg.CachedJobTuple:
    return ppg.CachedAttributeLoadingJob("cache/data", Store, "value", calc_function)


def entry(calc_function: Any = calc) -> ppg.CachedJobTuple:
    return ppg.CachedDictEntryLoadingJob("cache/data", Store.entries, "a", calc_function)


KINDS = {"data": (data, write), "attribute": (attribute, write), "entry": (entry, write_entry)}
Kind = tuple[Callable[..., ppg.CachedJobTuple], Callable[[Path], None]]


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def ended() -> dict[str, str]:
    """How each job ended, but for invariants."""
    found = ppg.run()
    return {name: one.outcome.name for name, one in found.items() if not name.startswith("FI")}


def calculations() -> int:
    return len(Path("log").read_text().splitlines())


# --- two jobs -----------------------------------------------------------------------------------


def test_a_value_is_calculated_kept_and_loaded(kind: Kind) -> None:
    make, use = kind
    load, calculation = make()
    assert (load.job_id, calculation.job_id) == ("load_cache/data", "cache/data")
    ppg.FileGeneratingJob("out", use).depends_on(load)
    assert set(ended().values()) == {"Success"}
    assert Path("out").read_text() == "[1, 2, 3]"
    assert pickle.loads(Path("cache/data").read_bytes()) == [1, 2, 3]
    assert Store.entries == {}


def test_an_unchanged_value_is_neither_calculated_nor_loaded_again(kind: Kind) -> None:
    make, use = kind
    for _ in range(2):
        begin()
        ppg.FileGeneratingJob("out", use).depends_on(make().load)
        found = ended()
    assert set(found.values()) == {"Skipped"}


def test_another_reader_loads_it_and_does_not_calculate(kind: Kind) -> None:
    make, use = kind
    for name in ("one", "two"):
        begin()
        ppg.FileGeneratingJob(name, use).depends_on(make().load)
        ended()
    assert Path("two").read_text() == "[1, 2, 3]"
    assert calculations() == 1


def test_it_is_calculated_without_readers_and_then_not_loaded(kind: Kind) -> None:
    kind[0]()
    assert ended() == {"cache/data": "Success", "load_cache/data": "Skipped"}


def test_readers_rest_if_another_calculation_gives_the_same(kind: Kind) -> None:
    make, use = kind
    for function in (calc, calc_otherwise):
        begin()
        ppg.FileGeneratingJob("out", use).depends_on(make(function).load)
        found = ended()
    assert found["cache/data"] == "Success"
    assert found["out"] == "Skipped"


def test_readers_run_if_the_value_is_another(kind: Kind) -> None:
    make, use = kind
    for function in (calc, lambda: [4]):
        begin()
        ppg.FileGeneratingJob("out", use).depends_on(make(function).load)
        ended()
    assert Path("out").read_text() == "[4]"


@pytest.mark.parametrize("how", ["deleted", "emptied", "overwritten"])
def test_a_file_that_is_not_as_it_was_is_made_again_and_readers_rest(how: str, kind: Kind) -> None:
    make, use = kind
    for _ in range(2):
        begin()
        ppg.FileGeneratingJob("out", use).depends_on(make().load)
        found = ended()
        if how == "deleted":
            Path("cache/data").unlink()
        else:
            Path("cache/data").write_bytes(b"" if how == "emptied" else b"something else")
    assert found == {"cache/data": "Success", "load_cache/data": found["load_cache/data"],
                     "out": "Skipped"}  # fmt: skip
    assert calculations() == 2


def test_readers_run_if_the_value_is_loaded_in_another_way() -> None:
    for function in (fill, fill_reversed):
        begin()
        ppg.FileGeneratingJob("out", write).depends_on(data(calc, function).load)
        ended()
    assert Path("out").read_text() == "[3, 2, 1]"
    assert calculations() == 1


def test_readers_rest_if_the_way_of_loading_is_not_followed() -> None:
    for function in (fill, fill_reversed):
        begin()
        cached = ppg.CachedDataLoadingJob("cache/data", calc, function, depend_on_function=False)
        ppg.FileGeneratingJob("out", write).depends_on(cached.load)
        ppg.FileGeneratingJob(function.__name__, write).depends_on(cached.load)
        found = ended()
    assert found["out"] == "Skipped"
    assert found["fill_reversed"] == "Success"


def test_what_the_value_is_made_from_goes_to_the_calculation(kind: Kind) -> None:
    make, use = kind
    for text in ("one", "two"):
        begin()
        Path("input").write_text(text)
        cached = make(lambda: Path("input").read_text())
        cached.calc.depends_on_file("input")
        ppg.FileGeneratingJob("out", use).depends_on(cached.load)
        ended()
    assert Path("out").read_text() == "'two'"


def test_both_are_defined_again_as_they_are(kind: Kind) -> None:
    one, two = kind[0](), kind[0]()
    assert one.load is two.load
    assert one.calc is two.calc
    with pytest.raises(ppg.JobRedefinitionError):
        kind[0](calc_otherwise)


def test_a_path_may_be_written_in_another_way(kind: Kind) -> None:
    one = data()
    two = ppg.CachedDataLoadingJob("./cache//data", calc, fill)
    assert (one.load, one.calc) == (two.load, two.calc)


# --- what is refused ----------------------------------------------------------------------------


def test_nothing_depends_on_the_two_at_once(kind: Kind) -> None:
    cached = kind[0]()
    job = ppg.FileGeneratingJob("out", write)
    with pytest.raises(TypeError, match=r"depend on its \.load"):
        job.depends_on(cached)
    with pytest.raises(TypeError, match=r"\.calc\.depends_on"):
        cached.depends_on(job)
    assert job.upstreams == [ppg.global_pipegraph.jobs[f"FI{write.__qualname__}"]]


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="function"):
        ppg.CachedAttributeLoadingJob("cache/data", Store, "value", 5)
    with pytest.raises(TypeError, match="named by a str"):
        ppg.CachedAttributeLoadingJob(5, Store, "value", calc)
    with pytest.raises(ValueError, match="name of an attribute"):
        ppg.CachedAttributeLoadingJob("cache/other", Store, 5, calc)
    with pytest.raises(ValueError, match="mapping"):
        ppg.CachedDictEntryLoadingJob("cache/other", [], "a", calc)
    assert "cache/other" not in ppg.global_pipegraph.jobs


# --- what goes wrong ----------------------------------------------------------------------------


class Unfit:
    """Cannot be pickled, after some of it was written."""

    def __reduce__(self) -> Any:
        raise ValueError("not me")


class Lost:
    """Can be pickled, and not be read."""

    def __reduce__(self) -> Any:
        return _no_longer, ()


def _no_longer() -> None:
    raise ImportError("its class is gone")


def test_of_a_value_that_cannot_be_pickled_nothing_stays(kind: Kind) -> None:
    kind[0](lambda: [b"x" * 1_000_000, Unfit()])
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    (error,) = failed.value.exceptions
    assert isinstance(error.exception, ValueError)
    assert "cache/data" in error.trace
    assert not Path("cache/data").exists()


def test_a_calculation_that_fails_leaves_no_file(kind: Kind) -> None:
    def fail() -> None:
        raise ValueError("no value")

    kind[0](fail)
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert not Path("cache/data").exists()


def test_a_pickle_that_cannot_be_read_fails_the_loader_and_is_named(kind: Kind) -> None:
    make, use = kind
    ppg.FileGeneratingJob("out", use).depends_on(make(lambda: Lost()).load)
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    (error,) = failed.value.exceptions
    assert isinstance(error.exception, pickle.UnpicklingError)
    assert "'cache/data'" in str(error.exception)
    assert "its class is gone" in str(error.exception)
    found = ppg.global_pipegraph.last_run_result
    assert found["load_cache/data"].outcome is ppg.JobOutcome.Failed
    assert found["out"].error == "Upstream"


def test_pickles_are_read_as_they_were_written(tmp_path: Path) -> None:
    name = str(tmp_path / "pickle")
    write_pickle({"a": (1, None)}, name)
    assert read_pickle(name) == {"a": (1, None)}
    Path(name).write_bytes(Path(name).read_bytes()[:-3])
    with pytest.raises(pickle.UnpicklingError, match="pickle"):
        read_pickle(name)
    os.unlink(name)
    with pytest.raises(FileNotFoundError):
        read_pickle(name)
