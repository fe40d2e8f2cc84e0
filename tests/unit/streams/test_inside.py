"""What a slot is asked for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pypelinin.runtime.functions import Functions
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams import Object, getCpuCount, inside
from pypelinin.streams.inside import play
from pypelinin.streams.inside.portions import Chunk, Part, Report
from pypelinin.streams.inside.program import Program, Reduce, Segment, Stage


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: nothing is handed back because it takes long."""
    monkeypatch.setattr(play, "LIMIT_S", 3600.0)


def shout(item: int) -> int:
    print(f"item {item}")
    print(f"slots {getCpuCount()}", file=sys.stderr)
    return item + 1


def total(store: Object, works: list[int], others: list[Object]) -> None:
    store.sum = getattr(store, "sum", 0) + sum(works) + sum(other.sum for other in others)


def packed(captures: bool) -> bytes:
    from functools import partial

    first = Segment([Stage(shout, "shout")], Reduce(total, "total"), 1)
    last = Segment([Stage(lambda store: store.sum * 10, "tenfold")])
    program = Program([first, last], captures=captures, cpus=3)
    return Functions().function(partial(inside.given, program))[1]


def chunk(*items: Any) -> Chunk:
    return Chunk(0, 0, pack_value("items", list(items)), len(items))


def stores(report: Report) -> list[Any]:
    assert report.part is not None
    assert report.part.is_store
    return [unpack_value(report.part.data)]


def test_a_chunk_a_merge_and_what_comes_after() -> None:
    program = packed(captures=True)
    parts = []
    for items in ((1, 2), (3,), ()):
        report = inside.worked(program, chunk(*items), {})
        assert not report.children
        if report.part is not None:
            parts.append(report.part)
    assert len(parts) == 2  # of no items there is no store
    merged = inside.merged(program, 0, parts, {})
    assert stores(merged) == [Object(sum=2 + 3 + 4)]
    assert merged.part is not None
    root = pack_value("state", [None, 0])
    last = inside.resumed(program, root, [merged.part], {})
    assert last.part == Part(False, pack_value("items", [90]))


def test_what_functions_print_goes_back_where_it_shall(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = inside.worked(packed(captures=True), chunk(7, 8), {})
    assert report.printed == ("item 7\nitem 8\n", "slots 3\nslots 3\n")
    assert capsys.readouterr() == ("", "")
    assert inside.merged(packed(captures=True), 0, [], {}).printed is None
    report = inside.worked(packed(captures=False), chunk(7), {})
    assert report.printed is None
    assert capsys.readouterr() == ("item 7\n", "slots 3\n")


def test_a_program_is_opened_once() -> None:
    program = packed(captures=False)
    assert inside._program(program) is inside._program(bytes(bytearray(program)))


def test_where_nothing_runs_nobody_knows_the_slots() -> None:
    inside.worked(packed(captures=True), chunk(1), {})
    with pytest.raises(RuntimeError):
        getCpuCount()


def test_a_program_travels_as_itself() -> None:
    program = Program()
    assert inside.given(program) is program
