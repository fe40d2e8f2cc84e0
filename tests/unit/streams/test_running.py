"""One run, from its source or from a checkpoint: nothing is lost, and nothing begins anew."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Executor
from pypelinin.errors import DefinitionError, NotPicklable
from pypelinin.streams import ItemFailed, Multiple, getCpuCount, running
from pypelinin.streams.checkpoints import Checkpoint
from pypelinin.streams.inside.program import Frame, Program, Reduce, Segment, Stage
from pypelinin.streams.places import Place


def double(item: int) -> int:
    return item * 2


def program(*functions: Callable[[Any], Any], here: bool = True) -> Program:
    stages = [Stage(function, "job", here) for function in functions]
    return Program([Segment([*stages])])


def add(store: list[int], works: list[int], others: list[list[int]]) -> None:
    store[0] += sum(works) + sum(other[0] for other in others)


def zero() -> list[int]:
    return [0]


class Run:
    """A stream in this process, with a checkpoint after every turn."""

    def __init__(self, path: Path, *, interval_s: float = 0.0) -> None:
        self.path = path
        self.interval_s = interval_s
        self.out: list[Any] = []

    def __call__(
        self,
        what: Program,
        items: Any,
        *inits: Callable[[], Any],
        deliver: Callable[[list[Any]], None] | None = None,
        on_error: str = "stop",
    ) -> list[Any]:
        self.out = []
        keeper = Checkpoint(self.path, what.described(), self.interval_s)
        source = running.Source(items, inits)
        deliver = deliver or self.out.extend
        sink = running.Sink(self.out, deliver, [], len)
        assert running.run(what, source, sink, Place(), on_error, keeper) == len(self.out)
        return sorted(self.out)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "kept")


class Once:
    """Raises for one item, the first time that it is asked to."""

    def __init__(self, item: int) -> None:
        self.item: int | None = item
        self.seen: list[int] = []

    def __call__(self, item: int) -> int:
        self.seen.append(item)
        if item == self.item:
            self.item = None
            raise OSError("the disk is full")
        return item * 2


def test_what_inits_return_comes_after_the_items_given(run: Run) -> None:
    order: list[int] = []

    def seen(item: int) -> None:
        order.append(item)

    inits: list[Callable[[], Any]] = [lambda: Multiple([3, None, 4]), lambda: None, lambda: 5]
    run(program(seen), [1, 2], *inits)
    assert sorted(order) == [1, 2, 3, 4, 5]


def test_slots_are_counted_and_told(run: Run) -> None:
    assert run(program(lambda _: getCpuCount()), [0]) == [1]
    with pytest.raises(RuntimeError):
        getCpuCount()


def test_slots_are_counted_and_told_there(slots: Executor) -> None:
    what = program(lambda _: getCpuCount(), here=False)
    out: list[int] = []
    source = running.Source([0], [getCpuCount])
    sink = running.Sink(out, out.extend, [], len)
    running.run(what, source, sink, Place(engine=slots), "stop", None)
    assert out == [2, 2]


def test_a_run_that_ends_leaves_no_checkpoint(run: Run) -> None:
    assert run(program(double), range(5)) == [0, 2, 4, 6, 8]
    assert not run.path.exists()


def test_a_second_run_with_the_same_file_is_refused_and_spoils_nothing(run: Run) -> None:
    second = Run(run.path)

    def deliver(items: list[Any]) -> None:
        with pytest.raises(DefinitionError, match="is in use"):
            second(program(double), range(5))
        run.out.extend(items)

    assert run(program(double), range(5), deliver=deliver) == [0, 2, 4, 6, 8]
    assert list(run.path.parent.iterdir()) == []


@pytest.mark.parametrize("interval_s", [0.0, 3600.0])
def test_a_run_goes_on_where_an_item_failed(run: Run, interval_s: float) -> None:
    """A stream that raises is kept once more, however long ago that was."""
    run.interval_s = interval_s
    once = Once(40)
    with pytest.raises(ItemFailed, match="the disk is full"):
        run(program(once), range(60))
    assert run.path.exists()
    assert 59 not in once.seen
    once.seen.clear()
    assert run(program(once), range(60)) == [2 * i for i in range(60)]
    assert 0 not in once.seen
    assert 40 in once.seen
    assert not run.path.exists()


def test_a_run_that_a_batch_system_ends_goes_on(run: Run) -> None:
    """SIGTERM is as good as Ctrl-C."""
    run.interval_s = 3600.0
    ends = [5]

    def ended(item: int) -> int:
        if item in ends:
            os.kill(os.getpid(), signal.SIGTERM)
        return item * 2

    with pytest.raises(SystemExit) as caught:
        run(program(ended), range(10))
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ends.clear()
    assert run(program(ended), range(10)) == [2 * i for i in range(10)]


def test_who_handles_sigterm_goes_on_doing_so(run: Run) -> None:
    got: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    try:
        run(program(lambda _: os.kill(os.getpid(), signal.SIGTERM)), [0])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert got == [signal.SIGTERM]


def test_a_run_in_another_thread_has_no_signals(run: Run) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, program(double), [1]).result() == [2]


def test_inits_are_called_once_and_their_items_are_kept(run: Run) -> None:
    calls: list[int] = []

    def init() -> Multiple:
        calls.append(0)
        return Multiple([100, 200])

    once = Once(100)
    with pytest.raises(ItemFailed):
        run(program(once), [1], init)
    assert run(program(once), [1], init) == [2, 200, 400]
    assert len(calls) == 1


def test_a_store_is_kept(run: Run) -> None:
    first = Segment([], None, 1)
    once = Once(7)
    first.stages = [Stage(once, "job", True)]
    first.reduce = Reduce(add, "add", True, zero)
    what = Program([first, Segment()])
    with pytest.raises(ItemFailed):
        run(what, range(10))
    assert run(what, range(10)) == [[2 * sum(range(10))]]


def test_items_are_not_lost_where_a_result_raises(run: Run) -> None:
    """What came out may come out again, but all of it does."""
    got: list[int] = []
    broken = [True]

    def deliver(items: list[int]) -> None:
        for item in items:
            if item == 6 and broken.pop():
                broken.append(False)
                raise OSError("the disk is full")
            got.append(item)

    for interval_s in (0.0, 3600.0):
        run.interval_s = interval_s
        broken[:], got[:] = [True], []
        with pytest.raises(OSError, match="full"):
            run(program(double), range(10), deliver=deliver)
        run(program(double), range(10), deliver=deliver)
        assert set(got) == {2 * i for i in range(10)}


def test_items_are_not_lost_where_one_of_the_source_cannot_be_sent(run: Run) -> None:
    broken: list[Any] = [0, 1, 2, (i for i in range(3)), 4, 5]
    with pytest.raises(NotPicklable, match="generator"):
        run(program(double), broken)
    broken[3] = 3
    assert run(program(double), broken) == [0, 2, 4, 6, 8, 10]


def test_a_source_that_raises_is_asked_again(run: Run) -> None:
    def source(is_broken: bool) -> Iterator[int]:
        for i in range(30):
            if i == 17 and is_broken:
                raise ConnectionError("the other side is gone")
            yield i

    with pytest.raises(ConnectionError):
        run(program(double), source(True))
    assert run(program(double), source(False)) == [2 * i for i in range(30)]


def test_an_init_that_raises_is_called_again(run: Run) -> None:
    def broken() -> None:
        raise OSError("no such folder")

    with pytest.raises(OSError, match="no such folder"):
        run(program(double), [1], broken)
    assert not run.path.exists()
    assert run(program(double), [1], lambda: 2) == [2, 4]


def test_a_run_in_slots_goes_on(run: Run, slots: Executor, tmp_path: Path) -> None:
    mark = tmp_path / "mended"

    def careful(item: int) -> int:
        if item == 30 and not mark.exists():
            raise OSError("not yet")
        return item * 2

    def go() -> list[int]:
        out: list[int] = []
        keeper = Checkpoint(run.path, what.described(), 0.0)
        source = running.Source(range(40), ())
        sink = running.Sink(out, out.extend, [], len)
        running.run(what, source, sink, Place(engine=slots), "stop", keeper)
        return sorted(out)

    what = program(careful, here=False)
    with pytest.raises(ItemFailed, match="not yet"):
        go()
    assert run.path.exists()
    mark.touch()
    assert go() == [2 * i for i in range(40)]
    assert not run.path.exists()


def test_a_disk_that_is_full_for_a_while_does_not_end_the_stream(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    aside = run.path.with_name("kept.new")

    def filled(item: int) -> int:
        if item == 0:
            aside.mkdir()  # so nothing can be written there
        if item == 7:
            aside.rmdir()
        return item

    assert run(program(filled), range(8)) == list(range(8))
    assert "kept could not be written: [Errno" in caplog.text
    assert not run.path.exists()


@pytest.mark.parametrize("ordered", [False, True])
def test_a_checkpoint_with_an_order_is_not_that_of_a_stream_without(
    run: Run, ordered: bool
) -> None:
    """What waits for those before it would be lost, or never given."""
    what, once = program, Once(40)
    first, second = what(once), what(once)
    first.ordered, second.ordered = ordered, not ordered
    with pytest.raises(ItemFailed):
        run(first, range(60))
    content = run.path.read_bytes()
    with pytest.raises(DefinitionError, match=f"with ordered={ordered}, and now it has ordered="):
        run(second, range(60))
    assert run.path.read_bytes() == content
    assert run(first, range(60)) == [2 * i for i in range(60)]


def count(store: dict[str, int], works: list[int], others: list[dict[str, int]]) -> None:
    store["n"] = store.get("n", 0) + len(works) + sum(other["n"] for other in others)


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("loop", [False, True])
def test_a_stream_may_go_on_in_another_place(
    run: Run, slots: Executor, here: bool, loop: bool, tmp_path: Path
) -> None:
    """Stores of slots are merged here, and the other way round."""
    mark = tmp_path / "mended"

    def careful(item: int) -> int:
        if item == 130 and not mark.exists():
            raise OSError("not yet")
        time.sleep(0.001)
        return item

    def turn(store: list[int], first: int) -> Any:
        if store:
            return None
        store.append(first)
        return Multiple(range(200))

    def keep(store: list[Any], item: dict[str, int]) -> None:
        store.append(item)

    def go(here: bool) -> list[Any]:
        body = Segment([Stage(careful, "careful", here)], Reduce(count, "count", here, dict))
        if loop:
            frame = Frame(turn, "turn", here, list, end=keep, body=1)
            body.next = 2
            what = Program([Segment([frame]), body, Segment(frame=frame)])
        else:
            body.next = 1
            what = Program([body, Segment()])
        what.cpus = 2
        out: list[Any] = []
        keeper = Checkpoint(run.path, what.described(), 0.0)
        source = running.Source([0] if loop else range(200), ())
        sink = running.Sink(out, out.extend, [], len)
        running.run(what, source, sink, Place(engine=slots), "stop", keeper)
        return out

    with pytest.raises(ItemFailed, match="not yet"):
        go(here)
    mark.touch()
    assert go(not here) == ([[0, {"n": 200}]] if loop else [{"n": 200}])
