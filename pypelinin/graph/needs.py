"""What a job needs of its node, as the user says it; checked before it goes anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from pypelinin.errors import DefinitionError
from pypelinin.units import parse_bytes, parse_seconds

ALL_CORES = -1
"""All cores of a node, but one single-core job may share it."""
WHOLE_NODE = -2
"""The node alone."""
CORES_MAX = 1_000_000
MEMORY_MIN, MEMORY_MAX = 1024 * 1024, 2**60
COUNT_MAX = 1_000_000
TIMEOUT_MAX_S = 10 * 365 * 86400.0
STEPS_MAX = 10
_NUL = "\0"


class Needs(NamedTuple):
    """What is None was not said: a job takes it from its pipeline, a pipeline from its workers.

    *memory* is in bytes; after each kill for memory the next is taken. *timeout* is in seconds
    (0: none), and so is *startup_timeout* (0: what is usual).
    """

    cores: int | None = None
    memory: tuple[int, ...] | None = None
    resources: tuple[tuple[str, int], ...] | None = None
    timeout: float | None = None
    isolate: bool | None = None
    env: tuple[tuple[str, str], ...] | None = None
    startup_timeout: float | None = None

    def over(self, defaults: Needs) -> Needs:
        """These, and what they do not say from *defaults*."""
        if defaults == UNSAID or self is defaults:
            return self
        said: tuple[Any, ...] = tuple(
            theirs if own is None else own for own, theirs in zip(self, defaults, strict=True)
        )
        return Needs(*said)


UNSAID = Needs()

Memory = int | str | Iterable[int | str]


class NeedOptions(TypedDict, total=False):
    """The keywords that `checked_needs` takes, where they are passed on."""

    cores: int | None
    memory: Memory | None
    resources: Mapping[str, int] | None
    timeout: float | str | None
    isolate: bool | None
    env: Mapping[str, str] | None
    startup_timeout: float | str | None


def checked_needs(
    cores: int | None = None,
    memory: Memory | None = None,
    resources: Mapping[str, int] | None = None,
    timeout: float | str | None = None,
    isolate: bool | None = None,
    env: Mapping[str, str] | None = None,
    startup_timeout: float | str | None = None,
) -> Needs:
    """Raises DefinitionError for what makes no sense, with what would."""
    if isolate is not None and type(isolate) is not bool:
        raise DefinitionError(f"isolate is True or False: {isolate!r}.")
    said = (cores, memory, resources, timeout, isolate, env, startup_timeout)
    if said == (None,) * len(said):
        return UNSAID
    return Needs(
        None if cores is None else _cores(cores),
        None if memory is None else _memory(memory),
        None if resources is None else _resources(resources),
        None if timeout is None else _timeout("timeout", timeout),
        isolate,
        None if env is None else _environment(env),
        None if startup_timeout is None else _timeout("startup_timeout", startup_timeout),
    )


def _cores(cores: object) -> int:
    if type(cores) is not int or not (0 < cores <= CORES_MAX or cores in (ALL_CORES, WHOLE_NODE)):
        raise DefinitionError(
            f"cores is a whole number from 1 on, -1 or -2: {cores!r}.",
            remedy="-1 is all cores of a node but one, -2 the node alone.",
        )
    return cores


def _memory(memory: Any) -> tuple[int, ...]:
    steps = (memory,) if isinstance(memory, (int, str)) else tuple(memory)
    try:
        sizes = tuple(parse_bytes(step) for step in steps)
    except ValueError as error:
        raise DefinitionError(f"memory: {error}.") from None
    if not 0 < len(sizes) <= STEPS_MAX:
        raise DefinitionError(f"memory is one size or up to {STEPS_MAX} that rise: {memory!r}.")
    if any(size < MEMORY_MIN or size > MEMORY_MAX for size in sizes):
        raise DefinitionError(
            f"memory is at least 1 MiB and at most 1 EiB: {memory!r}.",
            remedy="A number is in bytes; write '2GB' for gigabytes.",
        )
    if list(sizes) != sorted(set(sizes)):
        raise DefinitionError(f"The steps of memory rise: {memory!r}.")
    return sizes


def _resources(resources: Mapping[Any, Any]) -> tuple[tuple[str, int], ...]:
    for name, count in resources.items():
        checked_resource(name)
        if type(count) is not int or not 0 <= count <= COUNT_MAX:
            raise DefinitionError(f"resources count in whole numbers: {name}={count!r}.")
    return tuple(sorted((name, count) for name, count in resources.items() if count))


def checked_resource(name: object) -> str:
    """The name of a custom resource: it is to be a part of a variable's name, too."""
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise DefinitionError(
            f"A resource is named like a Python variable, not {name!r}.",
            remedy="Write resources={'gpu': 1}.",
        )
    if name in ("cores", "memory"):
        raise DefinitionError(f"{name} is an option of its own.", remedy=f"Write {name}=...")
    return name


def _timeout(name: str, timeout: Any) -> float:
    try:
        seconds = parse_seconds(timeout)
    except ValueError as error:
        raise DefinitionError(f"{name}: {error}.") from None
    if not 0 <= seconds <= TIMEOUT_MAX_S:  # NaN, too
        raise DefinitionError(f"{name} is in seconds, more than 0 (0: none): {timeout!r}.")
    return seconds


def _environment(env: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(f"env maps str to str, not {name!r} to {value!r}.")
        if not name or "=" in name or _NUL in name + value:
            raise DefinitionError(f"{name!r} is no name of an environment variable.")
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            raise DefinitionError(f"The variable {name!r} is not Unicode text.") from None
    return tuple(sorted(env.items()))


__all__ = [
    "ALL_CORES", "MEMORY_MIN", "Memory", "NeedOptions", "Needs", "UNSAID", "WHOLE_NODE",
    "checked_needs", "checked_resource",
]  # fmt: skip
