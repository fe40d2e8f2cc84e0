"""Where a Router's turn collects what to do; a row is applied in the moment it is written."""

from __future__ import annotations

from collections.abc import Iterable

from pypelinin.cluster.events import DropLogs, DropValues, Publish, Say, SendAfter, Write
from pypelinin.cluster.link import Link
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.state import State
from pypelinin.machine import Command
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import is_kept, value_name
from pypelinin.wire.rows import Forgotten, Released

_LETS_GO = frozenset((Released, Forgotten))


class Scribe:
    """The commands of one turn; shared by all parts of the Router."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.commands: list[Command] = []
        self._events = 0

    def write(self, rows: Iterable[Record]) -> None:
        """Rows to the journal and into the state, in this order."""
        for row in rows:
            unneeded = self._unneeded(row) if type(row) in _LETS_GO else None
            self.state.apply(row)
            self.commands.append(Write(self.state.lsn, row))
            if unneeded:
                self.drop(unneeded)
            if unneeded and type(row) is Forgotten:
                self.commands.append(DropLogs(tuple(unneeded)))

    def _unneeded(self, row: Record) -> list[str]:
        """Kept values that nobody asks for once *row* is a fact."""
        runs = self.state.runs.by_number
        if isinstance(row, Released):
            run = runs[row.number]
            names = [value_name(run.results[j]) for j in row.jobs if is_kept(run.results.get(j))]
            return [name for name in names if name.startswith(run.id)]  # else they are only lent
        assert isinstance(row, Forgotten)
        return [runs[number].id for number in row.runs]

    def release(self, runs: Iterable[RunRecord]) -> None:
        """Their client has all he wants of them; what is not finished is released at its end."""
        over = [r for r in runs if r.finished_at and not self.state.runs.lends(r.number)]
        self.write(self.state.runs.judge_release(over))
        self.drop(run.id for run in over)
        self.state.runs.let_go(over)

    def drop(self, names: Iterable[str]) -> None:
        """Let kept values go when all that is written is durable."""
        listed = tuple(names)
        if listed:
            self.commands.append(DropValues(listed, self.state.lsn))

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
