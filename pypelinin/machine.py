"""The one shape of everything alive: events in, commands out, time as an argument.

A machine is total: nothing a peer can send makes `handle` raise. It owns no clock,
no socket and no randomness; the loop (or the simulator) performs its commands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A dataclass of plain facts: compared by content, with slots, and never changed.

    That it is never changed is up to the type checker: a dataclass that looks after that
    itself takes four times as long to make, and each job goes through dozens of them.
    """
    return dataclasses.dataclass(slots=True, unsafe_hash=True)(cls)


class Event:
    """Something that happened; named in the past tense."""

    __slots__ = ()


class Command:
    """Something to be done by the world; named in the imperative."""

    __slots__ = ()


class Machine(Protocol):
    """What the loop drives."""

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        """Take all that happened until *now* (seconds, monotonic) and say what to do.

        An empty batch is a tick: look at what is due. Where the batch was cut never
        changes what is decided, only how it is bundled.
        """
        ...

    def deadline(self) -> float | None:
        """When the machine wants to be called at the latest, or None."""
        ...

    def check(self) -> None:
        """Assert every invariant; tests call it after every batch."""
        ...
