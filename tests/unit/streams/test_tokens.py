"""A stream as jobs of an engine: what waits for what, and what is forgotten."""

from __future__ import annotations

import random

import pytest

from pypelinin.streams.inside.portions import Chunk, Part, Report, Suspended
from pypelinin.streams.inside.program import Program, Reduce, Segment, Stage
from pypelinin.streams.tokens import GROUP, SOURCE, Closing, Merging, Portion, Source, Tokens

ROOT = b"the root's state"


def nothing(*_: object) -> None: ...


def plain() -> Tokens:
    return Tokens(Program([Segment([Stage(nothing, "job")])]), ROOT)


def reducing() -> Tokens:
    first = Segment([], Reduce(nothing, "total"), 1)
    return Tokens(Program([first, Segment()]), ROOT)


def chunk(name: str) -> Chunk:
    return Chunk(0, 0, name.encode(), 1)


def part(name: str) -> Part:
    return Part(False, name.encode())


def is_here(portion: Portion) -> bool:
    return portion.here


def fed(tokens: Tokens, count: int) -> list[int]:
    """So many chunks of the source, and its end; the numbers of the chunks."""
    numbers, source = [], SOURCE
    for i in [*range(count), None]:
        ready = tokens.ready()
        source = next(one for one in ready if isinstance(tokens.portion(one), Source))
        number = tokens.source_of(None if i is None else chunk(f"c{i}"), source)
        if number is not None:
            numbers.append(number)
    return numbers


def data(tokens: Tokens, number: int) -> list[bytes]:
    return [one.data for one in tokens.parts(number)]


def test_without_items_it_is_over_at_once() -> None:
    tokens = plain()
    assert tokens.ready() == [SOURCE]
    assert isinstance(tokens.portion(SOURCE), Source)
    assert tokens.source_of(None, SOURCE) is None
    assert tokens.over
    assert tokens.alive == 0


def test_each_chunk_brings_the_next_source() -> None:
    tokens = plain()
    numbers = fed(tokens, 3)
    assert len(set(numbers)) == 3
    assert sorted(tokens.ready()) == []  # each was told of once
    for number in numbers:
        assert not tokens.over
        assert tokens.report(number, Report(part("out"))) == []
    assert tokens.over
    assert tokens.alive == 0


def test_what_is_left_of_a_chunk_comes_out_after_it() -> None:
    tokens = plain()
    (number,) = fed(tokens, 1)
    report = Report(part("a"), (chunk("rest 1"), chunk("rest 2")), (1, 1))
    children = tokens.report(number, report)
    assert children is not None
    found = {child: tokens.portion(child) for child in children}
    assert [one.items for one in found.values() if isinstance(one, Chunk)] == [b"rest 1", b"rest 2"]
    assert sorted(tokens.ready()) == sorted(children)
    assert [tokens.report(child, Report(None)) for child in children] == [[], []]
    assert tokens.over


def test_what_is_suspended_reads_what_its_children_gave() -> None:
    tokens = plain()
    (number,) = fed(tokens, 1)
    inner = Suspended(b"inner", (chunk("y"),))
    outer = Suspended(b"outer", (chunk("x"), inner), here=True)
    children = tokens.report(number, Report(None, (outer,), (0,)))
    assert children is not None
    (last,) = children
    assert tokens.portion(last) == Closing(b"outer", here=True)
    first = {tokens.portion(one): one for one in tokens.ready()}
    assert set(first) == {chunk("x"), chunk("y")}
    assert tokens.report(first[chunk("y")], Report(part("y gave"))) is None  # it has a reader
    (closing,) = tokens.ready()
    assert tokens.portion(closing) == Closing(b"inner", here=False)
    assert data(tokens, closing) == [b"y gave"]
    assert tokens.report(first[chunk("x")], Report(part("x gave"))) is None
    assert tokens.ready() == []
    assert tokens.report(closing, Report(part("inner gave"))) is None
    assert tokens.ready() == [last]
    assert data(tokens, last) == [b"x gave", b"inner gave"]
    assert tokens.report(last, Report(part("all"))) == []
    assert tokens.over


