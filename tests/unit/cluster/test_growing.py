"""Growth in the numbers of a run; what a slot says is not trusted."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from typing import Any

import pytest

from pypelinin.cluster.growing import is_grown, name_of, resolve, split_result
from pypelinin.errors import BadMessage
from pypelinin.wire.codec import pack_plain, pack_record
from pypelinin.wire.definitions import GROWN, Growth, Header, Kind

OLD = Kind("Old", {}, 0, 0)
NEW = Kind("New", {}, 0, 0)
HEADER = Header("r" * 32, b"digest", "me", 3, (OLD,), b"m\xc0", {})
KNOWN = {"a": 0, "b": 1, "c": 2}
OWN = pack_plain(["x", None])
OTHER = pack_plain(["y", None])
GROWTH = Growth(
    (NEW, OLD), array("I", [0, 1]), array("I", [len(OWN), len(OWN) + len(OTHER)]), OWN + OTHER,
    array("I", [0, 1, 3]), array("I", [2, 0, 3]), b"\1\1\0", ("a", "c"), array("I", [1, 1]),
    {"digest": b"code"},
)  # fmt: skip


def test_new_jobs_stand_behind_those_that_are_there() -> None:
    found = resolve(pack_record(GROWTH), HEADER, KNOWN)
    assert (found.header.jobs, found.header.kinds) == (5, (OLD, NEW))
    assert found.structure.first == found.details.first == 3
    assert list(found.structure.upstreams) == [0, 3, 2]
    assert list(found.details.kind_of) == [1, 0]
    assert found.names == ["x", "y"]
    assert found.feeds == [(4, 2)]


def test_the_engine_is_told_the_same() -> None:
    expansion = resolve(pack_record(GROWTH), HEADER, KNOWN).expansion
    first, second = expansion.jobs
    assert [edge.upstream for edge in first.inputs] == [0]
    assert [edge.upstream for edge in second.inputs] == [-1]
    assert [edge.upstream for edge in second.after] == [2]
    assert [(job, edge.upstream) for job, edge in expansion.after] == [(2, -2)]


def test_functions_are_added_to_the_payload() -> None:
    once = resolve(pack_record(GROWTH), HEADER, KNOWN).header
    twice = resolve(
        pack_record(replace(GROWTH, functions={"more": b"code"})),
        replace(HEADER, payload=once.payload), KNOWN,
    ).header  # fmt: skip
    assert once.payload == b"f" + pack_plain([b"m\xc0", {"digest": b"code"}])
    assert twice.payload == b"f" + pack_plain([b"m\xc0", {"digest": b"code", "more": b"code"}])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"names": ("a", "z")}, "no job 'z'"),
        ({"offsets": array("I", [0, 2, 1])}, "edges"),
        ({"offsets": array("I", [1, 1, 3])}, "edges"),
        ({"offsets": array("I", [0])}, "0 jobs"),
        ({"upstreams": array("I", [1, 0, 3])}, "behind it"),
        ({"upstreams": array("I", [0, 0, 3])}, "behind it"),
        ({"upstreams": array("I", [2, 0, 4])}, "behind it"),
        ({"reads": b""}, "edges"),
        ({"kind_of": array("I", [0, 2])}, "kinds"),
        ({"kind_of": array("I", [0])}, "kinds"),
        ({"ends": array("I", [5])}, "payloads"),
        ({"feeds": array("I", [0])}, "late edges"),
        ({"feeds": array("I", [2, 0])}, "late edges"),
        ({"feeds": array("I", [0, 2])}, "late edges"),
        ({"payloads": OWN + OWN}, "already|edges|names twice"),
    ],
)
def test_what_is_not_sound_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        resolve(pack_record(replace(GROWTH, **wrong)), HEADER, KNOWN)


def test_any_bytes_are_taken_or_refused() -> None:
    choice = random.Random(5)
    packed = pack_record(GROWTH)
    for _ in range(3000):
        data = bytearray(packed)
        for _ in range(choice.randint(1, 4)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        try:
            found = resolve(bytes(data), HEADER, KNOWN)
        except BadMessage:
            continue
        assert all(up < 3 + i for i, job in enumerate(found.expansion.jobs) for up in _ups(job))


def _ups(job: Any) -> list[int]:
    return [edge.upstream for edge in (*job.inputs, *job.after)]


def test_a_result_and_what_it_brings() -> None:
    packed = GROWN + pack_plain([b"result", b"growth"])
    assert is_grown(packed)
    assert split_result(packed) == (b"result", b"growth")
    for broken in (GROWN, GROWN + b"\xc1", GROWN + pack_plain([1, 2]), GROWN + pack_plain("x")):
        assert split_result(broken) == (b"", b"")


def test_names() -> None:
    assert name_of(b"\xc0", OLD) == "Old"
    assert name_of(pack_plain([None, b"data"]), OLD) == "Old"
    assert name_of(pack_plain(["mine", None]), OLD) == "mine"
    for broken in (pack_plain([1, 2]), pack_plain("x"), pack_plain(["x"])):
        with pytest.raises(BadMessage):
            name_of(broken, OLD)
