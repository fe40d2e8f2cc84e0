"""How far items go in one place, what is handed back, and how it goes on elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.inside import play
from pypelinin.streams.inside.play import BETWEEN, Play, State
from pypelinin.streams.inside.portions import Chunk, Part, Report, Suspended
from pypelinin.streams.inside.program import Frame, Program, Reduce, Segment, Stage
from pypelinin.streams.inside.words import Args, Multiple, Object

FAST = {0: 1e-9, 1: 1e-9, 2: 1e-9}
"""So many items may be played in one place as there are."""


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: nothing takes too long that is not said to."""
    monkeypatch.setattr(play, "LIMIT_S", 3600.0)
    monkeypatch.setattr(play, "BUDGET_S", 3600.0)


@pytest.fixture
def hurried(_unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is time for one item."""
    monkeypatch.setattr(play, "LIMIT_S", -1.0)
    monkeypatch.setattr(play, "BUDGET_S", -1.0)


def chunk(*items: Any, segment: int = 0, stage: int = 0) -> Chunk:
    return Chunk(segment, stage, pack_value("items", list(items)), len(items))


def jobs(*functions: Callable[..., Any], **options: Any) -> Program:
    stages: list[Stage | Frame] = [Stage(one, getattr(one, "__name__", "?")) for one in functions]
    return Program([Segment(stages)], **options)


def played(program: Program, portion: Chunk, in_slot: bool = True) -> Report:
    return Play(program, FAST, in_slot).chunk(portion)


def items(report: Report) -> list[Any]:
    if report.part is None:
        return []
    assert not report.part.is_store
    found: list[Any] = unpack_value(report.part.data)
    return found


def left(report: Report) -> list[tuple[int, int, list[Any]]]:
    """Of the chunks that are handed back: segment, stage, items."""
    found = []
    for child in report.children:
        assert isinstance(child, Chunk)
        given = unpack_value(child.items)
        assert child.size == len(given)
        found.append((child.segment, child.stage, given))
    return found


def to_the_end(program: Program, *given: Any) -> list[Any]:
    """What comes out in the end, with every portion in a slot of its own, children first."""
    out: list[Any] = []
    for part in parts(program, chunk(*given)):
        out += unpack_value(part.data)
    return out


def parts(program: Program, portion: Chunk | Suspended) -> Iterator[Part]:
    if isinstance(portion, Chunk):
        report = Play(program, {}, in_slot=True).chunk(portion)
    else:
        below = [part for child in portion.children for part in parts(program, child)]
        report = Play(program, {}, in_slot=True).resume(portion.state, below)
    assert not report.failures
    if report.part is not None:
        yield report.part
    for child in report.children:
        yield from parts(program, child)


# --- jobs -----------------------------------------------------------------------------------------


def test_an_item_goes_as_far_as_it_comes_before_the_next_one_begins() -> None:
    seen: list[str] = []

    def first(item: int) -> Multiple:
        seen.append(f"first {item}")
        return Multiple([item, None, item + 1])

    def second(item: int) -> int | None:
        seen.append(f"second {item}")
        return item if item % 2 else None

    report = played(jobs(first, second), chunk(1, 3))
    assert items(report) == [1, 3]
    assert seen == ["first 1", "second 1", "second 2", "first 3", "second 3", "second 4"]
    assert (report.done, report.children, report.holes, report.failures) == (2, (), (), [])
    assert set(report.pace) == {0}


def test_a_chunk_may_begin_behind_a_stage() -> None:
    program = jobs(lambda _: 1 / 0, lambda item: item + 1)
    assert items(played(program, chunk(4, stage=1))) == [5]
    assert items(played(program, chunk(4, stage=2))) == [4]


def test_items_in_one_place_are_not_copied() -> None:
    lock = threading.Lock()
    seen: list[Any] = []
    played(jobs(lambda _: lock, lambda item: seen.append(item)), chunk(1))
    assert seen == [lock]


@pytest.mark.usefixtures("hurried")
def test_what_is_not_begun_is_handed_back() -> None:
    report = played(jobs(lambda item: item * 10), chunk(1, 2, 3))
    assert (items(report), left(report), list(report.holes)) == ([10], [(0, 0, [2, 3])], [1])
    assert report.done == 1


@pytest.mark.usefixtures("hurried")
def test_what_one_item_gave_is_handed_back_too_and_keeps_its_place() -> None:
    program = jobs(lambda item: Multiple([item, None, -item, 7]), lambda item: item * 10)
    report = played(program, chunk(1, 2))
    assert items(report) == [10]
    assert left(report) == [(0, 1, [-1, 7]), (0, 0, [2])]
    assert list(report.holes) == [1, 1]


class Pair(Args):
    """Args of a user's own."""


class Several(Multiple):
    """Multiple of a user's own."""


def test_classes_made_from_the_words_mean_the_same() -> None:
    program = jobs(lambda item: Several([Pair(item, 1), Pair(item, 2)]), lambda a, b: a * b)
    assert items(played(program, chunk(3, 4))) == [3, 6, 4, 8]


@pytest.mark.usefixtures("hurried")
def test_who_runs_the_stream_hands_nothing_back() -> None:
    program = jobs(lambda item: Multiple([item, -item]))
    program.stay_here()
    report = played(program, chunk(1, 2), in_slot=False)
    assert (items(report), report.children) == ([1, -1, 2, -2], ())


def test_many_children_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "CHILDREN_MAX", 5)
    program = jobs(lambda item: item, lambda item: item, ordered=True)
    program.segments[0].stages[1].here = True
    report = played(program, chunk(*range(100)))
    found = left(report)
    assert found[:6] == [(0, 1, [i]) for i in range(6)]
    assert found[6:] == [(0, 0, list(range(6, 100)))]


