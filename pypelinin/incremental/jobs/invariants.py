"""Jobs that only say whether something is still as it was: nothing is run for them."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pypelinin.graph.declared import ALWAYS, Policy
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.incremental import nonlocals
from pypelinin.incremental.enums import JobKind
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.functions import code_digest, function_tags, unwrapped
from pypelinin.incremental.hashers import encoded, hash_bytes
from pypelinin.incremental.jobs.base import Job, Place, checked_name

if TYPE_CHECKING:
    from pypelinin.incremental.history import Files

FILE_VIEW = "blake2b"
SIDE_VIEW = "sha256"
"""Of a file, as a side file tells it."""
PARAMETER_VIEW = "value"


class Invariant(Job):
    kind: ClassVar[JobKind] = JobKind.Invariant
    policy: ClassVar[Policy] = ALWAYS
    place: ClassVar[Place] = Place.GIVEN

    def depends_on(self, *others: Any) -> Any:
        raise JobContractError(
            f"{self!r} is an invariant: it depends on nothing.",
            remedy="Let the job that depends on it depend on the other one, too.",
        )


class ParameterInvariant(Invariant):
    """Follows the value of *params*: exactly, with order and types (see hashers.hash_object).

    The value is looked at now. Raises TypeError that names the part that cannot be hashed.
    """

    names_jobs: ClassVar[bool] = True

    def __init__(self, job_id: str | Path, params: Any) -> None:
        name = checked_name(job_id)
        try:
            self.encoded = encoded(params)
        except TypeError as error:
            raise TypeError(f"ParameterInvariant {name!r}: {error}") from None
        self.text = repr(params)[:2000]
        self.tags: Tags = ((PARAMETER_VIEW, hash_bytes(self.encoded)),)
        super().__init__([name if name.startswith("PI") else f"PI{name}"])

    def definition(self) -> tuple[Any, ...]:
        return (self.tags,)

    def given(self) -> Fingerprint:
        return (self.tags,)


class FunctionInvariant(Invariant):
    """Follows the code of *function*, the variables it closes over and its default arguments.

    *name* and *function* may stand in either order. Without a name it is `FI` and the function's
    own. *follow*: also the functions of the project that it calls. Raises TypeError for what is
    no function, or a lambda without a name, and FunctionUsesUndeclaredNonLocalsError if it reads
    outer variables that are not named in *allowed_non_locals* (unless *check_non_locals* is
    False).
    """

    names_jobs: ClassVar[bool] = True

    def __init__(
        self,
        function: Any,
        name: Any = None,
        check_non_locals: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        *,
        follow: bool = False,
        replaceable: bool = False,
    ) -> None:
        if isinstance(function, (str, Path)) or function is None:
            function, name = name, function
        if not callable(function):
            raise TypeError(f"FunctionInvariant follows a function, not {function!r}.")
        if name is None:
            name = getattr(function, "__qualname__", None)
            if not name or "<lambda>" in name:
                raise TypeError(
                    f"{function!r} has no name of its own: FunctionInvariant(name, function)."
                )
        name = checked_name(name)
        self.function: Callable[..., Any] = function
        self.follow = follow
        self.replaceable = replaceable
        super().__init__([name if name.startswith("FI") else f"FI{name}"])
        if check_non_locals:
            nonlocals.check(function, allowed_non_locals, self.job_id)
        self._tags: Tags | None = None

    @property
    def tags(self) -> Tags:
        if self._tags is None:
            self._tags = function_tags(self.function, self.follow)
        return self._tags

    def definition(self) -> tuple[Any, ...]:
        return (self.tags, self.follow)

    def given(self) -> Fingerprint:
        return (self.tags,)


def automatic_invariant(
    job: Job,
    function: Callable[..., Any],
    allowed_non_locals: Collection[str] | None = None,
    suffix: str = "",
    check: bool = True,
) -> FunctionInvariant:
    """The invariant of a job's own function: one for all jobs of a function without closure."""
    shared = job.graph.shared.setdefault("automatic", {})
    told: FunctionInvariant | None = shared.get(id(function))
    if told is not None and told.function is function and allowed_non_locals is None:
        return told
    inner: Any = unwrapped(function)
    code = getattr(inner, "__code__", None)
    if (
        code is None
        or code.co_freevars
        or inner.__defaults__
        or inner.__kwdefaults__
        or "<lambda>" in getattr(function, "__qualname__", "<lambda>")
    ):
        return _own_invariant(job, function, allowed_non_locals, suffix, check)
    key = ("function", inner.__qualname__)
    known: dict[bytes, FunctionInvariant] = job.graph.shared.setdefault(key, {})
    digest = code_digest(code)
    found = known.get(digest)
    if found is None and not known and f"FI{inner.__qualname__}" not in job.graph.jobs:
        found = known[digest] = FunctionInvariant(function, None, check, allowed_non_locals)
    if found is None:  # another function has that name
        return _own_invariant(job, function, allowed_non_locals, suffix, check)
    if check and function is not found.function:
        nonlocals.check(function, allowed_non_locals, job.job_id)
    elif check and function is found.function:
        shared[id(function)] = found
    return found


