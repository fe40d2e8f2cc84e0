from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from pypelinin.cluster.slots import (
    RunLot,
    Shape,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.graph import states
from pypelinin.machine import Event
from pypelinin.runtime import nurseries
from pypelinin.runtime import slots as module
from pypelinin.runtime.evidence import Collector
from pypelinin.runtime.nurseries import SESSION_VARIABLE, Nursery, Starter, fork_nursery
from pypelinin.runtime.slots import SERVICE, Setup, Slots, ending
from pypelinin.runtime.values import pack_value
from tests.integration.cluster import JOBS, ROOT, until
from tests.integration.jobs import notes

WAIT_S = 60.0
DONE = bytes((states.DONE,))


class Driver:
    """Real slots, and a loop around them."""

    def __init__(self, sessions: Starter | None = None, **setup: Any) -> None:
        given = {"path": [str(ROOT)], "workers": [JOBS], "store": "", "configuration": {}, **setup}
        self.slots = Slots(Setup(**given), "node-1", sessions=sessions)
        self.events: list[Event] = []

    def nursery(self, session: str = "") -> Nursery:
        return self.slots._nurseries[session]

    def process(self) -> Any:
        """Of the usual nursery."""
        return self.nursery()._process

    def turn(self, wait_s: float = 0.05) -> list[Event]:
        """One turn of the loop; returns what happened in it."""
        now = time.monotonic()
        poll = select.poll()
        for fd, out in self.slots.fds(now):
            poll.register(fd, select.POLLIN | (select.POLLOUT if out else 0))
        until = self.slots.deadline()
        wait = wait_s if until is None else max(0.0, min(wait_s, until - now))
        ready = {fd for fd, _ in poll.poll(wait * 1000)}
        events = self.slots.read(time.monotonic(), ready)
        self.events += events
        return events

    def until(self, found: Callable[[], Any], what: str = "it") -> Any:
        deadline = time.monotonic() + WAIT_S
        while not (answer := found()):
            assert time.monotonic() < deadline, f"{what}; so far: {self.events}"
            self.turn()
        return answer

    def of(self, kind: type, slot: int = 0) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind) and e.slot == slot]

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self.slots.start(number)
        for number in numbers:
            self.until(lambda number=number: self.of(SlotStarted, number), "a slot's start")
        self.events.clear()

    def run(self, worker: str, jobs: int = 1, slot: int = 0, data: Any = None) -> None:
        header = {5: ("r" * 32, pack_value("", data))}
        runs, numbers = array("I", [5] * jobs), array("I", range(jobs))
        lot = RunLot(slot, 1 << 40, 0, worker, runs, numbers, b"", header)
        self.slots.run(lot, time.monotonic())

    def statuses(self, slot: int = 0) -> bytes:
        return b"".join(event.statuses for event in self.of(SlotProgressed, slot))

    def pid(self, slot: int = 0) -> int:
        self.until(lambda: self.slots._slots[slot].pid, "the slot's pid")
        return self.slots._slots[slot].pid


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    yield made
    made.slots.close()


@pytest.fixture
def started(driver: Driver) -> Driver:
    driver.start(0)
    return driver


def files_open() -> int:
    """By this process; what other tests left to the garbage collector is not among them."""
    gc.collect()
    return int(psutil.Process().num_fds())


def stop(process: psutil.Process) -> None:
    """From now on it does nothing."""
    process.suspend()
    until(lambda: process.status() == psutil.STATUS_STOPPED, "the stop")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- good slots -------------------------------------------------------------------------------


def test_a_slot_tells_its_workers(driver: Driver) -> None:
    driver.slots.start(3)
    driver.until(lambda: driver.of(SlotStarted, 3))
    (event,) = driver.events
    assert event.failure is None
    assert {"Noop", "Fail"} <= set(event.workers)


def test_a_lot_runs_and_every_outcome_comes(started: Driver) -> None:
    started.run("Noop", 1000)
    started.until(lambda: len(started.statuses()) == 1000)
    assert started.statuses() == DONE * 1000
    assert sum(event.elapsed_s for event in started.of(SlotProgressed)) > 0
    assert len(started.of(SlotProgressed)) < 100  # not one event a job


