"""Records to bytes and back, trusting nothing.

A record is a frozen dataclass; its annotations are its schema. On the wire it is a
msgpack array of its fields in order, behind a name or a number that tells its class.
Arrays of integers travel as raw little-endian bytes, so a batch of 10,000 jobs is one
value. `unpack` returns a typed record or raises BadMessage, whatever the bytes were.

Limits: a head is at most HEAD_BYTES_MAX (8 MB of empty maps would become 561 MiB), larger
records have at most ITEMS_MAX containers; opaque bytes travel as frames of their own
(`Blobs`). What this cluster itself wrote (rows, images) is read without a limit of items.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from pypelinin.errors import BadMessage

PROTOCOL = 1
HEAD_BYTES_MAX = 512 * 1024
ITEMS_MAX = 100_000
BLOBS_MAX = 768
INT_MAX = 2**63 - 1


class WrongProtocol(BadMessage):
    """The peer speaks another version of this protocol."""


if TYPE_CHECKING:
    Ints = array[int]
else:  # not subscriptable before 3.12
    Ints = array
    """Field type: an array of unsigned 32-bit integers ('I')."""


class Blobs(tuple[bytes, ...]):
    """Field type: opaque bytes that travel as frames of their own."""

    __slots__ = ()


class Record:
    """Base of everything with a schema."""

    __slots__ = ()


R = TypeVar("R", bound=Record)
Convert = Callable[[Any], Any]
_LITTLE = sys.byteorder == "little"


@dataclasses.dataclass(frozen=True, slots=True)
class _Schema:
    """*kinds* holds the type of each plain field; the others are converted by position."""

    build: Callable[..., Record]
    fields: Callable[[Any], tuple[Any, ...]]
    length: int
    required: int
    kinds: tuple[type | None, ...]
    to_wire: tuple[tuple[int, Convert], ...]
    from_wire: tuple[tuple[int, Convert], ...]


_schemas: dict[type[Record], _Schema] = {}


def _schema(cls: type[Record]) -> _Schema:
    found = _schemas.get(cls)
    if found is None:
        hints = typing.get_type_hints(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # every Record is a dataclass
        names = [field.name for field in fields]
        converters = [_converters(hints[name]) for name in names]
        required = sum(
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            for field in fields
        )
        found = _schemas[cls] = _Schema(
            cls,
            _getter(names),
            len(names),
            required,
            tuple(hints[name] if hints[name] in _PLAIN else None for name in names),
            tuple((i, to) for i, (to, _) in enumerate(converters) if to is not None),
            tuple(
                (i, back)
                for i, (name, (_, back)) in enumerate(zip(names, converters, strict=True))
                if hints[name] not in _PLAIN
            ),
        )
    return found


_PLAIN = (int, str, bytes, bool)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _converters(hint: Any) -> tuple[Convert | None, Convert]:
    """(to wire or None for "as it is", from wire) for one annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Blobs:
        return None, _blobs
    if hint is Ints:
        return _ints_to_wire, _ints
    if hint in (int, str, bytes, bool, float):
        return None, _exactly(hint)
    if hint is object:
        return None, lambda value: value
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        to, back = _converters(inner)
        return (
            None if to is None else lambda value: None if value is None else to(value),
            lambda value: None if value is None else back(value),
        )
    if origin is tuple and arguments[-1] is Ellipsis:
        return _many(*_converters(arguments[0]))
    if origin is dict:
        key, value = (_converters(argument)[1] for argument in arguments)
        return None, lambda items: _mapping(items, key, value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _row_of, lambda values: _build(hint, values)
    raise TypeError(f"no wire form for {hint!r}")


def _exactly(kind: type) -> Convert:
    def back(value: Any) -> Any:
        if type(value) is not kind:
            if kind is float and type(value) is int:
                return float(value)
            raise BadMessage(f"expected {kind.__name__}, got {type(value).__name__}")
        return value

    return back


def _ints_to_wire(value: array[int]) -> bytes:
    if not _LITTLE:
        value = value[:]
        value.byteswap()
    return value.tobytes()


def _ints(value: Any) -> array[int]:
    if type(value) is not bytes or len(value) % 4:
        raise BadMessage("expected an array of 32-bit integers")
    result = array("I")
    result.frombytes(value)
    if not _LITTLE:
        result.byteswap()
    return result


def _blobs(value: Any) -> Blobs:
    if not isinstance(value, Blobs):
        raise BadMessage("expected frames")
    return value


def _many(to: Convert | None, back: Convert) -> tuple[Convert | None, Convert]:
    def read(values: Any) -> tuple[Any, ...]:
        if type(values) is not tuple:
            raise BadMessage(f"expected an array, got {type(values).__name__}")
        return tuple([back(value) for value in values])

    return (None if to is None else lambda values: [to(value) for value in values]), read


def _mapping(items: Any, key: Convert, value: Convert) -> dict[Any, Any]:
    if type(items) is not dict:
        raise BadMessage(f"expected a map, got {type(items).__name__}")
    return {key(k): value(v) for k, v in items.items()}


def _row_of(record: Record) -> Sequence[Any]:
    schema = _schema(type(record))
    values = schema.fields(record)
    if not schema.to_wire:
        return values
    row = list(values)
    for i, to in schema.to_wire:
        row[i] = to(row[i])
    return row


def _build(cls: type[R], values: Any) -> R:
    schema = _schema(cls)
    if type(values) is not tuple or not schema.required <= len(values) <= schema.length:
        raise BadMessage(f"{cls.__name__} does not have these fields")
    for value, kind in zip(values, schema.kinds, strict=False):
        if kind is not None and type(value) is not kind:
            raise BadMessage(f"{cls.__name__}: expected {kind.__name__}")
    if schema.from_wire:
        row = list(values)
        try:
            for i, back in schema.from_wire:
                if i < len(row):  # fields a newer version added at the end take their defaults
                    row[i] = back(row[i])
        except BadMessage as error:
            raise BadMessage(f"{cls.__name__}: {error.what}") from None
        values = row
    return schema.build(*values)  # type: ignore[return-value]


def _refuse_ext(code: int, _data: bytes) -> object:
    raise BadMessage(f"extension type {code}")


_packer = msgpack.Packer(use_bin_type=True)


def pack_plain(value: object) -> bytes:
    """Plain data (None, bool, int, float, str, bytes, lists, maps) as msgpack."""
    return typing.cast(bytes, msgpack.packb(value, use_bin_type=True))


def _counting(items_max: int) -> Callable[[Any], Any]:
    """A hook that lets *items_max* containers pass."""
    seen = 0

    def count(container: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > items_max:
            raise BadMessage(f"more than {items_max:,} arrays and maps")
        return container

    return count


def unpack_plain(
    data: bytes | memoryview, bytes_max: int = HEAD_BYTES_MAX, *, own: bool = False
) -> Any:
    """The value behind *data*; arrays come back as tuples. Raises BadMessage.

    *own* data, which this cluster itself wrote, may have any number of items.
    """
    if len(data) > bytes_max:
        raise BadMessage(f"{len(data):,} bytes are over the limit of {bytes_max:,}")
    count = None if own or len(data) <= HEAD_BYTES_MAX else _counting(ITEMS_MAX)
    items = bytes_max if own else ITEMS_MAX
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_str_len=bytes_max,
            max_bin_len=bytes_max,
            max_array_len=items,
            max_map_len=items,
            max_ext_len=0,
            list_hook=count,
            object_hook=count,
            ext_hook=_refuse_ext,
        )
    except BadMessage:
        raise
    except Exception as error:  # the decoder raises a dozen kinds for hostile bytes
        raise BadMessage(f"not msgpack: {type(error).__name__}") from None


def pack_record(record: Record) -> bytes:
    """One record as bytes, to be read by `unpack_record` of the same class."""
    return typing.cast(bytes, _packer.pack(_row_of(record)))


def unpack_record(
    cls: type[R], data: bytes, bytes_max: int = HEAD_BYTES_MAX, *, own: bool = False
) -> R:
    """The record behind *data*. Raises BadMessage."""
    return _build(cls, unpack_plain(data, bytes_max, own=own))


@lru_cache(maxsize=512)
def _unpack_small(cls: Any, data: bytes) -> Any:
    return unpack_record(cls, data)


def unpack_again(cls: type[R], data: bytes, bytes_max: int) -> R:
    """`unpack_record` for what several parts of one process read: small ones are kept.

    The record is shared, so nobody may change its arrays.
    """
    if len(data) < 4096:
        return typing.cast(R, _unpack_small(typing.cast(Any, cls), data))
    return unpack_record(cls, data, bytes_max)


def pack_tagged(tag: object, record: Record) -> bytes:
    """A record behind a tag that tells its class."""
    return typing.cast(bytes, _packer.pack([tag, _row_of(record)]))


def unpack_tagged(classes: Mapping[Any, type[Record]], data: bytes, bytes_max: int) -> Record:
    """A record of our own whose tag is in *classes*. Raises BadMessage."""
    value = unpack_plain(data, bytes_max, own=True)
    if type(value) is not tuple or len(value) != 2 or type(value[0]) not in (int, str):
        raise BadMessage("not a tagged record")
    cls = classes.get(value[0])
    if cls is None:
        raise BadMessage(f"unknown kind {value[0]!r}")
    return _build(cls, value[1])


@dataclasses.dataclass(frozen=True, slots=True)
class Envelope:
    """A message and its place on a link (`session` 0: not on a link)."""

    message: Record
    session: int = 0
    number: int = 0
    received: int = 0


def to_frames(envelope: Envelope, name: str) -> list[bytes]:
    """The frames of a message: a head, then its blobs."""
    row = _row_of(envelope.message)
    blobs: list[bytes] = []
    for i, value in enumerate(row):
        if type(value) is Blobs:
            row = list(row)
            row[i] = len(value)
            blobs.extend(value)
    head = [PROTOCOL, name, row, envelope.session, envelope.number, envelope.received]
    return [_packer.pack(head), *blobs]


def from_frames(classes: Mapping[str, type[Record]], frames: Sequence[bytes]) -> Envelope:
    """The message behind *frames*. Raises BadMessage."""
    if not 1 <= len(frames) <= BLOBS_MAX + 1:
        raise BadMessage(f"{len(frames)} frames")
    head = unpack_plain(frames[0])
    if type(head) is not tuple or not head:
        raise BadMessage("the head is not an array")
    if type(head[0]) is not int:  # never shown: the text of deep nesting ends in RecursionError
        raise BadMessage("the head does not begin with a protocol")
    if head[0] != PROTOCOL:
        raise WrongProtocol(f"The peer speaks protocol {head[0]}, this side {PROTOCOL}.")
    if len(head) != 6 or type(head[1]) is not str or type(head[2]) is not tuple:
        raise BadMessage("the head does not have its six fields")
    _, name, values, *place = head
    if not all(type(x) is int and 0 <= x <= INT_MAX for x in place):
        raise BadMessage("the place on the link is not three integers")
    cls = classes.get(name)
    if cls is None:
        raise BadMessage(f"unknown message {name[:40]!r}")
    return Envelope(_build(cls, _with_blobs(cls, values, frames)), *place)


def _with_blobs(
    cls: type[Record], values: tuple[Any, ...], frames: Sequence[bytes]
) -> tuple[Any, ...]:
    used = 1
    for i, back in _schema(cls).from_wire:
        if back is _blobs and i < len(values):
            count = values[i]
            if type(count) is not int or not 0 <= count <= len(frames) - used:
                raise BadMessage(f"{cls.__name__}: frames are missing")
            values = (*values[:i], Blobs(frames[used : used + count]), *values[i + 1 :])
            used += count
    if used != len(frames):
        raise BadMessage(f"{cls.__name__}: {len(frames) - used} frames too many")
    return values
