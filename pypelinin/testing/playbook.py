"""A playbook for one machine: what happens to it, and what it must ask for, in order.

    book = Playbook(Client(Limits()))
    book >> 2.0 >> Received(b"", answer) << Send << None

`>>` gives an event, or lets that many seconds go by; `<<` names the next command: equal
to it, or of that type; None says that there is no other. What was not named before the
next event came is an error, so a playbook tells the whole story.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pypelinin.cluster.events import Publish, Say
from pypelinin.machine import Command, Event, Machine

C = TypeVar("C", bound=Command)


class Playbook:
    """Drives *machine*; commands of the types in *ignored* (what is for people) are left out."""

    def __init__(
        self,
        machine: Machine,
        now: float = 0.0,
        ignored: tuple[type[Command], ...] = (Say, Publish),
    ) -> None:
        self.machine = machine
        self.now = now
        self.commands: list[Command] = []
        self._ignored = ignored

    def __rshift__(self, given: Event | float) -> Playbook:
        self._nothing_left()
        if isinstance(given, Event):
            return self.turn(given)
        self.now += given
        return self.turn()

    def __lshift__(self, expected: Command | type[Command] | None) -> Playbook:
        if expected is None:
            self._nothing_left()
            return self
        assert self.commands, f"expected {expected}, but the machine asks for nothing more"
        command = self.commands.pop(0)
        same = isinstance(command, expected) if isinstance(expected, type) else command == expected
        assert same, f"expected {expected}, got {command}"
        return self

    def turn(self, *batch: Event) -> Playbook:
        """All of *batch* at once, as the loop hands it over."""
        self._take(self.machine.handle(batch, self.now))
        return self

    def take(self, kind: type[C]) -> C:
        """The next command, which must be a *kind*: to look at it more closely."""
        assert self.commands, f"expected {kind.__name__}, but the machine asks for nothing more"
        command = self.commands.pop(0)
        assert isinstance(command, kind), f"expected {kind.__name__}, got {command}"
        return command

    def until_deadline(self) -> Playbook:
        """Let time go by until the machine wants to be called."""
        self._nothing_left()
        deadline = self.machine.deadline()
        assert deadline is not None, "the machine waits for nothing"
        self.now = max(self.now, deadline)
        return self.turn()

    def _take(self, commands: Sequence[Command]) -> None:
        self.machine.check()
        self.commands += [c for c in commands if not isinstance(c, self._ignored)]

    def _nothing_left(self) -> None:
        assert not self.commands, f"not expected: {self.commands}"
