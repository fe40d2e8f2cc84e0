"""What CPython expects of an executor, and what ours does beyond."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    as_completed,
    wait,
)
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cluster.runs import SURPLUS_MAX
from pypelinin.errors import DefinitionError, Killed, NotPicklable, RemoteTraceback, Unreachable
from pypelinin.executor import RUNS_MAX, Executor

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(2) as made:
        yield made


def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_call_with_arguments(executor: Executor) -> None:
    assert executor.submit(add, 1, b=41).result(30) == 42
    assert executor.submit(lambda *args, **kwargs: (args, kwargs), 1, x=2).result(30) == (
        (1,), {"x": 2},
    )  # fmt: skip


def test_fn_may_be_the_name_of_a_keyword(executor: Executor) -> None:
    assert executor.submit(dict, fn=1, self=2).result(30) == {"fn": 1, "self": 2}


def test_calls_that_close_over_things(executor: Executor) -> None:
    factor = {"by": 3}
    assert executor.submit(lambda x: x * factor["by"], 5).result(30) == 15


def test_none_and_large_and_odd_results(executor: Executor) -> None:
    for value in (None, (1, 2), {3}, "x" * 100_000, b"\0" * 50_000, [None], {1: {2: [3]}}):
        assert executor.submit(lambda v: v, value).result(30) == value


def test_an_exception_comes_as_it_was_with_the_remote_traceback(executor: Executor) -> None:
    def broken() -> None:
        raise KeyError("missing")

    future = executor.submit(broken)
    with pytest.raises(KeyError, match="missing") as caught:
        future.result(30)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in broken" in str(caught.value.__cause__)
    assert "calls.py" not in str(caught.value.__cause__), "only the user's frames"
    assert isinstance(future.exception(), KeyError)


def test_an_exception_of_a_class_that_is_not_here(executor: Executor) -> None:
    def broken() -> None:
        import sys
        import types

        module = types.ModuleType("only_there")
        exec("class Odd(Exception): pass", module.__dict__)
        sys.modules["only_there"] = module
        raise module.Odd("strange")

    error = executor.submit(broken).exception(30)
    assert type(error).__name__ == "Failed"
    assert "only_there.Odd: strange" in str(error)


def test_map(executor: Executor) -> None:
    assert list(executor.map(add, range(10), range(10))) == [2 * i for i in range(10)]
    assert list(executor.map(add, range(25), chunksize=10)) == list(range(1, 26))
    assert list(executor.map(add, [])) == []


def test_map_raises_where_the_error_is(executor: Executor) -> None:
    results = executor.map(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_has_a_timeout(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = executor.submit
    futures: list[Future[Any]] = []

    def noted(fn: Callable[..., Any], *args: Any) -> Future[Any]:
        futures.append(submit(fn, *args))
        return futures[-1]

    monkeypatch.setattr(executor, "submit", noted)
    results = executor.map(time.sleep, [0, 60], timeout=0.5)
    futures[0].result(30)  # what is there in time is given, however late it is asked for
    assert next(results) is None
    with pytest.raises(TimeoutError):
        next(results)


def test_map_with_a_buffer_takes_only_what_it_needs(executor: Executor) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = executor.map(add, source(), buffersize=4)
    assert len(taken) == 4
    assert next(results) == 1
    assert len(taken) == 5
    assert list(results) == list(range(2, 101))


@pytest.mark.parametrize("options", [{"chunksize": 0}, {"chunksize": -1}, {"buffersize": 0}])
def test_map_with_nonsense(executor: Executor, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        executor.map(add, [1], **options)


def test_wait_and_as_completed(executor: Executor) -> None:
    futures = [executor.submit(add, i) for i in range(50)]
    assert {f.result() for f in as_completed(futures, timeout=25)} == set(range(1, 51))
    slow = executor.submit(time.sleep, 30)
    ended = wait([slow, executor.submit(add, 1)], timeout=25, return_when=FIRST_COMPLETED)
    assert ended.not_done == {slow}
    ended = wait([slow, executor.submit(lambda: 1 // 0)], 25, FIRST_EXCEPTION)
    assert ended.not_done == {slow}
    assert slow.cancel()


def test_asyncio(executor: Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(executor, add, i) for i in range(5)]
        return await asyncio.gather(*futures, asyncio.wrap_future(executor.submit(add, 5)))

    assert asyncio.run(main()) == [1, 2, 3, 4, 5, 6]


def test_callbacks(executor: Executor) -> None:
    seen = threading.Event()
    executor.submit(add, 1).add_done_callback(lambda future: seen.set())
    assert seen.wait(30)


def test_cancel_of_what_waits_and_of_what_runs(executor: Executor, tmp_path: Path) -> None:
    def touch(path: str, seconds: float) -> None:
        Path(path).touch()
        time.sleep(seconds)

    began = time.monotonic()
    running = [executor.submit(touch, str(tmp_path / str(i)), 60) for i in range(2)]
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    waiting = executor.submit(touch, str(tmp_path / "never"), 60)
    assert all(future.cancel() for future in [waiting, *running])
    assert executor.submit(add, 1).result(30) == 2, "the slots are free again"
    assert not (tmp_path / "never").exists()
    for future in [waiting, *running]:
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result(30)
    done = executor.submit(add, 1)
    done.result(30)
    assert not done.cancel()


def test_a_slot_that_dies_fails_its_call_and_no_other(executor: Executor) -> None:
    futures = [executor.submit(os._exit, 3), *(executor.submit(add, i) for i in range(20))]
    error = futures[0].exception(30)
    assert isinstance(error, Killed)
    assert "code 3" in str(error)
    assert [future.result(30) for future in futures[1:]] == list(range(1, 21))


def test_what_cannot_be_sent_says_what_and_where(executor: Executor) -> None:
    lock = threading.Lock()

    def uses() -> bool:
        return lock.locked()

    error = executor.submit(uses).exception(30)
    assert isinstance(error, NotPicklable)
    assert "'lock'" in str(error)
    line = uses.__code__.co_firstlineno + 1
    assert f"test_executor.py:{line}" in str(error)
    error = executor.submit(add, 1, b=lock).exception(30)
    assert isinstance(error, NotPicklable)
    assert "b (lock)" in str(error)


def test_a_result_that_cannot_be_sent(executor: Executor) -> None:
    error = executor.submit(threading.Lock).exception(30)
    assert type(error).__name__ == "NotPicklable"
    assert "result of" in str(error)


def test_an_exception_that_cannot_be_sent(executor: Executor) -> None:
    def broken() -> None:
        error = ValueError("with a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]  # its own
        raise error

    error = executor.submit(broken).exception(30)
    assert type(error).__name__ == "Failed"
    assert "ValueError: with a lock" in str(error)


@pytest.mark.parametrize("kind", ["async", "generator"])
def test_what_is_no_ordinary_function(executor: Executor, kind: str) -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    error = executor.submit(coroutine if kind == "async" else generator).exception(30)
    assert isinstance(error, DefinitionError)
    assert "ordinary function" in str(error)


def test_options(executor: Executor, tmp_path: Path) -> None:
    def second_time(place: str) -> str:
        path = Path(place)
        if path.exists():
            return "well"
        path.touch()
        raise OSError("not yet")

    view = executor.options(retries=1)
    assert view.submit(second_time, str(tmp_path / "a")).result(30) == "well"
    with pytest.raises(OSError, match="not yet"):
        executor.submit(second_time, str(tmp_path / "b")).result(30)
    with pytest.raises(DefinitionError):
        executor.options(retries=-1)


def test_many_threads_submit(executor: Executor) -> None:
    found: list[Future[int]] = []

    def work(base: int) -> None:
        found.extend(executor.submit(add, base + i) for i in range(200))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = sum(1000 * n + i + 1 for n in range(4) for i in range(200))
    assert sum(f.result(30) for f in found) == expected


def test_shutdown_waits_and_then_refuses() -> None:
    executor = Executor(1)
    future = executor.submit(time.sleep, 0.3)
    executor.shutdown()
    assert future.done()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(add, 1)
    executor.shutdown()


def test_shutdown_without_waiting_lets_work_end() -> None:
    executor = Executor(1)
    future = executor.submit(add, 1)
    executor.shutdown(wait=False)
    assert future.result(30) == 2
    executor.shutdown()


def test_shutdown_with_cancel() -> None:
    executor = Executor(1)
    futures = [executor.submit(time.sleep, 60) for _ in range(5)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_an_executor_that_is_thrown_away_ends_its_slots() -> None:
    executor = Executor(1)
    pid = executor.submit(os.getpid).result(30)
    gone, thread = weakref.ref(executor), executor._thread
    del executor
    gc.collect()
    assert gone() is None
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    thread.join()  # it is not to close its files in the middle of another test


@pytest.mark.parametrize("workers", [0, -1, "2", 1.5])
def test_max_workers_is_a_number_of_slots(workers: object) -> None:
    with pytest.raises(DefinitionError, match="at least 1"):
        Executor(workers)  # type: ignore[arg-type]  # wrong on purpose


def test_no_router_is_said_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable):
        Executor(api="tcp://127.0.0.1:1")
    assert time.monotonic() - began < 20


def test_calls_that_are_over_are_forgotten(executor: Executor) -> None:
    """Each call in turn is a run of its own: they must not pile up."""
    for i in range(3 * RUNS_MAX):
        assert executor.submit(abs, -i).result(30) == i
    manager = executor._thread._manager
    assert manager is not None
    machines = manager._peer._machines  # type: ignore[attr-defined]  # it is here
    assert len(machines._router.state.runs.by_number) <= RUNS_MAX + SURPLUS_MAX + 1


def test_durable_in_a_directory(tmp_path: Path) -> None:
    with Executor(1, directory=tmp_path / "journal") as executor:
        assert list(executor.map(add, range(100))) == list(range(1, 101))
    assert (tmp_path / "journal" / "journal.sqlite").exists()


def test_a_captured_value_that_changes_is_sent_anew(executor: Executor) -> None:
    seen = [1]
    count = lambda: len(seen)  # noqa: E731 - shorter than a def
    assert executor.submit(count).result(30) == 1
    seen.append(2)
    assert executor.submit(count).result(30) == 2


def test_a_shut_down_executor_writes_nowhere(tmp_path: Path) -> None:
    executor = Executor(1)
    executor.submit(abs, -1).result(30)
    executor.shutdown()
    files = [os.open(tmp_path / str(i), os.O_RDWR | os.O_CREAT) for i in range(30)]
    executor.shutdown()
    assert all(os.fstat(file).st_size == 0 for file in files)
    for file in files:
        os.close(file)


def test_a_slot_loads_nothing_of_the_client_for_a_map(executor: Executor) -> None:
    """That would cost half a second in each slot."""

    def loaded(_: int) -> list[str]:
        return [name for name in sys.modules if name in ("zmq", "pypelinin.executor")]

    assert list(executor.map(loaded, [1, 2], chunksize=2)) == [[], []]
