"""The codec takes exactly what a schema says, counts frames, and has a limit for everything."""

from __future__ import annotations

import subprocess
import sys
from array import array
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.errors import BadMessage
from pypelinin.wire import codec
from pypelinin.wire.codec import (
    BLOBS_MAX,
    HEAD_BYTES_MAX,
    INLINE_BLOBS_MAX,
    INLINE_BYTES_MAX,
    INT_MAX,
    ITEMS_MAX,
    PROTOCOL,
    Blobs,
    Envelope,
    Ints,
    Record,
    WrongProtocol,
    from_frames,
    pack_plain,
    pack_record,
    pack_shared,
    pack_tagged,
    to_frames,
    unpack_again,
    unpack_plain,
    unpack_record,
    unpack_tagged,
)


@dataclass(frozen=True, slots=True)
class Point(Record):
    x: int
    y: int = 7


@dataclass(frozen=True, slots=True)
class Everything(Record):
    number: int
    text: str
    raw: bytes
    flag: bool
    share: float
    many: Ints
    point: Point
    maybe: Point | None
    points: tuple[Point, ...]
    texts: dict[str, str]
    anything: object


@dataclass(frozen=True, slots=True)
class Parcel(Record):
    first: Blobs
    note: str
    second: Blobs


CLASSES: dict[str, type[Record]] = {"point": Point, "parcel": Parcel, "all": Everything}
NOTHING: list[Any] = [0, "", b"", False, 0.0, b"", [1], None, [], {}, None]


def head(*fields: Any) -> bytes:
    return pack_plain(list(fields))


# --- round trips ------------------------------------------------------------------------------


def test_a_record_of_all_types_comes_back_as_it_was() -> None:
    record = Everything(
        -(2**63), "ü", b"\0\xff", True, 0.1, array("I", [1, 2**32 - 1]), Point(1, 2), Point(3),
        (Point(4), Point(5)), {"a": "b"}, (1, "x", None),
    )  # fmt: skip
    assert unpack_record(Everything, pack_record(record)) == record
    again = unpack_tagged({9: Everything}, pack_tagged(9, record), HEAD_BYTES_MAX)
    assert again == record


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_integers_travel_as_little_endian_bytes(items: list[int]) -> None:
    record = Everything(*NOTHING[:5], array("I", items), Point(1), None, (), {}, None)
    packed = pack_record(record)
    assert b"".join(item.to_bytes(4, "little") for item in items) in packed
    assert unpack_record(Everything, packed).many.tolist() == items


def test_a_big_endian_machine_sends_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = array("I", [1])
    swapped.byteswap()
    monkeypatch.setattr(codec, "_LITTLE", False)
    assert codec._ints_to_wire(array("I", [1])) == swapped.tobytes()
    assert codec._ints(swapped.tobytes()) == array("I", [1])


def test_a_whole_number_may_stand_for_a_float_but_nothing_else() -> None:
    fields = [*NOTHING]
    fields[4] = 3
    share = unpack_record(Everything, pack_plain(fields)).share
    assert (share, type(share)) == (3.0, float)


def test_small_records_are_read_once() -> None:
    packed = pack_record(Point(1, 2))
    assert unpack_again(Point, packed, 100) is unpack_again(Point, bytes(packed), 100)
    large = pack_plain([1, 2]) + b"x" * 5000
    with pytest.raises(BadMessage):
        unpack_again(Point, large, HEAD_BYTES_MAX)
    with pytest.raises(BadMessage, match="over the limit"):
        unpack_again(Point, large, 100)


def test_what_was_packed_here_is_not_read_again() -> None:
    point = Point(3, 4)
    packed = pack_shared(point)
    assert packed == pack_record(point)
    assert unpack_again(Point, packed, 100) is point


