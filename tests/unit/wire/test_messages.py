"""Every message comes back as it was, and whatever else comes is a BadMessage."""

from __future__ import annotations

import dataclasses
import random
import types
import typing
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypelinin.errors import BadMessage
from pypelinin.wire import messages
from pypelinin.wire.codec import (
    PROTOCOL,
    Blobs,
    Envelope,
    Ints,
    Record,
    from_frames,
    pack_plain,
    pack_record,
    to_frames,
    unpack_plain,
    unpack_record,
)
from pypelinin.wire.messages import MESSAGES, NAMES

INTEGERS = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: INTEGERS,
    str: st.text(max_size=8),
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    object: st.none() | st.booleans() | INTEGERS | st.text(max_size=8),
    Blobs: st.lists(st.binary(max_size=8), max_size=4).map(Blobs),
    Ints: st.lists(st.integers(0, 2**32 - 1), max_size=4).map(lambda items: array("I", items)),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """What a field of this annotation may hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return st.none() | values(inner)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        key, value = arguments
        return st.dictionaries(values(key), values(value), max_size=3)
    return records(hint)


def records(cls: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(cls, *(values(hint) for hint in typing.get_type_hints(cls).values()))


EVERY = [
    cls
    for cls in vars(messages).values()
    if isinstance(cls, type) and issubclass(cls, Record) and cls is not Record
]
SENT = list(MESSAGES.values())


def name_of(cls: type) -> str:
    return cls.__name__


@pytest.mark.parametrize("cls", SENT, ids=name_of)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_message_comes_back_as_it_was(cls: type[Record], data: st.DataObject) -> None:
    place = [data.draw(st.integers(0, 2**63 - 1)) for _ in range(3)]
    envelope = Envelope(data.draw(records(cls)), *place)
    assert from_frames(MESSAGES, to_frames(envelope, NAMES[cls])) == envelope


INNER = [cls for cls in EVERY if Blobs not in typing.get_type_hints(cls).values()]


@pytest.mark.parametrize("cls", INNER, ids=name_of)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_record_inside_a_message_comes_back_too(cls: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(cls))
    assert unpack_record(cls, pack_record(record)) == record


def test_every_message_has_one_name() -> None:
    assert len(NAMES) == len(MESSAGES)
    assert all(MESSAGES[name] is cls for cls, name in NAMES.items())
    assert all(name == name.lower() and len(name) <= 40 for name in MESSAGES)


@pytest.mark.parametrize("cls", EVERY, ids=name_of)
def test_fields_that_may_be_missing_stand_at_the_end(cls: type[Record]) -> None:
    fields = dataclasses.fields(cls)
    optional = [
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        for field in fields
    ]
    assert optional == sorted(optional)
    assert cls.__dataclass_params__.unsafe_hash  # type: ignore[attr-defined]  # a dataclass's


# --- strict about every field -----------------------------------------------------------------


def example(hint: Any) -> Any:
    """The smallest value of an annotation, as it stands on the wire."""
    origin = typing.get_origin(hint)
    simple = {int: 0, str: "", bytes: b"", bool: False, float: 0.0, object: 0, Blobs: 0, Ints: b""}
    if hint in simple:
        return simple[hint]
    if origin in (typing.Union, types.UnionType):
        return None
    if origin is tuple:
        return []
    if origin is dict:
        return {}
    return row(hint)


def row(cls: type[Record]) -> list[Any]:
    return [example(hint) for hint in typing.get_type_hints(cls).values()]


def receive(cls: type[Record], fields: list[Any]) -> Record:
    head = pack_plain([PROTOCOL, NAMES[cls], fields, 0, 0, 0])
    return from_frames(MESSAGES, [head]).message


WRONG = (None, True, 5, 1.5, "text", b"odd", ["x"], {"k": [1]}, {b"k": 1})


def fits(hint: Any, value: Any) -> bool:
    """Whether the wire value may stand for the annotation (decided without the codec)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return True
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, str, bytes, bool):
        return type(value) is hint
    if origin in (typing.Union, types.UnionType):
        return value is None
    if origin is tuple:
        return type(value) is list and arguments[0] is str
    if origin is dict:
        key, inside = arguments
        return type(value) is dict and all(
            type(k) is key and fits(inside, v) for k, v in value.items()
        )
    return False


