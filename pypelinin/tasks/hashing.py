"""Under which name a result is kept: what a task is, and all that it is made from.

- "code": the task's name, its parameters with defaults, its code with the functions of the
  project that it calls and the data in global variables that these read, and the keys of its
  parents in their order. Each key is made from the keys before it: one step a task and edge.
- "md5", "sha256": what the original published in 0.1.2 and later; no code, and of each ancestor
  one entry for every way that leads to it. Ways can be exponentially many, so this has a bound.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, Protocol

from pypelinin.graph.fingerprint import digest
from pypelinin.runtime.code_views import (
    followed,
    function_tags,
    global_names,
    is_of_project,
    unwrapped,
)
from pypelinin.runtime.hashers import encoded
from pypelinin.tasks.exceptions import TaskError
from pypelinin.tasks.saving import Secret

CODE = "code"
SCHEMES = (CODE, "md5", "sha256")
VERSION = b"tasks 1"
ENTRIES_MAX = 2_000_000
"""Different entries that the texts of one pipeline may have together."""
_DATA = (
    bool, int, float, complex, str, bytes, decimal.Decimal, fractions.Fraction, datetime.date,
    datetime.time, datetime.timedelta, PurePath, enum.Enum, range, slice,
)  # fmt: skip
TEXT_MAX = 16 * 1024 * 1024
"""Characters of the text of one task."""


class Hashed(Protocol):
    """What is asked of a task."""

    @property
    def name(self) -> str: ...

    @property
    def parents(self) -> Sequence[Any]: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    def full_params(self) -> dict[str, Any]:
        """With the defaults."""
        ...

    def code(self) -> Sequence[tuple[str, Any]]:
        """(name, function or value) of what its class was given."""
        ...


def checked_scheme(scheme: object) -> str:
    if scheme not in SCHEMES:
        raise TaskError(f"hash_scheme is one of {', '.join(SCHEMES)}, not {scheme!r}.")
    return str(scheme)


def keys_of(tasks: Sequence[Hashed], scheme: str) -> list[str]:
    """The hash of each of *tasks*, which stand behind all their ancestors.

    Raises TaskError for parameters that cannot be hashed, and for graphs above the bounds.
    """
    return _code_keys(tasks) if scheme == CODE else _original_keys(tasks, scheme)


# --- "code" -----------------------------------------------------------------------------------


def _code_keys(tasks: Sequence[Hashed]) -> list[str]:
    keys: dict[Hashed, bytes] = {}
    codes: dict[type, bytes] = {}
    for task in tasks:
        kind = type(task)
        if kind not in codes:
            codes[kind] = code_of(task.code())
        keys[task] = digest(
            VERSION, task.name.encode("utf-8", "surrogatepass"), codes[kind],
            encoded_params(task), *[keys[parent] for parent in task.parents],
        )  # fmt: skip
    return [key.hex() for key in keys.values()]


def encoded_params(task: Hashed) -> bytes:
    """All parameters as bytes; of secrets only that they are. Raises TaskError."""
    parts = []
    for name, value in sorted(task.full_params().items()):
        try:
            parts += [encoded(name), encoded(masked(value))]
        except (TypeError, RecursionError) as error:
            raise TaskError(
                f"The parameter {name} of {task.name} cannot be hashed: {error}",
                remedy="Use plain data, or what it is made from.",
            ) from None
    return b"".join(parts)


def masked(value: Any) -> Any:
    """*value* without what secrets hide."""
    if type(value) is Secret:
        return "***"
    if type(value) is list or type(value) is tuple:
        return type(value)(masked(one) for one in value)
    if type(value) is dict:
        return {key: masked(one) for key, one in value.items()}
    return value


def code_of(members: Sequence[tuple[str, Any]]) -> bytes:
    """The digest of what a class was given: byte code, so it is that of what really runs."""
    parts: list[bytes] = []
    for name, member in members:
        parts.append(f"{name} {type(member).__name__}".encode())
        function = getattr(member, "__func__", member)
        if isinstance(function, property):
            function = function.fget
        if isinstance(function, FunctionType):
            parts += _function_parts(function)
        else:
            parts.append(_value(function))
    return digest(*parts)


def _function_parts(function: Any) -> Iterator[bytes]:
    """Of it, of the functions of the project that it calls, and of the data that these read."""
    stack, seen = [function], {function}
    while stack:
        one = stack.pop()
        yield function_tags(one, follow=True)[0][1]
        for helper in (unwrapped(one), *followed(one)):
            for name, value in _outside(helper):
                wrapped = getattr(value, "__wrapped__", None)
                if not callable(value):
                    yield name.encode() + b"=" + _value(value)
                elif isinstance(wrapped, FunctionType) and wrapped not in seen:
                    seen.add(wrapped)
                    if is_of_project(wrapped):  # as functools.cache wraps it
                        stack.append(wrapped)


def _outside(function: Any) -> Iterator[tuple[str, Any]]:
    """Global variables that it reads, but for functions, classes and modules."""
    for name in sorted(global_names(function.__code__)):
        value = function.__globals__.get(name, function)
        if not isinstance(value, (FunctionType, ModuleType, type, Secret)):
            yield name, value


def _value(value: Any) -> bytes:
    """Of data its content, of other objects (a logger, a connection) only their class."""
    if isinstance(value, re.Pattern):
        return repr(value).encode("utf-8", "surrogatepass")
    try:
        if _is_data(value):
            return encoded(value)
    except (TypeError, RecursionError):
        pass
    return f"a {type(value).__module__}.{type(value).__qualname__}".encode()


def _is_data(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value)) and all(map(_is_data, value.values()))
    return value is None or isinstance(value, _DATA) or hasattr(value, "dtype")


# --- the original's ---------------------------------------------------------------------------


def _original_keys(tasks: Sequence[Hashed], scheme: str) -> list[str]:
    entries: dict[Hashed, dict[str, int]] = {}
    total, found = 0, []
    for task in tasks:
        counts = {_entry(task, scheme): 1}
        for parent in task.parents:
            for entry, count in entries[parent].items():
                counts[entry] = counts.get(entry, 0) + count
        entries[task] = counts
        total += len(counts)
        characters = sum((len(entry) + 1) * count for entry, count in counts.items())
        if total > ENTRIES_MAX or characters > TEXT_MAX:
            raise TaskError(
                f"The {scheme} hash of {task.name} is made of {sum(counts.values()):.3g} entries: "
                "one for each way from each task before it.",
                remedy=f'Use hash_scheme="{CODE}", which takes one step a task.',
            )
        found.append(_joined(counts, scheme))
    return found


def _joined(counts: Mapping[str, int], scheme: str) -> str:
    """The hash of all entries in order, with slashes between them."""
    state = hashlib.new(scheme, usedforsecurity=False)
    first = True
    for entry in sorted(counts):
        text = f"/{entry}" * counts[entry]
        state.update((text[1:] if first else text).encode())
        first = False
    return state.hexdigest()


def _entry(task: Hashed, scheme: str) -> str:
    """A task alone: the hash of class, name and parameters, and its name."""
    own = {"class": type(task).__name__, "name": task.name, "params": dict(task.params)}
    try:
        text = json.dumps(own, sort_keys=True, default=_only_secrets)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(
            f"The parameters of {task.name} cannot be hashed: {error}.",
            remedy=f'Use what JSON can hold, or hash_scheme="{CODE}".',
        ) from None
    return f"{_hashed(text, scheme)}_{task.name}"


def _hashed(text: str, scheme: str) -> str:
    return hashlib.new(scheme, text.encode(), usedforsecurity=False).hexdigest()


def _only_secrets(value: Any) -> str:
    if type(value) is Secret:
        return "***"
    raise TypeError(f"{value!r} is no plain data")


__all__ = ["CODE", "SCHEMES", "Hashed", "checked_scheme", "code_of", "keys_of", "masked"]
