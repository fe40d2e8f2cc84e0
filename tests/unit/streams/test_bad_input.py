"""Whatever is wrong is said where it is seen, with its name; nothing hangs, nobody else dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pypelinin import Executor
from pypelinin.errors import DefinitionError, Killed, NotPicklable
from pypelinin.streams import Args, ItemFailed, Multiple, Object, Work

Make = Callable[..., Work]


@pytest.fixture(params=["here", "slots"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "here":
        return partial(Work, useMultiprocessing=False)
    return partial(Work, engine=request.getfixturevalue("slots"))


def nothing(*_: Any) -> None: ...
def one(item: Any) -> Any: ...
def two(store: Any, item: Any) -> Any: ...
def three(store: Any, works: list[Any], others: list[Any]) -> Any: ...


# --- seen where it is written ---------------------------------------------------------------------

ADDING: list[Callable[[Work], Any]] = [
    lambda w: w.init(lambda: 1),
    lambda w: w.job(one),
    lambda w: w.job(useMultiprocessing=False),
    lambda w: w.frame(two),
    lambda w: w.frameEnd(two),
    lambda w: w.reduce(three),
    lambda w: w.result(one),
    lambda w: w.finish(one),
]


@pytest.mark.parametrize("add", ADDING)
@pytest.mark.parametrize("last", ["result", "finish"])
def test_nothing_comes_after_the_end(last: str, add: Callable[[Work], Any]) -> None:
    work = Work([1], useMultiprocessing=False)
    end = work.result(one) if last == "result" else work.finish(one)
    assert end is one
    with pytest.raises(DefinitionError, match=r"After Work\.result\|finish is used, no other"):
        add(work)
    assert work.run() is None  # as if nobody had asked


def test_an_end_without_its_frame() -> None:
    work = Work()
    with pytest.raises(DefinitionError, match="frameEnd call does not match up with frame!"):
        work.frameEnd(two)
    work.frame(two)
    work.frameEnd(two)
    with pytest.raises(DefinitionError, match="does not match up"):
        work.frameEnd(two)
    assert work.run() == []


def test_a_frame_that_is_never_closed(make: Make) -> None:
    called: list[int] = []
    work = make([1])
    work.init(lambda: called.append(1))
    work.frame(two)
    work.job(one)
    with pytest.raises(DefinitionError, match=r"The frame two is never closed\. Put @w.frameEnd"):
        work.run()
    assert called == []
    work = make([1])
    work.__enter__()
    work.frame(two)
    work.result(one)
    with pytest.raises(DefinitionError, match="never closed"):
        work.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda w: w.init(one), "init one must take exactly 0 arguments; it takes: item"),
        (lambda w: w.job(lambda: 1), "job <lambda> must take at least 1 argument; .* none"),
        (lambda w: w.frame(one), "frame one must take at least 2 arguments"),
        (lambda w: w.frameEnd(one), "frameEnd one must take at least 2 arguments"),
        (lambda w: w.reduce(two), "reduce two must take exactly 3 arguments"),
        (lambda w: w.reduce(lambda a, b, c, d: 1), "reduce <lambda> must take exactly 3"),
        (lambda w: w.result(lambda: 1), "result <lambda> must take at least 1 argument"),
        (lambda w: w.finish(two), "finish two must take exactly 1 argument"),
        (lambda w: w.finish(lambda: 1), "finish <lambda> must take exactly 1 argument"),
        (lambda w: w.reduce(partial(three, None)), "reduce three must take exactly 3"),
    ],
)
def test_wrong_numbers_of_arguments(add: Callable[[Work], Any], said: str) -> None:
    work = Work([1])
    work.frame(two)  # so that there is one to be closed
    with pytest.raises(ValueError, match=said):
        add(work)


@pytest.mark.parametrize("no", [5, "one", [one], {}, Object()])
@pytest.mark.parametrize(
    "where", ["init", "job", "frame", "frameEnd", "reduce", "result", "finish"]
)
def test_what_is_no_function(where: str, no: object) -> None:
    work = Work([1])
    work.frame(two)
    with pytest.raises(DefinitionError, match=f"{where} is .* which cannot be called"):
        getattr(work, where)(no)


@pytest.mark.parametrize("where", ["frame", "reduce"])
@pytest.mark.parametrize("what", ["store", "emit"])
def test_what_makes_no_store(where: str, what: str) -> None:
    add = getattr(Work(), where)
    with pytest.raises(DefinitionError, match=rf"{what} of .* is 0 \(int\), which cannot be"):
        add(three, **{what: 0})


class Unrelated:
    def __call__(self, store: object, works: object = None, others: object = None) -> None: ...


@pytest.mark.parametrize("where", ["job", "frame", "reduce"])
@pytest.mark.parametrize("kind", [Unrelated, int, dict])
def test_a_class_instead_of_a_function(where: str, kind: type) -> None:
    with pytest.raises(DefinitionError, match=f"{kind.__name__} is a class, and none of common"):
        getattr(Work(), where)(kind)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Work([1], foo=1),  # type: ignore[call-arg]  # the error to be seen
        lambda: Work([1]).job(foo=1),
        lambda: Work([1]).job(one, usemultiprocessing=False),
        lambda: Work([1]).frame(stores=dict),
        lambda: Work([1]).frameEnd(useMultiprocessing=False),
        lambda: Work([1]).reduce(emits=one),
        lambda: Work([1]).result(foo=1),
        lambda: Work([1]).finish(foo=1),
        lambda: Work([1]).init(foo=1),
        lambda: Work([1], True, "file"),  # type: ignore[call-arg]  # the error to be seen
    ],
)
def test_unknown_keywords(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword|positional arguments"):
        call()


@pytest.mark.parametrize("no", [5, None, one, Object()])
def test_initial_work_that_is_no_iterable(no: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        Work(no)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_error": "ignore"}, "on_error is one of stop, skip, collect, not 'ignore'"),
        ({"on_error": None}, "on_error is one of"),
        ({"checkpointInterval": -1}, "checkpointInterval is seconds, at least 0, not -1"),
        ({"checkpointInterval": float("nan")}, "checkpointInterval is seconds"),
        ({"checkpointInterval": None}, "checkpointInterval is seconds, at least 0, not None"),
        ({"checkpointSyncInterval": -0.5}, "checkpointSyncInterval is seconds, at least 0"),
    ],
)
def test_options_that_make_no_sense(options: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Work([1], **options)


def test_a_cluster_and_an_engine(slots: Executor) -> None:
    work = Work([1], on="tcp://127.0.0.1:1", engine=slots)
    work.job(one)
    with pytest.raises(DefinitionError, match="not on both"):
        work.run()


@pytest.mark.parametrize("count", [0, -1])
def test_no_slots(count: int) -> None:
    work = Work([1], slots=count)
    work.job(one)
    with pytest.raises(DefinitionError, match="at least 1"):
        work.run()


# --- checkpoints ----------------------------------------------------------------------------------


def kept(path: Path) -> Work:
    """A stream that leaves a checkpoint."""

    def broken(item: int) -> NoReturn:
        raise KeyError(item)

    work = Work([1, 2], useMultiprocessing=False, checkpointFile=path)
    work.job(broken)
    with pytest.raises(ItemFailed):
        work.run()
    assert path.exists()
    return work


def test_the_checkpoint_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    kept(path)
    before = path.read_bytes()
    called: list[int] = []
    work = Work([1], useMultiprocessing=False, checkpointFile=path)
    work.init(lambda: called.append(1))
    work.job(one)
    with pytest.raises(DefinitionError, match=r"stages are broken, those of this one one. Move it"):
        work.run()
    assert (path.read_bytes(), called) == (before, [])


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("my thesis")
    work = Work([1], useMultiprocessing=False, checkpointFile=path)
    with pytest.raises(DefinitionError, match=r"no whole checkpoint.* It was not touched"):
        work.run()
    assert path.read_text() == "my thesis"


def test_a_checkpoint_in_no_folder(tmp_path: Path) -> None:
    work = Work([1], checkpointFile=tmp_path / "none" / "kept")
    with pytest.raises(DefinitionError, match="there is no such folder"):
        work.run()


# --- what functions do ----------------------------------------------------------------------------


def raises(*_: Any) -> NoReturn:
    raise KeyError("mine")


def broken_generator() -> Iterator[int]:
    yield 1
    raise KeyError("mine")


def later(function: Callable[[], Any]) -> Callable[..., Any]:
    """A frame's function that does something for the item 2 in its first turn, else nothing."""

    def turn(store: Object, first: int) -> Any:
        if first != 2 or hasattr(store, "again"):
            return None
        store.again = True
        return function()

    return turn


