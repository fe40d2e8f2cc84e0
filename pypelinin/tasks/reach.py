"""What a task's code reaches: functions, classes and data of the project.

A walk over what names show: byte code, the global variables that it reads, the attributes that it
names of modules, closures, defaults, what decorators are around, members of classes, attributes
of objects. Things of installed packages count by their name, data by its content.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, NamedTuple

from pypelinin.graph.fingerprint import digest
from pypelinin.runtime.code_views import (
    code_digest,
    codes_of,
    is_of_library,
    names_read,
)
from pypelinin.runtime.hashers import encoded, without_address
from pypelinin.tasks.connecting import Node
from pypelinin.tasks.imports import Sources, imported
from pypelinin.tasks.saving import Secret

NO_CODE = frozenset(
    "__module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__ __parameters__ "
    "__orig_bases__ __abstractmethods__ _abc_impl __firstlineno__ __static_attributes__ "
    "__annotate_func__ __annotations_cache__ known_signature".split()
)
"""Members of classes that say nothing of what they do."""
_PLAIN = (str, bytes, float, int, bool, complex, bytearray)
_DATA = (
    *_PLAIN, decimal.Decimal, fractions.Fraction,
    datetime.date, datetime.time, datetime.timedelta, PurePath, enum.Enum, range, slice,
)  # fmt: skip
_PARTS: Mapping[type, tuple[str, ...]] = {
    MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.singledispatchmethod: ("dispatcher",),
}
"""What stands around functions, and where these are."""
_NAMESPACES = ("types.SimpleNamespace", "argparse.Namespace")

Named = tuple[str, object]


class _Read(NamedTuple):
    own: bytes
    others: list[object]
    """What it leads to, in the order of the marks in *own*."""
    thing: object
    """Kept alive: it is known by its id."""


class Reach:
    """Digests of things with all that they reach; each thing is looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, _Read] = {}
        self._sources = Sources()

    def digest(self, named: Iterable[Named]) -> bytes:
        """Of these things, by name. Raises nothing for things that are odd."""
        start = self._made("", named, None)
        parts, queue = [start.own], list(start.others)
        numbers = {id(one): number for number, one in enumerate(queue)}
        for thing in queue:  # it grows
            known = self._known.get(id(thing))
            if known is None:
                known = self._known[id(thing)] = self._made(*self._told(thing), thing)
            parts.append(known.own)
            for other in known.others:
                number = numbers.setdefault(id(other), len(queue))
                if number == len(queue):
                    queue.append(other)
                parts.append(b"%d" % number)
        return digest(*parts)

    def _made(self, what: str, named: Iterable[Named], thing: object) -> _Read:
        own, others = [what.encode("utf-8", "surrogatepass")], []
        for name, value in named:
            data = data_of(value)
            if data is None:
                others.append(value)
            own += [name.encode("utf-8", "surrogatepass"), b"" if data is None else b"=" + data]
        return _Read(digest(*own), others, thing)

    def _told(self, value: Any) -> tuple[str, Iterable[Named]]:
        """What it is, and what it is made from."""
        kind = type(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return _class(value)
        if kind in _PARTS:
            return kind.__name__, [(name, getattr(value, name, None)) for name in _PARTS[kind]]
        if isinstance(value, Secret):
            return "a secret", ()
        if isinstance(value, ModuleType):
            return value.__name__, ()
        return "object", [*_items(value), *_attributes(value), ("class", kind)]

    def _function(self, function: FunctionType) -> tuple[str, Iterable[Named]]:
        if not _is_project(function):
            return _name(function), _held(function)
        code = function.__code__
        sources = self._sources.digest(
            name
            for inner in codes_of(code)
            for name in imported(inner, function.__globals__.get("__package__") or "")
        )
        return code_digest(code).hex() + sources.hex(), [*_held(function), *_outside(function)]


# --- functions --------------------------------------------------------------------------------


def _held(function: FunctionType) -> Iterator[Named]:
    """Its closure and defaults, and what a decorator says that it is around."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if name != "__class__":
            yield name, value
    for value in function.__defaults__ or ():
        yield "default", value
    yield from (function.__kwdefaults__ or {}).items()
    if "__wrapped__" in vars(function):
        yield "__wrapped__", vars(function)["__wrapped__"]


def _outside(function: FunctionType) -> Iterator[Named]:
    """The global variables that it reads, and the attributes of modules that it names."""
    attributes = {name for inner in codes_of(function.__code__) for name in inner.co_names}
    stack = [
        (name, function.__globals__[name])
        for name in sorted(names_read(function.__code__), reverse=True)
        if name in function.__globals__
    ]
    seen: set[int] = set()
    while stack:
        name, value = stack.pop()
        if not isinstance(value, ModuleType):
            yield name, value
        elif id(value) not in seen and _is_project_module(value):
            seen.add(id(value))
            stack += [
                (f"{name}.{attribute}", vars(value)[attribute])
                for attribute in sorted(attributes & vars(value).keys(), reverse=True)
            ]


def _is_project(thing: FunctionType | type) -> bool:
    """Whether its module is: by that, as of what stands in a notebook there is no file."""
    module = sys.modules.get(thing.__module__)
    return module is None or _is_project_module(module)


def _is_project_module(module: ModuleType) -> bool:
    if module.__name__ == "__main__":
        return True
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(place and not is_of_library(place) for place in places)


# --- classes and objects ----------------------------------------------------------------------


def _class(kind: type) -> tuple[str, Iterable[Named]]:
    if not _is_project(kind):
        return _name(kind), ()
    return "class", _members(one for one in kind.__mro__ if one is not object)


def _members(kinds: Iterable[type]) -> list[Named]:
    """All that classes were given, the nearest first; of installed ones only that they are."""
    found: list[Named] = []
    for place, kind in enumerate(kinds):
        if _is_project(kind):
            found += [
                (f"{place} {name}", member)
                for name, member in sorted(vars(kind).items())
                if name not in NO_CODE
            ]
        else:
            found.append((f"{place}", kind))
    return found


def _items(value: Any) -> Iterator[Named]:
    """What a container holds, in an order that does not depend on how a dict or set was filled;
    of what is like a number or a text that."""
    for base in _PLAIN:
        if isinstance(value, base):
            yield base.__name__, base.__repr__(value)
    if isinstance(value, (dict, MappingProxyType)):
        pairs = dict.items(value) if isinstance(value, dict) else value.items()
        for key, one in sorted(pairs, key=lambda pair: _shown(pair[0])):
            yield "key", key
            yield "value", one
    elif isinstance(value, (list, tuple, collections.deque)):
        yield from (("item", one) for one in value)
    elif isinstance(value, (set, frozenset)):
        yield from (("item", one) for one in sorted(value, key=_shown))


def _shown(value: Any) -> str:
    try:
        return without_address(repr(value))
    except Exception:  # of somebody's class
        return _name(type(value))


def _attributes(value: Any) -> Iterator[Named]:
    """All if its class is of the project, or a namespace; of others (a logger, a connection) they
    change all the time, so only their name counts, and what they are around."""
    kind = type(value)
    found = getattr(value, "__dict__", None)
    own = dict(found) if isinstance(found, dict) else {}
    if isinstance(value, Node):
        yield "name", value.name
    elif isinstance(value, re.Pattern):
        yield "pattern", repr(value)
    elif _is_project(kind) or _name(kind) in _NAMESPACES:
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    own[name] = getattr(value, name)
        yield from sorted((str(name), one) for name, one in own.items())
    elif "__wrapped__" in own:
        yield "__wrapped__", own["__wrapped__"]
    elif callable(value):
        yield "name", _name(value)


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"{getattr(value, '__module__', '')}.{name}"


# --- data -------------------------------------------------------------------------------------


def data_of(value: Any) -> bytes | None:
    """The content of plain data; None if it is none, or holds what is none."""
    try:
        return encoded(value) if _is_data(value) else None
    except Exception:  # TypeError for what has no lasting content; others are of somebody's class
        return None


def _is_data(value: Any) -> bool:
    if type(value) in _PLAIN or value is None:
        return True
    if _is_project(type(value)):
        return False  # its methods count as well
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value)) and all(map(_is_data, value.values()))
    return isinstance(value, _DATA) or hasattr(value, "dtype")


__all__ = ["NO_CODE", "Reach", "data_of"]
