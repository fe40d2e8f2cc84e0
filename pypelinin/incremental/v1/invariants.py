"""Jobs that only say whether something is still as it was, and jobs that depend on such."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from pypelinin.errors import NotPicklable
from pypelinin.graph.declared import Record
from pypelinin.graph.fingerprint import Fingerprint, digest
from pypelinin.incremental.jobs import base as core_base
from pypelinin.incremental.jobs import invariants as core
from pypelinin.incremental.v1.base import Job
from pypelinin.incremental.v1.exceptions import ArgumentError
from pypelinin.runtime.values import pack_value, unpack_value

TIME_VIEW = "time"
MD5_VIEW = "md5"
VALUE, REPORTED = "value as it was", "digest that it goes by"


def relative(filename: Any) -> Any:
    """A name below the working directory, if it was given with it."""
    if isinstance(filename, (str, Path)) and os.path.isabs(filename):
        return os.path.relpath(filename)
    return filename


class FileInvariant(Job, core.FileInvariant):
    """Follows the content of a file that no job makes.

    A file that has moved, with its name and content, is the same file. A side file
    `<file>.md5sum` of the same time is taken for the content; an older one is written anew.
    """

    def __init__(self, filename: str | Path) -> None:
        super().__init__(relative(filename))
        self.input_file = self.job_id

    def registered(self) -> None:
        self.graph.shared[core_base.MOVES] = True

    def was_called(self, name: str) -> bool:
        return os.path.basename(name) == os.path.basename(self.job_id)

    def given_after(self, history: Any) -> Fingerprint:
        path, side = self.job_id, f"{self.job_id}.md5sum"
        if not os.path.exists(side) or not os.path.exists(path):
            return super().given_after(history)
        stat = os.stat(path)
        if os.stat(side).st_mtime_ns != stat.st_mtime_ns:
            text = checksum_file(path)
            with contextlib.suppress(OSError):  # it only spares reading the file the next time
                Path(side).write_text(text)
                os.utime(side, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            history.files.digest(path)
        else:
            text = Path(side).read_text(errors="replace").strip()
        known = history.files.known.get(path)
        is_known = known is not None and known[:2] == (stat.st_size, stat.st_mtime_ns)
        read = ((core.FILE_VIEW, known[2]),) if is_known else ()
        return ((*read, (MD5_VIEW, text.encode())),)


RobustFileChecksumInvariant = FileChecksumInvariant = FileInvariant


class FileTimeInvariant(Job, core.FileInvariant):
    """Follows the time of the last change of a file that no job makes, and not its content."""

    def __init__(self, filename: str | Path) -> None:
        super().__init__(relative(filename))
        self.input_file = self.job_id

    def given_after(self, history: Any) -> Fingerprint:  # noqa: ARG002 - of all
        try:
            changed_ns = os.stat(self.job_id).st_mtime_ns
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.job_id!r} did not exist. FileTimeInvariant follows a file that is there "
                "already."
            ) from None
        return (((TIME_VIEW, changed_ns.to_bytes(12, "big", signed=True)),),)


class MultiFileInvariant(Job, core.FileInvariant):
    """Follows the contents of several files as one; which files they are counts as well.

    If all of them have moved, with their names and contents, they are the same files.
    """

    makes_files: ClassVar[bool] = False

    def __init__(self, filenames: Iterable[str | Path]) -> None:
        if isinstance(filenames, (str, Path)):
            raise ArgumentError(f"MultiFileInvariant takes several names, not {filenames!r}.")
        names = sorted(os.path.normpath(relative(name)) for name in filenames)
        missing = [name for name in names if not os.path.exists(name)]
        if missing or not names or len(set(names)) < len(names):
            what = f"did not exist: {', '.join(missing)}" if missing else "are named twice, or none"
            raise ArgumentError(f"Files of a MultiFileInvariant {what}.")
        core_base.Job.__init__(self, [f"_MFC_{':'.join(names)}"])
        self.filenames = names
        self.files = [Path(name) for name in names]

    def registered(self) -> None:
        self.graph.shared[core_base.MOVES] = True

    def was_called(self, name: str) -> bool:
        old = name.removeprefix("_MFC_").split(":")
        return name.startswith("_MFC_") and _basenames(old) == _basenames(self.filenames)

    def given_after(self, history: Any) -> Fingerprint:
        read = history.files.digest
        found = sorted((os.path.basename(name), read(name)) for name in self.filenames)
        parts = [part for name, content in found for part in (name.encode(), content)]
        return (((core.FILE_VIEW, digest(*parts)),),)


def _basenames(names: Iterable[str]) -> list[str]:
    return sorted(map(os.path.basename, names))


def checksum_file(filename: str | Path) -> str:
    """The MD5 of a file's content, in hexadecimal digits."""
    with open(filename, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class ParameterInvariant(Job, core.ParameterInvariant):
    """Follows the value of *parameters*.

    `accept_as_unchanged_func(old value)` may say that a changed value means the same: then
    nothing is done again, and the new value is what the next one is compared with.
    """

    replaceable = False

    def __init__(
        self,
        job_id: str | Path,
        parameters: Any,
        accept_as_unchanged_func: Callable[[Any], Any] | None = None,
    ) -> None:
        if accept_as_unchanged_func is not None and not callable(accept_as_unchanged_func):
            raise ArgumentError(
                f"accept_as_unchanged_func is a function, not {accept_as_unchanged_func!r}."
            )
        super().__init__(job_id, parameters)
        self.parameters = parameters
        self.accept_as_unchanged_func = accept_as_unchanged_func

    def __getstate__(self) -> dict[str, Any]:
        """Nobody asks for the value where jobs run, and it may be large."""
        state = super().__getstate__()
        return state | {"parameters": None, "accept_as_unchanged_func": None}

    def given_after(self, history: Any) -> Fingerprint:
        """A value that was accepted goes by the digest of the one before it."""
        own = self.tags[0][1]
        record = history.record(self.job_id, {})
        known = {} if record is None else dict(record.spec)
        if known.get(core.PARAMETER_VIEW) == own:
            return (((core.PARAMETER_VIEW, known[REPORTED]),),)
        reported = own
        if VALUE in known and self._accepts(known[VALUE]):
            reported = known[REPORTED]
        spec = [(core.PARAMETER_VIEW, own), (REPORTED, reported)]
        try:
            spec.append((VALUE, pack_value(self.job_id, self.parameters)))
        except NotPicklable:
            pass  # it cannot be shown to accept_as_unchanged_func later
        history.remember(self.job_id, Record(tuple(spec), {}, {}))
        return (((core.PARAMETER_VIEW, reported),),)

    def _accepts(self, packed: bytes) -> bool:
        if self.accept_as_unchanged_func is None:
            return False
        try:
            old = unpack_value(packed)
        except Exception:  # its class is gone, or another one: nobody can judge it
            return False
        return bool(self.accept_as_unchanged_func(old))


def _nothing() -> None:
    """What a FunctionInvariant of None follows."""


class FunctionInvariant(Job, core.FunctionInvariant):
    """Follows the code of a function, the variables that it closes over and its defaults.

    *function* may be None, which never changes. *absolute_path* is taken and not used.
    """

    replaceable = False

    def __init__(
        self,
        job_id: str | Path,
        function: Callable[..., Any] | None,
        absolute_path: Any = None,  # noqa: ARG002 - taken as v1 takes it
    ) -> None:
        if function is not None and not callable(function):
            raise ArgumentError(f"FunctionInvariant follows a function or None, not {function!r}.")
        super().__init__(function or _nothing, str(job_id), check_non_locals=False)


class DependingJob(Job):
    """What jobs that are not invariants can do."""

    def depends_on_file(self, filename: str | Path) -> Any:
        """Depend on the content of a file; returns the invariant."""
        return self._follow(FileInvariant(filename))

    def depends_on_params(self, params: Any, job_name_postfix: str = "") -> Any:
        """Depend on the value of *params*; returns the invariant."""
        return self._follow(ParameterInvariant(self.job_id + job_name_postfix, params))

    def depends_on_func(self, function: Any, name: Any = None, **_options: Any) -> Any:
        """Depend on the code of a function; returns the invariant. Either may stand first."""
        if not callable(function):
            function, name = name, function
        name = name or getattr(function, "__name__", None)
        return self._follow(FunctionInvariant(f"{self.job_id}_{name}", function))

    def _follow(self, invariant: Job) -> Job:
        self.depends_on(invariant)
        return invariant


__all__ = [
    "DependingJob", "FileChecksumInvariant", "FileInvariant", "FileTimeInvariant",
    "FunctionInvariant", "MultiFileInvariant", "ParameterInvariant",
    "RobustFileChecksumInvariant", "checksum_file", "relative",
]  # fmt: skip
