"""What is known of a program before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.streams.inside.program import (
    Frame,
    Program,
    Reduce,
    Segment,
    Stage,
    elsewhere,
    unchanged,
)
from pypelinin.streams.inside.words import Object


def function(name: str) -> Any:
    def found() -> None: ...

    found.__name__ = name
    return found


def program() -> Program:
    """job a; frame f (job b, reduce r) end; job c."""
    frame = Frame(function("f"), "f", store=function("fs"), emit=function("fe"), body=1)
    frame.end = function("end")
    reduce = Reduce(function("r"), "r", store=function("rs"), emit=function("re"))
    first = Segment([Stage(function("a"), "a"), frame, Stage(function("c"), "c")])
    return Program([first, Segment([Stage(function("b"), "b")], reduce, 2), Segment(frame=frame)])


def test_a_new_program_passes_items_on() -> None:
    assert Program().segments == [Segment()]
    assert Program().is_here  # nothing of it is for a slot
    assert Program().segments is not Program().segments


def test_defaults_of_a_store() -> None:
    for stage in (Frame(unchanged, "f"), Reduce(unchanged, "r")):
        assert stage.store() == Object()
        assert stage.emit(stage) is stage


def test_one_stage_for_slots_is_enough() -> None:
    found = program()
    assert not found.is_here
    found.stay_here()
    assert found.is_here
    parts: list[Any] = [*found.segments[0].stages, *found.segments[1].stages]
    parts.append(found.segments[1].reduce)
    assert len(parts) == 5
    for part in parts:
        part.here = False
        assert not found.is_here
        part.here = True


def test_all_functions_of_the_user() -> None:
    names = sorted(one.__name__ for one in program().functions())
    assert names == sorted(["a", "c", "f", "fs", "fe", "end", "b", "r", "rs", "re"])
    plain = Program([Segment([Frame(function("f"), "f")])])
    assert set(plain.functions()) >= {Object, unchanged}


def test_what_is_for_here_does_not_travel() -> None:
    found = program()
    assert found.for_slots() == found
    assert found.for_slots().segments is not found.segments
    found.segments[0].stages[0].here = True
    names = [one.__name__ for one in found.for_slots().functions()]
    assert sorted(names) == sorted(["elsewhere", "c", "f", "fs", "fe", "end", "b", "r", "rs", "re"])
    found.stay_here()
    bare = found.for_slots()
    assert set(bare.functions()) == {elsewhere}
    assert bare.described() == found.described()
    assert bare.is_here
    with pytest.raises(RuntimeError, match="whoever runs the stream"):
        elsewhere(1, a=2)
    assert all(one is not elsewhere for one in found.functions())


def test_what_a_checkpoint_knows_it_by() -> None:
    assert program().described() == [
        [[["Stage", "a"], ["Frame", "f"], ["Stage", "c"]], None, None],
        [[["Stage", "b"]], "r", None],
        [[], None, "f"],
    ]
    other = program()
    other.segments[1].reduce = None
    assert other.described() != program().described()
    moved = program()
    moved.stay_here()
    moved.cpus = 17
    assert moved.described() == program().described()