# --- the other side -------------------------------------------------------------------------------


@pytest.mark.parametrize("in_slot", [True, False])
def test_what_is_for_the_other_side_is_put_aside(in_slot: bool) -> None:
    def program(ordered: bool) -> Program:
        found = jobs(lambda item: item + 1, lambda item: 1 / 0, ordered=ordered)
        found.segments[0].stages[0].here = not in_slot
        found.segments[0].stages[1].here = in_slot
        return found

    report = played(program(False), chunk(1, 2), in_slot)
    assert (items(report), left(report)) == ([], [(0, 1, [2, 3])])
    assert [child.here for child in report.children] == [in_slot]
    report = played(program(True), chunk(1, 2), in_slot)
    assert left(report) == [(0, 1, [2]), (0, 1, [3])]  # each keeps its place


def total(store: Object, works: list[int], others: list[Object]) -> None:
    store.sum = getattr(store, "sum", 0) + sum(works) + sum(other.sum for other in others)


def reducing(here: bool = False, **options: Any) -> Program:
    first = Segment([Stage(lambda item: item * 10, "tenfold")], Reduce(total, "total", here), 1)
    last = Segment([Stage(lambda store: store.sum + 1, "next")])
    return Program([first, last], **options)


def test_a_reduce_for_the_other_side_gets_items() -> None:
    report = played(reducing(here=True), chunk(1, 2))
    assert items(report) == [10, 20]
    assert Play(reducing(here=True), FAST, in_slot=True).merge(0, []).part is None


# --- reduces --------------------------------------------------------------------------------------


def test_the_store_of_a_chunk_goes_on() -> None:
    report = played(reducing(), chunk(1, 2))
    assert report.part == Part(True, pack_value("store", Object(sum=30)))


def test_a_merge_makes_one_of_many() -> None:
    given = [
        Part(True, pack_value("store", Object(sum=1))),
        Part(False, pack_value("items", [2, 3])),
        Part(True, pack_value("store", Object(sum=4))),
    ]
    report = Play(reducing(), FAST, in_slot=True).merge(0, given)
    assert report.part == Part(True, pack_value("store", Object(sum=10)))


ROOT = pack_value("state", list(State(None, 0)))


@pytest.mark.parametrize("given", [[], [Part(True, pack_value("store", Object(sum=4)))]])
def test_at_the_end_all_that_comes_after_it_follows(given: list[Part]) -> None:
    program = reducing()
    if not given:
        program.segments[1].stages = []
    report = Play(program, FAST, in_slot=True).resume(ROOT, given)
    assert items(report) == ([5] if given else [Object()])


