"""Values that take long to calculate: kept in a file, and loaded for the jobs that read them.

One job of version 1 is two: the one that loads, which others depend on, and its `lfg`, which
calculates and writes the file. What the value is made from, and what calculating it takes, is
said to the job itself and goes to that one. Nothing is calculated that nobody loads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pypelinin.graph.declared import CACHED, Policy
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.extras import needed
from pypelinin.incremental.jobs import cached as core
from pypelinin.incremental.jobs import memmapped
from pypelinin.incremental.v1.base import EVERYTHING, Job
from pypelinin.incremental.v1.files import Writing
from pypelinin.incremental.v1.invariants import DependingJob, relative
from pypelinin.incremental.v1.loading import check_same_attribute


class CalcJob(Writing, core.CalcJob):
    """Keeps what *function* returns in a file, if somebody loads it."""

    policy: ClassVar[Policy] = CACHED
    arguments_max: ClassVar[int] = 0

    def __init__(self, cache_filename: str | Path, function: Callable[[], Any]) -> None:
        super().__init__(cache_filename, function, allowed_non_locals=EVERYTHING)


class ArrayCalcJob(Writing, memmapped.ArrayCalcJob):
    """Keeps the array that *function* returns in a file, if somebody loads it."""

    policy: ClassVar[Policy] = CACHED
    arguments_max: ClassVar[int] = 0


class Cached(DependingJob):
    """The job that loads."""

    lfg: Any

    def take(self, filename: str, lfg: Any) -> None:
        """It loads what *lfg* writes."""
        self.outputs, self.job_id = (f"{filename}_load",), f"{filename}_load"
        self.lfg = lfg

    def registered(self) -> None:
        super().registered()
        self.graph.connect(self, self.lfg, self.lfg.outputs)

    def depends_on(self, *others: Any) -> Any:
        """What the value is made from. Returns the job itself."""
        self.lfg.depends_on(*others)
        return self

    def depends_on_file(self, filename: str | Path) -> Any:
        return self.lfg.depends_on_file(filename)

    def depends_on_params(self, params: Any, job_name_postfix: str = "") -> Any:
        return self.lfg.depends_on_params(params, job_name_postfix)

    def depends_on_func(self, function: Any, name: Any = None, **options: Any) -> Any:
        return self.lfg.depends_on_func(function, name, **options)

    def ignore_code_changes(self) -> None:
        """Let changes of what calculates the value not make it run again."""
        self.lfg.ignore_code_changes()

    def use_cores(self, cores: int) -> Any:
        self.lfg.use_cores(cores)
        return self

    def _take_needs(self) -> None:
        self.lfg.cores_needed, self.lfg.memory_needed = self._cores_needed, self._memory_needed


class CachedDataLoadingJob(Cached, core.CachedDataLoad):
    """What *calculating_function* returns is kept in a file; where it is needed
    *loading_function* is called with it, and puts it in its place."""

    def __init__(
        self,
        cache_filename: str | Path,
        calculating_function: Callable[[], Any],
        loading_function: Callable[[Any], Any],
    ) -> None:
        filename = relative(cache_filename)
        super().__init__(filename, loading_function, allowed_non_locals=EVERYTHING)
        self.take(str(cache_filename), CalcJob(filename, calculating_function))


class CachedAttributeLoadingJob(Cached, core.CachedAttributeLoad):
    """What *calculating_function* returns is kept in a file, and put into an attribute of
    *target_object* while jobs need it."""

    def __init__(
        self,
        cache_filename: str | Path,
        target_object: Any,
        target_attribute: str,
        calculating_function: Callable[[], Any],
    ) -> None:
        filename = relative(cache_filename)
        super().__init__(filename, target_object, target_attribute)
        self.take(str(cache_filename), CalcJob(filename, calculating_function))

    def carry_over(self, known: Job) -> None:
        super().carry_over(known)
        if isinstance(known, CachedAttributeLoadingJob):
            check_same_attribute(self, known)


CachedJob = CachedAttributeLoadingJob


class MemMappedDataLoadingJob(Cached, memmapped.MappedLoad):
    """The array that *calculating_function* returns is kept in a file; *loading_function* is
    called with that file mapped, read-only."""

    def __init__(
        self,
        cache_filename: str | Path,
        calculating_function: Callable[[], Any],
        loading_function: Callable[[Any], Any],
        dtype: Any,
    ) -> None:
        numpy = needed("numpy", "plots", "MemMappedDataLoadingJob")
        filename, kind = relative(cache_filename), numpy.dtype(dtype)
        super().__init__(filename, loading_function, kind, True, EVERYTHING)
        calc = ArrayCalcJob(
            filename, calculating_function, kind, Resources.SingleCore, True, EVERYTHING
        )
        self.take(str(cache_filename), calc)


__all__ = [
    "CachedAttributeLoadingJob", "CachedDataLoadingJob", "CachedJob", "MemMappedDataLoadingJob",
]  # fmt: skip
