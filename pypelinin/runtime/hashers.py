"""Digests of files, bytes and parameters.

Of a file: BLAKE2b of its content, 16 bytes. Of parameters: of an encoding in which no two
different values are written alike, so order, repetition and types count.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import errno
import fractions
import hashlib
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import PurePath
from stat import S_ISREG
from types import ModuleType
from typing import Any

from pypelinin.graph.fingerprint import DIGEST_BYTES, digest

CHUNK_BYTES = 1 << 20
_IMMUTABLE = 1 << 8
"""A flag of classes that were not made by a class statement: they hold more than attributes."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def hash_file(path: str | os.PathLike[str]) -> bytes:
    """The digest of the content of a file, 16 bytes. Raises OSError."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb", buffering=0, opener=_open) as file:
        stat = os.fstat(file.fileno())
        if not S_ISREG(stat.st_mode):
            raise OSError(errno.EINVAL, "This is no regular file", os.fspath(path))
        buffer = memoryview(bytearray(min(CHUNK_BYTES, stat.st_size + 1)))
        while count := file.readinto(buffer):
            state.update(buffer[:count])
    return state.digest()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its writer


def hash_bytes(data: bytes) -> bytes:
    """The digest of some bytes, the same as that of a file of this content."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def hash_str(text: str) -> bytes:
    """The digest of a text in UTF-8."""
    return hash_bytes(text.encode("utf-8", "surrogatepass"))


def hash_object(value: object) -> bytes:
    """The digest of a parameter, 16 bytes.

    Order, repetition and types count; the order in which a dict or set was filled does not.
    Raises TypeError that names the part which cannot be hashed.
    """
    return hash_bytes(encoded(value))