@pytest.mark.parametrize("cls", SENT, ids=name_of)
def test_a_field_of_another_type_is_refused(cls: type[Record]) -> None:
    assert type(receive(cls, row(cls))) is cls
    for i, hint in enumerate(typing.get_type_hints(cls).values()):
        for wrong in WRONG:
            fields = row(cls)
            fields[i] = wrong
            if fits(hint, wrong):
                assert type(receive(cls, fields)) is cls
                continue
            with pytest.raises(BadMessage, match=cls.__name__):
                receive(cls, fields)


@pytest.mark.parametrize("cls", SENT, ids=name_of)
def test_too_many_or_too_few_fields_are_refused(cls: type[Record]) -> None:
    fields = dataclasses.fields(cls)
    required = sum(
        field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        for field in fields
    )
    for count in range(len(fields) + 2):
        values = [*row(cls), 0][:count]
        if required <= count <= len(fields):
            assert type(receive(cls, values)) is cls
        else:
            with pytest.raises(BadMessage, match="does not have these fields"):
                receive(cls, values)


# --- whatever comes ---------------------------------------------------------------------------


def some_frames(choice: random.Random) -> list[list[bytes]]:
    """A message of every class with something in each field."""
    found = []
    for cls in SENT:
        fields = [filled(hint, choice) for hint in typing.get_type_hints(cls).values()]
        found.append(to_frames(Envelope(cls(*fields), 1, 2, 3), NAMES[cls]))
    return found


def filled(hint: Any, choice: random.Random) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    number = choice.randrange(300)
    simple = {
        int: number, str: str(number), bytes: str(number).encode(), bool: number > 9,
        float: number / 4, object: number, Blobs: Blobs((b"one", b"two")),
        Ints: array("I", [number, 1]),
    }  # fmt: skip
    if hint in simple:
        return simple[hint]
    if origin in (typing.Union, types.UnionType):
        return filled(arguments[0], choice)
    if origin is tuple:
        return (filled(arguments[0], choice), filled(arguments[0], choice))
    if origin is dict:
        return {"key": filled(arguments[1], choice)}
    return hint(*(filled(each, choice) for each in typing.get_type_hints(hint).values()))


def mutated(count: int) -> Iterator[list[bytes]]:
    choice = random.Random(4)
    whole = some_frames(choice)
    for _ in range(count):
        head, *blobs = choice.choice(whole)
        data = bytearray(head)
        for _ in range(choice.randint(1, 3)):
            i = choice.randrange(len(data))
            match choice.randrange(4):
                case 0:
                    data[i] = choice.randrange(256)
                case 1:
                    del data[i:]
                case 2:
                    data[i:i] = choice.randbytes(choice.randint(1, 4))
                case _:
                    data[i : i + choice.randint(1, 4)] = b""
            if not data:
                break
        yield [bytes(data), *blobs[: choice.randint(0, 3)]]


def test_10_000_mutated_messages_are_messages_or_bad_messages() -> None:
    taken = refused = 0
    for frames in mutated(10_000):
        try:
            envelope = from_frames(MESSAGES, frames)
        except BadMessage:
            refused += 1
        else:
            taken += 1
            assert type(envelope.message) in SENT
    assert taken > 200
    assert refused > 5000


def test_10_000_random_byte_strings_are_bad_messages() -> None:
    choice = random.Random(5)
    heads = [b"", *(pack_plain([PROTOCOL, name])[:-1] for name in MESSAGES)]
    for _ in range(10_000):
        frames = [choice.choice(heads) + choice.randbytes(choice.randrange(60))]
        frames += [choice.randbytes(3)] * choice.randrange(3)
        with pytest.raises(BadMessage):
            from_frames(MESSAGES, frames)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_bad_message(data: bytes) -> None:
    try:
        unpack_plain(data)
    except BadMessage:
        return
