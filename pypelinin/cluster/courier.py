"""Brings evidence from a Broker to the Router, one message after the other.

The next one is only made when the Router has the one before: so a job that prints much waits
for itself, and never for outcomes. What was on its way when a link ended is sent again.
"""

from __future__ import annotations

from pypelinin.cluster.member import Member
from pypelinin.machine import Command, Event, record
from pypelinin.wire.evidence import Evidence, NodeSample


@record
class EvidenceFound(Event):
    """What is to be brought next; *more* is waiting behind it."""

    evidence: Evidence
    more: bool


@record
class Sampled(Event):
    """How the node is now."""

    sample: NodeSample


@record
class TakeEvidence(Command):
    """The evidence that was found last is with the Router; the next may come."""


class Courier:
    """Has at most one message on its way."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._carried: Evidence | None = None
        self._number = 0
        self._more = False

    @property
    def busy(self) -> bool:
        """Whether something is not with the Router yet."""
        return self._carried is not None or self._more

    def event(self, event: Event) -> list[Command]:
        if isinstance(event, Sampled):
            return self._member.send(event.sample)
        assert isinstance(event, EvidenceFound)
        self._carried, self._more = event.evidence, event.more
        return self._send()

    def welcomed(self) -> list[Command]:
        """A new link: what was on its way may be lost."""
        return self._send()

    def _send(self) -> list[Command]:
        link = self._member.link
        if self._carried is None or link is None:
            return []
        commands = self._member.send(self._carried)
        self._number = link.sent
        return commands

    def acknowledged(self, number: int) -> list[Command]:
        """The Router has all messages of this link up to *number*."""
        if self._carried is None or not self._number or number < self._number:
            return []
        self._carried, self._number = None, 0
        return [TakeEvidence()]
