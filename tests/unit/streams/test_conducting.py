"""Items are taken as there is room, portions are handed out, and who dies is found out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

import pytest

from pypelinin.errors import DefinitionError, Killed, MemoryLimit, NotPicklable
from pypelinin.streams import ItemFailed, Multiple, Object, conducting
from pypelinin.streams.conducting import CHUNK_BYTES_MAX, Conductor, Items, report_of
from pypelinin.streams.inside.portions import Report
from pypelinin.streams.inside.program import Frame, Program, Reduce, Segment, Stage


class AtOnce(Executor):
    """Carries portions out when they are handed in; *spoiled* may say what becomes of one."""

    def __init__(self, spoiled: Callable[[Callable[[], Any]], Any] = lambda act: act()) -> None:
        self._spoiled = spoiled
        self.count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        future: Future[Any] = Future()
        try:
            future.set_result(self._spoiled(lambda: fn(*args, **kwargs)))
        except BaseException as error:
            future.set_exception(error)
        return future


def program(*functions: Callable[..., Any]) -> Program:
    return Program([Segment([Stage(one, one.__name__) for one in functions])])


def run(
    what: Program, items: Any, executor: Executor | None, on_error: str = "stop"
) -> tuple[list[Any], list[ItemFailed]]:
    out: list[Any] = []
    what.tolerant = on_error != "stop"
    if executor is None:
        what.stay_here()
    conductor = Conductor(what, Items(items), executor, out.extend, on_error)
    conductor.run()
    return sorted(out), conductor.errors


def same(item: Any) -> Any:
    return item


# --- the source -----------------------------------------------------------------------------------


def test_items_are_taken_from_a_place_on() -> None:
    items = Items(range(10), taken=4)
    assert items.take(3) == [4, 5, 6]
    assert items.take(100) == [7, 8, 9]
    assert items.take(1) == []
    assert items.taken == 4  # who has them in the state counts them


def test_items_that_come_slowly_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "BUDGET_S", -1.0)
    items = Items(iter("ab"))
    assert [items.take(9), items.take(9), items.take(9)] == [["a"], ["b"], []]


def test_a_source_that_raises_has_given_nothing_by_that() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    items = Items(source())
    assert items.take(1) == [1]
    with pytest.raises(OSError, match="gone"):
        items.take(5)
    assert items.taken == 0


@pytest.mark.parametrize("keeps", [True, False])
def test_a_signal_while_items_are_given_is_not_a_moment_for_a_checkpoint(keeps: bool) -> None:
    """Of a list that has them already, that is; a result function is to get them again."""
    out: list[int] = []

    def deliver(items: list[int]) -> None:
        out.extend(items)
        raise KeyboardInterrupt

    conductor = Conductor(program(same), Items([1]), AtOnce(), deliver, keeps=keeps)
    with pytest.raises(KeyboardInterrupt):
        conductor.run()
    assert conductor.settled is not keeps


class Counted:
    """How far the source is ahead of what came out."""

    def __init__(self, count: int) -> None:
        self.taken = self.out = self.ahead = 0
        self.count = count

    def __iter__(self) -> Iterator[int]:
        for i in range(self.count):
            self.taken += 1
            self.ahead = max(self.ahead, self.taken - self.out)
            yield i

    def deliver(self, items: list[Any]) -> None:
        self.out += len(items)


@pytest.mark.parametrize("place", ["here", "slots", "both"])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_long_source_is_not_taken_ahead(
    place: str, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conducting, "CHUNK_MAX", 20)
    what = program(same, same)
    what.ordered, what.cpus = ordered, 2
    for stage in what.segments[0].stages[: {"here": 2, "both": 1, "slots": 0}[place]]:
        stage.here = True
    counted = Counted(3_000)
    executor = None if place == "here" else AtOnce()
    Conductor(what, Items(counted), executor, counted.deliver).run()
    assert counted.out == 3_000
    assert counted.ahead <= 20 * (conducting.AHEAD * 2 + 1)


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_through_comes_out_before_more_is_taken(
    ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives the next item late does not hold up those before it."""
    monkeypatch.setattr(conducting, "CHUNK_MAX", 1)
    what = program(same)
    what.ordered, what.cpus = ordered, 8
    counted = Counted(50)
    Conductor(what, Items(counted), AtOnce(), counted.deliver).run()
    assert (counted.out, counted.ahead) == (50, 1)


