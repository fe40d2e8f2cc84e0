"""Threads share cores."""

from __future__ import annotations

import threading

import pytest

from pypelinin.incremental.parallel import CoreLock, CPUs


def test_who_finds_enough_goes_on_at_once() -> None:
    lock = CoreLock(3)
    with lock.using(1), lock.using(2):
        pass
    with lock.using(3):
        pass


def test_who_wants_more_than_is_free_waits_and_is_not_overtaken() -> None:
    lock = CoreLock(2)
    order: list[str] = []
    threads = []

    def take(name: str, cores: int) -> None:
        with lock.using(cores):
            order.append(name)

    with lock.using(1):
        for name, cores in (("both", 2), ("one", 1)):
            thread = threading.Thread(target=take, args=(name, cores))
            thread.start()
            threads.append(thread)
            with lock._changed:
                lock._changed.wait_for(lambda: len(lock._queue) == len(threads), 10)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["both", "one"]


def test_everybody_goes_on_when_it_is_terminated() -> None:
    lock = CoreLock(1)
    with lock.using(1):
        thread = threading.Thread(target=lambda: lock._acquire(1))
        thread.start()
        lock.terminate()
        thread.join()


@pytest.mark.parametrize("cores", [0, 3, -1])
def test_more_than_there_are_cannot_be_had(cores: int) -> None:
    with pytest.raises(ValueError, match="Between 1 and 2"), CoreLock(2).using(cores):
        pass
    with pytest.raises(ValueError, match="at least one"):
        CoreLock(0)


def test_cores_are_counted() -> None:
    assert CPUs() >= 1
