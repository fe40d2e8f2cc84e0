"""Records as they lie in the history."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgpack
import pytest

from pypelinin.graph.declared import Record
from pypelinin.incremental.records import Records, packed, row_of, stamp

A, B = (("blake2b", b"a"),), (("blake2b", b"b"),)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    made.execute("create table records(job text primary key, stamp blob, made blob, body blob)")
    yield made
    made.close()


def record(**inputs: tuple[tuple[str, bytes], ...]) -> Record:
    return Record((), {"out": A}, {(name, name): tags for name, tags in inputs.items()})


def test_the_stamp_is_that_of_what_a_job_is_made_from() -> None:
    mark, made, body = row_of(record(x=A, y=B))
    assert mark == stamp(packed(()), [("y", packed(B)), ("x", packed(A))])
    assert made == packed(A)
    assert msgpack.unpackb(body, use_list=False)[2] == {"x": A, "y": B}


@pytest.mark.parametrize(
    "other", [record(x=A), record(x=B, y=A), record(x=A, y=A), record(x=A, z=B), record()]
)
def test_another_input_is_another_stamp(other: Record) -> None:
    assert row_of(other)[0] != row_of(record(x=A, y=B))[0]


def test_another_spec_is_another_stamp() -> None:
    assert stamp(packed(A), []) != stamp(packed(B), []) != stamp(packed(()), [])


def test_of_several_outputs_the_tags_are_in_order() -> None:
    several = Record((), {"b": B, "a": A}, {})
    assert msgpack.unpackb(row_of(several)[1]) == [packed(B), packed(A)]


def test_who_made_an_input_is_kept_if_it_is_not_called_like_it() -> None:
    read = Record((), {"out": A}, {("maker", "x"): A, ("y", "y"): B})
    assert msgpack.unpackb(row_of(read)[2], use_list=False)[3] == {"x": "maker"}


def test_what_is_written_is_there_for_the_next_reader(db: sqlite3.Connection) -> None:
    records = Records(db)
    records.put("one", row_of(record(x=A)))
    records.put("two", row_of(record()))
    assert list(records) == ["one", "two"]
    assert records["one"] == row_of(record(x=A))[2]
    records.write()
    records.changed.clear()
    again = Records(db)
    assert dict(again) == dict(records)
    assert again.row("one") == row_of(record(x=A))
    again.drop("one")
    assert "one" not in again
    assert again.row("one") is again.get("one") is None
    again.write()
    assert list(Records(db)) == ["two"]


def test_what_is_not_there_is_dropped_without_a_word(db: sqlite3.Connection) -> None:
    records = Records(db)
    records.drop("nobody")
    assert records.changed == {}
    with pytest.raises(KeyError):
        records["nobody"]
