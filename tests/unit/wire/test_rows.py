"""Every row and image comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

import pytest

from pypelinin.errors import BadMessage
from pypelinin.wire import rows
from pypelinin.wire.codec import ITEMS_MAX, Record, pack_plain, pack_record, pack_tagged
from pypelinin.wire.definitions import Failure
from pypelinin.wire.rows import (
    ROWS,
    Assigned,
    CancelledJobs,
    CancelledRuns,
    ClosedRun,
    Ended,
    Epoch,
    FailedJob,
    FinishedRun,
    Forgotten,
    GivenUp,
    Grew,
    HandedOut,
    JobsEnded,
    Joined,
    Left,
    LotClosed,
    LotImage,
    LotRow,
    LotsClosed,
    Overruled,
    PartAdded,
    PausedRuns,
    Released,
    Retried,
    RunImage,
    StateImage,
    Submitted,
    pack_row,
    unpack_image,
    unpack_row,
)

FAILURE = Failure("exception", "ValueError", "no", "Traceback", "node 1")
FAILED = FailedJob(1, 2, FAILURE)
INTS = array("I", [0, 1, 2**32 - 1])
LOT = LotRow(2**62, INTS, INTS)
EXAMPLES: list[Record] = [
    Epoch(2, 17, "cluster", 1.5),
    Joined(3, "node", "i" * 32),
    Left(3, "its lease is over"),
    Submitted(1, 2, b"header", 0.25),
    PartAdded(1, 0, b"structure", b""),
    Assigned(4, "pipeliner", INTS),
    HandedOut(3, (LOT, LotRow(1, array("I"), array("I")))),
    JobsEnded((Ended(2**62, 5, b"\1\2\3", (b"", b"result", b"")),), (FAILED,)),
    LotsClosed((LotClosed(1, 0, True), LotClosed(2, 9, False))),
    GivenUp(1, INTS, FAILURE),
    CancelledRuns(INTS),
    FinishedRun(1, 1e9),
    Forgotten(array("I")),
    Released(7, INTS),
    CancelledJobs(7, INTS, array("I", [3])),
    Grew(7, 3, b"growth"),
    Overruled(7, 3, FAILURE),
    ClosedRun(7),
    Retried(8, "r" * 32, b"header", INTS, 0.25),
    PausedRuns(INTS, True),
]
RUN_IMAGE = RunImage(
    1, b"header", 0.5, (b"structure", b"details", b"", b""), b"\0\1", (1, 2), (3, 4), (FAILED,),
    True, 2.5, 7, 99, (1, 2**62), array("I", [4]), (b"result",), array("I", [5]), None, (0, 2),
    array("I", [1]), ("node",), True, "r" * 32,
)  # fmt: skip
STATE_IMAGE = StateImage(
    99, 2, "cluster", 3, 4, 5, 6, (1, 0, 2, 17), (Joined(3, "node", "i"),),
    (LotImage(3, 1, LOT),), INTS,
)  # fmt: skip


def test_there_is_an_example_of_every_row() -> None:
    assert [type(row) for row in EXAMPLES] == list(ROWS.values())


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: type(row).__name__)
def test_a_row_comes_back_as_it_was(row: Record) -> None:
    assert unpack_row(pack_row(row)) == row


def test_the_numbers_of_rows_in_old_journals_never_change() -> None:
    names = [(tag, cls.__name__) for tag, cls in ROWS.items()]
    assert names == list(
        enumerate(
            "Epoch Joined Left Submitted PartAdded Assigned HandedOut JobsEnded LotsClosed "
            "GivenUp CancelledRuns FinishedRun Forgotten Released CancelledJobs Grew "
            "Overruled ClosedRun Retried PausedRuns".split(),
            start=1,
        )
    )


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: type(row).__name__)
def test_a_row_with_a_field_too_many_or_too_few_is_refused(row: Record) -> None:
    packed = pack_record(row)
    fields = packed[0] & 0x0F  # a short msgpack array
    for count, body in ((fields + 1, packed[1:] + b"\xc0"), (0, b"")):
        with pytest.raises(BadMessage, match=type(row).__name__):
            unpack_row(b"\x92" + pack_row(row)[1:2] + bytes([0x90 | count]) + body)


@pytest.mark.parametrize("tag", [0, 21, -1, "Epoch", True, None, 1.0])
def test_a_row_this_version_does_not_know_is_refused(tag: object) -> None:
    with pytest.raises(BadMessage, match=r"unknown kind|not a tagged record"):
        unpack_row(pack_tagged(tag, EXAMPLES[0]))


@pytest.mark.parametrize("value", [None, 1, [], [1], [1, [], 2], {1: 2}, [[1], []]])
def test_what_is_no_row_is_refused(value: object) -> None:
    with pytest.raises(BadMessage):
        unpack_row(pack_plain(value))


def test_a_row_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack_row(PartAdded(1, 0, b"x" * 1000, b""))
    monkeypatch.setattr(rows, "ROW_BYTES_MAX", len(packed))
    assert isinstance(unpack_row(packed), PartAdded)
    monkeypatch.setattr(rows, "ROW_BYTES_MAX", len(packed) - 1)
    with pytest.raises(BadMessage, match="over the limit"):
        unpack_row(packed)


def test_images_come_back_as_they_were() -> None:
    assert unpack_image(1, pack_record(RUN_IMAGE)) == RUN_IMAGE
    assert unpack_image(0, pack_record(STATE_IMAGE)) == STATE_IMAGE
    with pytest.raises(BadMessage):
        unpack_image(1, pack_record(STATE_IMAGE))


def test_an_image_without_the_fields_of_a_newer_version_can_be_read() -> None:
    fields: list[object] = [[1, 2**62], b"\4\0\0\0", [b"result"], b"\5\0\0\0", None, [0, 2]]
    newer = pack_plain([*fields, b"\1\0\0\0", ["node"], True, "r" * 32])[1:]
    without = pack_record(RUN_IMAGE).removesuffix(newer)
    assert without[:3] == b"\xdc\x00\x16"
    image = unpack_image(1, b"\x9c" + without[3:])  # it had 12 fields
    assert isinstance(image, RunImage)
    assert image.floors == ()
    assert image.results == ()
    assert image.lsn == RUN_IMAGE.lsn


def test_rows_and_images_of_the_largest_runs_can_be_read_back() -> None:
    """What this side wrote has no limit of items, or a Router could not start again."""
    counters = tuple(range(2 * ITEMS_MAX + 2))
    image = RunImage(1, b"", 0.0, (), b"", counters, (), (), False, 0.0, 0, 1, counters)
    assert unpack_image(1, pack_record(image)) == image
    row = LotsClosed(tuple(LotClosed(i, 0, False) for i in range(ITEMS_MAX + 1)))
    assert unpack_row(pack_row(row)) == row


def damaged(count: int) -> Iterator[bytes]:
    choice = random.Random(9)
    whole = [pack_row(row) for row in EXAMPLES]
    for _ in range(count // 2):
        yield b"\x92" + bytes([choice.randrange(1, 16)]) + choice.randbytes(choice.randrange(40))
        data = bytearray(choice.choice(whole))
        for _ in range(choice.randint(1, 3)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        yield bytes(data[: choice.randint(1, len(data))] if choice.random() < 0.3 else data)


def test_20_000_damaged_rows_are_rows_or_bad_messages() -> None:
    taken = refused = 0
    for data in damaged(20_000):
        for unpack in (unpack_row, lambda data: unpack_image(1, data)):
            try:
                again = unpack(data)
            except BadMessage:
                refused += 1
            else:
                taken += 1
                assert type(again) in ROWS.values()
    assert taken > 100
    assert refused > 10_000
