"""Simulated slots behave as the real ones do, and notice a Broker that does not."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from pypelinin.cluster.slots import (
    PLAIN_SHAPE,
    RunLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.machine import Event
from pypelinin.testing.history import Attempt, History, Violation
from pypelinin.testing.scripts import NIL, random_script
from pypelinin.testing.slots import Odds, SimSlots
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import Capacity, Kind


class Bench:
    """Two slots and a script of four jobs that are all alike."""

    def __init__(self, odds: Odds | None = None, failing: float = 0.0) -> None:
        kind = Kind("Short", {}, 0, 0)
        self.script = replace(
            random_script(Random(0), 1, [{}]), upstreams=[()] * 4, kinds=[kind] * 4,
            failing=[failing] * 4, payloads=[NIL] * 4,
        )  # fmt: skip
        self.history = History({self.script.id: self.script}, Counter())
        self.timeline = Timeline()
        self.events: list[Event] = []
        self.slots = SimSlots(
            ("node", 1), ("Short",), Capacity(2), self.timeline, Random(2), self.history,
            odds or Odds(), self.events.append,
        )  # fmt: skip
        self.slots.start(0, PLAIN_SHAPE)
        self.run()

    def run(self) -> list[Event]:
        while self.timeline.step():
            pass
        events, self.events[:] = list(self.events), []
        return events

    def lot(self, count: int = 4, payloads: bytes = b"", worker: str = "Short") -> RunLot:
        for job in range(count):
            self.history.attempts[100 + job] = Attempt(100 + job, (self.script.id, job), 1)
            self.history.by_key[self.script.id, job] = [self.history.attempts[100 + job]]
        runs, jobs = array("I", [1] * count), array("I", range(count))
        headers = {1: (self.script.id, self.script.payload)}
        return RunLot(0, 100, 0, worker, runs, jobs, payloads, headers)

    def states(self) -> list[str]:
        return [attempt.state for _, attempt in sorted(self.history.attempts.items())]


def told(events: list[Event]) -> bytes:
    return b"".join(e.statuses for e in events if isinstance(e, SlotProgressed))


def test_a_slot_starts_after_a_while() -> None:
    bench = Bench()
    bench.slots.start(1, PLAIN_SHAPE)
    assert bench.run() == [SlotStarted(1, ("Short",))]
    assert bench.timeline.now > 0


@pytest.mark.parametrize(("failing", "status"), [(0.0, b"\1"), (1.0, b"\2")])
def test_a_lot_runs_in_order_and_is_told(failing: float, status: bytes) -> None:
    bench = Bench(failing=failing)
    bench.slots.run(bench.lot())
    events = bench.run()
    assert told(events) == status * 4
    assert all(isinstance(event, SlotProgressed) for event in events)
    assert set(bench.states()) == {"succeeded" if status == b"\1" else "broke"}


def test_a_recall_takes_what_was_not_begun() -> None:
    bench = Bench()
    bench.slots.run(bench.lot())
    assert bench.slots.recall(0) == SlotRecalled(0, 3)
    assert told(bench.run()) == b"\1"
    assert bench.states() == ["succeeded", "handed out", "handed out", "handed out"]
    assert bench.slots.recall(0) == SlotRecalled(0, 0)


def test_a_slot_that_dies_tells_what_ended_first() -> None:
    bench = Bench(Odds(death=1.0))
    bench.slots.run(bench.lot())
    (event,) = bench.run()
    assert isinstance(event, SlotExited)
    assert event.unbegun == 3
    assert bench.states()[0] == "broke"


def test_a_killed_slot_exits() -> None:
    bench = Bench()
    bench.slots.run(bench.lot())
    bench.slots.kill(0)
    events = bench.run()
    assert isinstance(events[-1], SlotExited)
    assert bench.states()[0] == "killed"


def test_nothing_happens_in_slots_of_a_dead_broker() -> None:
    bench = Bench()
    bench.slots.run(bench.lot())
    bench.slots.end_all()
    assert bench.run() == []
    assert bench.history.dead == {("node", 1)}


def test_a_slot_that_cannot_start_says_so() -> None:
    bench = Bench(Odds(bad_start=1.0))
    bench.slots.start(1, PLAIN_SHAPE)
    (event,) = bench.run()
    assert isinstance(event, SlotStarted)
    assert event.failure is not None


def test_a_broker_that_asks_for_too_much_is_seen() -> None:
    bench = Bench()
    with pytest.raises(Violation, match="started twice"):
        bench.slots.start(0, PLAIN_SHAPE)
    with pytest.raises(Violation, match="more than this node has"):
        bench.slots.start(2, PLAIN_SHAPE)
    bench.slots.run(bench.lot())
    with pytest.raises(Violation, match="is not free"):
        bench.slots.run(bench.lot())


def test_another_jobs_payload_or_worker_is_seen() -> None:
    bench = Bench()
    wrong = {
        "is given 5 and not None": bench.lot(1, payloads=b"\x05"),
        "another's worker": bench.lot(1, worker="Long"),
        "is missing": replace(bench.lot(1), headers={}),
    }
    for what, command in wrong.items():
        with pytest.raises(Violation, match=what):
            bench.slots.run(command)