def test_a_slot_is_used_again(started: Driver) -> None:
    pid = started.pid()
    for _ in range(5):
        started.events.clear()
        started.run("Pid")
        started.until(started.statuses)
    assert started.pid() == pid


def test_failures_stand_at_their_place(started: Driver) -> None:
    started.run("Fail", 3)
    started.until(lambda: len(started.statuses()) == 3)
    failures = [f for event in started.of(SlotProgressed) for f in event.failures]
    assert [f.failure.text for f in failures] == ["no such luck"] * 3
    assert failures[0].failure.node == "node-1"
    starts = [event.failures[0].job for event in started.of(SlotProgressed)]
    assert set(starts) == {0}


def limited(driver: Driver, worker: str, jobs: int = 1) -> None:
    header = {5: ("r" * 32, pack_value("", None))}
    runs, numbers = array("I", [5] * jobs), array("I", range(jobs))
    lot = RunLot(0, 1 << 40, 0, worker, runs, numbers, b"", header, memory_max=1 << 30)
    driver.slots.run(lot, time.monotonic())


def test_a_failure_with_a_limit_is_told_once_the_nursery_has_looked(started: Driver) -> None:
    limited(started, "Fail", 3)
    started.until(lambda: len(started.statuses()) == 3)
    failures = [f for event in started.of(SlotProgressed) for f in event.failures]
    assert [f.failure.text for f in failures] == ["no such luck"] * 3
    limited(started, "Noop")
    started.until(lambda: len(started.statuses()) == 4)