def test_children_of_what_is_read_are_read_in_its_place() -> None:
    tokens = plain()
    (number,) = fed(tokens, 1)
    tokens.report(number, Report(None, (Suspended(b"s", (chunk("x"),)),), (0,)))
    (x,) = tokens.ready()
    assert tokens.report(x, Report(part("x"), (chunk("rest"),), (1,))) is None
    (rest,) = tokens.ready()
    assert tokens.report(rest, Report(None)) is None  # nothing is no part
    (closing,) = tokens.ready()
    assert data(tokens, closing) == [b"x"]


def test_a_reduce_of_nothing_still_closes() -> None:
    tokens = reducing()
    fed(tokens, 0)
    seen = []
    while not tokens.over:
        for number in tokens.ready():
            seen.append(tokens.portion(number))
            assert data(tokens, number) == []
            tokens.report(number, Report(None))
    assert seen == [Merging(0, False), Merging(0, False), Closing(ROOT, False)]


@pytest.mark.parametrize("chunks", [1, GROUP, GROUP + 1, 3 * GROUP, GROUP * GROUP + GROUP + 1])
def test_parts_are_merged_in_groups(chunks: int) -> None:
    tokens = reducing()
    widest, merged, most_alive = 0, 0, 0
    source = 0
    result: list[bytes] = []
    while not tokens.over:
        for number in tokens.ready():
            portion = tokens.portion(number)
            most_alive = max(most_alive, tokens.alive)
            if isinstance(portion, Source):
                source += 1
                tokens.source_of(chunk("c") if source <= chunks else None, number)
                continue
            found = data(tokens, number)
            if isinstance(portion, Merging):
                merged += 1
                widest = max(widest, len(found))
                assert len(found) <= GROUP
            if isinstance(portion, Closing):
                result = found
            count = 1 if isinstance(portion, Chunk) else sum(map(int, found))
            tokens.report(number, Report(Part(True, str(count).encode())))
    assert sum(map(int, result)) == chunks
    assert widest == min(chunks, GROUP)
    assert merged <= chunks // GROUP + chunks // GROUP**2 + 3
    assert len(result) <= -(-chunks // GROUP**2) + 1
    assert most_alive < 20  # the frontier, however many chunks there were


def test_it_goes_on_from_any_point() -> None:
    """What was handed out is handed out again; every chunk counts once."""
    for seed in range(12):
        rng = random.Random(seed)
        tokens, source, total = reducing(), 0, b""
        waiting: list[int] = []
        while not tokens.over:
            if rng.random() < 0.1:
                packed, tokens = tokens.freeze(), reducing()
                tokens.thaw(packed, is_here)
                waiting = []
            waiting += tokens.ready()
            number = waiting.pop(rng.randrange(len(waiting)))
            portion = tokens.portion(number)
            if isinstance(portion, Source):
                source += 1
                tokens.source_of(chunk("c") if source <= 150 else None, number)
                continue
            count = str(int(isinstance(portion, Chunk)) + sum(map(int, data(tokens, number))))
            again = isinstance(portion, Chunk) and rng.random() < 0.1
            report = Report(Part(True, b"0"), (portion,), (0,)) if again else None
            if isinstance(portion, Closing):
                total = count.encode()
            tokens.report(number, report or Report(Part(True, count.encode())))
        assert total == b"150", seed


def test_what_is_for_here_is_asked_anew() -> None:
    tokens, other = reducing(), reducing()
    fed(tokens, 1)
    other.thaw(tokens.freeze(), lambda portion: isinstance(portion, Merging))
    kinds = {portion for number in range(6) if (portion := other._portions.get(number))}
    assert {type(one).__name__: one.here for one in kinds if not isinstance(one, Source)} == {
        "Chunk": False,
        "Merging": True,
        "Closing": False,
    }
