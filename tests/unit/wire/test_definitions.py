"""Parts, headers and failures: records that come back as they were, within their limits."""

from __future__ import annotations

from array import array

import pytest

from pypelinin.errors import BadMessage
from pypelinin.wire.codec import (
    HEAD_BYTES_MAX,
    Record,
    pack_plain,
    pack_record,
    unpack_again,
    unpack_record,
)
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    PART_BYTES_MAX,
    PART_JOBS_MAX,
    Details,
    Failure,
    Header,
    Kind,
    Place,
    Refusal,
    Structure,
)

KIND = Kind("W", {"disk": "ssd"}, 3, -5)
RECORDS: list[Record] = [
    KIND,
    Header("r" * 32, b"d" * 16, "me", 2, (KIND, Kind("V", {}, 0, 0)), b"m\xc0", {"of": "me"}),
    Structure(7, array("I", [0, 0, 1]), array("I", [2**32 - 1])),
    Details(7, array("I", [0, 1]), array("I", [1, 2]), b"\xc0\xc0"),
    Place(3, 4),
    Refusal("busy", "Too much.", "Wait."),
    Failure("exception", "ValueError", "no", "Traceback ...", "node 1"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert unpack_record(type(record), pack_record(record)) == record
    assert unpack_again(type(record), pack_record(record), FRAME_BYTES_MAX) == record


def test_what_was_added_later_may_be_missing() -> None:
    assert unpack_record(Failure, pack_plain(["lost", "Lost", "gone"])) == Failure(
        "lost", "Lost", "gone", "", ""
    )
    assert unpack_record(Refusal, pack_plain(["busy", "Too much."])).remedy == ""
    with pytest.raises(BadMessage, match="Refusal"):
        unpack_record(Refusal, pack_plain(["busy"]))


def test_the_header_of_the_most_kinds_is_within_the_limits() -> None:
    kinds = tuple(Kind(f"worker {i}", {"disk": "ssd"}, 0, i) for i in range(10_000))
    header = Header("r" * 32, b"d" * 16, "me", 10_000, kinds, b"m" + b"x" * HEAD_BYTES_MAX, {})
    assert unpack_record(Header, pack_record(header), FRAME_BYTES_MAX) == header


def test_the_largest_part_fits_into_a_frame() -> None:
    offsets = array("I", range(PART_JOBS_MAX + 1))
    structure = Structure(0, offsets, array("I", bytes(PART_BYTES_MAX)))
    details = Details(0, offsets[1:], offsets[1:], bytes(2 * PART_BYTES_MAX))
    for record in (structure, details):
        packed = pack_record(record)
        assert len(packed) < FRAME_BYTES_MAX
        assert unpack_record(type(record), packed, FRAME_BYTES_MAX) == record


def test_a_failure_takes_no_more_bytes_than_it_says() -> None:
    for text in ("", "a" * 500, "ü" * 500, "\N{PILE OF POO}" * 500):
        failure = Failure("exception", text, text, text, text)
        assert len(pack_record(failure)) <= failure.size


def test_a_failure_in_few_words_keeps_what_matters() -> None:
    long = "x" * 10_000
    short = Failure("signal", long, long, long, long).short()
    assert short == Failure("signal", long[:64], long[:100], "", long[:64])
    assert short.size < 2000
    small = Failure("lost", "Lost", "gone", "", "node")
    assert small.short() == small
