"""What stands from top to bottom in the source is what items go through.

Most of it is a matter of rules, so most tests are run in this process and in slots that they share.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Executor
from pypelinin import streams as public
from pypelinin.errors import DefinitionError
from pypelinin.streams import Args, ItemFailed, Multiple, Object, Work, getCpuCount, getRank

Make = Callable[..., Work]


@pytest.fixture(params=["here", "slots"])
def make(request: pytest.FixtureRequest) -> Make:
    """A Work, of whatever kind."""
    if request.param == "here":
        return partial(Work, useMultiprocessing=False)
    return partial(Work, engine=request.getfixturevalue("slots"))


def add(store: Object, works: list[Any], others: list[Object]) -> None:
    store.sum = getattr(store, "sum", 0) + sum(works) + sum(other.sum for other in others)


def summed(store: Object) -> int:
    return getattr(store, "sum", 0)


# --- jobs -----------------------------------------------------------------------------------------


def test_items_go_through_functions_in_their_order(make: Make) -> None:
    work = make([1, 2, 3])

    @work.job
    def double(item: int) -> int:
        return item * 2

    @work.job()
    def next_one(item: int) -> int:
        return item + 1

    assert sorted(work.run()) == [3, 5, 7]
    assert double(4) == 8
    assert next_one(4) == 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda _: None, []),
        (lambda x: [x, x], [[1, 1]]),
        (lambda x: (x, None), [(1, None)]),
        (lambda _: 0, [0]),
        (lambda _: False, [False]),
        (lambda _: Multiple([]), []),
        (lambda x: Multiple([x, None, x + 1]), [1, 2]),
        (lambda _: Multiple(i for i in range(3)), [0, 1, 2]),
        (lambda _: Multiple({7}), [7]),
        (lambda _: Multiple([[1], [2]]), [[1], [2]]),
    ],
)
def test_what_a_job_gives(make: Make, given: Callable[[int], Any], expected: list[Any]) -> None:
    work = make([1])
    work.job(given)
    assert sorted(work.run()) == expected


class Scale:
    def __init__(self, by: int) -> None:
        self.by = by

    def method(self, item: int) -> int:
        return item * self.by

    __call__ = method

    @classmethod
    def made(cls, item: int) -> int:
        return cls(10).method(item)

    @staticmethod
    def plain(item: int) -> int:
        return item * 1000


def scaled(item: int, by: int = 1) -> int:
    return item * by


def annotated(item: dict[str, Path] | int, *, by: int = 2) -> int | None:
    return item * by if isinstance(item, int) else None


def test_whatever_can_be_called(make: Make) -> None:
    work = make([1])
    for function in (
        Scale(2), Scale(3).method, Scale.made, Scale.plain, partial(scaled, by=7), annotated,
        lambda item: item * 11, abs,
    ):  # fmt: skip
        assert work.job(function) is function
    assert work.run() == [2 * 3 * 10 * 1000 * 7 * 2 * 11]


def test_one_function_can_be_several_stages(make: Make) -> None:
    work = make([1, 2])

    def double(item: int) -> int:
        return item * 2

    for _ in range(10):
        work.job(double)
    assert sorted(work.run()) == [1024, 2048]


# --- the source -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "initial",
    [[], (), range(0), iter(()), {}, "", (i for i in range(0))],
    ids=lambda one: type(one).__name__,
)
def test_of_nothing_comes_nothing(make: Make, initial: Any) -> None:
    work = make(initial)
    work.job(scaled)
    assert work.run() == []


def test_a_work_needs_nothing() -> None:
    assert Work().run() == []
    assert Work([1, 2]).run() == [1, 2]


def test_none_is_an_item_if_it_is_given(make: Make) -> None:
    work = make([None, 1])
    work.job(lambda item: "none" if item is None else item)
    assert sorted(map(str, work.run())) == ["1", "none"]
    assert Work([None]).run() == [None]


def test_none_goes_into_frames_and_reduces(make: Make) -> None:
    work = make([None])

    @work.frame(emit=lambda store: store.first)
    def begin(store: Object, first: Any) -> int | None:
        if not hasattr(store, "first"):
            store.first = [first]
            return 1
        return None

    work.frameEnd(lambda store, item: store.first.append(item))
    assert work.run() == [[None, 1]]

    work = make([None, None])
    got: Any = work.reduce(emit=lambda store: store.n)(count)
    assert got is count
    assert work.run() == [2]


def count(store: Object, works: list[Any], others: list[Object]) -> None:
    store.n = getattr(store, "n", 0) + len(works) + sum(other.n for other in others)


@pytest.mark.parametrize(
    "initial",
    [[1, 2, 3], (1, 2, 3), {1: 0, 2: 0, 3: 0}, {1, 2, 3}, range(1, 4), iter([1, 2, 3])],
    ids=lambda one: type(one).__name__,
)
def test_any_iterable_is_a_source(initial: Any) -> None:
    assert sorted(Work(initial).run()) == [1, 2, 3]


def test_values_of_any_kind_arrive_as_they_were(make: Make) -> None:
    items = [1, -1.5, "é", b"\0", (1, [2]), {"a": (1,)}, {1: 2}, 2**70, True, Object(a=1), ""]
    work = make(items, ordered=True)
    work.job(lambda item: (type(item).__name__, item))
    assert work.run() == [(type(item).__name__, item) for item in items]


# --- init -----------------------------------------------------------------------------------------


def test_inits_give_items_too(make: Make) -> None:
    work = make([1])
    called = []
    work.job(lambda item: item * 10)

    @work.init
    def first() -> Multiple:
        called.append("first")
        return Multiple([2, None, 3])

    @work.init()
    def second() -> None:
        called.append("second")

    work.init(lambda: 4)
    work.init(lambda: called.append(str(os.getpid())))
    assert sorted(work.run()) == [10, 20, 30, 40]
    assert called == ["first", "second", str(os.getpid())]


# --- Args -----------------------------------------------------------------------------------------


def test_args_are_spread_for_all_but_reduces(make: Make) -> None:
    work = make([Args(1, b=2)])

    @work.job
    def job(a: int, b: int) -> Args:
        return Args(a + 10, b=b + 10)

    @work.frame(emit=lambda store: Args(*store.seen, named=store.seen[0]))
    def begin(store: Object, a: int, b: int) -> Args | None:
        if hasattr(store, "seen"):
            return None
        store.seen = [(a, b)]
        return Args(b, a)

    @work.job
    def swapped(x: int, y: int) -> Args:
        return Args(x, k=y)

    @work.frameEnd
    def end(store: Object, x: int, k: int) -> None:
        store.seen.append((x, k))

    got: list[Any] = []

    @work.result
    def result(first: Any, second: Any, named: Any) -> None:
        got.append((first, second, named))

    assert work.run() is None
    assert got == [((11, 12), (12, 11), (11, 12))]


def test_a_reduce_and_finish_get_args_as_they_are(make: Make) -> None:
    work = make([Args(1, a=2)])

    @work.reduce(emit=lambda store: store.args)
    def keep(store: Object, works: list[Args], others: list[Object]) -> None:
        for one in works:
            store.args = one

    @work.finish
    def show(items: list[Args]) -> list[Any]:
        return [(type(one) is Args, one.args, one.kwargs) for one in items]

    assert work.run() == [(True, (1,), {"a": 2})]


# --- frames ---------------------------------------------------------------------------------------


def test_a_frame_is_a_loop_for_each_item(make: Make) -> None:
    work = make([3, 1, 2])
    firsts = []

    @work.frame(store=lambda: {"turns": 0, "got": []}, emit=lambda store: store["got"])
    def turn(store: dict[str, Any], first: int) -> Multiple | None:
        store["turns"] += 1
        if store["turns"] > first:
            return None
        return Multiple([store["turns"], None, -store["turns"]])

    work.job(lambda item: item * 10)

    @work.frameEnd
    def end(store: dict[str, Any], item: int) -> None:
        store["got"].append(item)

    for got in work.run():
        firsts.append(len(got) // 2)
        assert {abs(item) for item in got} == {10 * i for i in range(1, len(got) // 2 + 1)}
        assert sum(got) == 0
    assert sorted(firsts) == [1, 2, 3]


def test_what_an_end_returns_goes_into_the_loop_again(make: Make) -> None:
    work = make([10])

    @work.frame(emit=lambda store: (store.turns, sorted(store.seen)))
    def begin(store: Object, first: int) -> int | None:
        store.turns = getattr(store, "turns", 0) + 1
        if store.turns == 1:
            store.seen = []
            return first
        return None

    @work.frameEnd
    def end(store: Object, item: int) -> Multiple | None:
        store.seen.append(item)
        return Multiple([item // 2, item // 3]) if item > 1 else None

    turns, seen = work.run()[0]
    assert turns == 2
    assert seen == [0, 1, 1, 1, 1, 2, 3, 5, 10]


def test_a_frame_without_stages_and_one_that_never_loops(make: Make) -> None:
    work = make([1, 2])
    work.frame(lambda store, first: None, emit=lambda store: "never")
    work.frameEnd(lambda store, item: 1 / 0)
    assert work.run() == ["never", "never"]


@pytest.mark.parametrize(
    ("emit", "expected"),
    [(lambda s: None, []), (lambda s: Multiple([1, None, 2]), [1, 2]), (lambda s: [1], [[1]])],
)
def test_what_a_frame_emits(make: Make, emit: Callable[[Any], Any], expected: list[Any]) -> None:
    work = make([0])
    work.frame(lambda store, first: None, emit=emit)
    work.frameEnd(lambda store, item: None)
    assert sorted(work.run()) == expected


def test_frames_nest(make: Make) -> None:
    """Pairs below each item, counted: the inner loop begins anew for each item of the outer."""
    work = make([2, 4])

    @work.frame(emit=lambda store: (store.first, sorted(store.got)))
    def outer(store: Object, first: int) -> Multiple | None:
        if hasattr(store, "got"):
            return None
        store.first, store.got = first, []
        return Multiple(range(first))

    @work.frame(emit=lambda store: store.sum)
    def inner(store: Object, first: int) -> Multiple | None:
        if hasattr(store, "sum"):
            return None
        store.sum = 0
        return Multiple(range(first + 1))

    @work.frameEnd
    def inner_end(store: Object, item: int) -> None:
        store.sum += item

    @work.frameEnd
    def outer_end(store: Object, item: int) -> None:
        store.got.append(item)

    assert sorted(work.run()) == [(2, [0, 1]), (4, [0, 1, 3, 6])]


# --- reduces --------------------------------------------------------------------------------------


def test_a_reduce_makes_one_of_all(make: Make) -> None:
    work = make(range(1000))
    work.job(lambda item: item * 2)
    work.reduce(add, emit=summed)
    work.job(lambda total: total + 1)
    assert work.run() == [999_001]


def test_a_reduce_of_nothing_emits_once(make: Make) -> None:
    work = make([])
    work.reduce(add, emit=summed)
    assert work.run() == [0]
    work.reduce(count, emit=lambda store: store.n)
    assert work.run() == [1]


def test_reduces_in_a_row(make: Make) -> None:
    work = make([1, 2, 3])
    work.reduce(add, emit=lambda store: Multiple([store.sum, None, store.sum * 2]))
    work.job(lambda item: item + 1)
    work.reduce(add, emit=summed)
    assert work.run() == [6 + 1 + 12 + 1]


def test_a_reduce_emits_nothing_or_several(make: Make) -> None:
    for emit, expected in ((lambda s: None, []), (lambda s: Multiple([3, 4]), [3, 4])):
        work = make([1])
        work.reduce(add, emit=emit)
        assert sorted(work.run()) == expected


def test_others_are_the_stores_of_other_parts(slots: Executor) -> None:
    """Each part has a store of its own; in all, each item counts once."""

    def seen(store: Object, works: list[int], others: list[Object]) -> None:
        if not hasattr(store, "items"):
            store.items, store.merged = [], 0
        store.items += works
        for other in others:
            store.items += other.items
            store.merged += other.merged + 1

    work = Work(range(500), engine=slots)
    work.reduce(seen)
    (store,) = work.run()
    assert sorted(store.items) == list(range(500))
    assert store.merged > 2


def test_what_a_reduce_returns_goes_through_once_more(make: Make) -> None:
    """The recurrence at the top, which job_stream had broken: numbers, and lists as they are."""
    work = make([20])
    work.job(lambda item: item if isinstance(item, list) else item - 1)

    @work.reduce(emit=lambda store: sorted(store.seen, key=str))
    def seen(store: Object, works: list[Any], others: list[Object]) -> Any:
        if not hasattr(store, "seen"):
            store.seen = []
        store.seen += works
        for other in others:
            store.seen += other.seen
        for item in works:
            if not isinstance(item, list) and item > 1:
                return Multiple([item // 2, None, [item]])
        return None

    assert work.run() == [sorted([19, [19], 8, [8], 3, [3], 0], key=str)]


def test_a_reduce_in_a_frame_is_one_for_each_turn(make: Make) -> None:
    """job_stream lost the frame there."""
    work = make([1, 2])

    @work.frame(emit=lambda store: (store.first, store.sums))
    def turn(store: Object, first: int) -> Multiple | None:
        if not hasattr(store, "sums"):
            store.first, store.sums = first, []
        if len(store.sums) == 3:
            return None
        return Multiple(first * 10 ** len(store.sums) for _ in range(5))

    work.job(lambda item: item + 1)
    work.reduce(add, emit=summed)

    @work.frameEnd
    def end(store: Object, total: int) -> None:
        store.sums.append(total)

    assert sorted(work.run()) == [(1, [10, 55, 505]), (2, [15, 105, 1005])]


def test_a_frame_under_a_reducer_stays_under_it(make: Make) -> None:
    """job_stream let what the frame gave out past the reducer."""
    work = make([3, 4])

    @work.frame(emit=lambda store: store.n)
    def begin(store: Object, first: int) -> Multiple | None:
        if hasattr(store, "n"):
            return None
        store.n = 0
        return Multiple(range(first))

    @work.frameEnd
    def end(store: Object, item: int) -> None:
        store.n += 1

    work.reduce(add, emit=summed)
    assert work.run() == [7]


def test_a_reduce_can_recur_into_a_frame(make: Make) -> None:
    work = make([5])
    work.frame(lambda store, first: setattr(store, "n", first), emit=lambda store: store.n - 1)
    work.frameEnd(lambda store, item: None)

    @work.reduce(emit=lambda store: store.got)
    def collect(store: Object, works: list[int], others: list[Object]) -> int | None:
        store.got = [
            *getattr(store, "got", []), *works, *(item for other in others for item in other.got)
        ]  # fmt: skip
        return works[0] if works and works[0] > 0 else None

    assert [sorted(got) for got in work.run()] == [[0, 1, 2, 3, 4]]


# --- the end --------------------------------------------------------------------------------------


def test_results_are_called_here_one_after_the_other(make: Make) -> None:
    work = make(range(50))
    work.job(lambda item: item * 2)
    got, threads = [], set()

    @work.result
    def keep(item: int) -> str:
        got.append(item)
        threads.add((os.getpid(), threading.get_ident()))
        return "ignored"

    assert work.run() is None
    assert sorted(got) == list(range(0, 100, 2))
    assert threads == {(os.getpid(), threading.get_ident())}


def test_a_result_that_raises_ends_the_stream(make: Make) -> None:
    work = make([1])
    work.result(lambda item: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        work.run()


def test_finish_gets_all_and_gives_what_run_returns(make: Make) -> None:
    for initial, expected in (([3, 1, 2], [1, 2, 3]), ([], [])):
        work = make(initial)
        assert work.finish(sorted) is sorted
        assert work.run() == expected
    work = make([1])
    work.finish(lambda items: Multiple(items))
    assert isinstance(work.run(), Multiple)  # which job_stream could not return


def test_the_with_form_runs_at_its_end(make: Make) -> None:
    got: list[int] = []
    with make([1, 2]) as work:
        work.job(lambda item: item * 3)
        work.result(got.append)
        assert got == []
    assert sorted(got) == [3, 6]


def test_the_with_form_without_results_runs_as_well(make: Make) -> None:
    called: list[int] = []
    with make([1]) as work:
        work.init(lambda: called.append(1))
    assert called == [1]
    with make() as work:
        pass
    assert work.run() is None


def test_the_with_form_runs_nothing_if_its_body_raises(make: Make) -> None:
    called: list[int] = []

    def broken() -> None:
        with make([1]) as work:
            work.init(lambda: called.append(1))
            raise KeyError("body")

    with pytest.raises(KeyError, match="body"):
        broken()
    assert called == []


# --- runs -----------------------------------------------------------------------------------------


def test_a_stream_can_be_run_again(make: Make) -> None:
    """What job_stream made of initial work in a second run was wrong."""
    initial = [1, 2]
    work = make(initial)
    work.init(lambda: 5)
    work.job(lambda item: item + 1)
    work.reduce(add, emit=summed)
    assert [work.run(), work.run(), work.run()] == [[11]] * 3
    initial.append(10)
    assert work.run() == [22]
    work.job(lambda item: -item)
    assert work.run() == [-22]


def test_a_source_that_is_used_up_is_no_empty_source(make: Make) -> None:
    for initial in (iter([1, 2]), (i for i in (1, 2))):
        work = make(initial)
        assert sorted(work.run()) == [1, 2]
        with pytest.raises(DefinitionError, match="an earlier run has taken from it"):
            work.run()


def test_streams_in_streams(make: Make) -> None:
    def inner(item: int) -> int:
        work = Work(range(item), useMultiprocessing=False)
        work.reduce(add, emit=summed)
        return int(work.run()[0])

    work = make([3, 5])
    work.job(inner)
    assert sorted(work.run()) == [3, 10]


def test_where_functions_are_called(slots: Executor) -> None:
    here, there = "here", "there"

    def where() -> str:
        return here if os.getpid() == me else there

    me = os.getpid()
    for kind in (False, True):
        work = Work([0], engine=slots)
        work.job(lambda _: [where()], useMultiprocessing=kind)
        work.job(lambda seen: [*seen, where()], useMultiprocessing=not kind)

        @work.frame(
            store=lambda: [where()],
            emit=lambda store: [*store, where()],
            useMultiprocessing=kind,
        )
        def begin(store: list[str], first: list[str]) -> list[str] | None:
            if len(store) > 1:
                return None
            store += first
            return []

        work.job(lambda _: where(), useMultiprocessing=not kind)

        @work.frameEnd
        def end(store: list[str], item: str) -> None:
            store += [item, where()]

        one, other = (there, here) if kind else (here, there)
        assert work.run() == [[one, one, other, other, one, one]]

        work = Work([0] * 20, engine=slots)
        work.job(lambda _: where(), useMultiprocessing=not kind)

        @work.reduce(store=set, useMultiprocessing=kind)
        def gather(store: set[str], works: list[str], others: list[set[str]]) -> None:
            store.update(works, *others, [f"reduced {where()}"])

        assert work.run() == [{other, f"reduced {one}"}]


def test_the_whole_stream_can_stay_here() -> None:
    work = Work([0], useMultiprocessing=False)
    work.job(lambda _: os.getpid(), useMultiprocessing=True)
    work.reduce(lambda store, works, others: setattr(store, "pids", (*works, os.getpid())))
    assert work.run() == [Object(pids=(os.getpid(), os.getpid()))]


def test_in_order_on_request(make: Make) -> None:
    work = make(range(300), ordered=True)
    work.job(lambda item: Multiple([item, None, -item]) if item % 3 else None)
    work.job(lambda item: item * 2, useMultiprocessing=False)
    assert work.run() == [x * 2 for i in range(300) if i % 3 for x in (i, -i)]


def test_items_come_out_while_others_go_in(make: Make) -> None:
    """A source that never ends can be stopped by who takes the results."""
    taken = []

    def forever() -> Iterator[int]:
        i = 0
        while True:
            taken.append(i)
            yield i
            i += 1

    class Enough(Exception):
        pass

    def stop(item: int) -> None:
        if item > 100:
            raise Enough

    work = make(forever())
    work.job(lambda item: item)
    work.result(stop)
    with pytest.raises(Enough):
        work.run()
    assert len(taken) > 100


# --- errors ---------------------------------------------------------------------------------------


def brittle(item: int) -> int:
    return 10 // item


def test_what_becomes_of_an_item_that_fails(make: Make) -> None:
    work = make([1, 0, 5])
    work.job(brittle)
    with pytest.raises(ItemFailed, match="brittle failed for the item 0: ZeroDivisionError"):
        work.run()
    work = make([1, 0, 5], on_error="skip")
    work.job(brittle)
    assert (sorted(work.run()), work.errors) == ([2, 10], [])
    work = make([1, 0, 5], on_error="collect")
    work.job(brittle)
    for _ in range(2):
        assert sorted(work.run()) == [2, 10]
        (error,) = work.errors
        assert (error.stage, error.item) == ("brittle", "0")
        assert isinstance(error.exception, ZeroDivisionError)
        assert "10 // item" in str(error.__cause__)


def steps(error: BaseException) -> list[str]:
    """The functions of its traceback."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_what_an_item_raises_is_shown_without_what_is_inside(make: Make) -> None:
    work = make([0])
    work.job(brittle)
    with pytest.raises(ItemFailed) as caught:
        work.run()
    assert steps(caught.value)[1:] in ([], ["run"])
    assert ", in brittle" in str(caught.value.__cause__)
    assert ", in step" not in str(caught.value.__cause__)


