"""Arrays that are mapped into memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg

needs_numpy = pytest.mark.needs_all


class Store:
    """Where loaders put what they load; a class, so functions may read it undeclared."""

    value: Any


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
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


def zeros() -> Any:
    import numpy

    return numpy.zeros((2, 3), "int32")


def fill(array: Any) -> None:
    Store.value = array


def write(path: Path) -> None:
    array = Store.value
    path.write_text(f"{type(array).__name__} {array.dtype} {array.shape} {array.flags.writeable}")


def test_without_numpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"numpy.*pypelinin\[plots\]"):
        ppg.MemMappedDataLoadingJob("cache/array", zeros, fill, "int32")
    assert ppg.global_pipegraph.jobs == {}


@needs_numpy
def test_an_array_is_mapped_flat_and_cannot_be_written_to() -> None:
    load, calc = ppg.MemMappedDataLoadingJob("cache/array", zeros, fill, "int32")
    ppg.FileGeneratingJob("out", write).depends_on(load)
    ppg.run()
    assert (load.job_id, calc.job_id) == ("load_cache/array", "cache/array")
    assert Path("cache/array").read_bytes() == bytes(24)
    assert Path("out").read_text() == "memmap int32 (6,) False"


@needs_numpy
def test_another_dtype_of_the_same_bytes_is_a_change() -> None:
    import numpy

    for dtype in ("int32", "float32"):
        begin()
        load, _ = ppg.MemMappedDataLoadingJob(
            "cache/array", lambda dtype=dtype: numpy.zeros(6, dtype), fill, dtype
        )
        ppg.FileGeneratingJob("out", write).depends_on(load)
        assert ppg.run()["out"].outcome is ppg.JobOutcome.Success
    assert Path("out").read_text() == "memmap float32 (6,) False"


@needs_numpy
def test_another_dtype_is_a_change_even_if_no_function_is_followed() -> None:
    for dtype in ("int32", ">i4"):
        begin()
        load, _ = ppg.MemMappedDataLoadingJob(
            "cache/array", lambda dtype=dtype: zeros().astype(dtype), fill, dtype,
            depend_on_function=False,
        )  # fmt: skip
        ppg.FileGeneratingJob("out", write).depends_on(load)
        assert ppg.run()["out"].outcome is ppg.JobOutcome.Success


@needs_numpy
def test_an_unchanged_array_is_neither_calculated_nor_loaded() -> None:
    for _ in range(2):
        begin()
        load, _ = ppg.MemMappedDataLoadingJob("cache/array", zeros, fill, "int32")
        ppg.FileGeneratingJob("out", write).depends_on(load)
        found = ppg.run()
    kinds = {one.outcome for name, one in found.items() if not name.startswith("FI")}
    assert kinds == {ppg.JobOutcome.Skipped}


@needs_numpy
def test_records_are_mapped_with_their_fields() -> None:
    import numpy

    kind = numpy.dtype([("a", "i4"), ("b", "f8")])
    load, _ = ppg.MemMappedDataLoadingJob(
        "cache/array", lambda: numpy.ones(2, [("a", "i4"), ("b", "f8")]), fill, kind
    )
    ppg.FileGeneratingJob("out", lambda path: path.write_text(str(Store.value["b"].sum())))
    ppg.global_pipegraph.jobs["out"].depends_on(load)
    ppg.run()
    assert Path("out").read_text() == "2.0"


@needs_numpy
@pytest.mark.parametrize("value", [[1, 2], "array"])
def test_what_is_no_array_of_that_dtype_fails(value: Any) -> None:
    def calc(value: Any = value) -> Any:
        import numpy

        return numpy.zeros(3, "int64") if value == "array" else value

    ppg.MemMappedDataLoadingJob("cache/array", calc, fill, "int32")
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    (error,) = failed.value.exceptions
    assert isinstance(error.exception, ppg.JobContractError)
    assert "an array of int32, not " in str(error.exception)
    assert ("int64" if value == "array" else "list") in str(error.exception)
    assert not Path("cache/array").exists()


@needs_numpy
def test_objects_cannot_be_mapped() -> None:
    with pytest.raises(TypeError, match="Python objects"):
        ppg.MemMappedDataLoadingJob("cache/array", zeros, fill, object)
