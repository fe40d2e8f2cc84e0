"""Under which name a result is kept: what a task is, and all that it is made from.

- "code": the task's name, its parameters with defaults, its code with all of the project that
  it reaches (`pypelinin.tasks.reach`), its own attributes, and the keys of its parents in their
  order. Each key is made from the keys before it: one step a task and edge.
- "md5", "sha256": what the original published in 0.1.2 and later; no code, and of each ancestor
  one entry for every way that leads to it. Ways can be exponentially many, so this has a bound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pypelinin.graph.fingerprint import digest
from pypelinin.runtime.hashers import NotHashable, encoded
from pypelinin.tasks.exceptions import TaskError
from pypelinin.tasks.inside.references import mapped
from pypelinin.tasks.reach import Reach
from pypelinin.tasks.saving import Secret

CODE = "code"
SCHEMES = (CODE, "md5", "sha256")
VERSION = b"tasks 1"
ENTRIES_MAX = 2_000_000
"""Different entries that the texts of one pipeline may have together."""
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

    def is_default(self, name: str, value: Any) -> bool:
        """Whether that is what the parameter is if it is not given."""
        ...

    def code(self) -> Sequence[tuple[str, Any]]:
        """(name, function or value) of what its class was given."""
        ...

    def attributes(self) -> Mapping[str, Any]:
        """What it was given itself, beside its parameters."""
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
    reach = Reach()
    for task in tasks:
        kind, attributes = type(task), task.attributes()
        if kind not in codes:
            codes[kind] = reach.digest(task.code())
        keys[task] = digest(
            VERSION, task.name.encode("utf-8", "surrogatepass"), codes[kind],
            encoded_params(task), reach.digest(sorted(attributes.items())) if attributes else b"",
            *[keys[parent] for parent in task.parents],
        )  # fmt: skip
    return [key.hex() for key in keys.values()]


def encoded_params(task: Hashed) -> bytes:
    """All parameters as bytes; of secrets only that they are. Raises TaskError."""
    parts = []
    for name, value in sorted(task.full_params().items()):
        try:
            parts += [encoded(name), encoded(masked(value))]
        except (TypeError, RecursionError) as error:
            if task.is_default(name, value):
                continue  # it counts with the code
            what = error.what if isinstance(error, NotHashable) else str(error).rstrip(".")
            raise TaskError(
                f"The parameter {name} of {task.name} cannot be hashed: {what}.",
                remedy="Use plain data, or what it is made from. Results of tasks are inputs: "
                "child(parent), or in the light form arguments, in lists, tuples, dicts and sets.",
            ) from None
    return b"".join(parts)


def masked(value: Any) -> Any:
    """*value* without what secrets hide."""
    return mapped(value, lambda one: "***" if type(one) is Secret else one)


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


__all__ = ["CODE", "SCHEMES", "Hashed", "checked_scheme", "keys_of", "masked"]
