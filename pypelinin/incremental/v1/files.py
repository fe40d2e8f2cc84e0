"""Jobs that write files, as version 1 has them.

Their functions take nothing, or what they are to write: parameters with a default are left
alone, so that `def f(name=name)` binds a variable. What a job that failed has written is
removed, or kept as `<file>.broken` with *rename_broken*.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from pypelinin.engine import table
from pypelinin.incremental.jobs import files as core
from pypelinin.incremental.jobs.base import checked_callable
from pypelinin.incremental.v1.base import EVERYTHING
from pypelinin.incremental.v1.exceptions import ArgumentError
from pypelinin.incremental.v1.invariants import DependingJob, relative

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def count_wanted(function: Callable[..., Any], offered: int, who: str) -> int:
    """How many arguments it has to be given. Raises ArgumentError if these are too many."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return 0
    wanted = [one for one in parameters if one.default is one.empty and one.kind not in _ANY_NUMBER]
    if len(wanted) > offered or any(one.kind not in _BY_PLACE for one in wanted):
        names = ", ".join(one.name for one in wanted)
        raise ArgumentError(
            f"The function of a {who} is called with {offered} arguments at most, and "
            f"{getattr(function, '__qualname__', function)!r} wants {names}.",
            remedy="Give the others a default.",
        )
    return len(wanted)


class Writing(DependingJob, core.FileJob):
    """What all of them share."""

    arguments_max: ClassVar[int] = 1
    rename_broken = False
    broken_max: ClassVar[int | None] = None
    """How many of its files are removed if it fails; None: all."""

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), self.rename_broken)

    @classmethod
    def check_function(cls, function: object) -> None:
        checked = checked_callable(function, f"The function of a {cls.__name__}")
        count_wanted(checked, cls.arguments_max, cls.__name__)

    def arguments(self) -> list[Any]:
        """What the function may have."""
        return [self.outputs[0]]

    def call(self) -> None:
        wanted = count_wanted(self.function, self.arguments_max, type(self).__name__)
        self.function(*self.arguments()[:wanted])

    @property
    def filenames(self) -> list[str]:
        return list(self.outputs)

    def after_failure(self) -> None:
        for name in self.outputs[: self.broken_max]:
            with contextlib.suppress(OSError):  # it runs again in any case
                if self.rename_broken:
                    os.replace(name, f"{name}.broken")
                else:
                    os.unlink(name)


class FileGeneratingJob(Writing, core.FileGeneratingJob):
    """One file, written by *function*."""

    def __init__(
        self,
        output_filename: str | Path,
        function: Callable[..., Any],
        rename_broken: bool = False,
        empty_ok: bool = False,
    ) -> None:
        self.rename_broken = rename_broken
        super().__init__(
            relative(output_filename), function, empty_ok=empty_ok, allowed_non_locals=EVERYTHING
        )


class MultiFileGeneratingJob(Writing, core.MultiFileGeneratingJob):
    """Several files, written by *function*."""

    replaceable = False

    def __init__(
        self,
        filenames: Iterable[str | Path],
        function: Callable[..., Any],
        rename_broken: bool = False,
        empty_ok: bool = False,
    ) -> None:
        self.rename_broken = rename_broken
        super().__init__(
            all_relative(filenames), function, empty_ok=empty_ok, allowed_non_locals=EVERYTHING
        )

    def arguments(self) -> list[Any]:
        return [list(self.outputs)]


def all_relative(filenames: Any) -> Any:
    if isinstance(filenames, (str, Path)) or not hasattr(filenames, "__iter__"):
        return filenames  # refused by who gets it
    return [relative(name) for name in filenames]


class Temporary(Writing):
    """What goes when nobody needs it any more.

    `do_cleanup_if_was_never_run`: also what an earlier run has left, if nobody needs it now.
    """

    def release(self, outputs: Iterable[str]) -> None:
        if self.do_cleanup_if_was_never_run or self._was_needed():
            super().release(outputs)

    def _was_needed(self) -> bool:
        running = self.graph.running
        entry = running.run.jobs[running.numbers[self.job_id]]
        readers = entry.consumers or ()
        return table.DONE in (entry.state, *(reader.state for reader in readers))


class TempFileGeneratingJob(Temporary, core.TempFileGeneratingJob):
    """A file that is there while jobs that depend on it need it, and removed afterwards."""

    def __init__(
        self,
        output_filename: str | Path,
        function: Callable[..., Any],
        rename_broken: bool = False,
        empty_ok: bool = False,
    ) -> None:
        self.rename_broken = rename_broken
        super().__init__(
            relative(output_filename), function, empty_ok=empty_ok, allowed_non_locals=EVERYTHING
        )


class MultiTempFileGeneratingJob(Temporary, core.MultiTempFileGeneratingJob):
    """Several files that are removed when nobody needs them any more."""

    replaceable = False

    def __init__(
        self,
        filenames: Iterable[str | Path],
        function: Callable[..., Any],
        rename_broken: bool = False,
        empty_ok: bool = False,
    ) -> None:
        self.rename_broken = rename_broken
        super().__init__(
            all_relative(filenames), function, empty_ok=empty_ok, allowed_non_locals=EVERYTHING
        )

    def arguments(self) -> list[Any]:
        return [list(self.outputs)]


class TempFilePlusGeneratingJob(Temporary, core.TempFilePlusGeneratingJob):
    """A file that goes, and one that stays, as a log. That one stays if the job fails, too."""

    arguments_max: ClassVar[int] = 2
    broken_max: ClassVar[int | None] = 1

    def __init__(
        self,
        output_filename: str | Path,
        log_filename: str | Path,
        function: Callable[..., Any],
        rename_broken: bool = False,
    ) -> None:
        self.rename_broken = rename_broken
        super().__init__(
            relative(output_filename), relative(log_filename), function,
            allowed_non_locals=EVERYTHING,
        )  # fmt: skip

    def arguments(self) -> list[Any]:
        return list(self.outputs)


__all__ = [
    "FileGeneratingJob", "MultiFileGeneratingJob", "MultiTempFileGeneratingJob",
    "TempFileGeneratingJob", "TempFilePlusGeneratingJob", "Writing", "count_wanted",
]  # fmt: skip