def test_what_a_reduce_sends_back_goes_through_its_segment_again() -> None:
    def halving(store: Object, works: list[int], others: list[Object]) -> Any:
        total(store, works, others)
        return Multiple([works[0] // 2, None]) if works[0] > 10 else None

    program = reducing()
    assert program.segments[0].reduce is not None
    program.segments[0].reduce.function = halving
    program.segments[0].stages = [Stage(lambda item: item - 1, "less")]
    report = played(program, chunk(100))
    # 99 -> 49 -> 48 -> 24 -> 23 -> 11 -> 10
    assert report.part == Part(True, pack_value("store", Object(sum=99 + 48 + 23 + 10)))


@pytest.mark.usefixtures("hurried")
def test_a_stream_whose_last_part_takes_long_is_suspended() -> None:
    program = reducing()
    assert program.segments[0].reduce is not None
    program.segments[0].reduce.emit = lambda store: Multiple([store, store])
    program.segments[1].reduce = Reduce(total, "again")
    program.segments[1].next = 2
    program.segments.append(Segment())
    given = [Part(True, pack_value("store", Object(sum=4)))]
    report = Play(program, {}, in_slot=True).resume(ROOT, given)
    (waiting,) = report.children
    assert isinstance(waiting, Suspended)
    assert [child.segment for child in waiting.children] == [1, 1]
    out = [unpack_value(part.data) for part in parts(program, waiting)]
    assert out == [[Object(sum=10)]]


# --- frames ---------------------------------------------------------------------------------------


def begin(store: Object, first: int) -> Multiple | None:
    store.turns = getattr(store, "turns", 0) + 1
    if store.turns == 1:
        store.first, store.got = first, []
    return Multiple([first, None, -first]) if store.turns < 3 else None


def end(store: Object, item: int) -> int | None:
    store.got.append(item)
    return item // 4 if item >= 4 else None


def looping(*functions: Callable[..., Any]) -> Program:
    frame = Frame(begin, "begin", emit=lambda store: (store.first, sorted(store.got)), end=end)
    frame.body = 1
    body: list[Stage | Frame] = [Stage(one, "inner") for one in functions]
    return Program(
        [Segment([frame, Stage(lambda item: item, "behind")]), Segment(body, frame=frame)]
    )


LOOPED = [(1, [-1, -1, 1, 1]), (9, [-9, -9, 2, 2, 9, 9])]


def test_a_short_loop_is_played_where_it_is() -> None:
    report = played(looping(), chunk(1, 9))
    assert sorted(items(report)) == LOOPED
    assert report.children == ()


@pytest.mark.usefixtures("hurried")
def test_a_long_loop_is_suspended_and_comes_to_the_same() -> None:
    program = looping(lambda item: item)
    report = played(program, chunk(1, 9))
    first, rest = report.children
    assert isinstance(first, Suspended)
    assert isinstance(rest, Chunk)
    assert unpack_value(rest.items) == [9]
    assert sorted(to_the_end(program, 1, 9)) == LOOPED


def test_a_turn_of_many_items_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "BUDGET_S", 0.02)
    program = looping(lambda item: item)

    def wide(store: Object, first: int) -> Multiple | None:
        return None if vars(store) else Multiple(range(first))

    frame = program.segments[0].stages[0]
    assert isinstance(frame, Frame)
    frame.function = wide
    slow = Play(program, {1: 0.001}, in_slot=True).chunk(chunk(100))
    (waiting,) = slow.children
    assert isinstance(waiting, Suspended)
    assert [child.size for child in waiting.children] == [20] * 5
    slower = Play(program, {1: 10.0}, in_slot=True).chunk(chunk(1000))
    assert isinstance(slower.children[0], Suspended)
    assert len(slower.children[0].children) <= play.SPREAD_MAX


@pytest.mark.usefixtures("hurried")
def test_a_loop_between_two_turns_is_suspended_without_children() -> None:
    program = looping()  # no stages, so nothing of it is elsewhere
    suspended = played(program, chunk(1)).children[0]
    assert isinstance(suspended, Suspended)
    state = State(*unpack_value(suspended.state))
    assert state.place == (0, 0)
    assert state.segment in (BETWEEN, 1)
    assert to_the_end(program, 1) == LOOPED[:1]


def test_loops_that_stay_here_are_suspended_for_here() -> None:
    program = looping(lambda item: item)
    frame = program.segments[0].stages[0]
    frame.here = True
    report = played(program, chunk(1), in_slot=False)
    (waiting,) = report.children
    assert isinstance(waiting, Suspended)
    assert waiting.here
    assert [(child.segment, child.here) for child in waiting.children] == [(1, False)]


# --- failures -------------------------------------------------------------------------------------


def brittle(item: int) -> int:
    return 10 // item


def test_the_first_failure_ends_all() -> None:
    report = played(jobs(brittle), chunk(1, 0, 5, 0))
    assert report.part is None
    assert report.children == ()
    assert [(one.stage, one.item, one.kind) for one in report.failures] == [
        ("brittle", "0", "ZeroDivisionError")
    ]


def test_a_tolerant_program_goes_on() -> None:
    report = played(jobs(brittle, tolerant=True), chunk(1, 0, 5, 0))
    assert items(report) == [10, 2]
    assert [one.item for one in report.failures] == ["0", "0"]
    assert report.done == 4


def one_and_error() -> Iterator[int]:
    yield 1
    raise KeyError("x")


@pytest.mark.parametrize("hurry", [False, True])
def test_a_generator_that_raises_fails_the_item_that_it_was_made_for(
    hurry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hurry:
        monkeypatch.setattr(play, "LIMIT_S", -1.0)
    program = jobs(lambda _: Multiple(one_and_error()), tolerant=True)
    report = played(program, chunk("mine"))
    assert items(report) == ([] if hurry else [1])
    assert [(one.item, one.kind) for one in report.failures] == [("'mine'", "KeyError")]


@pytest.mark.parametrize("hurry", [False, True])
def test_several_of_nothing_that_can_be_gone_through_fails_its_item(
    hurry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hurry:
        monkeypatch.setattr(play, "LIMIT_S", -1.0)
    report = played(jobs(lambda _: Multiple(None), tolerant=True), chunk("mine"))
    assert [(one.item, one.kind) for one in report.failures] == [("'mine'", "TypeError")]


def test_items_that_cannot_be_sent_failed() -> None:
    program = jobs(lambda item: threading.Lock() if item == 2 else item, tolerant=True)
    report = played(program, chunk(1, 2, 3))
    assert items(report) == [1, 3]
    assert [one.kind for one in report.failures] == ["pypelinin.errors.NotPicklable"]
    program.tolerant = False
    report = played(program, chunk(1, 2, 3))
    assert report.part is None
    assert len(report.failures) == 1


def test_an_end_that_raises_loses_its_loop_and_no_other() -> None:
    def breaks(store: Object, item: int) -> None:
        if item == 9:
            raise KeyError("nine")
        end(store, item)

    program = looping()
    program.tolerant = True
    frame = program.segments[1].frame
    assert frame is not None
    frame.end = breaks
    report = played(program, chunk(9, 1))
    assert items(report) == LOOPED[:1]
    assert [(one.stage, one.item) for one in report.failures] == [("begin", "9")]


def test_a_loop_that_is_lost_is_not_that_around_it() -> None:
    """The inner frame's end raises: the outer loop goes on without that item."""

    def once(store: Object, first: Any) -> Any:
        if hasattr(store, "got"):
            return None
        store.got = []
        return Multiple([1, 2]) if first == "outer" else first

    def picky(store: Object, item: int) -> None:
        if item == 2:
            raise KeyError(item)
        store.got.append(item)

    inner = Frame(once, "inner", emit=lambda s: sum(s.got), end=picky, body=2)
    outer = Frame(
        once, "outer", emit=lambda s: s.got, end=lambda s, item: s.got.append(item), body=1
    )
    program = Program(
        [Segment([outer]), Segment([inner], frame=outer), Segment(frame=inner)], tolerant=True
    )
    report = played(program, chunk("outer"))
    assert items(report) == [[1]]
    assert [(one.stage, one.item) for one in report.failures] == [("inner", "2")]


def test_an_outer_end_that_raises_loses_the_outer_loop() -> None:
    def once(store: Object, first: int) -> Any:
        return None if vars(store) else setattr(store, "begun", True) or Multiple([first, 5])

    def breaks(_store: Object, _item: Any) -> None:
        raise KeyError("outer")

    inner = Frame(once, "inner", emit=lambda s: 1, end=lambda s, item: None, body=2)
    outer = Frame(once, "outer", end=breaks, body=1)
    program = Program(
        [Segment([outer]), Segment([inner], frame=outer), Segment(frame=inner)], tolerant=True
    )
    report = played(program, chunk(3, 4))
    assert items(report) == []
    assert [(one.stage, one.item) for one in report.failures] == [("outer", "3"), ("outer", "4")]


def test_args_are_spread_behind_the_store() -> None:
    def first(store: Object, a: int, b: int) -> Args | None:
        if vars(store):
            return None
        store.seen = [a, b]
        return Args(b=a, a=b)

    frame = Frame(first, "first", emit=lambda s: s.seen, body=1)
    frame.end = lambda store, a, b: store.seen.extend([a, b])
    program = Program([Segment([frame]), Segment(frame=frame)])
    assert items(played(program, chunk(Args(1, b=2)))) == [[1, 2, 2, 1]]