def _own_invariant(
    job: Job,
    function: Callable[..., Any],
    allowed_non_locals: Collection[str] | None,
    suffix: str,
    check: bool,
) -> FunctionInvariant:
    """Nobody else's: it may change with its job."""
    name = f"{job.job_id}{suffix}"
    return FunctionInvariant(function, name, check, allowed_non_locals, replaceable=job.replaceable)


class FileInvariant(Invariant):
    """Follows the content of a file that no job makes.

    Its size and time are looked at first: only if one differs, the content is. A side file
    `<file>.sha256`, not older than the file, is taken for the content if there is one; that it
    comes or goes is no change. A file that does not exist fails the job. Raises TypeError and
    ValueError for names that cannot be.
    """

    makes_files: ClassVar[bool] = True

    def __init__(self, filename: str | Path) -> None:
        if not isinstance(filename, (str, Path)):
            raise TypeError(f"FileInvariant follows a file by its name, not {filename!r}.")
        path = os.path.normpath(filename)
        super().__init__([path])
        if len(path) < 3 and not self.graph.allow_short_filenames:
            raise ValueError(
                f"{path!r} is very short for the name of a file; is it one letter of a name? "
                "new(allow_short_filenames=True) allows it."
            )
        self.files = [Path(path)]

    def tags_of(self, path: str, files: Files) -> Tags:
        """The views of what is followed. Raises OSError, JobContractError."""
        side = f"{path}.sha256"
        if os.path.exists(side):
            told = _told(path, side)
            files.note(_noted(path), os.stat(path), told)
            content = files.unread(path, path)
            return _views(told, content)
        content = files.digest(path)
        return _views(_once_told(path, files), content)

    def given_after(self, history: Any) -> Fingerprint:
        return self.look(history.files)

    def look(self, files: Files) -> Fingerprint:
        """Raises what makes the job fail."""
        path = self.job_id
        try:
            return (self.tags_of(path, files),)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path!r} did not exist. FileInvariant follows a file that is there already."
            ) from None


def _views(told: bytes | None, content: bytes | None) -> Tags:
    """What the side file says and what was read, so that either can be compared later."""
    views = ((SIDE_VIEW, told), (FILE_VIEW, content))
    return tuple((view, digest) for view, digest in views if digest is not None)


def _told(path: str, side: str) -> bytes:
    """What the side file says. Raises JobContractError if that is nothing."""
    text = Path(side).read_text(errors="replace").strip()
    if os.stat(side).st_mtime_ns < os.stat(path).st_mtime_ns:
        raise JobContractError(
            f"{side!r} is older than {path!r}, so it does not tell its content.",
            remedy="Write it anew, or remove it.",
        )
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise JobContractError(f"{side!r} is not 64 hexadecimal digits: {text[:80]!r}.")
    return bytes.fromhex(text)


def _noted(path: str) -> str:
    """Under what the history keeps what a side file said of *path*."""
    return f"sha256 of {path}"


def _once_told(path: str, files: Files) -> bytes | None:
    """The SHA-256 of a file that had a side file once, as records may know it by that only."""
    name = _noted(path)
    if name not in files.known:
        return None
    told = files.unread(name, path)
    if told is None:
        with open(path, "rb") as file:
            told = hashlib.file_digest(file, "sha256").digest()
        files.note(name, os.stat(path), told)
    return told


class NotebookInvariant(FileInvariant):
    """Follows the cells of a Jupyter notebook, code and text, and not their outputs."""

    def __init__(self, filename: str | Path) -> None:
        super().__init__(filename)
        self.path = self.job_id

    def tags_of(self, path: str, files: Files) -> Tags:
        return ((FILE_VIEW, hash_bytes(encoded(cells_of(path)))),)


def cells_of(path: str | Path) -> list[tuple[str, str]]:
    """(kind, text) of the cells of a notebook. Raises OSError, JobContractError."""
    try:
        cells = json.loads(Path(path).read_bytes())["cells"]
        texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise JobContractError(
            f"{str(path)!r} is no Jupyter notebook of version 4: {error!r}."
        ) from None
    return [one for one in texts if one[0] in ("code", "markdown")]


def first_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that can be given by place; none if that is not known."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    by_place = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    return [one for one in found if one.kind in by_place]


__all__ = [
    "FILE_VIEW", "FileInvariant", "FunctionInvariant", "Invariant", "NotebookInvariant",
    "ParameterInvariant", "automatic_invariant", "cells_of", "first_parameters",
]  # fmt: skip
