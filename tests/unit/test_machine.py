"""Every machine has the one face, and its events and commands are records."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from pypelinin.cluster import events
from pypelinin.cluster.broker import Broker
from pypelinin.cluster.pipeliner import Pipeliner
from pypelinin.cluster.router import Router
from pypelinin.machine import Command, Event, Machine

MACHINES = [Broker, Pipeliner, Router]
WORDS = [
    word
    for _, word in inspect.getmembers(events, inspect.isclass)
    if issubclass(word, (Event, Command)) and word not in (Event, Command)
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("method", ["handle", "deadline", "check"])
def test_every_machine_has_the_one_face(machine: type, method: str) -> None:
    face = inspect.signature(getattr(Machine, method))
    assert list(inspect.signature(getattr(machine, method)).parameters) == list(face.parameters)


@pytest.mark.parametrize("word", WORDS)
def test_an_event_or_command_is_a_record_and_is_never_both(word: type) -> None:
    assert word.__dataclass_params__.unsafe_hash  # type: ignore[attr-defined]  # a dataclass's
    assert "__slots__" in vars(word)
    assert issubclass(word, Event) != issubclass(word, Command)
    assert dataclasses.is_dataclass(word)


def test_there_are_events_and_commands() -> None:
    assert {issubclass(word, Event) for word in WORDS} == {True, False}
