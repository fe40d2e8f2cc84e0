"""The history sees what must not be, and lets be what may."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from pypelinin.graph import states
from pypelinin.ids import make_fence
from pypelinin.testing.history import BROKE, SUCCEEDED, History, Violation
from pypelinin.testing.scripts import NIL, RunScript, random_script
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import Failure, Kind
from pypelinin.wire.messages import JobsOut, Lot
from pypelinin.wire.rows import (
    CancelledRuns,
    Ended,
    Epoch,
    FailedJob,
    FinishedRun,
    Forgotten,
    HandedOut,
    JobsEnded,
    Joined,
    Left,
    LotClosed,
    LotRow,
    LotsClosed,
    PartAdded,
    Submitted,
)

PLACE = ("node", 1)
F1, F2, F3 = (make_fence(1, attempt) for attempt in (1, 2, 3))


def ints(*values: int) -> array[int]:
    return array("I", values)


def chain_of_two(retries: int = 0) -> RunScript:
    script = random_script(Random(0), 1, [{}])
    kind = Kind("Short", {}, retries, 0)
    return replace(
        script, upstreams=[(), (0,)], kinds=[kind, kind], failing=[0.0, 0.0], payloads=[NIL, NIL]
    )


class Book:
    """A history in which run 1, a chain of two jobs, was submitted and node 1 joined."""

    def __init__(self, retries: int = 0) -> None:
        self.script = chain_of_two(retries)
        self.run = self.script.id
        self.history = History({self.run: self.script}, Counter())
        self.rows: list[Record] = []
        self.write(Epoch(1, 0, "c", 0.0), Joined(1, "node", "i"))
        self.write(Submitted(1, 1, self.script.header, 0.0))

    def write(self, *rows: Record) -> None:
        for row in rows:
            self.history.wrote(row)
            self.rows.append(row)

    def give(self, fence: int, job: int, node: int = 1, lsn: int | None = None) -> None:
        self.write(HandedOut(node, (LotRow(fence, ints(1), ints(job)),)))
        basis = len(self.rows) - 1 if lsn is None else lsn
        lot = Lot(fence, "Short", ints(1), ints(job))
        epoch = self.history.lineage.epoch
        self.history.sent(JobsOut(epoch, basis, (), (lot,), Blobs()))

    def execute(self, fence: int, job: int, state: str = SUCCEEDED) -> None:
        self.history.began(fence, self.run, job, PLACE)
        self.history.ended(fence, state)

    def record(self, fence: int, status: int = states.DONE) -> None:
        self.write(JobsEnded((Ended(fence, 0, bytes((status,))),), ()))

    def crash(self, kept: int) -> None:
        del self.rows[kept:]
        self.history.crashed(self.rows)


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_run_from_its_begin_to_its_end(book: Book) -> None:
    for fence, job in ((F1, 0), (F2, 1)):
        book.give(fence, job)
        book.execute(fence, job)
        book.record(fence)
    book.write(FinishedRun(1, 1.0), Forgotten(ints(1)))
    assert book.history.lineage.forgotten == {book.run}


def test_a_job_before_its_upstream(book: Book) -> None:
    with pytest.raises(Violation, match="before upstream 0"):
        book.give(F1, 1)


def test_a_basis_that_does_not_cover_the_upstreams(book: Book) -> None:
    book.give(F1, 0)
    book.execute(F1, 0)
    book.record(F1)
    with pytest.raises(Violation, match="does not name row"):
        book.give(F2, 1, lsn=2)


def test_two_attempts_at_once(book: Book) -> None:
    book.give(F1, 0)
    with pytest.raises(Violation, match="twice at once"):
        book.give(F2, 0)


def test_a_fence_that_was_used(book: Book) -> None:
    book.give(F1, 0)
    book.write(LotsClosed((LotClosed(F1, 0, True),)))
    with pytest.raises(Violation, match="is not new"):
        book.give(F1, 0)


def test_an_outcome_nobody_produced(book: Book) -> None:
    book.give(F1, 0)
    with pytest.raises(Violation, match="but handed out"):
        book.record(F1)
    book.execute(F1, 0, BROKE)
    with pytest.raises(Violation, match="but broke"):
        book.record(F1)


def test_an_outcome_of_a_lot_that_is_not_there(book: Book) -> None:
    with pytest.raises(Violation, match="unknown lot"):
        book.record(F1)


def test_an_outcome_that_is_recorded_twice(book: Book) -> None:
    book.give(F1, 0)
    book.execute(F1, 0)
    with pytest.raises(Violation, match="more outcomes than jobs"):
        book.write(JobsEnded((Ended(F1, 0, b"\1\1"),), ()))
    book.record(F1)
    with pytest.raises(Violation, match="is over and handed out again"):
        book.give(F2, 0)


def test_retries_are_counted(book: Book) -> None:
    book.give(F1, 0)
    book.execute(F1, 0, BROKE)
    with pytest.raises(Violation, match="has 0 tries"):
        book.record(F1, states.AGAIN)
    patient = Book(retries=1)
    patient.give(F1, 0)
    patient.execute(F1, 0, BROKE)
    with pytest.raises(Violation, match="has 1 tries"):
        patient.record(F1, states.FAILED)
    patient.record(F1, states.AGAIN)


def test_a_job_of_a_slot_that_could_not_start_was_never_begun(book: Book) -> None:
    book.give(F1, 0)
    failure = FailedJob(1, 0, Failure("import", "ImportError", "no module"))
    book.write(JobsEnded((Ended(F1, 0, b"\2"),), (failure,)))


def test_an_end_that_leaves_a_job_out(book: Book) -> None:
    with pytest.raises(Violation, match="was skipped although"):
        book.write(FinishedRun(1, 1.0))
    book.write(CancelledRuns(ints(1)), FinishedRun(1, 1.0))
    with pytest.raises(Violation, match="finished twice"):
        book.write(FinishedRun(1, 2.0))


def test_an_end_while_a_job_is_out(book: Book) -> None:
    book.give(F1, 0)
    book.write(CancelledRuns(ints(1)))
    with pytest.raises(Violation, match="still runs"):
        book.write(FinishedRun(1, 1.0))


def test_an_open_run_is_not_forgotten(book: Book) -> None:
    book.write(PartAdded(1, 0, b"", b""))
    with pytest.raises(Violation, match="an open run"):
        book.write(Forgotten(ints(1)))


def test_a_run_whose_parts_did_not_all_come_may_be_forgotten(book: Book) -> None:
    book.write(Forgotten(ints(1)))
    assert book.history.lineage.runs == {}


def test_epochs_rise(book: Book) -> None:
    with pytest.raises(Violation, match="epoch 1 after 1"):
        book.write(Epoch(1, 3, "c", 0.0))


def test_work_that_is_done_again_for_nothing(book: Book) -> None:
    book.give(F1, 0)
    book.execute(F1, 0)
    book.write(LotsClosed((LotClosed(F1, 0, False),)))
    book.give(F2, 0)
    with pytest.raises(Violation, match="is executed as"):
        book.history.began(F2, book.run, 0, PLACE)


def test_work_of_a_lost_node_is_done_again(book: Book) -> None:
    book.give(F1, 0)
    book.history.began(F1, book.run, 0, PLACE)
    book.write(LotsClosed((LotClosed(F1, 0, True),)), Left(1, "silent"), Joined(2, "b", "j"))
    book.give(F2, 0, node=2)
    book.history.began(F2, book.run, 0, ("b", 1))
    assert book.history.counters["executed twice at once"] == 1


def test_work_on_rows_that_were_lost_is_void_and_may_be_done_again(book: Book) -> None:
    book.give(F1, 0)
    book.execute(F1, 0)
    book.record(F1)
    kept = len(book.rows) - 2  # the hand-out and the outcome are lost, not their basis
    book.give(F2, 1)
    book.crash(kept)
    book.write(Epoch(2, kept, "c", 0.0))
    book.history.began(F2, book.run, 1, PLACE)  # its basis is gone, the Broker cannot know
    assert book.history.counters["begun in vain"] == 1
    with pytest.raises(Violation, match="before upstream"):
        book.write(HandedOut(1, (LotRow(F2, ints(1), ints(1)),)))
    book.write(HandedOut(1, (LotRow(F1, ints(1), ints(0)),)))  # its basis stands
    assert book.history.counters["adopted lots"] == 1


def test_what_was_tried_since_is_not_adopted() -> None:
    book = Book(retries=3)
    for fence in (F1, F2):
        book.give(fence, 0)
        book.execute(fence, 0, BROKE)
        book.record(fence, states.AGAIN)
    book.write(Epoch(2, len(book.rows), "c", 0.0))
    with pytest.raises(Violation, match="tried since"):
        book.write(HandedOut(1, (LotRow(F1, ints(1), ints(0)),)))


def test_one_fence_is_executed_once(book: Book) -> None:
    book.give(F1, 0)
    with pytest.raises(Violation, match="was never given"):
        book.execute(F3, 0)
    with pytest.raises(Violation, match="is not for"):
        book.execute(F1, 1)
    book.execute(F1, 0)
    with pytest.raises(Violation, match="begun again"):
        book.execute(F1, 0)