FRAMES: dict[str, Callable[[Work], Any]] = {
    "its function": lambda w: (w.frame(later(raises), emit=lambda s: 0), w.frameEnd(two)),
    "its store": lambda w: (w.frame(later(nothing), store=raises), w.frameEnd(two)),
    "its emit": lambda w: (w.frame(later(nothing), emit=raises), w.frameEnd(two)),
    "its end": lambda w: (w.frame(later(lambda: 7), emit=lambda s: 0), w.frameEnd(raises)),
    "a generator": lambda w: (
        w.frame(later(lambda: Multiple(broken_generator())), emit=lambda s: 0),
        w.frameEnd(two),
    ),
    "what it emits": lambda w: (
        w.frame(later(nothing), emit=lambda s: Multiple(broken_generator())),
        w.frameEnd(two),
    ),
}


@pytest.mark.parametrize("what", FRAMES)
def test_a_frame_that_raises_fails_its_item(make: Make, what: str) -> None:
    work = make([2, 3], on_error="collect")
    FRAMES[what](work)
    out = work.run()
    items = {error.item for error in work.errors}
    both = what in ("its store", "its emit", "what it emits")
    assert {error.stage for error in work.errors} == {"turn"}
    assert items == ({"2", "3"} if both else {"2"})
    assert all(isinstance(error.exception, KeyError) for error in work.errors)
    assert out == ([1, 1] if what == "what it emits" else [] if both else [0])


