"""Jobs that write files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from pypelinin.graph.declared import EPHEMERAL, OUTPUT, Policy
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.incremental.enums import JobKind, Resources
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.hashers import hash_file, hash_str
from pypelinin.incremental.inside import moved_back
from pypelinin.incremental.jobs.base import (
    Job,
    changed_directory,
    checked_callable,
    checked_resources,
)
from pypelinin.incremental.jobs.invariants import (
    FILE_VIEW,
    automatic_invariant,
    first_parameters,
)

FileFacts = tuple[int, int, bytes]
"""Size in bytes, time of the last change in ns, digest of the content."""
FILES_VIEW = "files"
"""Of several files, which is which for the function that writes them."""
LISTED_MAX = 10


class FileJob(Job):
    """What all jobs that write files share; *files* are given to the function as they are."""

    policy: ClassVar[Policy] = OUTPUT
    makes_files: ClassVar[bool] = True

    def __init__(
        self,
        files: Sequence[str | Path],
        function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        empty_ok: bool = False,
        always_capture_output: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        checked_resources(resources)
        names = [os.path.normpath(file) for file in files]
        super().__init__(names, resources)
        self.function = function
        self.depend_on_function = depend_on_function
        self.empty_ok = empty_ok
        self.always_capture_output = always_capture_output
        self.allowed_non_locals = allowed_non_locals
        for name in names:
            self.graph.check_output(name)

    @property
    def files(self) -> list[Path]:
        return [Path(name) for name in self.outputs]

    def definition(self) -> tuple[Any, ...]:
        return (function_tags(self.function), self.resources, self.empty_ok, self.outputs,
                self.depend_on_function)  # fmt: skip

    def registered(self) -> None:
        if self.func_invariant is not None:
            self.graph.disconnect(self, self.func_invariant)
            self.func_invariant = None
        if self.depend_on_function:
            self.func_invariant = automatic_invariant(self, self.function, self.allowed_non_locals)
            self.graph.connect(self, self.func_invariant, self.func_invariant.outputs)

    # --- where it runs -----------------------------------------------------------------------

    def argument(self) -> Any:
        """What the function is called with."""
        return Path(self.outputs[0])

    def perform(self, context: Any) -> list[FileFacts]:
        for name in self.outputs:
            make_room(name)
        here, begun = os.getcwd(), time.time()
        try:
            self.call()
        finally:
            moved = moved_back(here)
        if moved and self.resources is Resources.RunsHere:
            raise changed_directory(self, moved)
        return self.facts(begun, moved)

    def call(self) -> None:
        """Have the function write the files."""
        self.function(self.argument())

    @classmethod
    def check_function(cls, function: object) -> None:
        """Raises TypeError unless `call` can call it."""
        check_takes_files(function, cls.__name__)

    def facts(self, begun: float, moved: str = "") -> list[FileFacts]:
        """What was written. Raises JobContractError if that is not all it should be."""
        missing = [name for name in self.outputs if not os.path.exists(name)]
        if missing:
            why = f" It had changed the working directory to {moved}." if moved else ""
            raise JobContractError(
                f"{self!r} did not create the following files: {', '.join(missing)}.{why}"
                f"{_written_instead(self.outputs, begun)}",
                remedy="Its function must write to the path that it is given.",
            )
        strange = [name for name in self.outputs if not os.path.isfile(name)]
        if strange:
            raise JobContractError(
                f"{self!r} was to write files, and made something else: {', '.join(strange)}.",
                remedy="Write files in a directory as several outputs, by their names.",
            )
        empty = [name for name in self.outputs if not self.empty_ok and not os.path.getsize(name)]
        if empty:
            raise JobContractError(
                f"{self!r} created empty files: {', '.join(empty)}.",
                remedy="If that is fine, say empty_ok=True.",
            )
        return [facts_of(name) for name in self.outputs]

    # --- in the caller -------------------------------------------------------------------------

    def settle(self, result: Sequence[FileFacts]) -> Fingerprint:
        files = self.graph.running.history.files
        for name, (size, changed_ns, digest) in zip(self.outputs, result, strict=True):
            files.learn(name, size, changed_ns, digest)
        return self.as_known(tuple(((FILE_VIEW, digest),) for _, _, digest in result))

    def release(self, outputs: Iterable[str]) -> None:
        for name in outputs:
            Path(name).unlink(missing_ok=True)


def facts_of(name: str) -> FileFacts:
    stat = os.stat(name)
    return stat.st_size, stat.st_mtime_ns, hash_file(name)


def make_room(name: str) -> None:
    """What stands there is of an earlier run; a link is replaced, and not what it leads to."""
    try:
        os.unlink(name)
    except FileNotFoundError:
        if directory := os.path.dirname(name):
            os.makedirs(directory, exist_ok=True)
    except IsADirectoryError:
        raise JobContractError(
            f"{name!r} is a directory, so no file of that name can be written."
        ) from None


def _written_instead(outputs: Sequence[str], begun: float) -> str:
    """Which files beside the missing ones, or in the working directory, are new."""
    found = []
    for place in dict.fromkeys([os.path.dirname(name) or "." for name in outputs] + ["."]):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            path = os.path.normpath(entry.path)
            try:
                is_new = entry.is_file() and entry.stat().st_mtime >= begun - 0.01
            except OSError:
                continue
            if is_new and path not in outputs:
                found.append(path)
    found = sorted(dict.fromkeys(found))
    if not found:
        return ""
    more = f" and {len(found) - LISTED_MAX} more" if len(found) > LISTED_MAX else ""
    return f" While it ran these were written: {', '.join(found[:LISTED_MAX])}{more}."


class FileGeneratingJob(FileJob):
    """One file, written by `generating_function(output_path)`.

    It runs again if the file is missing or was changed by others, if the set of what it depends
    on changed, or the content of any of that. An empty file is an error unless *empty_ok*.
    Raises TypeError if the function cannot take the path.
    """

    def __init__(
        self,
        output_filename: str | Path,
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        empty_ok: bool = False,
        always_capture_output: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        *,
        isolate: bool = False,
    ) -> None:
        self.check_function(generating_function)
        super().__init__(
            [checked_file(output_filename)], generating_function, resources, depend_on_function,
            empty_ok, always_capture_output, allowed_non_locals,
        )  # fmt: skip
        self.isolate = isolate


class MultiFileGeneratingJob(FileJob):
    """Several files, written by `generating_function(files)`: a list as it was given, or a dict.

    `job[0]` or `job["key"]` is the path of one of them; to depend on that name is to depend on
    that file only.
    """

    def __init__(
        self,
        output_filenames: Sequence[str | Path] | Mapping[str, str | Path],
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        empty_ok: bool = True,
        always_capture_output: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        *,
        isolate: bool = False,
    ) -> None:
        self.check_function(generating_function)
        names, self.org_files = checked_files(output_filenames)
        super().__init__(
            names, generating_function, resources, depend_on_function, empty_ok,
            always_capture_output, allowed_non_locals,
        )  # fmt: skip
        self.isolate = isolate

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), self.org_files)

    def spec(self) -> Tags:
        return ((FILES_VIEW, arrangement(self.org_files)), *super().spec())

    def argument(self) -> Any:
        if isinstance(self.org_files, dict):
            return dict(self.org_files)
        return list(self.org_files)

    def __getitem__(self, key: Any) -> Path:
        found: Path = self.org_files[key]
        return found


class TempFileGeneratingJob(FileGeneratingJob):
    """A file that is there while jobs that depend on it need it, and removed afterwards.

    It is not written if none of them runs. If one of them fails it stays for the next run.
    """

    kind: ClassVar[JobKind] = JobKind.Temp
    policy: ClassVar[Policy] = EPHEMERAL

    def __init__(
        self,
        output_filename: str | Path,
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        *,
        empty_ok: bool = False,
    ) -> None:
        super().__init__(
            output_filename, generating_function, resources, depend_on_function, empty_ok,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip


class MultiTempFileGeneratingJob(MultiFileGeneratingJob):
    """Several files that are removed when nobody needs them any more."""

    kind: ClassVar[JobKind] = JobKind.Temp
    policy: ClassVar[Policy] = EPHEMERAL

    def __init__(
        self,
        output_filenames: Sequence[str | Path] | Mapping[str, str | Path],
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        *,
        empty_ok: bool = True,
    ) -> None:
        super().__init__(
            output_filenames, generating_function, resources, depend_on_function, empty_ok,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip


class TempFilePlusGeneratingJob(FileJob):
    """A file that goes, and one that stays, as a log: `function(temp_path, kept_path)`.

    It runs again if the kept file is missing.
    """

    kind: ClassVar[JobKind] = JobKind.Temp
    policy: ClassVar[Policy] = Policy(always=False, eager=True, keep=False)

    def __init__(
        self,
        output_filename: str | Path,
        log_filename: str | Path,
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        self.check_function(generating_function)
        names = [checked_file(output_filename), checked_file(log_filename)]
        if os.path.normpath(names[0]) == os.path.normpath(names[1]):
            raise ValueError(f"The two files of a TempFilePlusGeneratingJob differ: {names[0]!r}.")
        super().__init__(
            names, generating_function, resources, depend_on_function,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip

    def keep(self) -> tuple[bool, ...]:
        return (False, True)

    def spec(self) -> Tags:
        return ((FILES_VIEW, arrangement(self.outputs)), *super().spec())

    def call(self) -> None:
        self.function(*self.files)

    @classmethod
    def check_function(cls, function: object) -> None:
        checked_callable(function, "A job's function")


def check_takes_files(function: object, kind: str) -> None:
    """Raises TypeError unless the function can be called with what it is to write."""
    called = checked_callable(function, f"The function of a {kind}")
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        usual = function.__code__.co_argcount > len(function.__defaults__ or ())
        if usual:  # for little
            return
    parameters = first_parameters(called)
    if not parameters:
        raise TypeError(
            f"The function of a {kind} takes the path to write to as its first argument; "
            f"{getattr(function, '__qualname__', function)!r} takes none."
        )
    first = parameters[0]
    if first.default is not first.empty:
        raise TypeError(
            f"The function of a {kind} takes the path to write to as its first argument, and "
            f"that cannot have a default: {first.name}={first.default!r}. Put another before it, "
            f"as in def f(output, {first.name}={first.default!r}), or take the default away."
        )


def arrangement(files: Any) -> bytes:
    """The digest of the order of a list of files, or of their keys in a dict."""
    if isinstance(files, Mapping):
        return hash_str("\0".join(sorted(f"{key!r}={path}" for key, path in files.items())))
    return hash_str("\0".join(map(str, files)))


def checked_file(name: object) -> str:
    """Raises TypeError, and ValueError for an empty name."""
    if not isinstance(name, (str, Path)):
        raise TypeError(f"A file is named by a str or a Path, not {name!r}.")
    if not str(name) or "\0" in str(name):
        raise ValueError(f"That is no name of a file: {str(name)!r}.")
    return str(name)


def checked_files(names: Any) -> tuple[list[str], Any]:
    """(names, list or dict of paths as the function gets them). Raises TypeError, ValueError."""
    if isinstance(names, (str, Path)) or not isinstance(names, (Mapping, Iterable)):
        raise TypeError(f"Several files are a list or a dict of names, not {names!r}.")
    if isinstance(names, Mapping):
        given: Any = {key: Path(os.path.normpath(checked_file(v))) for key, v in names.items()}
        listed = [str(path) for path in given.values()]
    else:
        in_order = sorted(names, key=str) if isinstance(names, (set, frozenset)) else names
        given = [Path(os.path.normpath(checked_file(name))) for name in in_order]
        listed = list(map(str, given))
    if not listed:
        raise ValueError("A job that writes files writes at least one.")
    if len(set(listed)) != len(listed):
        twice = sorted({name for name in listed if listed.count(name) > 1})
        raise ValueError(f"These files are named twice: {', '.join(twice)}.")
    return listed, given
