"""Parameters as plain data, as they stand in files, and back.

What JSON has no form for stands as {"$KIND": ...}; secrets as {"$secret": NAME} without
their value.
"""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from pypelinin.tasks.exceptions import TaskError
from pypelinin.tasks.inside.references import Reference, mapped

PLAIN = (type(None), bool, int, float, str)


class Secret:
    """A parameter that no file, log or hash shows; `run` gets its value.

    `Secret.from_environment("NAME")` is read here and now, and again when a saved pipeline is
    loaded. The hash of a task does not depend on it: a new password makes no result stale.
    """

    __slots__ = ("value", "name")

    def __init__(self, value: Any, name: str = "") -> None:
        self.value = value
        self.name = name

    @classmethod
    def from_environment(cls, name: str) -> Secret:
        """Raises TaskError if there is no such variable."""
        if name not in os.environ:
            raise TaskError(
                f"The secret {name} is not in the environment.",
                remedy=f"Set {name}, and run again.",
            )
        return cls(os.environ[name], name)

    def __repr__(self) -> str:
        return f"Secret(***{self.name})"


def revealed(value: Any) -> Any:
    """*value* with what secrets hide; as `run` gets it."""
    return mapped(value, lambda one: one.value if type(one) is Secret else one)


def held_secrets(value: Any) -> list[Any]:
    """What secrets in *value* hide."""
    found: list[Any] = []
    mapped(value, lambda one: found.append(one.value) if type(one) is Secret else None)
    return found


def plain_of(value: Any, where: str, strict: bool = True) -> Any:
    """*value* as JSON can hold it.

    Raises TaskError that names *where* in it something stands that cannot be saved; if not
    *strict*, its repr is taken for it.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return [plain_of(one, f"{where}[{i}]", strict) for i, one in enumerate(value)]
    if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: plain_of(one, f"{where}[{key!r}]", strict) for key, one in value.items()}
    if kind is dict:
        return {"$dict": plain_of([list(pair) for pair in value.items()], where, strict)}
    if kind in (tuple, set, frozenset):
        listed = [plain_of(one, f"an item of {where}", strict) for one in value]
        return {f"${kind.__name__}": listed if kind is tuple else sorted(listed, key=repr)}
    for name, (known, to_plain, _) in _KINDS.items():
        if kind is known or (name == "path" and isinstance(value, PurePath)):
            return {f"${name}": to_plain(value)}
    if strict:
        raise TaskError(
            f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved.",
            remedy="Use plain data, dates, paths, tuples, sets or bytes for parameters.",
        )
    return {"$repr": repr(value)}


def value_of(plain: Any, where: str, secrets: Mapping[str, Any]) -> Any:
    """The parameter that `plain_of` made this of; *secrets* by name of the parameter.

    Raises TaskError for what was not saved, or was changed.
    """
    if type(plain) is list:
        return [value_of(one, f"{where}[{i}]", secrets) for i, one in enumerate(plain)]
    if type(plain) is not dict:
        return plain
    if not (len(plain) == 1 and next(iter(plain)).startswith("$")):
        return {key: value_of(one, f"{where}[{key!r}]", secrets) for key, one in plain.items()}
    ((mark, held),) = plain.items()
    kind = mark[1:]
    if kind == "secret":
        return _secret(held, where, secrets)
    try:
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](value_of(held, where, secrets))
        if kind in _KINDS:
            return _KINDS[kind][2](held)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{where} is no {kind}: {held!r} ({error}).") from None
    raise TaskError(
        f"{where} was not saved, only what it looked like: {held!r}.",
        remedy="Make the pipeline anew from its script.",
    )


def _secret(name: str, where: str, secrets: Mapping[str, Any]) -> Secret:
    parameter = where.rpartition(".")[2]
    for known in (where, parameter):
        if known in secrets:
            return Secret(secrets[known], name)
    if name:
        return Secret.from_environment(name)
    raise TaskError(
        f"{where} is a secret, whose value was not saved.",
        remedy=f"Load it with secrets={{{parameter!r}: ...}}.",
    )


_CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict,
}  # fmt: skip
_KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "secret": (Secret, lambda value: value.name, str),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "path": (Path, str, Path),
    "datetime": (datetime.datetime, str, datetime.datetime.fromisoformat),
    "date": (datetime.date, str, datetime.date.fromisoformat),
    "result": (Reference, lambda value: value.place, Reference),
    "complex": (complex, str, complex),
}

__all__ = ["Secret", "held_secrets", "plain_of", "revealed", "value_of"]