@pytest.mark.parametrize("given", [None, 5])
def test_several_of_what_is_no_iterable(make: Make, given: Any) -> None:
    work = make([1, 2], on_error="collect")
    work.job(lambda item: Multiple(given) if item == 1 else item)
    assert work.run() == [2]
    (error,) = work.errors
    assert error.item == "1"
    assert isinstance(error.exception, TypeError)


def test_a_generator_that_raises_in_the_middle(make: Make) -> None:
    work = make([1, 2], on_error="collect")
    work.job(lambda item: Multiple(broken_generator()) if item == 2 else 100)
    assert sorted(work.run()) == [1, 100]
    assert [error.item for error in work.errors] == ["2"]


@pytest.mark.parametrize("what", ["store", "emit"])
def test_a_reduce_whose_store_or_emit_raises(make: Make, what: str) -> None:
    def run(on_error: str) -> Work:
        work = make([1, 2], on_error=on_error)
        work.reduce(three, **{what: raises})
        assert work.run() == []
        return work

    errors = run("collect").errors
    assert {error.stage for error in errors} == {"three"}
    assert all(isinstance(error.exception, KeyError) for error in errors)
    assert len(errors) >= 1
    with pytest.raises(ItemFailed, match="three failed"):
        run("stop")


def test_a_source_that_raises_in_the_middle(make: Make) -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("the other side is gone")

    for on_error in ("stop", "skip", "collect"):
        work = make(source(), on_error=on_error)
        work.job(lambda item: item)
        with pytest.raises(OSError, match="the other side is gone"):
            work.run()


