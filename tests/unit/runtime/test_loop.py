from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import pytest
import zmq

from pypelinin.cluster.events import Drain, Say, Stop
from pypelinin.machine import Command, Event
from pypelinin.runtime import loop as module
from pypelinin.runtime.loop import Loop, Waitable


class Tock(Event):
    """Something that happened."""


class Script:
    """A machine that notes its batches and answers with what it was told to."""

    def __init__(self, *answers: list[Command]) -> None:
        self.batches: list[list[Event]] = []
        self.checked = 0
        self.at: list[float] = []
        self._answers = list(answers)
        self.due: float | None = None

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        self.batches.append(list(batch))
        self.at.append(now)
        if any(isinstance(event, Drain) for event in batch):
            return [Stop()]
        return self._answers.pop(0) if self._answers else []

    def deadline(self) -> float | None:
        return self.due

    def check(self) -> None:
        self.checked += 1


class Desk:
    """A world with one pipe."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        self.due: float | None = None
        self.performed: list[list[Command]] = []
        self.answers: list[list[Event]] = []
        self.readies: list[bool] = []

    def happen(self) -> None:
        os.write(self._write, b"x")

    def waitables(self, now: float) -> list[Waitable]:
        return [(self.read, zmq.POLLIN)]

    def deadline(self) -> float | None:
        return self.due

    def collect(self, now: float, ready: Container[object]) -> list[Event]:
        self.readies.append(self.read in ready)
        if self.read not in ready:
            return []
        return [Tock() for _ in os.read(self.read, 1000)]

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]:
        self.performed.append(list(commands))
        return self.answers.pop(0) if self.answers else []

    def close(self) -> None:
        os.close(self.read)
        os.close(self._write)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.fixture
def loops() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(machine: Any, world: Any) -> Loop:
        made.append(Loop(machine, world, Drain))
        return made[-1]

    yield make
    for one in made:
        one.close()


LoopMaker = Callable[[Any, Any], Loop]


def test_all_that_is_there_is_one_batch(desk: Desk, loops: LoopMaker) -> None:
    machine = Script([Stop("that is all")])
    for _ in range(5):
        desk.happen()
    assert loops(machine, desk).run([Say("info", "first")]) == "that is all"
    assert [len(batch) for batch in machine.batches] == [5]
    assert desk.performed == [[Say("info", "first")], [Stop("that is all")]]


def test_what_performing_brought_is_the_next_batch_at_once(
    desk: Desk, loops: LoopMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_MAX_S", 60.0)
    machine = Script([Say("info", "a")], [Stop()])
    desk.answers = [[Tock()], [Tock(), Tock()]]
    began = time.monotonic()
    assert loops(machine, desk).run() == ""
    assert [len(batch) for batch in machine.batches] == [1, 2]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("whose", ["machine", "world"])
def test_the_earlier_deadline_ends_the_sleep(
    desk: Desk, loops: LoopMaker, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_MAX_S", 60.0)
    machine = Script([Stop()])
    began = time.monotonic()
    (machine if whose == "machine" else desk).due = began + 0.05
    (desk if whose == "machine" else machine).due = began + 60
    loops(machine, desk).run()
    assert machine.batches == [[]]
    assert 0.05 <= machine.at[0] - began < 30


def test_it_never_sleeps_for_ever(
    desk: Desk, loops: LoopMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_MAX_S", 0.05)
    machine = Script([], [Stop()])
    loops(machine, desk).run()
    assert machine.batches == [[], []]


def test_a_deadline_in_the_past_is_a_tick_at_once(desk: Desk, loops: LoopMaker) -> None:
    machine = Script([Stop()])
    machine.due = 0.0
    loops(machine, desk).run()
    assert machine.batches == [[]]


def test_another_thread_wakes_and_stops_it(desk: Desk, loops: LoopMaker) -> None:
    machine = Script()
    loop = loops(machine, desk)
    thread = threading.Thread(target=loop.run)
    thread.start()
    deadline = time.monotonic() + 20
    loop.wake()
    while not machine.batches:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    loop.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(machine.batches[-1][0], Drain)


def test_waking_is_harmless_before_and_after(desk: Desk) -> None:
    loop = Loop(Script([Stop()]), desk, Drain)
    for _ in range(100_000):  # more than the socket takes
        loop.wake()
    loop.run()
    loop.close()
    loop.wake()
    loop.stop()


def test_asked_twice_is_told_twice(desk: Desk, loops: LoopMaker) -> None:
    machine = Script()
    loop = loops(machine, desk)
    loop.stop()
    loop.stop()
    loop.run()
    assert len(machine.batches[0]) == 2


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_its_sleep(
    desk: Desk, loops: LoopMaker, handlers: None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_MAX_S", 60.0)
    machine = Script()
    loop = loops(machine, desk)
    loop.catch_signals()
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.start()
    began = time.monotonic()
    assert loop.run() == ""
    assert time.monotonic() - began < 30
    assert isinstance(machine.batches[-1][0], Drain)
    timer.join()


def test_invariants_are_checked_on_request(
    desk: Desk, loops: LoopMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Script([], [Stop()])
    machine.due = 0.0
    loops(machine, desk).run()
    assert machine.checked == 0
    monkeypatch.setenv("PYPELININ_CHECK", "1")
    machine = Script([], [Stop()])
    machine.due = 0.0
    loops(machine, desk).run()
    assert machine.checked == 2


def test_closing_gives_everything_back(desk: Desk) -> None:
    gc.collect()  # else it might close files of other tests meanwhile
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Loop(Script(), desk, Drain).close()
    assert len(os.listdir("/proc/self/fd")) == before
