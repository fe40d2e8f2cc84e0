"""Slots that are an executor's; the executor here does what the test says."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pypelinin.cluster.slots import RunLot, SlotExited, SlotProgressed, SlotRecalled, SlotStarted
from pypelinin.machine import Event
from pypelinin.runtime.foreign import ForeignSlots, as_engine, default_slots
from pypelinin.runtime.slots import Setup
from pypelinin.runtime.value_store import Values
from pypelinin.wire.definitions import ValuePlace, is_kept


class Engine:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.futures: list[Future[bytes]] = []
        self.given: list[tuple[Any, ...]] = []

    def submit(self, fn: Any, *args: Any) -> Future[bytes]:
        self.given.append(args)
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def place(tmp_path: Path) -> ValuePlace:
    return ValuePlace(str(tmp_path / "values"), "", 0, False)


@pytest.fixture
def slots(engine: Engine, place: ValuePlace) -> Iterator[ForeignSlots]:
    made = ForeignSlots(as_engine(engine), Setup([], [], "", {}, place), "node")
    yield made
    made.close()


def lot(jobs: int = 2, payloads: bytes = b"") -> RunLot:
    return RunLot(
        0, 1 << 40, 0, "Noop", array("I", [7] * jobs), array("I", range(jobs)), payloads,
        {7: ("r" * 32, b"m\xc0")}, bytes(jobs),
    )  # fmt: skip


def events(slots: ForeignSlots) -> list[Event]:
    fds = {fd for fd, _ in slots.fds(0.0)}
    return slots.read(0.0, fds)


def test_a_slot_is_there_at_once(slots: ForeignSlots) -> None:
    slots.start(0)
    (started,) = events(slots)
    assert isinstance(started, SlotStarted)
    assert started.failure is None
    assert any(worker.startswith("call:") for worker in started.workers)


def test_workers_that_are_missing_here_are_told(engine: Engine) -> None:
    slots = ForeignSlots(as_engine(engine), Setup([], ["no_such_module"], "", {}), "node")
    slots.start(0)
    (started,) = events(slots)
    assert isinstance(started, SlotStarted)
    assert "no_such_module" in str(started.failure)
    slots.close()


def test_outcomes_come_when_the_future_is_done(slots: ForeignSlots, engine: Engine) -> None:
    slots.run(lot(), 0.0)
    assert events(slots) == []
    engine.futures[0].set_result(msgpack.packb(0.5) + msgpack.packb([0.5, b"m\x01"]))
    assert slots.deadline() == 0.0
    (told,) = events(slots)
    assert isinstance(told, SlotProgressed)
    assert told.results == (b"", b"m\x01")


def test_large_values_are_kept_on_this_side(
    slots: ForeignSlots, engine: Engine, place: ValuePlace
) -> None:
    values = Values(place)
    kept = values.keep("run/0-1", [b"m", b"\x01" * 100_000])
    payload = msgpack.packb([None, kept, [kept, b"m\x02"]], use_bin_type=True)
    slots.run(lot(1, payload), 0.0)
    sent = msgpack.unpackb(engine.given[0][-1][6])
    assert [len(value) for value in (sent[1], *sent[2])] == [100_001, 100_001, 2]
    engine.futures[0].set_result(msgpack.packb([0.5, b"y" + b"x" * 200_000], use_bin_type=True))
    (told,) = events(slots)
    assert isinstance(told, SlotProgressed)
    assert is_kept(told.results[0])
    assert len(values.open(told.results[0])) == 200_001


@pytest.mark.parametrize("written", [b"", b"\xc1", msgpack.packb(0.5), msgpack.packb("x") * 2])
def test_what_is_no_outcome_ends_the_slot(
    slots: ForeignSlots, engine: Engine, written: bytes
) -> None:
    slots.run(lot(), 0.0)
    engine.futures[0].set_result(written)
    (told,) = events(slots)
    assert isinstance(told, SlotExited)
    assert told.unbegun == 0


def test_an_exception_of_the_engine_ends_the_slot(slots: ForeignSlots, engine: Engine) -> None:
    slots.run(lot(), 0.0)
    engine.futures[0].set_exception(OSError("worker lost"))
    (told,) = events(slots)
    assert isinstance(told, SlotExited)
    assert "worker lost" in told.failure.text


def test_what_waits_is_recalled_and_what_runs_is_not(slots: ForeignSlots, engine: Engine) -> None:
    slots.run(lot(), 0.0)
    assert slots.recall(0) == SlotRecalled(0, 2)
    slots.run(lot(), 0.0)
    engine.futures[1].set_running_or_notify_cancel()
    assert slots.recall(0) == SlotRecalled(0, 0)


def test_nobody_waits_for_what_was_killed(slots: ForeignSlots, engine: Engine) -> None:
    slots.run(lot(), 0.0)
    engine.futures[0].set_running_or_notify_cancel()
    slots.kill(0)
    (told,) = events(slots)
    assert isinstance(told, SlotExited)
    engine.futures[0].set_result(msgpack.packb(0.5) * 2)
    assert events(slots) == []


def test_a_late_outcome_after_the_end_touches_nothing(engine: Engine) -> None:
    slots = ForeignSlots(as_engine(engine), Setup([], [], "", {}), "node")
    slots.run(lot(), 0.0)
    engine.futures[0].set_running_or_notify_cancel()
    slots.close()
    engine.futures[0].set_result(b"")


def test_it_is_closed_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is interrupted while he closes it closes it again; the numbers are others' by then."""
    slots = ForeignSlots(as_engine(engine), Setup([], [], "", {}), "node")
    slots.close()
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    slots.close()
    assert closed == []


def test_an_interrupted_close_closes_nothing_twice(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    slots = ForeignSlots(as_engine(engine), Setup([], [], "", {}), "node")
    ends = (slots._read, slots._write)
    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        slots.close()
    slots.close()
    monkeypatch.undo()
    for end in ends:
        os.close(end)


def test_what_an_engine_is(engine: Engine) -> None:
    assert as_engine(engine) is engine
    assert default_slots(as_engine(engine)) >= 2
    with pytest.raises(TypeError, match="submit"):
        as_engine(object())