class Stuck(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


class OneWay(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error",
    [Stuck("why"), OneWay(1, 2), Wordless(), KeyError(threading), StopIteration(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_that_do_not_travel_well(make: Make, error: BaseException) -> None:
    engine = make.keywords.get("engine")  # type: ignore[attr-defined]  # it is a partial
    if engine is None and not isinstance(error, Exception):
        return  # in this process it ends this process
    what = type(error)
    args = error.args

    def fails(item: int) -> int:
        if item != 1:
            return item
        raise what(1, 2) if what is OneWay else what(*[str(arg) for arg in args])

    work = make([1, 2], on_error="collect")
    work.job(fails)
    assert work.run() == [2]
    (found,) = work.errors
    assert found.item == "1"
    assert what.__name__ in str(found)
    work = make([1, 2])
    work.job(fails)
    with pytest.raises(ItemFailed, match=what.__name__):
        work.run()


# --- what does not travel -------------------------------------------------------------------------


def test_items_of_the_source_that_cannot_be_sent(make: Make) -> None:
    work = make([threading.Lock()], on_error="skip")
    work.job(nothing)
    with pytest.raises(NotPicklable, match=r"The item <unlocked .* cannot be sent: .*lock"):
        work.run()


@pytest.mark.parametrize(
    "give", [threading.Lock, lambda: (i for i in "ab"), lambda: [threading.RLock()]]
)
def test_items_that_a_function_makes_and_that_cannot_be_sent(
    make: Make, give: Callable[[], Any]
) -> None:
    def last(item: int) -> Any:
        return give() if item == 2 else item

    work = make([1, 2, 3], on_error="collect", ordered=True)
    work.job(one_more)
    work.job(last)
    assert work.run() == [3, 4]
    (error,) = work.errors
    assert error.stage == "last"
    assert isinstance(error.exception, NotPicklable)


@pytest.mark.parametrize("where", ["in a slot", "here"])
def test_items_that_do_not_come_back(slots: Executor, where: str) -> None:
    work = Work([1, 2], engine=slots)
    work.job(lambda item: OneWay(item, item))
    if where == "in a slot":
        work.job(lambda error: error, useMultiprocessing=False)
    with pytest.raises(NotPicklable, match=r"cannot be read again: TypeError: .*'b'.*__reduce__"):
        work.run()


def one_more(item: int) -> int:
    return item + 1


def test_between_two_functions_of_one_place_nothing_needs_to_travel(make: Make) -> None:
    work = make([1])
    work.job(lambda item: threading.Lock())
    work.job(lambda lock: lock.locked())
    assert work.run() == [False]


def test_a_store_that_cannot_be_sent(make: Make) -> None:
    work = make([1])
    work.reduce(three, store=threading.Lock)
    with pytest.raises(NotPicklable, match=r"The store of three cannot be sent: .*lock"):
        work.run()


def test_a_function_that_cannot_be_sent(slots: Executor) -> None:
    lock = threading.Lock()

    def locked(item: int) -> int:
        with lock:
            return item

    work = Work([1], engine=slots)
    work.job(one_more)
    work.job(locked)
    with pytest.raises(NotPicklable, match=r"locked\(\) cannot be sent: it uses .*'lock'"):
        work.run()
    work = Work([1], engine=slots)
    work.job(one_more)
    work.job(locked, useMultiprocessing=False)
    assert work.run() == [2]  # what stays here need not travel
    work = Work([1], useMultiprocessing=False)
    work.job(locked)
    assert work.run() == [1]


# --- who ends a slot ------------------------------------------------------------------------------


def reads_nowhere() -> object:
    return ctypes.string_at(0)


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DEADLY: dict[str, Callable[[], Any]] = {
    "exits": partial(os._exit, 3),
    "is killed": kills_itself,
    "reads where nothing is": reads_nowhere,
    "leaves": partial(sys.exit, "enough"),
}


def deadly(item: str) -> str:
    if item in DEADLY:
        DEADLY[item]()
    return item


def test_some_items_of_many_end_their_slots(
    slots: Executor, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others are through, whatever becomes of these; later streams have slots again."""
    fine = [str(i) for i in range(10)]
    work = Work([*DEADLY, *fine], engine=slots, on_error="collect")
    work.job(deadly)
    assert sorted(work.run()) == fine
    found = {error.item: error for error in work.errors}
    assert set(found) == set(map(repr, DEADLY))
    assert {error.stage for error in work.errors} == {"deadly"}
    kinds = {item: type(error.exception) for item, error in found.items()}
    assert kinds.pop("'leaves'") is SystemExit
    assert set(kinds.values()) == {Killed}
    work = Work(fine, engine=slots)
    work.job(deadly)
    assert sorted(work.run()) == fine
    capfd.readouterr()  # what the interpreter says of a segmentation fault


def test_a_deadly_item_ends_a_stream_that_shall_stop(slots: Executor) -> None:
    work = Work(["exits"], engine=slots)
    work.job(deadly)
    with pytest.raises(ItemFailed, match=r"deadly failed for the item 'exits': .* code 3"):
        work.run()


def test_a_deadly_item_in_the_middle_of_a_chunk_that_is_reduced(slots: Executor) -> None:
    def gather(store: set[str], works: list[str], others: list[set[str]]) -> None:
        store.update(map(deadly, works), *others)

    fine = [str(i) for i in range(6)]
    work = Work([*fine, "exits", "x", "y"], engine=slots, on_error="skip")
    work.reduce(gather, store=set)
    assert work.run() == [{*fine, "x", "y"}]


# --- mixed places ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["job", "frame", "reduce", "after"])
def test_a_part_that_stays_here_fails_as_others_do(slots: Executor, where: str) -> None:
    me = os.getpid()

    def at(name: str, item: int) -> int:
        if name == where and item == 3:
            assert os.getpid() == me
            raise KeyError(name)
        return item

    work = Work([3, 4], engine=slots, on_error="collect")
    work.job(lambda item: at("job", item), useMultiprocessing=where != "job")

    @work.frame(emit=lambda store: store.n, useMultiprocessing=where != "frame")
    def begin(store: Object, first: int) -> int | None:
        if hasattr(store, "n"):
            return None
        store.n = at("frame", first)
        return first

    work.frameEnd(lambda store, item: None)

    @work.reduce(store=list, emit=Multiple, useMultiprocessing=where != "reduce")
    def gather(store: list[int], works: list[int], others: list[list[int]]) -> None:
        store += [at("reduce", item) for item in works]
        for other in others:
            store += other

    work.job(lambda item: at("after", item), useMultiprocessing=where != "after")
    assert work.run() == [4]
    (error,) = work.errors
    assert error.item == "3"
    assert isinstance(error.exception, KeyError)


def test_args_that_do_not_fit_are_the_items_fault(make: Make) -> None:
    work = make([Args(1), Args(), Args(a=1), Args(1, 2)], on_error="collect")
    work.job(one_more)
    assert work.run() == [2]
    assert {error.item for error in work.errors} == {"Args()", "Args(a=1)", "Args(1, 2)"}