def test_what_was_said_before_the_nursery_was_lost_is_told(
    started: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found dead when it is to look; a slot that is lost with it is not read any more."""
    started.start(1)
    nursery = started.nursery()
    request = nursery.request

    def dead(what: list[object], fork: Any = None) -> None:
        if what[0] == "look":
            started.slots._slots[1].look_at = 1.0  # it is the next one to be read
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        request(what, fork)

    monkeypatch.setattr(nursery, "request", dead)
    limited(started, "Fail")
    started.until(lambda: started.of(SlotExited) and started.of(SlotExited, 1))
    (told,) = started.of(SlotProgressed)
    assert [f.failure.text for f in told.failures] == ["no such luck"]
    assert started.events.index(told) < started.events.index(started.of(SlotExited)[0])


def test_a_failure_of_who_used_too_much_is_told_as_that(
    started: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = started.slots._heard

    def too_much(nursery: Nursery, now: float, kind: str, one: int, two: Any) -> list[Event]:
        return heard(nursery, now, kind, one, 2 << 30 if kind == "looked" else two)

    monkeypatch.setattr(started.slots, "_heard", too_much)
    limited(started, "Fail")
    started.until(started.statuses)
    (failed,) = started.of(SlotProgressed)[0].failures
    assert (failed.job, failed.failure.cause) == (0, "memory")
    assert failed.failure.text == "it used 2.15 GB of memory; its limit is 1.07 GB"
    assert "no such luck" in failed.failure.traceback


def test_a_failure_of_who_is_being_ended_for_its_memory_is_told_as_that(
    started: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not fork any more while it is ended, and has an exception of that to tell."""
    heard = started.slots._heard

    def ended(nursery: Nursery, now: float, kind: str, one: int, two: Any) -> list[Event]:
        if kind == "looked":
            assert heard(nursery, now, "memory", one, 2 << 30) == []
        return heard(nursery, now, kind, one, two)

    monkeypatch.setattr(started.slots, "_heard", ended)
    limited(started, "Fail")
    started.until(started.statuses)
    (failed,) = started.of(SlotProgressed)[0].failures
    assert failed.failure.cause == "memory"


def test_a_failure_is_told_if_nobody_looks_any_more(started: Driver) -> None:
    pid = started.pid()
    limited(started, "Fail")
    started.until(lambda: started.slots._slots[0].doubtful, "the failure")
    os.kill(pid, signal.SIGKILL)  # maybe before it was looked
    started.until(lambda: started.of(SlotExited), "the end")
    assert started.statuses() == bytes((states.FAILED,))


def test_a_header_is_sent_again_if_it_changed_or_is_another_runs(
    started: Driver, tmp_path: Path
) -> None:
    """A run that grows has more functions; a number can mean another run after a restart."""
    log = str(tmp_path / "log")
    for run, value in (("a", 1), ("a", 2), ("b", 3)):
        header = {5: (run * 32, pack_value("", {"log": log, "key": value}))}
        one = array("I", [5])
        lot = RunLot(0, 1 << 40, 0, "Note", one, array("I", [0]), b"", header)
        started.events.clear()
        started.slots.run(lot, time.monotonic())
        started.until(started.statuses)
    assert [line["key"] for line in notes(tmp_path / "log")] == [1, 2, 3]


def test_runs_that_were_not_used_are_forgotten(
    started: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_RUNS_MAX", 3)
    for number in [*range(10), 0, 9]:
        header = {number: (f"{number:032}", pack_value("", None))}
        one = array("I", [number])
        lot = RunLot(0, 1 << 40, 0, "Noop", one, array("I", [0]), b"", header)
        started.events.clear()
        started.slots.run(lot, time.monotonic())
        started.until(started.statuses)
        assert started.statuses() == DONE
    assert list(started.slots._slots[0].runs) == [8, 0, 9]


def test_large_lots_and_setups_do_not_wait_for_the_slot(tmp_path: Path) -> None:
    """Bytes beyond a socket's buffer, to a slot that does not read for now."""
    driver = Driver(configuration={"x": "y" * 5_000_000})
    try:
        driver.start(0)
        (slot,) = psutil.Process(driver.pid()).children()
        stop(slot)
        driver.run("Echo", data=b"x" * 5_000_000)
        for _ in range(5):
            driver.turn(0.01)
        assert driver.slots._slots[0].outbox is not None  # it is here, and has not read it
        slot.resume()
        driver.until(driver.statuses)
    finally:
        driver.slots.close()


# --- bad slots --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "cause", "text"),
    [
        ("Exit", "exit", "the slot exited with code 3 in this job"),
        ("Segfault", "signal", "the slot was killed by SIGSEGV while it ran this job"),
        ("ClosesDescriptors", "exit", "the slot exited with code 70 in this job"),
        ("WritesGarbage", "signal", "the slot was killed by SIGKILL while it ran this job"),
    ],
)
def test_a_death_is_told_with_what_was_not_begun(
    started: Driver, worker: str, cause: str, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    started.run(worker, 5)
    (event,) = started.until(lambda: started.of(SlotExited))
    assert (event.failure.cause, event.failure.text) == (cause, text)
    if worker == "WritesGarbage":  # what it said behind the garbage nobody could read
        assert len(started.statuses()) + event.unbegun <= 4
    else:
        assert (started.statuses(), event.unbegun) == (b"", 4)
    started.start(0)
    started.run("Noop")
    started.until(started.statuses)


def test_outcomes_before_a_death_count(started: Driver, tmp_path: Path) -> None:
    """Whatever the timing: outcomes, the job that died, and the rest add up."""
    for number in range(20):
        started.events.clear()
        started.run("Note", 50, data={"log": str(tmp_path / f"log {number}")})
        until(lambda number=number: notes(tmp_path / f"log {number}"), "a begin", WAIT_S)
        os.kill(started.pid(), signal.SIGKILL)
        (event,) = started.until(lambda: started.of(SlotExited))
        begun = len(notes(tmp_path / f"log {number}"))
        done = len(started.statuses())
        assert begun in (done, done + 1)
        assert done + event.unbegun in (49, 50)
        started.start(0)


def test_killing_takes_the_whole_group(started: Driver, tmp_path: Path) -> None:
    started.run("LeavesChild", data={"log": str(tmp_path / "log")})
    started.until(started.statuses)
    child = notes(tmp_path / "log")[0]["child"]
    started.slots.kill(0)
    (event,) = started.until(lambda: started.of(SlotExited))
    assert event.failure.type == "SIGKILL"
    until(lambda: gone(child), "the child's end")


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    driver = Driver(workers=["no_such_module"])
    try:
        driver.slots.start(0)
        (event,) = driver.until(lambda: driver.of(SlotStarted))
        assert event.workers == ()
        assert event.failure.cause == "import"
        assert "'no_such_module' cannot be imported" in event.failure.text
        for _ in range(5):
            driver.turn()
        assert driver.of(SlotExited) == []
    finally:
        driver.slots.close()


# --- bytes that a slot was made to say --------------------------------------------------------


PID = 4_000_000


class Impostor:
    """A `_Slot` whose other end is the test's."""

    def __init__(self, number: int = 0, left: int = 3) -> None:
        self.slots = Slots(Setup([], [], "", {}), "node-1")
        self.now = time.monotonic()
        self.requests: list[object] = []
        ours, self.link = socket.socketpair()
        ours.setblocking(False)
        read, write = os.pipe()
        os.set_blocking(read, False)
        control, self.nursery = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.nursery.setblocking(False)
        self.home = Nursery("", subprocess.Popen(["true"]), control)
        slot = module._Slot(number, self.home, ours, read, write, PID, left=left, started=True)
        self.slots._slots[number] = self.slot = slot

    def say(self, *what: object, raw: bytes = b"") -> list[Event]:
        self.link.sendall(b"".join(map(msgpack.packb, what)) + raw)
        self.now += 1  # a slot with many jobs is not looked at each time
        return self.slots.read(self.now, {self.slot.link.fileno()})

    @property
    def killed(self) -> bool:
        """Whether the nursery was told to end it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.requests.append(msgpack.unpackb(self.nursery.recv(65536)))
        return self.requests == [["end", PID, False]]

    def close(self) -> None:
        self.link.close()
        self.slots.close()
        self.home.close()
        self.nursery.close()


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    made = Impostor()
    yield made
    made.close()


FAILED = [0.1, "exception", "ValueError", "x", "", b""]
LIES: list[tuple[object, ...]] = [
    (1,),
    ("text",),
    ([],),
    ({},),
    ([[[[]]]],),
    (b"\xff" * 10,),
    ([0.1],),
    ([0.1, "exception"],),
    (["x", "a", "b", "c", "d"],),
    ([*FAILED, "more"],),
    (["started", 7],),
    (["started", ["A"], None],),
    (["started", [], ["too", "short"]],),
    (["monitored"],),
    (["monitored", ["short"]],),
    (0.1, 0.1, 0.1, 0.1),
    (FAILED, FAILED, FAILED, FAILED),
]


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_a_lie_ends_the_slot_and_nothing_else(impostor: Impostor, lie: tuple[object, ...]) -> None:
    events = impostor.say(*lie)
    assert impostor.killed
    assert len(b"".join(e.statuses for e in events if isinstance(e, SlotProgressed))) <= 3


@pytest.mark.parametrize("raw", [b"\xc1", b"\xd9\xff\xff", b"\xa2\xff\xfe", b"\xc7\x01\x01x"])
def test_noise_ends_the_slot(impostor: Impostor, raw: bytes) -> None:
    impostor.say(raw=raw + b"\xc1" * 300)
    assert impostor.killed


def test_outcomes_before_the_lie_count(impostor: Impostor) -> None:
    (event,) = impostor.say(0.5, FAILED, "lie")
    assert isinstance(event, SlotProgressed)
    assert event.statuses == bytes((states.DONE, states.FAILED))
    assert event.failures[0].failure.text == "x"
    assert impostor.slot.left == 1
    assert impostor.killed


def test_half_an_outcome_waits_for_its_rest(impostor: Impostor) -> None:
    data = msgpack.packb(FAILED)
    assert impostor.say(raw=data[:-2]) == []
    (event,) = impostor.say(raw=data[-2:])
    assert isinstance(event, SlotProgressed)
    assert not impostor.killed


def test_more_bytes_than_any_outcome_has(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Impostor()
    made.slot.unpacker = msgpack.Unpacker(raw=False, max_buffer_size=100_000)
    try:
        made.link.settimeout(5)
        made.say(raw=b"\xc6\x00\x01\x80\x00")  # 98,304 bytes will come
        made.say(raw=b"x" * 50_000)
        assert not made.killed
        made.say(raw=b"x" * 50_000)
        assert made.killed
    finally:
        made.close()


# --- recall -----------------------------------------------------------------------------------


def test_recall_takes_back_what_was_not_begun(started: Driver, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    started.run("Gate", 10, data={"log": str(log), "gate": str(gate)})
    until(lambda: notes(log), "its begin")
    assert started.slots.recall(0) == SlotRecalled(0, 9)
    assert started.slots.recall(0) == SlotRecalled(0, 0)
    gate.touch()
    started.until(started.statuses)
    assert started.statuses() == DONE
    started.events.clear()
    started.run("Noop", 3)
    started.until(lambda: started.statuses() == DONE * 3)


def test_nothing_to_recall(started: Driver) -> None:
    assert started.slots.recall(0) == SlotRecalled(0, 0)
    assert started.slots.recall(9) == SlotRecalled(9, 0)


def test_a_recalled_job_never_begins_and_a_begun_one_is_never_recalled(
    started: Driver, tmp_path: Path
) -> None:
    """Lots recalled at once, in the middle and at their end, many times over."""
    log = tmp_path / "log"
    recalled = executed = 0
    for number in range(300):
        started.events.clear()
        jobs = 1 + number % 40
        started.run("Note", jobs, data={"log": str(log)})
        for _ in range(number % 7):
            started.turn(0.0)
        if number % 3 == 0:
            started.until(started.statuses)
        event = started.slots.recall(0)
        assert isinstance(event, SlotRecalled)
        left = jobs - event.count
        started.until(lambda left=left: len(started.statuses()) >= left, "the rest")
        assert len(started.statuses()) == left
        recalled += event.count
        executed += left
        assert len(notes(log)) == executed
    assert recalled > 100
    assert executed > 100


@pytest.fixture
def collector(driver: Driver, tmp_path: Path) -> Collector:
    """What jobs of *driver* print goes there."""
    made = driver.slots._collector = Collector(1000, 0.5, str(tmp_path))
    return made


def gated(driver: Driver, jobs: int, directory: Path) -> Path:
    """A lot whose first job has begun and waits; returns what lets it go on."""
    log, gate = directory / "log", directory / "gate"
    driver.start(0)
    driver.run("Gate", jobs, data={"log": str(log), "gate": str(gate)})
    until(lambda: notes(log), "its begin")
    return gate


def printed(driver: Driver, data: bytes) -> None:
    """As if the job that runs had."""
    output = driver.slots._slots[0].output
    assert output is not None
    os.write(output.fds[0], data)


def test_after_a_recall_output_is_of_the_job_that_runs(
    driver: Driver, collector: Collector, tmp_path: Path
) -> None:
    gate = gated(driver, 4, tmp_path)
    assert driver.slots.recall(0) == SlotRecalled(0, 3)
    printed(driver, b"mine")
    for now in (1.0, 2.0):
        driver.slots.beat(now)
    found = collector.take(time.monotonic())
    assert found is not None
    assert [(one.job, one.size) for one in found[0].printed] == [(0, 4)]
    gate.touch()
    driver.until(driver.statuses)


@pytest.mark.parametrize("whole", [False, True], ids=["slot", "nursery"])
def test_who_died_is_the_job_that_ran(
    driver: Driver, collector: Collector, tmp_path: Path, whole: bool
) -> None:
    gated(driver, 4, tmp_path)
    printed(driver, b"last words")
    nursery = driver.process()
    assert nursery is not None
    os.kill(nursery.pid if whole else driver.pid(), signal.SIGKILL)
    (event,) = driver.until(lambda: driver.of(SlotExited))
    assert event.unbegun == 3
    found = collector.take(time.monotonic())
    assert found is not None
    assert [(one.job, one.size) for one in found[0].printed] == [(0, 10)]
    assert [(one.job, one.stdout_bytes) for one in found[0].usages] == [(0, 10)]


# --- the nursery ------------------------------------------------------------------------------


def test_a_nursery_that_dies_takes_its_slots_along(driver: Driver, tmp_path: Path) -> None:
    driver.start(0, 1)
    log = tmp_path / "log"
    driver.run("Gate", 4, data={"log": str(log), "gate": str(tmp_path / "gate")})
    until(lambda: notes(log), "its begin")
    driver.process().kill()
    (busy,) = driver.until(lambda: driver.of(SlotExited, 0))
    (idle,) = driver.until(lambda: driver.of(SlotExited, 1))
    assert busy.failure.text == "the nursery died"
    assert (busy.unbegun, idle.unbegun) == (3, 0)
    driver.start(0)
    driver.run("Noop")
    driver.until(driver.statuses)


def test_a_nursery_that_died_unseen(driver: Driver) -> None:
    """A slot is started before anybody has looked."""
    driver.start(0)
    driver.process().kill()
    driver.process().wait()
    driver.slots.start(1)
    assert driver.slots.deadline() == 0.0
    driver.until(lambda: driver.of(SlotExited, 0) and driver.of(SlotExited, 1))
    driver.start(0, 1)


def test_a_nursery_that_cannot_be_started_leaves_nothing_open(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    before = files_open()
    monkeypatch.setattr(subprocess, "Popen", full)
    driver.slots.start(0)
    monkeypatch.undo()
    assert files_open() == before
    (event,) = driver.until(lambda: driver.of(SlotStarted))
    assert "Resource temporarily unavailable" in event.failure.text
    driver.start(0)


def test_a_slot_that_could_not_load_and_a_nursery_that_dies(tmp_path: Path) -> None:
    """It is closed once: its descriptors could be another thread's by the second time."""
    module = tmp_path / "broken_workers.py"
    module.write_text("raise ImportError('no')\n")
    driver = Driver(path=[str(tmp_path)], workers=["broken_workers"])
    try:
        driver.slots.start(0)
        slot = driver.slots._slots[0]
        until(lambda: psutil.Process(driver.pid()).children(), "the slot")
        until(lambda: select.select([slot.link], [], [], 0)[0], "what it says")
        driver.process().kill()
        driver.process().wait()
        (event,) = driver.until(lambda: driver.of(SlotStarted))
        assert event.failure.cause == "import"
        driver.turn()
        assert driver.of(SlotExited) == []
    finally:
        driver.slots.close()


def test_more_forks_than_the_nurserys_socket_takes(driver: Driver) -> None:
    """They wait here and are asked for when there is room."""
    driver.start(0)
    nursery = driver.nursery()
    stop(psutil.Process(driver.process().pid))
    nursery.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for number in range(1, 13):
        driver.slots.start(number)
    assert nursery._requests
    os.kill(driver.process().pid, signal.SIGCONT)
    driver.until(lambda: all(driver.of(SlotStarted, number) for number in range(1, 13)))
    assert driver.of(SlotExited) == []


def test_a_slot_that_could_not_be_forked(driver: Driver) -> None:
    driver.start(0)
    slots = driver.slots
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    nursery = driver.nursery()
    real, nursery.control = nursery.control, ours
    slots.start(1)
    slots.start(SERVICE)
    for number in (1, SERVICE):
        for file in socket.recv_fds(theirs, 65536, 2)[1]:
            os.close(file)
        theirs.send(msgpack.packb(["not forked", number, "no memory"]))
    (event,) = driver.until(lambda: driver.of(SlotStarted, 1))
    assert event.failure.text == "no process could be started for the slot: no memory"
    assert list(slots._slots) == [0]
    nursery.control = real
    theirs.close()
    ours.close()


def test_too_many_open_files(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.start(0)
    before = files_open()

    def full() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe", full)
    driver.slots.start(1)
    driver.slots.save_monitoring({})
    (event,) = driver.until(lambda: driver.of(SlotStarted, 1))
    assert "Too many open files" in event.failure.text
    assert files_open() == before
    monkeypatch.undo()
    driver.run("Noop")
    driver.until(driver.statuses)


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    before, children = files_open(), set(psutil.Process().children())
    driver = Driver()
    driver.start(0, 1)
    log = tmp_path / "log"
    driver.run("Gate", 4, data={"log": str(log), "gate": str(tmp_path / "gate")})
    until(lambda: notes(log), "its begin")
    pids = [driver.pid(0), driver.pid(1)]
    driver.slots.start(2)  # at once, in the middle of its start
    driver.slots.close()
    until(lambda: all(map(gone, pids)), "the slots' end")
    assert files_open() == before
    assert set(psutil.Process().children()) <= children


# --- monitoring -------------------------------------------------------------------------------

STORES = "tests.integration.job_stores"


def test_samples_go_to_a_slot_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    driver = Driver(store=f"{STORES}:InfoStore", configuration={"log": str(log)})
    try:
        driver.start(0)
        for number in range(3):
            driver.slots.save_monitoring({"n": number})
            driver.until(lambda number=number: len(notes(log)) == number + 1)
            driver.until(lambda: not driver.slots._slots[SERVICE].left)
        assert [line["data"] for line in notes(log)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert driver.events == []
        assert {line["pid"] for line in notes(log)} != {driver.pid(0)}
    finally:
        driver.slots.close()


def test_a_store_that_is_busy_gets_no_more_samples(tmp_path: Path) -> None:
    log = tmp_path / "log"
    driver = Driver(store=f"{STORES}:StuckMonitoring", configuration={"log": str(log)})
    try:
        for _ in range(1000):
            driver.slots.save_monitoring({"text": "x" * 10_000})
        driver.until(lambda: notes(log))
        assert driver.slots._slots[SERVICE].outbox is None
    finally:
        driver.slots.close()


def test_a_store_that_dies_of_samples_is_told_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    driver = Driver(store=f"{STORES}:BrokenMonitoring", configuration={"log": str(log)})
    try:
        for number in range(2):
            driver.slots.save_monitoring({})
            driver.until(lambda number=number: len(notes(log)) == number + 1)
            driver.until(lambda: SERVICE not in driver.slots._slots)
        assert driver.events == []
        assert capsys.readouterr().err == 2 * (
            "Monitoring failed: the slot exited with code 9 in this job\n"
        )
    finally:
        driver.slots.close()


# --- endings ----------------------------------------------------------------------------------


def test_how_a_process_ended() -> None:
    assert ending(0x0300, "n").text == "the slot exited with code 3 in this job"
    assert ending(9, "n").type == "SIGKILL"
    assert ending(11 | 0x80, "n").type == "SIGSEGV"
    assert ending(60, "n").type == "signal 60"
    assert sys.platform == "linux"


# --- sessions --------------------------------------------------------------------------------


VARIABLE = "HELD_BY_THE_SESSION"


def forked(_name: str, kept: Sequence[int]) -> tuple[Any, socket.socket]:
    return fork_nursery(kept)


def in_session(name: str) -> Shape:
    return Shape(env=((SESSION_VARIABLE, name),))


@pytest.fixture
def holder() -> Iterator[Driver]:
    driver = Driver(sessions=forked)
    yield driver
    driver.slots.close()
    os.environ.pop(VARIABLE, None)


def held_by(driver: Driver, slot: int, log: Path) -> str:
    """What the variable is in that slot."""
    header = {5: ("a" * 32, pack_value("", {"log": str(log), "variable": VARIABLE}))}
    one = array("I", [5])
    lot = RunLot(slot, 1 << 40, 0, "Inherited", one, array("I", [0]), b"", header)
    driver.slots.run(lot, time.monotonic())
    driver.until(lambda: driver.of(SlotProgressed, slot), "the end of the job")
    return str(notes(log)[0]["value"])


def test_slots_of_a_session_begin_with_what_is_in_memory(holder: Driver, tmp_path: Path) -> None:
    """And slots of one that was forked earlier do not see what came later."""
    for number, value in enumerate(("first", "second")):
        os.environ[VARIABLE] = value
        holder.slots.start(number, in_session(value))
        holder.until(partial(holder.of, SlotStarted, number))
    assert held_by(holder, 0, tmp_path / "0") == "first"
    assert held_by(holder, 1, tmp_path / "1") == "second"


def test_a_session_ends_when_a_newer_one_is_there_and_its_slots_are_gone(
    holder: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nurseries, "END_S", WAIT_S)  # however slow this machine is
    holder.slots.start(0, in_session("1"))
    holder.until(lambda: holder.of(SlotStarted, 0))
    old = holder.nursery("1")
    holder.slots.start(1, in_session("2"))
    holder.until(lambda: holder.of(SlotStarted, 1))
    assert list(holder.slots._nurseries) == ["1", "2"]
    holder.slots.kill(0)
    holder.until(lambda: holder.of(SlotExited, 0))
    assert list(holder.slots._nurseries) == ["2"]
    assert old._process.wait(0) == 0
    assert holder.of(SlotExited, 1) == []


def test_the_death_of_a_session_ends_its_own_slots_only(holder: Driver) -> None:
    for number, shape in enumerate((in_session("1"), Shape())):
        holder.slots.start(number, shape)
        holder.until(partial(holder.of, SlotStarted, number))
    holder.nursery("1")._process.kill()
    holder.until(lambda: holder.of(SlotExited, 0))
    assert holder.of(SlotExited, 1) == []
    holder.slots.start(0, in_session("1"))
    holder.until(lambda: len(holder.of(SlotStarted, 0)) == 2)
