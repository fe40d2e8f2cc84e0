"""Python values to bytes and back: plain ones as msgpack, all others as one opaque pickle.

`pack_value` runs in the client, `unpack_value` in the slot (or the client whose run it is):
a daemon passes the bytes on and never opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from pypelinin.errors import DefinitionError, NotPicklable

_LEAVES = (type(None), bool, int, float, str, bytes)
_INT_MAX = 2**63
INLINE_BYTES_MAX = 64 * 1024
"""A packed value up to this size travels with the outcome of its job."""


def is_plain(value: object, depth: int = 0) -> bool:
    """Whether msgpack gives exactly this value back (a tuple would return as a list)."""
    kind = type(value)
    if kind in _LEAVES:
        return kind is not int or -_INT_MAX <= value < _INT_MAX  # type: ignore[operator]
    if depth > 50:
        return False
    if kind is list:
        return all(is_plain(item, depth + 1) for item in value)  # type: ignore[attr-defined]
    if kind is dict:
        return all(
            type(key) is str and is_plain(item, depth + 1)
            for key, item in value.items()  # type: ignore[attr-defined]
        )
    return False


def pack_value(what: str, value: object) -> bytes:
    """*value* as bytes; *what* names it in the error. Raises NotPicklable."""
    if is_plain(value):
        try:
            return b"m" + bytes(msgpack.packb(value, use_bin_type=True))
        except (ValueError, UnicodeEncodeError):
            pass  # lone surrogates and the like: pickle can
    import cloudpickle  # only here: most clients never need it

    try:
        return b"p" + bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise NotPicklable(
            f"{what} cannot be sent: {type(error).__name__}: {error}.",
            remedy="Send plain data, or the name of something the store can retrieve.",
        ) from error


def check_plain(what: str, value: object) -> None:
    """Raise DefinitionError unless *value* is data that every process can read."""
    try:
        msgpack.unpackb(msgpack.packb(value, use_bin_type=True), strict_map_key=True)
    except Exception as error:
        raise DefinitionError(
            f"{what} is no plain data: {error}.",
            remedy="Use None, bool, numbers, text, bytes, lists, and dicts with text as keys.",
        ) from None


def unpack_value(data: bytes) -> Any:
    """The value again. Only where user code may run: a pickle is code."""
    if data[:1] == b"m":
        return msgpack.unpackb(memoryview(data)[1:], raw=False, strict_map_key=False)
    if data[:1] == b"f":
        return unpack_value(msgpack.unpackb(memoryview(data)[1:])[0])
    import pickle

    return pickle.loads(memoryview(data)[1:])


def pack_result(function: Callable[..., Any], value: object) -> bytes:
    """What *function* returned; empty for None. Raises NotPicklable."""
    if value is None:
        return b""
    return pack_value(f"The result of {getattr(function, '__name__', function)}()", value)


def pack_error(error: BaseException) -> bytes:
    """The exception itself, for the one who submitted the job; empty if it cannot travel."""
    import cloudpickle

    try:
        packed = b"p" + bytes(cloudpickle.dumps(error))
    except BaseException:  # reducing an exception is user code
        return b""
    return packed if len(packed) <= INLINE_BYTES_MAX else b""


def pack_header(data: bytes, functions: Mapping[str, bytes]) -> bytes:
    """A run's payload with the functions its jobs call, by digest."""
    return b"f" + bytes(msgpack.packb([data, dict(functions)]))