def test_only_the_newest_small_records_are_kept() -> None:
    first, point = Point(5, -1), Point(5, -2)
    packed = pack_shared(first)
    for i in range(2 * codec.KEPT_RECORDS_MAX):
        pack_shared(Point(5, i))
    again = unpack_again(Point, packed, 100)
    assert again == first
    assert again is not first
    large = Everything(*NOTHING[:2], b"x" * 5000, *NOTHING[3:5], array("I"), point, None, (), {}, 0)
    assert unpack_again(Everything, pack_shared(large), 10_000) is not large


# --- strict fields ----------------------------------------------------------------------------

WRONG: list[tuple[int, Any]] = [
    (0, True), (0, 1.0), (0, "1"), (0, None),
    (1, b"x"), (1, 1), (1, None),
    (2, "x"), (2, [1]), (2, None),
    (3, 1), (3, None),
    (4, True), (4, "1"), (4, None),
    (5, b"abc"), (5, "abcd"), (5, [1]), (5, 4),
    (6, None), (6, []), (6, [1, 2, 3]), (6, ["1"]), (6, {"x": 1}), (6, 1),
    (7, []), (7, 0), (7, ["1"]),
    (8, None), (8, [1]), (8, [[1], ["1"]]), (8, {}), (8, b""),
    (9, None), (9, []), (9, {"a": 1}), (9, {b"a": "b"}), (9, {"a": None}),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_field_of_another_type_is_refused(place: int, value: Any) -> None:
    assert unpack_record(Everything, pack_plain(NOTHING))
    fields = [*NOTHING]
    fields[place] = value
    with pytest.raises(BadMessage, match="Everything"):
        unpack_record(Everything, pack_plain(fields))


def test_fields_at_the_end_may_be_missing_if_they_have_a_default() -> None:
    assert unpack_record(Point, pack_plain([1])) == Point(1, 7)
    for fields in ([], [1, 2, 3], {"x": 1}, 1, None, "xy"):
        with pytest.raises(BadMessage, match="does not have these fields"):
            unpack_record(Point, pack_plain(fields))


def test_a_class_with_an_annotation_that_has_no_wire_form_is_a_mistake() -> None:
    @dataclass(frozen=True, slots=True)
    class Wrong(Record):
        what: complex

    with pytest.raises(TypeError, match="no wire form"):
        pack_record(Wrong(1j))


@pytest.mark.parametrize(
    "value", [None, 1, [], [1], [1, [2], 3], [None, [1]], [1.0, [1]], [2, [1]]]
)
def test_what_is_no_tagged_record_is_refused(value: Any) -> None:
    assert unpack_tagged({1: Point}, pack_plain([1, [5]]), 100) == Point(5)
    with pytest.raises(BadMessage):
        unpack_tagged({1: Point}, pack_plain(value), 100)


# --- messages ---------------------------------------------------------------------------------


def test_a_message_comes_back_with_its_place_and_its_blobs() -> None:
    parcel = Parcel(Blobs((b"a", b"")), "note", Blobs((b"b" * (INLINE_BYTES_MAX + 1),)))
    many = Parcel(Blobs((b"",) * (INLINE_BLOBS_MAX + 1)), "", Blobs((b"c",)))
    for message in (parcel, many, Parcel(Blobs(), "", Blobs()), Point(1)):
        envelope = Envelope(message, 1, 2, INT_MAX)
        frames = to_frames(envelope, "parcel" if isinstance(message, Parcel) else "point")
        assert from_frames(CLASSES, frames) == envelope
    assert [len(frame) for frame in to_frames(Envelope(parcel), "parcel")[1:]] == [4097]
    assert len(to_frames(Envelope(many), "parcel")) == 1 + 17


@pytest.mark.parametrize("protocol", [0, PROTOCOL + 1, -1, 2**64 - 1])
def test_another_protocol_is_told_from_rubbish(protocol: int) -> None:
    for frame in (head(protocol), head(protocol, "point", [1], 0, 0, 0), head(protocol, {}, 1)):
        with pytest.raises(
            WrongProtocol, match=f"speaks protocol {protocol}, this side {PROTOCOL}"
        ):
            from_frames(CLASSES, [frame])


@pytest.mark.parametrize("protocol", [None, True, 1.0, "1", b"1", [1], {}])
def test_a_protocol_that_is_no_number_is_rubbish(protocol: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        from_frames(CLASSES, [head(protocol, "point", [1], 0, 0, 0)])
    assert type(caught.value) is BadMessage


@pytest.mark.parametrize("depth", [2, 100, 900, 1000, 1020, 5000])
def test_deep_nesting_is_a_bad_message(depth: int) -> None:
    nested = b"\x91" * depth + b"\x01"
    for frame in (nested, b"\x96" + nested, b"\x96\x01\xa5point" + nested + b"\0\0\0"):
        with pytest.raises(BadMessage):
            from_frames(CLASSES, [frame])
    with pytest.raises(BadMessage):
        unpack_tagged({1: Point}, b"\x92" + nested + b"\x90", HEAD_BYTES_MAX)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [PROTOCOL],
        [PROTOCOL, "point", [1], 0, 0],
        [PROTOCOL, "point", [1], 0, 0, 0, 0],
        [PROTOCOL, b"point", [1], 0, 0, 0],
        [PROTOCOL, 1, [1], 0, 0, 0],
        [PROTOCOL, "point", None, 0, 0, 0],
        [PROTOCOL, "point", {"x": 1}, 0, 0, 0],
        [PROTOCOL, "no such", [1], 0, 0, 0],
        [PROTOCOL, "point", [1], -1, 0, 0],
        [PROTOCOL, "point", [1], 0, True, 0],
        [PROTOCOL, "point", [1], 0, 0, INT_MAX + 1],
        [PROTOCOL, "point", [1], 0, 0, None],
    ],
)
def test_a_head_without_its_six_fields_is_refused(fields: list[Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        from_frames(CLASSES, [pack_plain(fields)])
    assert type(caught.value) is BadMessage


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x91", head(1)[:-1] + b"\xc7", pack_plain({})])
def test_a_head_that_is_no_array_is_refused(frame: bytes) -> None:
    with pytest.raises(BadMessage):
        from_frames(CLASSES, [frame])


def parcel_head(first: Any, second: Any) -> bytes:
    return head(PROTOCOL, "parcel", [first, "", second], 0, 0, 0)


def test_frames_are_counted_to_the_last_one() -> None:
    blobs = [b"a", b"b", b"c"]
    parcel = from_frames(CLASSES, [parcel_head(1, 2), *blobs]).message
    assert parcel == Parcel(Blobs((b"a",)), "", Blobs((b"b", b"c")))
    parcel = from_frames(CLASSES, [parcel_head([b"a"], 3), *blobs]).message
    assert parcel == Parcel(Blobs((b"a",)), "", Blobs((b"a", b"b", b"c")))
    for first, second in (
        (1, 1),
        (2, 2),
        (4, 0),
        (-1, 4),
        (3, True),
        ("1", 2),
        (None, 3),
        (["x"], 3),
        ([], 2),
    ):
        with pytest.raises(BadMessage, match="Parcel"):
            from_frames(CLASSES, [parcel_head(first, second), *blobs])
    with pytest.raises(BadMessage, match="1 frames too many"):
        from_frames(CLASSES, [*to_frames(Envelope(Point(1)), "point"), b""])


def test_blobs_cannot_stand_inside_a_record() -> None:
    with pytest.raises(BadMessage, match="Parcel"):
        unpack_record(Parcel, pack_plain([0, "", 0]))


# --- limits -----------------------------------------------------------------------------------


def test_as_many_frames_as_allowed_and_not_one_more() -> None:
    blobs = [b""] * BLOBS_MAX
    assert from_frames(CLASSES, [parcel_head(BLOBS_MAX, 0), *blobs])
    with pytest.raises(BadMessage, match=f"{BLOBS_MAX + 2} frames"):
        from_frames(CLASSES, [parcel_head(BLOBS_MAX + 1, 0), *blobs, b""])
    with pytest.raises(BadMessage, match="0 frames"):
        from_frames(CLASSES, [])


def test_a_head_of_the_largest_size_and_one_byte_more() -> None:
    def padded(size: int) -> bytes:
        empty = len(head(PROTOCOL, "parcel", [0, "x" * 70_000, 0], 0, 0, 0)) - 70_000
        return head(PROTOCOL, "parcel", [0, "x" * (size - empty), 0], 0, 0, 0)

    assert len(padded(HEAD_BYTES_MAX)) == HEAD_BYTES_MAX
    assert from_frames(CLASSES, [padded(HEAD_BYTES_MAX)])
    with pytest.raises(BadMessage, match="over the limit"):
        from_frames(CLASSES, [padded(HEAD_BYTES_MAX + 1)])


def test_as_many_items_as_allowed_and_not_one_more() -> None:
    assert len(unpack_plain(pack_plain([None] * ITEMS_MAX))) == ITEMS_MAX
    with pytest.raises(BadMessage):
        unpack_plain(pack_plain([None] * (ITEMS_MAX + 1)))
    assert len(unpack_plain(pack_plain([None] * (ITEMS_MAX + 1)), own=True)) == ITEMS_MAX + 1


def test_large_values_have_as_many_containers_as_allowed_and_not_one_more() -> None:
    def value(inside: int, others: int) -> bytes:
        return pack_plain([b"x" * HEAD_BYTES_MAX, [[]] * inside, [{}] * others])

    limit, half = 2 * HEAD_BYTES_MAX, ITEMS_MAX // 2
    assert unpack_plain(value(half, half - 3), limit)
    with pytest.raises(BadMessage, match="arrays and maps"):
        unpack_plain(value(half, half - 2), limit)
    assert unpack_plain(value(half, half), limit, own=True)


@pytest.mark.parametrize("value", [msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1)])
def test_extension_types_are_refused(value: Any) -> None:
    with pytest.raises(BadMessage):
        unpack_plain(msgpack.packb([value]))


@pytest.mark.parametrize("data", [b"\xa1\xff", b"\x81\x01\x02", b"\x01\x02", b"\xdf" + b"\xff" * 4])
def test_bad_text_keys_and_rests_are_refused(data: bytes) -> None:
    with pytest.raises(BadMessage, match="not msgpack"):
        unpack_plain(data)


BOMB = """
import re

from pypelinin.errors import BadMessage
from pypelinin.wire.codec import unpack_plain, unpack_record, from_frames
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Details, Header, Structure
from pypelinin.wire.messages import MESSAGES

many = b"\\xdd\\x00\\x01\\x86\\x9f" + b"\\x80" * 99_999
bomb = b"\\xdc\\x00\\x50" + many * 80
assert 8_000_000 < len(bomb) < FRAME_BYTES_MAX
header = b"\\x97\\xa1r\\xc4\\x00\\xa1s\\x01" + bomb + b"\\xc0\\x80"


def peak_kib():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s*(\\d+)", status.read())[1])


before = peak_kib()
for read in (
    lambda: from_frames(MESSAGES, [bomb]),
    lambda: unpack_plain(bomb),
    lambda: unpack_record(Header, header, FRAME_BYTES_MAX),
    lambda: unpack_record(Structure, b"\\x93\\x00\\xc4\\x00" + bomb, FRAME_BYTES_MAX),
    lambda: unpack_record(Details, b"\\x94\\x00\\xc4\\x00" + bomb + b"\\xc4\\x00", FRAME_BYTES_MAX),
):
    try:
        read()
    except BadMessage:
        continue
    raise SystemExit("it was taken")
print(peak_kib() - before)
"""


def test_8_mb_of_empty_maps_are_refused_without_growing() -> None:
    """In a process of its own: the most memory it ever had must be its own."""
    process = subprocess.run(
        [sys.executable, "-c", BOMB], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(process.stdout) < 50 * 1024
