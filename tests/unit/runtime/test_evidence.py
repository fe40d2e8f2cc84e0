"""Which bytes of a slot's files are whose, and what of them goes to the Router, when."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.cluster.slots import RunLot
from pypelinin.runtime import evidence
from pypelinin.runtime.evidence import Collector, SlotOutput
from pypelinin.wire.evidence import AttemptUsage, Evidence, Printed

HALF = 100
Told = tuple[int, int, int, bytes, bool]
"""(job, stream, offset, bytes, live)."""


def lot(fence: int, *jobs: int) -> RunLot:
    headers = {1: ("r1", b"")}
    return RunLot(0, fence, 0, "A", array("I", [1] * len(jobs)), array("I", jobs), b"", headers)


class Desk:
    """A collector, one slot, and what was taken from it."""

    def __init__(self, directory: Path) -> None:
        self.collector = Collector(2 * HALF, 0.5, str(directory))
        found = self.collector.open()
        assert found is not None
        self.slot: SlotOutput = found
        self.now = 0.0
        self.usages: list[AttemptUsage] = []

    def begin(self, fence: int, *jobs: int) -> None:
        self.slot.lot(lot(fence, *jobs), self.now, 0)

    def prints(self, data: bytes, stream: int = 0) -> None:
        os.write(self.slot.fds[stream], data)

    def empties(self, stream: int = 0) -> None:
        """As `> /dev/stdout` does in a job."""
        path = f"/proc/self/fd/{self.slot.fds[stream]}"
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))

    def note(self, position: int, wall_s: float = 0.5, cpu_s: float = 0.25) -> None:
        out, err = (file.size() for file in self.slot.files)
        self.slot.note(position, out, err, wall_s, cpu_s, 5000, True, 1.0)
        self.slot.progressed(1)

    def beat(self, busy: bool = True) -> None:
        self.collector.beat([(self.slot, busy)], self.now)

    def take(self) -> list[Told]:
        """All that is to be told now."""
        told: list[Told] = []
        more = True
        while more:
            self.now += 1.0
            found = self.collector.take(self.now)
            if found is None:
                break
            message, more = found
            told += self._told(message)
            self.collector.taken()
        return told

    def _told(self, message: Evidence) -> Iterator[Told]:
        self.usages += message.usages
        place = 0
        for one in message.printed:
            data = message.blobs[0][place : place + one.size]
            place += one.size
            assert isinstance(one, Printed)
            assert one.run == "r1"
            yield one.job, one.stream, one.offset, data, one.live
        assert place == len(message.blobs[0])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_note_says_whose_the_bytes_before_it_are(desk: Desk) -> None:
    desk.begin(7, 3, 4, 5)
    desk.prints(b"three")
    desk.note(0)
    desk.prints(b"four")
    desk.prints(b"error", stream=1)
    desk.slot.progressed(1)  # quick: its output goes with the next one
    desk.prints(b"five")
    desk.note(2)
    assert desk.take() == [
        (3, 0, 0, b"three", False), (5, 0, 0, b"fourfive", False), (5, 1, 0, b"error", False),
    ]  # fmt: skip
    first, last = desk.usages
    assert (first.run, first.job, first.fence, first.stdout_bytes) == ("r1", 3, 7, 5)
    assert (first.wall_s, first.cpu_s, first.memory_peak, first.own_peak) == (0.5, 0.25, 5000, True)
    assert (last.fence, last.stdout_bytes, last.stderr_bytes) == (9, 8, 5)
    assert desk.take() == []


def test_of_a_job_that_runs_the_bytes_of_a_beat_ago_are_told(desk: Desk) -> None:
    desk.begin(7, 3)
    desk.prints(b"one")
    desk.beat()
    assert desk.take() == []
    desk.prints(b"two")
    desk.beat()
    assert desk.take() == [(3, 0, 0, b"one", False)]
    desk.prints(b"three")
    desk.note(0)
    assert desk.take() == [(3, 0, 3, b"twothree", False)]
    assert desk.usages[0].stdout_bytes == 11


def test_after_another_job_began_nothing_is_said_of_the_beat_before(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"three")
    desk.beat()
    desk.note(0)
    desk.prints(b"four")
    desk.beat()
    assert desk.take() == [(3, 0, 0, b"three", False)]
    desk.beat()
    assert desk.take() == [(4, 0, 0, b"four", False)]


def test_what_a_quick_job_left_is_told_when_the_slot_is_idle(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"quick")
    desk.slot.progressed(2)
    desk.beat(busy=False)
    desk.beat(busy=False)
    assert desk.take() == [(4, 0, 0, b"quick", False)]


def test_of_much_the_head_comes_at_once_then_the_newest_then_the_tail(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LIVE_BYTES_MAX", 10)
    desk.begin(7, 3)
    desk.prints(b"h" * HALF + b"m" * 500 + b"newest....")
    desk.beat()
    desk.beat()
    assert desk.take() == [
        (3, 0, 0, b"h" * HALF, False), (3, 0, HALF + 500, b"newest....", True),
    ]  # fmt: skip
    desk.beat()
    assert desk.take() == []  # nothing new
    desk.prints(b"t" * HALF)
    desk.note(0)
    assert desk.take() == [(3, 0, HALF + 510, b"t" * HALF, False)]
    assert desk.usages[0].stdout_bytes == 2 * HALF + 510


def test_who_dies_has_printed_all_that_is_there(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"three")
    desk.note(0)
    desk.prints(b"last words")
    desk.slot.died(1.75, 6000)
    desk.slot.close()
    assert desk.take() == [(3, 0, 0, b"three", False), (4, 0, 0, b"last words", False)]
    last = desk.usages[-1]
    assert (last.fence, last.cpu_s, last.memory_peak, last.own_peak) == (8, 0.75, 6000, False)
    with pytest.raises(OSError):
        desk.slot.files[0].size()  # closed


def test_a_slot_that_ends_leaves_nothing_behind(desk: Desk) -> None:
    desk.begin(7, 3)
    desk.prints(b"quick")
    desk.slot.progressed(1)
    desk.slot.close()
    assert desk.take() == [(3, 0, 0, b"quick", False)]


def test_what_is_printed_before_the_first_job_goes_to_our_own_output(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.prints(b"imported\n")
    desk.prints(b"warned\n", stream=1)
    desk.begin(7, 3)
    assert capfd.readouterr() == ("imported\n", "warned\n")
    desk.prints(b"mine")
    desk.note(0)
    assert desk.take() == [(3, 0, 0, b"mine", False)]


def test_one_message_at_a_time_and_each_bounded(desk: Desk, tmp_path: Path) -> None:
    desk.collector = Collector(2**30, 0.5, str(tmp_path))
    desk.slot = desk.collector.open() or desk.slot
    desk.begin(7, 3)
    desk.prints(b"x" * 1_000_000)
    desk.note(0)
    found = desk.collector.take(1.0)
    assert found is not None
    assert found[1]
    assert len(found[0].blobs[0]) <= evidence.MESSAGE_BYTES_MAX + evidence.PIECE_BYTES_MAX
    assert desk.collector.take(100.0) is None
    assert desk.collector.deadline() > 1e9 or desk.collector.deadline() == 0.5  # only the beat
    desk.collector.taken()
    desk.now = 1.0
    assert sum(len(data) for _, _, _, data, _ in desk.take()) == 1_000_000 - len(found[0].blobs[0])


def test_a_slot_that_lies_harms_nobody(desk: Desk) -> None:
    desk.begin(7, 3)
    desk.prints(b"one")
    desk.slot.note(99, 3, 0, 1.0, 1.0, 1, True, 1.0)
    desk.slot.note(-1, 3, 0, 1.0, 1.0, 1, True, 1.0)
    desk.slot.note(0, 10**12, -5, 1.0, 1.0, 1, True, 1.0)
    assert desk.take() == [(3, 0, 0, b"one", False)]
    desk.slot.note(0, 3, 0, float("inf"), float("nan"), 2**64 - 1, True, 1.0)
    desk.take()
    assert desk.usages[-1].memory_peak == 2**60


def test_what_is_too_much_is_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "WAITING_MAX", 2)
    desk.begin(7, *range(5))
    for position in range(5):
        desk.prints(b"x")
        desk.note(position)
    assert [told[0] for told in desk.take()] == [0, 1]
    assert desk.collector.dropped == 6  # output and usage of three


def test_of_too_many_bytes_what_is_new_is_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "UNSENT_BYTES_MAX", 3 * HALF)
    desk.begin(7, *range(5))
    for position in range(3):  # the middle of the first one is not to be sent
        desk.prints(b"h" * HALF + b"m" * 900 + b"t" * HALF)
        desk.note(position)
    assert [(told[0], len(told[3])) for told in desk.take()] == [
        (0, HALF), (0, HALF), (1, HALF), (1, HALF),
    ]  # fmt: skip
    assert desk.collector.dropped == 1
    desk.prints(b"there is room again")
    desk.note(3)
    assert desk.take() == [(3, 0, 0, b"there is room again", False)]
    assert [usage.job for usage in desk.usages] == [0, 1, 2, 3]


# --- a job empties the file it prints to ------------------------------------------------------


def test_after_a_file_was_emptied_the_rest_is_whose_it_is(desk: Desk) -> None:
    desk.begin(7, 3, 4, 5)
    desk.prints(b"a long line of three")
    desk.note(0)
    assert desk.take() == [(3, 0, 0, b"a long line of three", False)]
    desk.empties()
    desk.prints(b"four")
    desk.note(1)
    desk.prints(b"five")
    desk.note(2)
    assert desk.take() == [(4, 0, 0, b"four", False), (5, 0, 0, b"five", False)]
    assert [usage.stdout_bytes for usage in desk.usages] == [20, 4, 4]


def test_what_waited_in_a_file_that_was_emptied_is_nobody_elses(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"a long line of three")
    desk.prints(b"error", stream=1)
    desk.note(0)
    desk.empties()
    desk.prints(b"four")
    desk.note(1)
    assert desk.take() == [(3, 1, 0, b"error", False), (4, 0, 0, b"four", False)]
    desk.slot.close()
    with pytest.raises(OSError):
        desk.slot.files[0].size()  # nobody waits for it


def test_a_job_that_empties_its_file_goes_on_at_its_place(desk: Desk) -> None:
    """Who reads drops what comes twice: offsets begin only once."""
    desk.begin(7, 3)
    desk.prints(b"sent")
    desk.beat()
    desk.beat()
    assert desk.take() == [(3, 0, 0, b"sent", False)]
    desk.empties()
    desk.beat()
    desk.prints(b"new")
    desk.beat()
    desk.beat()
    assert desk.take() == [(3, 0, 4, b"new", False)]
    desk.empties()
    desk.note(0)
    assert desk.take() == []
    assert desk.usages[0].stdout_bytes == 7


def test_bytes_that_a_beat_saw_and_that_are_gone_are_not_told(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"seen by a beat")
    desk.beat()
    desk.empties()
    desk.prints(b"new")
    desk.beat()
    desk.beat()
    assert desk.take() == [(3, 0, 0, b"new", False)]
    desk.note(0)
    assert desk.usages == []
    desk.empties()
    desk.prints(b"x")
    desk.slot.died(2.0, 6000)
    desk.slot.close()
    assert desk.take() == [(4, 0, 0, b"x", False)]


def test_a_slot_that_ends_may_have_emptied_its_files(desk: Desk) -> None:
    desk.begin(7, 3, 4)
    desk.prints(b"a long line of three")
    desk.note(0)
    desk.take()
    desk.empties()
    desk.prints(b"quick")
    desk.slot.progressed(1)
    desk.slot.close()
    assert desk.take() == [(4, 0, 0, b"quick", False)]


def test_idle_slots_are_not_looked_at_for_ever(desk: Desk) -> None:
    assert desk.collector.deadline() == float("inf")
    desk.begin(7, 3)
    assert desk.collector.deadline() == 0.5
    assert desk.collector.is_due(0.5)
    desk.beat()
    for _ in range(evidence.IDLE_BEATS):
        assert desk.collector.deadline() < float("inf")
        desk.beat(busy=False)
    assert desk.collector.deadline() == float("inf")


def test_more_is_said_to_wait_only_if_it_does(desk: Desk) -> None:
    desk.begin(7, 3)
    desk.prints(b"all of it")
    desk.beat()
    desk.beat()
    assert [told[3] for told in desk.take()] == [b"all of it"]
    desk.slot.progressed(1)
    desk.beat(busy=False)  # it has ended, and has printed no more
    assert desk.collector.take(1e9) is None
    desk.begin(8, 4)
    desk.note(0)
    found = desk.collector.take(1e9)
    assert found is not None
    assert not found[1]
    desk.slot.close()
    with pytest.raises(OSError):
        desk.slot.files[0].size()  # closed: nobody reads there any more


def test_a_slot_for_which_there_can_be_no_files_prints_as_ever(tmp_path: Path) -> None:
    assert Collector(100, 0.5, str(tmp_path / "missing")).open() is None