class NotHashable(TypeError):
    """Something has no digest: *what*, and what to do about it in an incremental run."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}{remedy}")
        self.what = what


class ValuePlusHash:
    """A value that brings its digest: what a loader returns, or a parameter."""

    def __init__(self, value: Any, hexdigest: str) -> None:
        self.value = value
        self.hexdigest = hexdigest

    def __repr__(self) -> str:
        return f"ValuePlusHash({self.value!r}, {self.hexdigest!r})"


# --- the encoding ---------------------------------------------------------------------------


def encoded(value: object) -> bytes:
    """Bytes that only an equal value of the same types has. Raises TypeError."""
    out: list[bytes] = []
    try:
        _Encoder(out).put(value, "parameter")
    except RecursionError:
        raise TypeError("it is nested too deeply.") from None
    return b"".join(out)


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + len(data).to_bytes(8, "big") + data


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Encoder:
    def __init__(self, out: list[bytes]) -> None:
        self.out = out
        self.inside: dict[int, str] = {}
        """Containers that are being written -> where they began."""

    def put(self, value: object, where: str) -> None:
        way = _WAYS.get(type(value))
        if way is not None:
            self.out.append(way(value))
            return
        if id(value) in self.inside:
            raise TypeError(f"{where} contains itself ({self.inside[id(value)]}).")
        self.inside[id(value)] = where
        self.put_composed(value, where)
        del self.inside[id(value)]

    def put_composed(self, value: Any, where: str) -> None:
        kind = type(value)
        if isinstance(value, (list, tuple)):
            self.put_many(kind, value, where)
            if hasattr(value, "__dict__") and vars(value):
                self.put(vars(value), f"{where}.__dict__")
        elif isinstance(value, (set, frozenset)):
            self.put_sorted(kind, [self.apart(item, f"an item of {where}") for item in value])
        elif isinstance(value, OrderedDict):
            self.put_many(kind, list(value.items()), where)
        elif isinstance(value, Mapping):
            pairs = [
                self.apart(key, f"a key of {where}") + self.apart(item, f"{where}[{key!r}]")
                for key, item in value.items()
            ]
            self.put_sorted(kind, pairs)
        elif isinstance(value, enum.Enum):
            self.out.append(_sized(b"E", f"{name_of(kind)}.{value.name}".encode()))
            self.put(value.value, f"{where}.value")
        elif isinstance(value, ValuePlusHash):
            self.out.append(_sized(b"H", value.hexdigest.encode()))
        elif isinstance(value, PurePath):
            self.out.append(_sized(b"P", os.fsencode(value)))
        elif isinstance(value, (str, int, float, bytes)):  # a subclass of one of these
            self.out.append(_sized(b"c", name_of(kind).encode()))
            base = next(base for base in (str, int, float, bytes) if isinstance(value, base))
            self.out.append(_WAYS[base](value))
        elif callable(value) or isinstance(value, ModuleType):
            raise NotHashable(
                f"{where} is {_short(value)}, which cannot be hashed as a parameter",
                "; follow functions with a FunctionInvariant.",
            )
        elif not self.put_array(value, where):
            self.put_object(value, where)

    def apart(self, value: object, where: str) -> bytes:
        """The encoding of one item, to be sorted."""
        mine, self.out = self.out, []
        try:
            self.put(value, where)
            return b"".join(self.out)
        finally:
            self.out = mine

    def put_many(self, kind: type, items: Any, where: str) -> None:
        tag = b"l" if kind is list else b"t" if kind is tuple else b""
        self.out.append(tag if tag else _sized(b"q", name_of(kind).encode()))
        self.out.append(len(items).to_bytes(8, "big"))
        for i, item in enumerate(items):
            self.put(item, f"{where}[{i}]")

    def put_sorted(self, kind: type, items: list[bytes]) -> None:
        tags: dict[type, bytes] = {dict: b"d", set: b"s", frozenset: b"z"}
        tag = tags.get(kind)
        self.out.append(tag if tag else _sized(b"m", name_of(kind).encode()))
        self.out.append(len(items).to_bytes(8, "big"))
        self.out += sorted(items)

    def put_array(self, value: Any, where: str) -> bool:
        """Arrays and scalars of numpy; tables of pandas and polars are refused."""
        package = type(value).__module__.partition(".")[0]
        if package in ("pandas", "polars"):
            raise NotHashable(
                f"{where} is a {package} {type(value).__name__}: its digest would not be reliable",
                ". Pass ValuePlusHash(table, hexdigest), or depend on the file it comes from.",
            )
        if package != "numpy" or not hasattr(value, "dtype"):
            return False
        shape = getattr(value, "shape", ())
        self.out.append(_sized(b"A", f"{value.dtype.str}{shape}".encode()))
        if value.dtype.hasobject:
            self.put(value.tolist(), where)
        else:
            self.out.append(_sized(b"a", value.tobytes()))
        return True

    def put_object(self, value: Any, where: str) -> None:
        """An object of a class written in Python: its attributes."""
        kind = type(value)
        state = dict(getattr(value, "__dict__", {}))
        for base in kind.__mro__:
            for slot in base.__dict__.get("__slots__", ()):
                if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                    state[slot] = getattr(value, slot)
        is_python = hasattr(value, "__dict__") or any(
            "__slots__" in b.__dict__ for b in kind.__mro__
        )
        native = [b for b in kind.__mro__[:-1] if b.__flags__ & _IMMUTABLE]
        if not is_python or native or kind.__module__ in ("_io", "socket", "io", "threading"):
            raise NotHashable(
                f"{where} is {_short(value)}, which cannot be hashed: a {name_of(kind)} has no "
                "lasting content",
                ". Pass what matters of it, or a ValuePlusHash.",
            )
        self.out.append(_sized(b"O", name_of(kind).encode()))
        for name in sorted(state):
            self.out.append(_sized(b"n", name.encode()))
            self.put(state[name], f"{where}.{name}")


def _short(value: object) -> str:
    return repr(value)[:80]


def without_address(text: str) -> str:
    """A repr that is the same in the next process."""
    return _ADDRESS.sub("", text)


_WAYS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    type(...): lambda _: b".",
    int: lambda value: _sized(b"i", b"%d" % value),
    float: lambda value: b"f" + struct.pack(">d", value),
    complex: lambda value: b"j" + struct.pack(">dd", value.real, value.imag),
    str: lambda value: _sized(b"u", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: _sized(b"b", value),
    bytearray: lambda value: _sized(b"B", bytes(value)),
    range: lambda value: _sized(b"r", repr(value).encode()),
    slice: lambda value: _sized(b"S", repr(value).encode()),
    decimal.Decimal: lambda value: _sized(b"D", str(value).encode()),
    fractions.Fraction: lambda value: _sized(b"R", str(value).encode()),
    datetime.datetime: lambda value: _sized(b"Y", f"{value.isoformat()}{value.fold}".encode()),
    datetime.date: lambda value: _sized(b"y", value.isoformat().encode()),
    datetime.time: lambda value: _sized(b"h", value.isoformat().encode()),
    datetime.timedelta: lambda value: _sized(b"w", repr(value).encode()),
}

__all__ = [
    "NotHashable", "ValuePlusHash", "digest", "encoded", "hash_bytes", "hash_file",
    "hash_object", "hash_str", "name_of", "without_address",
]  # fmt: skip
