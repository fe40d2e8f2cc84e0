"""Processes drive their machines as the loop does, and die as processes do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pypelinin.cluster.events import Committed
from pypelinin.machine import Command, Event
from pypelinin.testing.history import Violation
from pypelinin.testing.processes import Process
from pypelinin.testing.sim import ClusterSim


class Machine:
    def __init__(self) -> None:
        self.batches: list[Sequence[Event]] = []
        self.wants: float | None = None
        self.sane = True

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        self.batches.append(list(batch))
        return []

    def deadline(self) -> float | None:
        return self.wants

    def check(self) -> None:
        assert self.sane, "an invariant is broken"


class Simple(Process):
    machine: Any

    def machine_of_life(self) -> Any:
        return Machine()


@pytest.fixture
def process() -> Simple:
    process = Simple(ClusterSim(0), "simple")
    process.start()
    until(process, 0.1)
    return process


def until(process: Process, when: float) -> None:
    timeline = process.world.timeline
    timeline.at(when, lambda: None)
    while timeline.now < when:
        timeline.step()


def taken(process: Simple) -> list[Event]:
    return [event for batch in process.machine.batches for event in batch]


def test_events_are_handled_in_order_and_none_twice(process: Simple) -> None:
    for lsn in range(20):
        process.take(Committed(lsn))
    until(process, 1.0)
    assert taken(process) == [Committed(lsn) for lsn in range(20)]


def test_a_paused_process_takes_everything_when_it_wakes(process: Simple) -> None:
    process.paused_until = 5.0
    process.take(Committed(1))
    until(process, 4.9)
    assert taken(process) == []
    until(process, 5.1)
    assert taken(process) == [Committed(1)]


def test_it_is_woken_at_its_deadline_on_its_own_clock(process: Simple) -> None:
    turns = len(process.machine.batches)
    process.machine.wants = process.now + 2.0
    process.take(Committed(1))  # the turn in which the deadline is read
    until(process, 1.9)
    assert len(process.machine.batches) == turns + 1
    process.world.timeline.at(2.05, lambda: setattr(process.machine, "wants", None))
    until(process, 2.2)
    assert len(process.machine.batches) >= turns + 2


def test_a_deadline_that_is_never_met_is_seen(process: Simple) -> None:
    process.machine.wants = process.now
    process.take(Committed(1))
    with pytest.raises(Violation, match="spins"):
        until(process, 1.0)


def test_a_broken_invariant_is_seen(process: Simple) -> None:
    process.machine.sane = False
    process.take(Committed(1))
    with pytest.raises(AssertionError, match="invariant"):
        until(process, 1.0)


def test_a_new_life_has_a_new_machine_address_and_inbox(process: Simple) -> None:
    first, address, incarnation = process.machine, process.address, process.incarnation
    process.take(Committed(1))
    process.crash()
    process.take(Committed(2))
    process.start()
    until(process, 1.0)
    assert process.machine is not first
    assert process.address != address
    assert process.incarnation != incarnation
    assert taken(process) == []
