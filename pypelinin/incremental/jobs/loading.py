"""Jobs that load data into a process, for the jobs that read them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any, ClassVar

from pypelinin.graph.declared import RECIPE, Policy
from pypelinin.graph.fingerprint import Fingerprint, same
from pypelinin.incremental import state
from pypelinin.incremental.enums import JobKind, Resources, RunMode
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.hashers import ValuePlusHash, hash_bytes
from pypelinin.incremental.jobs.base import Job, Place, checked_callable, checked_name
from pypelinin.incremental.jobs.invariants import automatic_invariant

LOADED_VIEW = "loaded"
"""Of a loader that says what it loaded."""
INPUTS_VIEW = "inputs"
"""Of one that says nothing of it: the digest of what it reads stands for the data."""
FOREIGN_VIEW = "pypipegraph2"
"""Of what was loaded there: whether it is the same cannot be found out here."""
Loaded = tuple[str, bytes]
"""(view, digest) of what was loaded."""


class UseInputHashesForOutput:
    """What a loader returns if its result depends on nothing but what it reads.

    *payload* is what goes into the attribute or dict.
    """

    def __init__(self, payload: Any = None) -> None:
        self.payload = payload


class LoadingJob(Job):
    """What is run in a process that needs the data, at most once there.

    While its data stays where it was put, and nothing that it reads has changed, another run in
    this process takes that data as it is.
    """

    kind: ClassVar[JobKind] = JobKind.Loading
    policy: ClassVar[Policy] = RECIPE
    place: ClassVar[Place] = Place.READER
    knows_place: ClassVar[bool] = False
    """Whether it can take its data away, and see in a later run whether it is still there."""

    def __init__(
        self,
        job_id: str | Path,
        function: Callable[..., Any],
        depend_on_function: bool = True,
        resources: Resources = Resources.SingleCore,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        checked_callable(function, "A loader")
        super().__init__([checked_name(job_id)], resources)
        self.function = function
        self.depend_on_function = depend_on_function
        self.allowed_non_locals = allowed_non_locals
        self.loaded: tuple[bytes, Loaded] | None = None
        """The digest of what it read for the data that is here now, and that of the data."""

    def definition(self) -> tuple[Any, ...]:
        return (function_tags(self.function), self.resources)

    def registered(self) -> None:
        if self.func_invariant is not None:
            self.graph.disconnect(self, self.func_invariant)
            self.func_invariant = None
        if self.depend_on_function:
            self.func_invariant = automatic_invariant(
                self, self.function, self.allowed_non_locals, check=True
            )
            self.graph.connect(self, self.func_invariant, self.func_invariant.outputs)

    def load(self) -> Any:
        """Put the data where its readers find it; what is returned goes to `digested`."""
        return self.function()

    def digested(self, value: Any, inputs: bytes) -> Loaded:
        """What stands for the data, if `load` returned *value* from *inputs*."""
        return digest_of(value, inputs, self.job_id)

    def is_there(self) -> bool:
        """Whether the data is where `load` put it."""
        return True

    def perform(self, context: Any) -> tuple[Loaded, Any]:
        """(what stands for the data, nothing); *context.inputs* is the digest of what it reads."""
        if self.loaded is not None:
            if self.loaded[0] == context.inputs and self.is_there():
                return self.loaded[1], None
            self.loaded = None
        here = os.getcwd()
        moved = False
        try:
            value = self.load()
        finally:
            if _changed_directory(here):
                os.chdir(here)
                moved = True
        if moved:
            raise JobContractError(
                f"{self!r} changed the working directory, which other jobs share.",
                remedy="Use absolute paths, or change it back.",
            )
        self.loaded = context.inputs, self.digested(value, context.inputs)
        return self.loaded[1], None

    def settle(self, result: tuple[Loaded, Any]) -> Fingerprint:
        return self.as_known(((result[0],),))

    def unload(self) -> None:
        """Nobody reads it any more: take it away, if its place is known."""
        self.loaded = None


def _changed_directory(here: str) -> bool:
    try:
        return os.getcwd() != here
    except FileNotFoundError:
        return True


def digest_of(value: Any, inputs: bytes, job_id: str) -> Loaded:
    """Of what a loader returned; *inputs* is the digest of what it reads. Raises ValueError."""
    if value is None:
        raise ValueError(
            f"{job_id}: a loader returns what tells whether it loaded something else than the last "
            "time: its value as str or bytes, ValuePlusHash(value, digest), or "
            "UseInputHashesForOutput()."
        )
    if isinstance(value, str):
        return LOADED_VIEW, hash_bytes(b"s" + value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return LOADED_VIEW, hash_bytes(b"b" + bytes(value))
    if isinstance(value, ValuePlusHash):
        return LOADED_VIEW, hash_bytes(b"h" + value.hexdigest.encode())
    return INPUTS_VIEW, hash_bytes(b"i" + inputs)


def agrees(before: Fingerprint, now: Fingerprint) -> bool:
    """Whether a loader of which nothing had changed loaded what it had announced."""
    return all(
        same(old, new) or old[0][0] == new[0][0] == INPUTS_VIEW
        for old, new in zip(before, now, strict=True)
    )


def plain(value: Any) -> Any:
    """The value itself of what a loader returned."""
    if isinstance(value, UseInputHashesForOutput):
        return value.payload
    return value.value if isinstance(value, ValuePlusHash) else value


class DataLoadingJob(LoadingJob):
    """Runs *load_function*, which puts data where jobs that depend on this one find them.

    It says what it loaded: by a str, bytes, a ValuePlusHash, or UseInputHashesForOutput() (the
    same as any other object). Raises TypeError for what is no function.
    """

    def __init__(
        self,
        job_id: str | Path,
        load_function: Callable[[], Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        super().__init__(job_id, load_function, depend_on_function, resources, allowed_non_locals)


class AttributeLoadingJob(LoadingJob):
    """Puts what *data_function* returns into an attribute of *object*, while jobs need it.

    Raises ValueError for a name that is no str.
    """

    knows_place: ClassVar[bool] = True

    def __init__(
        self,
        job_id: str | Path,
        object: Any,
        attribute_name: str,
        data_function: Callable[[], Any],
        depend_on_function: bool = True,
        resources: Resources = Resources.SingleCore,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        if not isinstance(attribute_name, str):
            raise ValueError(f"The name of an attribute is a str, not {attribute_name!r}.")
        super().__init__(job_id, data_function, depend_on_function, resources, allowed_non_locals)
        self.object = object
        self.attribute_name = attribute_name
        state.loads_into(object, attribute_name)
        self.value: Any = None
        """What was put there, while it is there."""

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), id(self.object), self.attribute_name)

    def load(self) -> Any:
        value = self.function()
        self.value = plain(value)
        setattr(self.object, self.attribute_name, self.value)
        return value

    def is_there(self) -> bool:
        name = self.attribute_name
        return hasattr(self.object, name) and getattr(self.object, name) is self.value

    def unload(self) -> None:
        super().unload()
        self.value = None
        with contextlib.suppress(AttributeError):  # somebody else took it away
            delattr(self.object, self.attribute_name)


class DictEntryLoadingJob(LoadingJob):
    """Puts what *data_function* returns into `object[attribute_name]`, while jobs need it.

    With RunMode.CONSOLE_INTERACTIVE the entry stays. Raises ValueError for what is no mapping.
    """

    knows_place: ClassVar[bool] = True

    def __init__(
        self,
        job_id: str | Path,
        object: MutableMapping[Any, Any],
        attribute_name: Any,
        data_function: Callable[[], Any],
        depend_on_function: bool = True,
        resources: Resources = Resources.SingleCore,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        if not isinstance(object, Mapping):
            raise ValueError(f"DictEntryLoadingJob fills a mapping, not {object!r}.")
        super().__init__(job_id, data_function, depend_on_function, resources, allowed_non_locals)
        self.mapping = object
        self.key = attribute_name
        state.loads_into(object, attribute_name)
        self.value: Any = None
        """What was put there, while it is there."""

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), id(self.mapping), self.key)

    def load(self) -> Any:
        value = self.function()
        self.value = self.mapping[self.key] = plain(value)
        return value

    def is_there(self) -> bool:
        return self.key in self.mapping and self.mapping[self.key] is self.value

    def unload(self) -> None:
        if self.graph.run_mode is RunMode.CONSOLE_INTERACTIVE:
            return
        super().unload()
        self.value = None
        self.mapping.pop(self.key, None)
