"""The one shape of everything alive: events in, commands out, time as an argument.

A machine is total: nothing a peer can send makes `handle` raise. It owns no clock,
no socket and no randomness; the loop (or the simulator) performs its commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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
