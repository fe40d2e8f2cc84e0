"""Python values to bytes and back: plain ones as msgpack, all others as one opaque pickle.

`pack_value` runs in the client, `unpack_value` in the slot (or the client whose run it is):
a daemon passes the bytes on and never opens them. The first byte says how a value is packed:
m msgpack, p pickle, o pickle with large buffers behind it, y bytes as they are, f the payload
of a run with functions, v the name of a value that is kept in a file (`value_files`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgpack

from pypelinin.errors import DefinitionError, NotPicklable
from pypelinin.wire.definitions import INLINE_BYTES_MAX

_LEAVES = (type(None), bool, int, float, str, bytes)
_INT_MAX = 2**63
OUT_OF_BAND_BYTES = 64 * 1024
"""Buffers (of arrays and the like) from this size on are not copied into the pickle."""
ALIGNMENT = 64

Piece = bytes | memoryview


def is_plain(value: object, depth: int = 0) -> bool:
    """Whether msgpack gives exactly this value back (a tuple would return as a list)."""
    kind = type(value)
    if kind in _LEAVES:
        return kind is not int or -_INT_MAX <= value < _INT_MAX  # type: ignore[operator]  # int
    if depth > 50:
        return False
    if kind is list:
        return all(is_plain(one, depth + 1) for one in value)  # type: ignore[attr-defined]  # list
    if kind is dict:
        return all(
            type(key) is str and is_plain(item, depth + 1)
            for key, item in value.items()  # type: ignore[attr-defined]  # dict
        )
    return False


def pack_value(what: str, value: object) -> bytes:
    """*value* as bytes; *what* names it in the error. Raises NotPicklable."""
    return b"".join(pack_pieces(what, value))


def pack_pieces(what: str, value: object) -> list[Piece]:
    """*value* as bytes in pieces, so that large buffers are not copied. Raises NotPicklable."""
    if type(value) is bytes and len(value) >= OUT_OF_BAND_BYTES:
        return [b"y", value]
    if is_plain(value):
        try:
            return [b"m", msgpack.packb(value, use_bin_type=True)]
        except (ValueError, UnicodeEncodeError):
            pass  # lone surrogates and the like: pickle can
    import cloudpickle  # only here: most clients never need it

    buffers: list[memoryview] = []
    try:
        body = cloudpickle.dumps(value, protocol=5, buffer_callback=collector(buffers))
        return pickled_pieces(body, buffers)
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


def collector(buffers: list[memoryview]) -> Callable[[Any], bool]:
    """What pickle asks about each buffer: True leaves it in the pickle."""

    def collect(buffer: Any) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < OUT_OF_BAND_BYTES:
            return True
        buffers.append(raw)
        return False

    return collect


def pickled_pieces(body: bytes, buffers: Iterable[memoryview], kind: bytes = b"p") -> list[Piece]:
    """A pickle and its buffers, each of these at a multiple of ALIGNMENT."""
    buffers = list(buffers)
    if not buffers:
        return [kind, body]
    sizes = (len(body), *(buffer.nbytes for buffer in buffers))
    head = struct.pack(f"<ccHQ{len(buffers)}Q", b"o", kind, len(buffers), *sizes)
    pieces: list[Piece] = [head, body]
    at = len(head) + len(body)
    for buffer in buffers:
        pieces += [bytes(-at % ALIGNMENT), buffer]
        at += -at % ALIGNMENT + buffer.nbytes
    return pieces


def opened_pickle(data: bytes | memoryview) -> tuple[bytes, memoryview, list[memoryview]]:
    """(kind, pickle, buffers) of what `pickled_pieces` made."""
    view = memoryview(data)
    if bytes(view[:1]) != b"o":
        return bytes(view[:1]), view[1:], []
    _, kind, count, size = struct.unpack_from("<ccHQ", view)
    sizes = struct.unpack_from(f"<{count}Q", view, 12)
    at = 12 + 8 * count
    body, buffers = view[at : at + size], []
    at += size
    for size in sizes:
        at += -at % ALIGNMENT
        buffers.append(view[at : at + size])
        at += size
    return kind, body, buffers


def unpack_value(data: bytes | memoryview) -> Any:
    """The value again. Only where user code may run: a pickle is code."""
    kind = bytes(data[:1])
    if kind == b"m":
        return msgpack.unpackb(memoryview(data)[1:], raw=False, strict_map_key=False)
    if kind == b"y":
        return bytes(memoryview(data)[1:])
    if kind == b"f":
        return unpack_value(msgpack.unpackb(memoryview(data)[1:])[0])
    import pickle

    _, body, buffers = opened_pickle(data)
    return pickle.loads(body, buffers=buffers)


def pack_result(function: Callable[..., Any], value: object) -> list[Piece]:
    """What *function* returned, in pieces; none for None. Raises NotPicklable."""
    if value is None:
        return []
    return pack_pieces(f"The result of {getattr(function, '__name__', function)}()", value)


def pack_error(error: BaseException) -> bytes:
    """The exception itself, for the one who submitted the job; empty if it cannot travel."""
    import cloudpickle

    try:
        packed = b"p" + bytes(cloudpickle.dumps(error))
    except BaseException:  # reducing an exception is user code
        return b""
    return packed if len(packed) <= INLINE_BYTES_MAX else b""


def pack_header(data: bytes, functions: Mapping[str, bytes], place: str) -> bytes:
    """A run's payload with the functions its jobs call, by digest, and the client's directory."""
    return b"f" + bytes(msgpack.packb([data, dict(functions), place]))
