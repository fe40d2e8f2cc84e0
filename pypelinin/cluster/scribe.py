"""Where a Router's turn collects what to do; a row is applied in the moment it is written."""

from __future__ import annotations

from collections.abc import Iterable

from pypelinin.cluster.events import Publish, Say, SendAfter, Write
from pypelinin.cluster.link import Link
from pypelinin.cluster.state import State
from pypelinin.machine import Command
from pypelinin.wire.codec import Envelope, Record


class Scribe:
    """The commands of one turn; shared by all parts of the Router."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.commands: list[Command] = []
        self._events = 0

    def write(self, rows: Iterable[Record]) -> None:
        """Rows to the journal and into the state, in this order."""
        for row in rows:
            self.state.apply(row)
            self.commands.append(Write(self.state.lsn, row))

    def answer(self, peer: bytes, message: Record) -> None:
        """A reply; it waits for everything it may have seen to be durable."""
        self.commands.append(SendAfter(peer, Envelope(message), self.state.lsn))

    def farewell(self, peer: bytes, link: Link) -> None:
        """The last acknowledgement on a link: all that came on it is durable."""
        link.acknowledge(link.received)
        self.commands.append(SendAfter(peer, link.ping(), self.state.lsn))

    def say(self, level: str, text: str) -> None:
        self.commands.append(Say(level, text))

    def publish(self, topic: str, **body: object) -> None:
        """A hint to whoever watches, numbered so that a gap can be noticed."""
        self._events += 1
        head: dict[str, object] = {"epoch": self.state.epoch, "seq": self._events}
        self.commands.append(Publish(topic, {**head, **body}))

    def take(self) -> list[Command]:
        commands, self.commands = self.commands, []
        return commands
