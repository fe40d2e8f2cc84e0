"""Jobs, reducers and frames as classes, and `invoke`, in slots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypelinin.errors import ProgramError
from pypelinin.streams import ItemFailed, Object, Work, invoke
from pypelinin.streams.common import Frame, Job, Reducer


class Square(Job):
    """Notes where it was set up."""

    setups: Path

    def postSetup(self) -> None:
        with open(self.setups, "a") as file:
            file.write(f"{os.getpid()}\n")

    def handleWork(self, work: int) -> None:
        self.emit(work * work)
        self.emit(None)


class Sum(Reducer):
    def handleInit(self, store: Object) -> None:
        store.total = 0

    def handleAdd(self, store: Object, work: int) -> None:
        store.total += work

    def handleJoin(self, store: Object, other: Object) -> None:
        store.total += other.total

    def handleDone(self, store: Object) -> None:
        self.emit(store.total)


class Rising(Reducer):
    """What is below ten goes through the stages before it again."""

    def handleInit(self, store: Object) -> None:
        store.found = []

    def handleAdd(self, store: Object, work: int) -> None:
        if work < 10:
            self.recur(work)
        else:
            store.found.append(work)

    def handleJoin(self, store: Object, other: Object) -> None:
        store.found += other.found

    def handleDone(self, store: Object) -> None:
        self.emit(sorted(store.found))


class SumThrough(Frame):
    def handleFirst(self, store: Object, work: int) -> None:
        store.first, store.total = work, 0
        self.recur(work)

    def handleNext(self, store: Object, work: int) -> None:
        store.total += work

    def handleDone(self, store: Object) -> None:
        self.emit((store.first, store.total))


class CountTo(Job):
    def handleWork(self, work: int) -> None:
        for number in range(1, work + 1):
            self.emit(number)


def test_a_job_is_set_up_once_in_each_slot(tmp_path: Path) -> None:
    class Here(Square):
        setups = tmp_path / "setups"

    w = Work(range(3000), slots=2)
    w.job(Here)
    w.reduce(Sum)
    assert w.run() == [sum(n * n for n in range(3000))]
    pids = (tmp_path / "setups").read_text().split()
    assert 1 <= len(pids) == len(set(pids)) <= 2
    assert str(os.getpid()) not in pids


def test_the_same_class_is_two_stages(tmp_path: Path) -> None:
    class Here(Square):
        setups = tmp_path / "setups"

    w = Work([1, 2, 3], False)
    w.job(Here)
    w.job(Here)
    assert sorted(w.run()) == [1, 16, 81]
    assert (tmp_path / "setups").read_text().split() == [str(os.getpid())] * 2


def test_a_reducer_sends_work_round_again() -> None:
    w = Work([1, 7, 20, 2], slots=2)
    w.job(lambda n: n + 4)
    w.reduce(Rising)
    assert w.run() == [[10, 11, 13, 24]]


def test_a_frame_sums_what_its_stages_give() -> None:
    w = Work([4, 5, 8], slots=2)
    w.frame(SumThrough)
    w.job(CountTo)
    w.frameEnd()
    assert sorted(w.run()) == [(4, 10), (5, 15), (8, 36)]


def test_a_program_that_fails_in_a_slot_tells_all() -> None:
    w = Work([7], slots=1)
    w.job(lambda code: invoke(["/bin/sh", "-c", f"echo out; echo err >&2; exit {code}"]))
    with pytest.raises(ItemFailed, match="ended with exit code 7") as caught:
        w.run()
    error = caught.value.exception
    assert isinstance(error, ProgramError)
    assert (error.stdout, error.stderr, error.code) == ("out\n", "err\n", 7)


def test_programs_run_side_by_side() -> None:
    w = Work(range(8), slots=2)
    w.job(lambda n: invoke(["/bin/sh", "-c", f"echo {n}"])[0])
    assert sorted(w.run()) == [f"{n}\n" for n in range(8)]
