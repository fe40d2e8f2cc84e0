"""Values that take long to calculate: kept in a file, and loaded for the jobs that read them.

Each of these is two jobs: `calc` calculates the value and pickles it, `load` reads it.
"""

from __future__ import annotations

import functools
import os
import pickle
import time
from collections.abc import Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from pypelinin.graph.fingerprint import Fingerprint, Tags, digest
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.jobs.base import checked_callable
from pypelinin.incremental.jobs.files import (
    FileFacts,
    FileGeneratingJob,
    FileJob,
    checked_file,
    make_room,
)
from pypelinin.incremental.jobs.invariants import FILE_VIEW
from pypelinin.incremental.jobs.loading import (
    AttributeLoadingJob,
    DataLoadingJob,
    DictEntryLoadingJob,
    Loaded,
    LoadingJob,
)


class CachedJobTuple(NamedTuple):
    """The two jobs. Others depend on `load`; what the value is made from goes to `calc`."""

    load: LoadingJob
    calc: FileGeneratingJob

    @property
    def depends_on_refused(self) -> str:
        return (
            f"{self.calc.job_id!r} is two jobs. To read the value, depend on its .load; to let "
            "it be made from something, say .calc.depends_on(...)."
        )

    def depends_on(self, *others: Any) -> Any:
        """Raises TypeError: which of the two would it be?"""
        raise TypeError(self.depends_on_refused)


# --- the job that calculates ------------------------------------------------------------------


class CalcJob(FileGeneratingJob):
    """Keeps what *function* returns in a file."""

    def __init__(
        self,
        filename: str | Path,
        function: Callable[[], Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        checked_callable(function, "What calculates a value")
        FileJob.__init__(
            self, [checked_file(filename)], function, resources, depend_on_function,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip

    def perform(self, context: Any) -> list[FileFacts]:
        name = self.outputs[0]
        make_room(name)
        begun = time.time()
        value = self.function()
        try:
            self.write(value, name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return self.facts(begun)

    def write(self, value: Any, name: str) -> None:
        write_pickle(value, name)


def write_pickle(value: Any, name: str) -> None:
    """Raises what makes the value unfit for that, with a note that names the file."""
    with open(name, "wb") as file:
        try:
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"It was raised while {name!r} was written: the value was pickled.")
            raise


def read_pickle(name: str) -> Any:
    """Raises UnpicklingError that names the file, and OSError."""
    with open(name, "rb") as file:
        try:
            return pickle.load(file)
        except Exception as error:
            raise pickle.UnpicklingError(
                f"{name!r} cannot be unpickled: {type(error).__name__}: {error}. Remove it, and "
                "it will be calculated again."
            ) from error


# --- the jobs that load -----------------------------------------------------------------------


class CachedLoad(LoadingJob):
    """The fingerprint of what it loads is that of the file."""

    cache_filename: str

    def tags(self) -> Tags:
        """What else the data depends on."""
        return ()

    def digested(self, value: Any, inputs: bytes) -> Loaded:
        return FILE_VIEW, b""  # `settle` knows it

    def settle(self, result: Any) -> Fingerprint:
        content = self.graph.running.history.files.digest(self.cache_filename)
        tags = tuple((view, digest(content, own)) for view, own in self.tags())
        return self.as_known((tags or ((FILE_VIEW, content),),))


class CachedDataLoad(CachedLoad, DataLoadingJob):
    """Calls *load_function* with the value. What that does to the value counts, too."""

    def __init__(
        self,
        filename: str | Path,
        load_function: Callable[[Any], Any],
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        self.cache_filename = os.path.normpath(checked_file(filename))
        LoadingJob.__init__(
            self, f"load_{self.cache_filename}", load_function, depend_on_function,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip

    def load(self) -> Any:
        return self.function(self.read())

    def read(self) -> Any:
        return read_pickle(self.cache_filename)

    def tags(self) -> Tags:
        return function_tags(self.function) if self.depend_on_function else ()


class CachedAttributeLoad(CachedLoad, AttributeLoadingJob):
    """Puts the value into an attribute."""

    def __init__(self, filename: str | Path, object: Any, attribute_name: str) -> None:
        self.cache_filename = os.path.normpath(checked_file(filename))
        AttributeLoadingJob.__init__(
            self, f"load_{self.cache_filename}", object, attribute_name,
            functools.partial(read_pickle, self.cache_filename), depend_on_function=False,
        )  # fmt: skip


class CachedDictEntryLoad(CachedLoad, DictEntryLoadingJob):
    """Puts the value into an entry of a dict."""

    def __init__(
        self, filename: str | Path, object: MutableMapping[Any, Any], attribute_name: Any
    ) -> None:
        self.cache_filename = os.path.normpath(checked_file(filename))
        DictEntryLoadingJob.__init__(
            self, f"load_{self.cache_filename}", object, attribute_name,
            functools.partial(read_pickle, self.cache_filename), depend_on_function=False,
        )  # fmt: skip


def both(load: LoadingJob, calc: FileGeneratingJob) -> CachedJobTuple:
    load.depends_on(calc)
    return CachedJobTuple(load, calc)


# --- what people call ---------------------------------------------------------------------------


def CachedDataLoadingJob(
    cache_filename: str | Path,
    calc_function: Callable[[], Any],
    load_function: Callable[[Any], Any],
    depend_on_function: bool = True,
    resources: Resources = Resources.SingleCore,
    allowed_non_locals_calc: Collection[str] | None = None,
    allowed_non_locals_load: Collection[str] | None = None,
) -> CachedJobTuple:
    """What *calc_function* returns is kept in a file; where it is needed *load_function* is called
    with it, and puts it in its place.

    *resources* is what the calculation takes.
    """
    load = CachedDataLoad(
        cache_filename, load_function, depend_on_function, allowed_non_locals_load
    )
    calc = CalcJob(
        cache_filename, calc_function, resources, depend_on_function, allowed_non_locals_calc
    )
    return both(load, calc)


def CachedAttributeLoadingJob(
    cache_filename: str | Path,
    object: Any,
    attribute_name: str,
    data_function: Callable[[], Any],
    depend_on_function: bool = True,
    resources: Resources = Resources.SingleCore,
    allowed_non_locals: Collection[str] | None = None,
) -> CachedJobTuple:
    """What *data_function* returns is kept in a file, and put into an attribute of *object* while
    jobs need it."""
    load = CachedAttributeLoad(cache_filename, object, attribute_name)
    calc = CalcJob(cache_filename, data_function, resources, depend_on_function, allowed_non_locals)
    return both(load, calc)


def CachedDictEntryLoadingJob(
    cache_filename: str | Path,
    object: MutableMapping[Any, Any],
    attribute_name: Any,
    data_function: Callable[[], Any],
    depend_on_function: bool = True,
    resources: Resources = Resources.SingleCore,
    allowed_non_locals: Collection[str] | None = None,
) -> CachedJobTuple:
    """What *data_function* returns is kept in a file, and put into `object[attribute_name]` while
    jobs need it."""
    load = CachedDictEntryLoad(cache_filename, object, attribute_name)
    calc = CalcJob(cache_filename, data_function, resources, depend_on_function, allowed_non_locals)
    return both(load, calc)


__all__ = [
    "CachedAttributeLoadingJob", "CachedDataLoadingJob", "CachedDictEntryLoadingJob",
    "CachedJobTuple", "CalcJob", "read_pickle", "write_pickle",
]  # fmt: skip
