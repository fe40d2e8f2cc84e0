"""Playbooks tell the whole story, or fail and say where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pypelinin.cluster.events import Say
from pypelinin.machine import Command, Event
from pypelinin.testing.playbook import Playbook


@dataclass(frozen=True)
class Rang(Event):
    times: int


@dataclass(frozen=True)
class Open(Command):
    door: int


@dataclass(frozen=True)
class Close(Command):
    pass


class Doorman:
    """Opens at once and closes two seconds later."""

    def __init__(self) -> None:
        self.close_at: float | None = None
        self.sane = True

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        commands: list[Command] = [Say("info", "hm")]
        for event in batch:
            assert isinstance(event, Rang)
            commands += [Open(door) for door in range(event.times)]
            self.close_at = now + 2.0
        if self.close_at is not None and now >= self.close_at:
            self.close_at = None
            commands.append(Close())
        return commands

    def deadline(self) -> float | None:
        return self.close_at

    def check(self) -> None:
        assert self.sane


@pytest.fixture
def book() -> Playbook:
    return Playbook(Doorman())


def test_a_story(book: Playbook) -> None:
    book >> Rang(2) << Open(0) << Open << None
    book >> 1.9 << None
    book >> 0.1 << Close << None
    assert book.now == 2.0


def test_a_batch_is_one_turn(book: Playbook) -> None:
    book.turn(Rang(1), Rang(1)) << Open(0) << Open(0) << None


def test_a_command_can_be_looked_at(book: Playbook) -> None:
    assert (book >> Rang(1)).take(Open).door == 0
    with pytest.raises(AssertionError, match="nothing more"):
        book.take(Open)


def test_time_goes_by_until_the_deadline(book: Playbook) -> None:
    book >> Rang(1) << Open
    book.until_deadline() << Close
    assert book.now == 2.0
    with pytest.raises(AssertionError, match="waits for nothing"):
        book.until_deadline()


def test_another_command_is_an_error(book: Playbook) -> None:
    with pytest.raises(AssertionError, match=r"expected .*Close.*, got Open"):
        book >> Rang(1) << Close
    with pytest.raises(AssertionError, match=r"expected Open\(door=5\), got Open\(door=0\)"):
        Playbook(Doorman()) >> Rang(1) << Open(5)


def test_a_command_that_does_not_come_is_an_error(book: Playbook) -> None:
    with pytest.raises(AssertionError, match="asks for nothing more"):
        book >> Rang(1) << Open << Close


def test_a_command_that_was_not_named_is_an_error(book: Playbook) -> None:
    with pytest.raises(AssertionError, match="not expected"):
        book >> Rang(1) << None
    with pytest.raises(AssertionError, match="not expected"):
        book >> 1.0


def test_what_is_for_people_counts_if_asked() -> None:
    Playbook(Doorman(), ignored=()) >> 0.0 << Say << None


def test_the_machine_is_checked_after_every_turn(book: Playbook) -> None:
    assert isinstance(book.machine, Doorman)
    book.machine.sane = False
    with pytest.raises(AssertionError):
        book >> 0.0
