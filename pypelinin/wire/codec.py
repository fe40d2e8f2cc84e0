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

import contextlib
import dataclasses
import sys
import types
import typing
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgpack

from pypelinin.errors import BadMessage
from pypelinin.machine import record

PROTOCOL = 1
HEAD_BYTES_MAX = 512 * 1024
ITEMS_MAX = 100_000
BLOBS_MAX = 768
INLINE_BLOBS_MAX = 16
INLINE_BYTES_MAX = 4096
"""Few and small blobs stand in the head: a frame costs more than its bytes."""
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
    """Base of everything with a schema: each is a dataclass."""

    __slots__ = ()
    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


R = TypeVar("R", bound=Record)
Convert = Callable[[Any], Any]
_LITTLE = sys.byteorder == "little"
_PLAIN = (int, str, bytes, bool)


@record
class _Schema:
    """*row* makes a tuple of plain values of a record, *build* a record of such a tuple.

    *blobs* are the positions of the fields that travel as frames.
    """

    row: Callable[[Any], tuple[Any, ...]]
    build: Callable[[Any], Any]
    blobs: tuple[int, ...]


_schemas: dict[type[Record], _Schema] = {}


def _schema(cls: type[Record]) -> _Schema:
    """Read from the annotations once, as two functions without a loop over the fields."""
    found = _schemas.get(cls)
    if found is None:
        hints = typing.get_type_hints(cls)
        fields = dataclasses.fields(cls)
        kinds = [hints[field.name] for field in fields]
        known: dict[str, Any] = {
            "cls": cls,
            "BadMessage": BadMessage,
            "complete": _completion(fields),
        }
        row, build = [], []
        for i, (field, kind) in enumerate(zip(fields, kinds, strict=True)):
            known[f"to{i}"], known[f"back{i}"] = to, _ = _converters(kind)
            row.append(f"record.{field.name}, " if to is None else f"to{i}(record.{field.name}), ")
            if kind in _PLAIN:
                wrong = f'raise BadMessage("expected {kind.__name__}, got " + type(v{i}).__name__)'
                build.append(f"if type(v{i}) is not {kind.__name__}: {wrong}")
            else:
                build.append(f"v{i} = back{i}(v{i})")
        variables = "".join(f"v{i}, " for i in range(len(fields)))
        indented = "\n" + " " * 8
        source = f"""
def row(record):
    return ({"".join(row)})

def build(values):
    try:
        if type(values) is not tuple or len(values) != {len(fields)}:
            values = complete(values)
        ({variables}) = values
        {indented.join(build)}
    except BadMessage as error:
        raise BadMessage(f"{cls.__name__}: {{error.what}}") from None
    return cls({variables})
"""
        # Only names and types of our own classes are in it. Compiled before, since Python ends by
        # the signal, whoever catches it, if Ctrl-C comes within a text that is run.
        exec(compile(source, f"<codec of {cls.__name__}>", "exec"), known)
        blobs = tuple(i for i, kind in enumerate(kinds) if kind is Blobs)
        found = _schemas[cls] = _Schema(known["row"], known["build"], blobs)
    return found


def _completion(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[Any], tuple[Any, ...]]:
    """Fields a newer version added at the end take their defaults."""

    def default(field: dataclasses.Field[Any]) -> Any:
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        raise BadMessage("it does not have these fields")

    def complete(values: Any) -> tuple[Any, ...]:
        if type(values) is not tuple or len(values) > len(fields):
            raise BadMessage("it does not have these fields")
        return (*values, *map(default, fields[len(values) :]))

    return complete


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
        schema = _schema(hint)
        return schema.row, schema.build
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
    if type(value) is array:
        return value  # the default of a field that the bytes do not have
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
        if not values and type(values) is tuple:
            return values
        if type(values) is not tuple:
            raise BadMessage(f"expected an array, got {type(values).__name__}")
        return tuple([back(value) for value in values])

    return (None if to is None else lambda values: [to(value) for value in values]), read


def _mapping(items: Any, key: Convert, value: Convert) -> dict[Any, Any]:
    if type(items) is not dict:
        raise BadMessage(f"expected a map, got {type(items).__name__}")
    return {key(k): value(v) for k, v in items.items()} if items else items


def _refuse_ext(code: int, _data: bytes) -> object:
    raise BadMessage(f"extension type {code}")


_packer = msgpack.Packer(use_bin_type=True)


