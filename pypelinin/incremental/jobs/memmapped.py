"""Large arrays: kept in a file as they are in memory, and mapped into it instead of read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pypelinin.graph.fingerprint import Tags, digest
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.extras import needed
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.jobs.cached import CachedDataLoad, CachedJobTuple, CalcJob, both

DTYPE_VIEW = "dtype"


def name_of(dtype: Any) -> bytes:
    """What tells it from others, byte order and fields included."""
    return repr(dtype.descr).encode()


class ArrayCalcJob(CalcJob):
    """Writes an array's bytes to a file."""

    def __init__(
        self,
        filename: str | Path,
        function: Callable[[], Any],
        dtype: Any,
        resources: Resources,
        depend_on_function: bool,
        allowed_non_locals: Collection[str] | None,
    ) -> None:
        super().__init__(filename, function, resources, depend_on_function, allowed_non_locals)
        self.dtype = dtype

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), name_of(self.dtype))

    def spec(self) -> Tags:
        return ((DTYPE_VIEW, digest(name_of(self.dtype))),)

    def write(self, value: Any, name: str) -> None:
        numpy = needed("numpy", "plots", "MemMappedDataLoadingJob")
        if not isinstance(value, numpy.ndarray) or value.dtype != self.dtype:
            found = getattr(value, "dtype", None) or type(value).__name__
            raise JobContractError(
                f"{self!r}: its function returns an array of {self.dtype}, not {found}.",
                remedy="Convert it with astype(), or say another dtype.",
            )
        value.tofile(name)


class MappedLoad(CachedDataLoad):
    """Calls *load_function* with the array, which cannot be written to."""

    def __init__(
        self,
        filename: str | Path,
        load_function: Callable[[Any], Any],
        dtype: Any,
        depend_on_function: bool,
        allowed_non_locals: Collection[str] | None,
    ) -> None:
        super().__init__(filename, load_function, depend_on_function, allowed_non_locals)
        self.dtype = dtype

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), name_of(self.dtype))

    def spec(self) -> Tags:
        return ((DTYPE_VIEW, digest(name_of(self.dtype))),)

    def read(self) -> Any:
        numpy = needed("numpy", "plots", "MemMappedDataLoadingJob")
        return numpy.memmap(self.cache_filename, self.dtype, mode="r")

    def tags(self) -> Tags:
        own = name_of(self.dtype)
        if not self.depend_on_function:
            return ((DTYPE_VIEW, digest(own)),)
        return tuple((view, digest(code, own)) for view, code in function_tags(self.function))


def MemMappedDataLoadingJob(
    cache_filename: str | Path,
    calc_function: Callable[[], Any],
    load_function: Callable[[Any], Any],
    dtype: Any,
    depend_on_function: bool = True,
    resources: Resources = Resources.SingleCore,
    allowed_non_locals_calc: Collection[str] | None = None,
    allowed_non_locals_load: Collection[str] | None = None,
) -> CachedJobTuple:
    """The array of *dtype* that *calc_function* returns is written to a file; *load_function* is
    called with that file, mapped read-only: a flat array, whatever shape it had.

    Raises ModuleNotFoundError without numpy, TypeError for a dtype whose bytes mean nothing in
    another process.
    """
    numpy = needed("numpy", "plots", "MemMappedDataLoadingJob")
    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"Arrays of {kind} hold Python objects, which cannot be mapped.")
    load = MappedLoad(
        cache_filename, load_function, kind, depend_on_function, allowed_non_locals_load
    )
    calc = ArrayCalcJob(
        cache_filename, calc_function, kind, resources, depend_on_function,
        allowed_non_locals_calc,
    )  # fmt: skip
    return both(load, calc)