def test_what_waits_for_a_slow_item_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first item takes until nothing else goes on."""
    monkeypatch.setattr(conducting, "CHUNK_MAX", 1)
    monkeypatch.setattr(conducting, "HELD_BYTES_MAX", 10_000)

    class FirstLast(AtOnce):
        first: tuple[Future[Any], Any] | None = None

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            done = super().submit(fn, *args, **kwargs)
            if self.count > 1:
                return done
            future: Future[Any] = Future()
            self.first = (future, done.result())
            return future

    executor, counted = FirstLast(), Counted(1_000)

    class Waiting(SimpleQueue[int]):
        def get(self, block: bool = True, timeout: float | None = None) -> int:
            if self.empty():  # all that could go on has gone on
                assert executor.first is not None
                executor.first[0].set_result(executor.first[1])
            return super().get(block, timeout)

    monkeypatch.setattr(conducting, "SimpleQueue", Waiting)
    what = program(same)
    what.ordered, what.cpus = True, 2
    Conductor(what, Items(counted), executor, counted.deliver).run()
    assert counted.out == 1_000
    assert 20 < counted.ahead < 200


def test_chunks_of_large_items_are_small() -> None:
    sizes = []

    def spoiled(act: Callable[[], Any]) -> Any:
        report = act()
        sizes.append(report.done)
        return report

    items = [b"x" * (CHUNK_BYTES_MAX // 4)] * 60
    out, _ = run(program(len), items, AtOnce(spoiled))
    assert len(out) == 60
    assert max(sizes[-10:]) == 3, sizes  # as many as fit


# --- errors ---------------------------------------------------------------------------------------


def brittle(item: int) -> int:
    if item % 5 == 3:
        raise KeyError(item)
    return item


@pytest.mark.parametrize("executor", [None, AtOnce()])
def test_what_becomes_of_items_that_fail(
    executor: Executor | None, caplog: pytest.LogCaptureFixture
) -> None:
    good = [i for i in range(20) if i % 5 != 3]
    with pytest.raises(ItemFailed, match="brittle failed for the item 3: KeyError: 3"):
        run(program(brittle), range(4), executor)
    assert caplog.messages == []
    assert run(program(brittle), range(20), executor, "skip") == (good, [])
    assert len(caplog.messages) == 4
    assert caplog.messages[0].endswith("KeyError: 3.")  # to leave it out is what was wished for
    out, errors = run(program(brittle), range(20), executor, "collect")
    assert out == good
    assert sorted(error.item for error in errors) == ["13", "18", "3", "8"]
    assert {type(error.exception) for error in errors} == {KeyError}


def test_a_function_that_cannot_be_sent_is_named() -> None:
    lock = threading.Lock()

    def locked(item: int) -> int:
        with lock:
            return item

    def zero() -> Object:
        return Object(lock=lock)

    with pytest.raises(NotPicklable, match=r"locked\(\) cannot be sent: .*'lock'"):
        run(program(same, locked), [1], AtOnce())
    assert run(program(same, locked), [1], None) == ([1], [])
    what = Program([Segment([], Reduce(same, "total", store=zero), 1), Segment()])
    with pytest.raises(NotPicklable, match=r"zero\(\) cannot be sent"):
        run(what, [1], AtOnce())


def test_an_answer_that_is_none_is_refused() -> None:
    report = Report(None)
    assert report_of(report) is report
    with pytest.raises(DefinitionError, match="A slot answered 7, which is no report"):
        run(program(same), [1], AtOnce(lambda _act: 7))


def test_what_an_engine_raises_is_no_items_fault() -> None:
    def spoiled(_: Callable[[], Any]) -> Any:
        raise OSError("the engine broke")

    with pytest.raises(OSError, match="the engine broke"):
        run(program(same), [1], AtOnce(spoiled), "skip")


def test_what_was_handed_out_is_cancelled_when_the_run_ends_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    futures: list[Future[Any]] = []

    class Never(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            futures.append(future)
            return future

    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run(Program([Segment([Stage(same, "same")])], cpus=5), source(), Never())
    assert futures
    assert all(future.cancelled() for future in futures)


# --- slots that die -------------------------------------------------------------------------------


class Deadly(Exception):
    """Stands in for the end of a slot."""


def deadly(item: int) -> int:
    if item == 13:
        raise SystemExit  # what no function's `except Exception` catches
    return item


def killed(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except SystemExit as error:
        raise Killed("the slot was killed") from error


def test_the_item_by_which_a_slot_dies_is_found() -> None:
    executor = AtOnce(killed)
    out, errors = run(program(deadly, same), range(64), executor, "collect")
    assert out == [i for i in range(64) if i != 13]
    (error,) = errors
    assert (error.stage, error.item) == ("deadly", "13")
    assert isinstance(error.exception, Killed)
    with pytest.raises(ItemFailed, match=r"deadly failed for the item 13: .*Killed"):
        run(program(deadly), range(20), AtOnce(killed))


def test_memory_is_no_different() -> None:
    def spoiled(act: Callable[[], Any]) -> Any:
        try:
            return act()
        except SystemExit as error:
            raise MemoryLimit("it used 3 GB") from error

    out, (error,) = run(program(deadly), range(20), AtOnce(spoiled), "collect")
    assert 13 not in out
    assert isinstance(error.exception, MemoryLimit)


def test_a_function_that_exits_fails_its_item() -> None:
    out, (error,) = run(program(deadly), range(20), AtOnce(), "collect")
    assert len(out) == 19
    assert error.item == "13"
    assert isinstance(error.exception, SystemExit)


def test_a_reduce_by_which_a_slot_dies_is_named() -> None:
    def total(store: Object, works: list[int], others: list[Object]) -> None:
        store.sum = getattr(store, "sum", 0) + sum(map(deadly, works))
        store.sum += sum(other.sum for other in others)

    what = Program([Segment([], Reduce(total, "total"), 1), Segment()])
    out: list[Object] = []
    what.tolerant = True
    conductor = Conductor(what, Items(range(20)), AtOnce(killed), out.extend, "collect")
    conductor.run()
    assert [store.sum for store in out] == [sum(range(20)) - 13]
    assert [(error.stage, error.item) for error in conductor.errors] == [("total", "13")]


def test_a_frame_by_which_a_slot_dies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(store: Object, first: int) -> int | None:
        if hasattr(store, "n"):
            return deadly(first) * 0 or None  # in its second turn, elsewhere
        store.n = 0
        return first

    def end(store: Object, item: int) -> None:
        store.n += item

    from pypelinin.streams.inside import play

    monkeypatch.setattr(play, "LIMIT_S", -1.0)
    frame = Frame(begin, "begin", store=Object, emit=lambda store: store.n, end=end, body=1)
    what = Program([Segment([frame]), Segment(frame=frame)])
    out, (error,) = run(what, [12, 13, 14], AtOnce(killed), "collect")
    assert out == [12, 14]
    assert (error.stage, error.item) == ("begin", "13")


def test_a_merge_by_which_a_slot_dies_ends_the_stream() -> None:
    """It is about no single item."""

    def joined(store: Object, works: list[int], others: list[Object]) -> None:
        if others:
            raise SystemExit

    what = Program([Segment([], Reduce(joined, "joined"), 1), Segment()])
    what.tolerant = True
    with pytest.raises(Killed, match="the slot was killed"):
        run(what, range(20), AtOnce(killed), "skip")


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stream_goes_on_from_any_turn(ordered: bool) -> None:
    """Stopped after each turn, with a new conductor each time."""

    def several(item: int) -> Multiple:
        return Multiple([item, None, -item])

    what = program(same, several)
    what.ordered = ordered
    what.segments[0].stages[1].here = True
    out: list[int] = []
    state, taken, turns = b"", 0, 0

    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    while True:
        conductor = Conductor(what, Items(range(1, 300), taken), AtOnce(), out.extend)
        if state:
            conductor.restore(state)
        try:
            conductor.run(stop)
            break
        except Enough:
            assert conductor.settled
            state, taken, turns = conductor.state(), conductor.items.taken, turns + 1
            if conductor.tokens.over:
                break
    assert turns > 10
    expected = [one for i in range(1, 300) for one in (i, -i)]
    assert (out if ordered else sorted(out)) == (expected if ordered else sorted(expected))


def test_who_delivers_and_raises_gets_it_again() -> None:
    def deliver(_: list[Any]) -> None:
        raise OSError("full")

    conductor = Conductor(program(same), Items([1]), AtOnce(), deliver)
    with pytest.raises(OSError, match="full"):
        conductor.run()
    assert conductor.settled
    out: list[int] = []
    again = Conductor(program(same), Items([1], conductor.items.taken), AtOnce(), out.extend)
    again.restore(conductor.state())
    again.run()
    assert out == [1]


def test_an_item_that_cannot_be_sent_leaves_no_state_behind() -> None:
    conductor = Conductor(program(same), Items([threading.Lock()]), AtOnce(), [].extend)
    with pytest.raises(NotPicklable):
        conductor.run()
    assert not conductor.settled


def test_what_slots_printed_is_printed_here(capsys: pytest.CaptureFixture[str]) -> None:
    what = program(lambda item: print(f"got {item}"))
    what.captures = True
    report = Report(None, printed=("out\n", "err\n"))
    run(what, [1], AtOnce(lambda _act: report))
    assert capsys.readouterr() == ("out\n", "err\n")
    run(what, [1, 2], AtOnce())
    assert capsys.readouterr().out == "got 1\ngot 2\n"
