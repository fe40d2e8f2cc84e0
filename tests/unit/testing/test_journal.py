"""The simulated journal keeps what was committed, in order, and nothing else."""

from __future__ import annotations

from array import array
from random import Random

import pytest

from pypelinin.cluster.events import Compact, KeepImage, Write
from pypelinin.cluster.images import state_image
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.testing.journal import SimJournal
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.rows import Joined, unpack_row


class Book:
    def __init__(self) -> None:
        self.timeline = Timeline()
        self.journal = SimJournal(self.timeline, Random(1))
        self.state = State(Limits())
        self.committed: list[int] = []
        self.journal.on_commit = self.committed.append

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            row = Joined(self.state.lsn + 1, "n", "i")
            self.state.apply(row)
            self.journal.append(Write(self.state.lsn, row))

    def compact(self) -> None:
        self.journal.append(KeepImage(0, self.state.lsn, state_image(self.state)))
        self.journal.append(Compact(self.state.lsn, array("I")))


@pytest.fixture
def book() -> Book:
    return Book()


def test_rows_are_committed_in_groups(book: Book) -> None:
    book.write()  # alone, as nothing else was there yet
    book.write(4)
    assert book.journal.committed == 0
    while book.timeline.step():
        pass
    assert book.committed == [1, 5]


def test_what_waits_for_a_row_comes_when_it_is_durable_and_in_order(book: Book) -> None:
    done: list[str] = []
    book.write(2)
    book.journal.after(2, lambda: done.append("second"))
    book.journal.after(0, lambda: done.append("after it"))
    assert done == []
    book.timeline.step()  # the commit of row 1
    assert done == []
    book.timeline.step()
    assert done == ["second", "after it"]


def test_a_crash_takes_what_was_not_committed(book: Book) -> None:
    done: list[str] = []
    book.write(3)
    book.timeline.step()
    book.journal.after(3, lambda: done.append("never"))
    book.journal.crash()
    assert 1 <= book.journal.committed == len(book.journal.rows) <= 3
    while book.timeline.step():
        pass
    assert done == []
    assert book.committed == [1]


def test_an_orderly_end_commits_everything(book: Book) -> None:
    done: list[str] = []
    book.write(3)
    book.journal.after(3, lambda: done.append("told"))
    book.journal.finish()
    book.journal.crash()
    assert (book.journal.committed, done) == (3, ["told"])


def test_rows_are_numbered_without_holes(book: Book) -> None:
    with pytest.raises(AssertionError, match="row 2"):
        book.journal.append(Write(2, Joined(1, "n", "i")))


def test_images_stand_for_rows_once_they_are_durable(book: Book) -> None:
    book.write(3)
    book.compact()
    book.write(2)
    assert (len(book.journal.rows_behind()), book.journal.images()) == (5, [])
    while book.timeline.step():
        pass
    assert (len(book.journal.rows_behind()), len(book.journal.images())) == (2, 1)
    for images in (False, True):
        assert book.journal.replayed(State(Limits()), images).digest() == book.state.digest()


def test_a_crash_takes_images_that_are_not_durable(book: Book) -> None:
    book.write(3)
    while book.timeline.step():
        pass
    book.compact()
    book.journal._committing = 0  # the commit had not begun
    book.journal.crash()
    assert book.journal.images() == []
    assert [unpack_row(row) for row in book.journal.rows] == book.journal.rows_behind()