def pack_plain(value: object) -> bytes:
    """Plain data (None, bool, int, float, str, bytes, lists, maps) as msgpack."""
    packed: bytes = _packer.pack(value)
    return packed


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
    packed: bytes = _packer.pack(_schema(type(record)).row(record))
    return packed


def unpack_record(
    cls: type[R], data: bytes, bytes_max: int = HEAD_BYTES_MAX, *, own: bool = False
) -> R:
    """The record behind *data*. Raises BadMessage."""
    found: R = _schema(cls).build(unpack_plain(data, bytes_max, own=own))
    return found


KEPT_BYTES_MAX = 4096
KEPT_RECORDS_MAX = 512
_kept: dict[tuple[type[Record], bytes], Any] = {}


def unpack_again(cls: type[R], data: bytes, bytes_max: int) -> R:
    """`unpack_record` for what several parts of one process read: small ones are kept.

    The record is shared, so nobody may change its arrays.
    """
    if len(data) > KEPT_BYTES_MAX:
        return unpack_record(cls, data, bytes_max)
    found: R | None = _kept.get((cls, data))
    if found is None:
        found = unpack_record(cls, data, bytes_max)
        _keep(cls, data, found)
    return found


def pack_shared(record: Record) -> bytes:
    """`pack_record` of what may be read in this process, too: `unpack_again` finds *record*."""
    data = pack_record(record)
    _keep(type(record), data, record)
    return data


def _keep(cls: type[Record], data: bytes, record: Record) -> None:
    """The newest ones; another thread may do the same."""
    if len(data) > KEPT_BYTES_MAX:
        return
    _kept[cls, data] = record
    if len(_kept) > KEPT_RECORDS_MAX:
        with contextlib.suppress(StopIteration, RuntimeError):
            _kept.pop(next(iter(_kept)), None)


def pack_tagged(tag: object, record: Record) -> bytes:
    """A record behind a tag that tells its class."""
    packed: bytes = _packer.pack((tag, _schema(type(record)).row(record)))
    return packed


def unpack_tagged(classes: Mapping[Any, type[Record]], data: bytes, bytes_max: int) -> Record:
    """A record of our own whose tag is in *classes*. Raises BadMessage."""
    value = unpack_plain(data, bytes_max, own=True)
    if type(value) is not tuple or len(value) != 2 or type(value[0]) not in (int, str):
        raise BadMessage("not a tagged record")
    cls = classes.get(value[0])
    if cls is None:
        raise BadMessage(f"unknown kind {value[0]!r}")
    return typing.cast(Record, _schema(cls).build(value[1]))


@record
class Envelope:
    """A message and its place on a link (`session` 0: not on a link)."""

    message: Record
    session: int = 0
    number: int = 0
    received: int = 0


def to_frames(envelope: Envelope, name: str) -> list[bytes]:
    """The frames of a message: a head, then its blobs, if they are not small enough for it."""
    schema = _schema(type(envelope.message))
    row = schema.row(envelope.message)
    frames = [b""]
    for i in schema.blobs:
        if len(row[i]) > INLINE_BLOBS_MAX or sum(map(len, row[i])) > INLINE_BYTES_MAX:
            frames += row[i]
            row = (*row[:i], len(row[i]), *row[i + 1 :])
    frames[0] = _packer.pack(
        (PROTOCOL, name, row, envelope.session, envelope.number, envelope.received)
    )
    return frames


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
    schema = _schema(cls)
    if schema.blobs or len(frames) > 1:
        values = _with_blobs(cls, values, frames)
    return Envelope(schema.build(values), *place)


def _with_blobs(
    cls: type[Record], values: tuple[Any, ...], frames: Sequence[bytes]
) -> tuple[Any, ...]:
    """*values* with the blobs that stand in them, or in the frames behind, where they belong."""
    used = 1
    for i in _schema(cls).blobs:
        if i >= len(values):
            break
        here = values[i]
        if type(here) is int:
            if not 0 <= here <= len(frames) - used:
                raise BadMessage(f"{cls.__name__}: frames are missing")
            here = frames[used : used + here]
            used += len(here)
        elif type(here) is not tuple or any(type(blob) is not bytes for blob in here):
            raise BadMessage(f"{cls.__name__}: blobs are bytes, or a number of frames")
        values = (*values[:i], Blobs(here), *values[i + 1 :])
    if used != len(frames):
        raise BadMessage(f"{cls.__name__}: {len(frames) - used} frames too many")
    return values