def test_what_a_result_function_raises_is_shown_from_there(make: Make) -> None:
    def refuses(item: int) -> None:
        raise DefinitionError("not this one")

    work = make([0])
    work.result(refuses)
    with pytest.raises(DefinitionError) as caught:
        work.run()
    assert steps(caught.value)[-1] == "refuses"


def test_what_is_left_of_a_loop_in_which_an_item_fails(make: Make) -> None:
    """The item in it is lost; a loop whose own functions raise is."""
    work = make([0, 1, 2, 3], on_error="collect")

    @work.frame(emit=lambda store: (store.first, 6 // (store.first - 3), sorted(store.got)))
    def begin(store: Object, first: int) -> Multiple | None:
        if hasattr(store, "got"):
            return None
        store.first, store.got = first, []
        return Multiple([6 // first, 7, 0])

    work.job(brittle)

    @work.frameEnd
    def end(store: Object, item: int) -> None:
        if store.first == 2:
            raise KeyError("end")
        store.got.append(item)

    assert work.run() == [(1, -3, [1, 1])]
    failed = sorted((error.stage, error.item) for error in work.errors)
    own = [one for one in failed if one[0] != "brittle"]
    assert own == [("begin", "0"), ("begin", "2"), ("begin", "3")]
    assert {one for one in failed if one[0] == "brittle"} == {("brittle", "0")}


def test_errors_of_a_stream_without_any() -> None:
    assert Work([1], on_error="collect").errors == []


# --- options --------------------------------------------------------------------------------------


def test_functions_may_ask_where_they_are(make: Make) -> None:
    work = make([0])
    work.init(lambda: getCpuCount() + getRank())
    work.job(lambda item: (getCpuCount(), getRank()))
    cpus = {one for one, _ in work.run()}
    assert cpus <= {1, 2}
    assert len(cpus) == 1
    with pytest.raises(RuntimeError, match="while it runs"):
        getCpuCount()


def test_a_function_may_name_its_work(make: Make) -> None:
    """As scripts do: `work` is a global of the module in which the function stands."""
    work = make([1])
    work.job(lambda item: (item, work is not None))
    assert work.run() == [(1, True)]


def test_the_file_of_the_environment_and_the_one_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, own = tmp_path / "named", tmp_path / "own"
    monkeypatch.setenv("PYPELININ_CHECKPOINT", str(named))
    ways: list[tuple[dict[str, Any], Path]] = [({}, named), ({"checkpointFile": own}, own)]
    for keyword, used in ways:
        calls: list[int] = []
        fails = [True]

        def broken(item: int, fails: list[bool] = fails) -> int:
            return item // (not fails[0])

        work = Work([1], useMultiprocessing=False, checkpointInterval=0, **keyword)
        work.init(partial(calls.append, 1))
        work.job(broken)
        with pytest.raises(ItemFailed):
            work.run()
        assert [one for one in (named, own) if one.exists()] == [used]
        fails[0] = False
        assert work.run() == [1]
        assert calls == [1]  # not when it goes on
        assert not used.exists()
        assert work.run() == [1]
        assert calls == [1, 1]


# --- map ------------------------------------------------------------------------------------------


def test_map(slots: Executor) -> None:
    for keywords in ({"useMultiprocessing": False}, {"engine": slots}):
        run = partial(public.map, **keywords)
        assert run(lambda x: x * x, range(200)) == [x * x for x in range(200)]
        assert run(pow, [2, 3, 4], [5, 2]) == [32, 9]
        assert run(str, []) == []
        assert run(lambda x: None if x else Multiple([x]), [1, 2]) == [None, None]
        assert run(len, [(1, 2), Args(1).args]) == [2, 1]
        with pytest.raises(ItemFailed, match=r"brittle failed for the item Args\(0\)"):
            run(brittle, [1, 0])


def test_map_of_what_is_no_function() -> None:
    with pytest.raises(DefinitionError, match="cannot be called"):
        public.map(5, [1])  # type: ignore[arg-type]  # the error to be seen
    with pytest.raises(TypeError, match="unexpected keyword argument 'slot'"):
        public.map(len, [1], slot=1)


def test_the_public_names() -> None:
    from pypelinin.streams import inline

    for name in public.__all__:
        assert getattr(public, name) is not None
    for name in inline.__all__:
        assert getattr(public, name) is getattr(inline, name)
