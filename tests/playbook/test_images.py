"""Compaction: images and the rows behind them give the state that lived."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pypelinin.cluster.broker import Broker
from pypelinin.cluster.events import Committed, Compact, KeepImage, Received, Send, SendAfter, Write
from pypelinin.cluster.router import Router
from pypelinin.cluster.slots import RunLot, SlotProgressed, SlotStarted, StartSlot
from pypelinin.config import Limits
from pypelinin.graph.job import Job
from pypelinin.machine import Command, Event
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, Envelope, Record, pack_plain, pack_record
from pypelinin.wire.definitions import Capacity, Place
from pypelinin.wire.messages import AddPipeline, PauseRuns, RetryRun
from pypelinin.wire.rows import pack_row, unpack_image, unpack_row

LIMITS = Limits(journal_rows_max=40, images_in_turn_max=3)


class Disk:
    """What a journal holds, with its rule: images count up to the base."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        self.images: dict[tuple[int, int], bytes] = {}
        self.base = 0
        self.compactions = 0

    def take(self, command: Command) -> None:
        if isinstance(command, Write):
            self.rows[command.lsn] = pack_row(command.row)
        elif isinstance(command, KeepImage):
            self.images[command.number, command.lsn] = pack_record(command.image)
        elif isinstance(command, Compact):
            self.compactions += 1
            self.base = command.lsn
            self.rows = {lsn: row for lsn, row in self.rows.items() if lsn > command.lsn}
            newest = dict(sorted(self.images))
            self.images = {
                (n, lsn): image
                for (n, lsn), image in self.images.items()
                if newest[n] == lsn and n not in command.gone
            }

    def replay(self) -> Router:
        router = new_router()
        counted = dict(sorted((n, lsn) for n, lsn in self.images if lsn <= self.base))
        for number, lsn in sorted(counted.items()):
            router.restore(unpack_image(number, self.images[number, lsn]))
        for _, row in sorted(self.rows.items()):
            router.replay(unpack_row(row))
        return router


def new_router() -> Router:
    return Router(LIMITS, {}, "", "1", 0.0, "c" * 32)


def submission(number: int) -> AddPipeline:
    pipeline = Pipeline({Job("A"): (Job("B", retries=2), Job("C"))}, data={"n": number})
    header, parts = pipeline.compile(
        f"{number:032}", "me", lambda _, value: b"m" + pack_plain(value)
    )
    return AddPipeline(number, True, False, (Place(0, 1),), Blobs([header, *parts[0]]))


class Life:
    """A Router and a Broker that exchange messages; some jobs fail."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = Disk()
        self.router = new_router()
        self.broker = Broker("n", "i", Capacity(2), {}, LIMITS, "1")
        self.now = 1.0
        self.inbox: list[Event] = []
        self.slots: list[Event] = []
        self.perform(self.router.begin(self.now))

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            self.disk.take(command)
            if isinstance(command, (Send, SendAfter)) and command.peer == b"broker":
                self.inbox.append(Received(b"", command.envelope))

    def step(self, *requests: Record) -> None:
        self.now += 0.01
        events, self.inbox, self.slots = [*self.inbox, *self.slots], [], []
        out: list[Event] = [Received(b"client", Envelope(request)) for request in requests]
        for command in self.broker.handle(events, self.now):
            if isinstance(command, Send):
                out.append(Received(b"broker", command.envelope))
            elif isinstance(command, StartSlot):
                self.slots.append(SlotStarted(command.slot, ("A", "B", "C")))
            elif isinstance(command, RunLot):
                ended = bytes(self.random.choice((1, 1, 1, 2)) for _ in command.jobs)
                self.slots.append(SlotProgressed(command.slot, ended, (), 0.01))
        self.perform(self.router.handle(out, self.now))
        self.perform(self.router.handle([Committed(self.router.state.lsn)], self.now))
        self.router.check()


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_of_images_and_rows_is_the_life_that_wrote_them(seed: int) -> None:
    life = Life(seed)
    for step in range(500):
        life.step(*([submission(step)] if step > 20 and step % 4 == 0 else []))
        if step % 7 == 0:
            replayed = life.disk.replay()
            assert replayed.state.digest() == life.router.state.digest()
            replayed.state.check()
    assert life.disk.compactions > 5
    assert len(life.disk.rows) < 3 * LIMITS.journal_rows_max


@pytest.mark.parametrize("seed", range(3))
def test_runs_that_are_paused_and_begun_again_come_back_as_they_were(seed: int) -> None:
    life = Life(seed)
    runs = life.router.state.runs
    for step in range(500):
        requests: list[Record] = [submission(step)] if step > 20 and step % 6 == 0 else []
        old = f"{6 * life.random.randrange(4, 5 + step // 6):032}"
        if step % 3 == 0:
            requests.append(RetryRun(step, old, f"again-{step:027}", step % 2 == 0))
        if step % 5 == 0:
            requests.append(PauseRuns(step, (old,), life.random.random() < 0.5))
        life.step(*requests)
        if step % 7 == 0:
            replayed = life.disk.replay()
            assert replayed.state.digest() == life.router.state.digest()
            assert replayed.state.runs.lent == runs.lent
            replayed.state.check()
    assert life.disk.compactions > 5
    assert sum(bool(run.retry_of) for run in runs.by_number.values()) > 20
    assert any(run.paused for run in runs.by_number.values())


def test_a_crash_in_the_middle_of_a_compaction_changes_nothing() -> None:
    life = Life(1)
    for step in range(300):
        life.step(*([submission(step)] if step > 20 and step % 4 == 0 else []))
        done = life.disk.compactions
        if any(lsn > life.disk.base for _, lsn in life.disk.images) and done:
            break
    else:
        pytest.fail("no compaction was ever in the middle")
    assert life.disk.replay().state.digest() == life.router.state.digest()


def test_a_forgotten_run_has_no_image_left() -> None:
    life = Life(2)
    life.router.state.runs.limits = replace(LIMITS, history_runs_max=3)
    for step in range(400):
        life.step(*([submission(step)] if step > 20 and step % 4 == 0 else []))
    life.now += 61.0  # retention is looked at once a minute
    for _ in range(200):
        life.step()
    before = life.disk.compactions
    for step in range(400, 600):
        life.step(*([submission(step)] if step % 4 == 0 else []))
    assert life.disk.compactions > before
    numbers = {number for number, _ in life.disk.images} - {0}
    assert numbers <= set(life.router.state.runs.by_number)
    assert 1 not in numbers
    assert life.disk.replay().state.digest() == life.router.state.digest()
