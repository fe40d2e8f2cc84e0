"""A Broker's or Pipeliner's side of belonging to a cluster.

Says hello until it is welcomed, pings while it is, says hello again when the Router was
silent, asks for it, or began a new epoch. Refuses a Router older than one it has seen:
that would be a journal from a backup, or one without the newest rows.
"""

from __future__ import annotations

from collections.abc import Callable

from pypelinin.cluster.events import Say, Send
from pypelinin.cluster.link import Link
from pypelinin.cluster.roles import KEY_CODES
from pypelinin.config import Limits
from pypelinin.machine import Command, record
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Refusal
from pypelinin.wire.messages import Ping, Refused, Rejoin, Wait, Welcome

ROUTER = b""
"""The address of the one peer a member has."""


@record
class Reconnect(Command):
    """Throw the socket away and connect anew; a half-open connection looks like silence."""


class Member:
    """Membership of one incarnation; *hello(number)* builds its hello message."""

    def __init__(self, incarnation: str, limits: Limits, hello: Callable[[int], Record]) -> None:
        self.incarnation = incarnation
        self.limits = limits
        self.link: Link | None = None
        self.cluster = ""
        self.epoch = 0
        self.refusal = ""
        self._seen_lsn = 0
        self._hello = hello
        self._hellos = 0
        self._welcomed_hello = 0
        self._hello_at = 0.0
        self._ping_at = 0.0
        self._heard_at = 0.0
        self._connected_at = 0.0

    @property
    def joined(self) -> bool:
        return self.link is not None

    def is_hopeless(self, refusal: Refusal) -> bool:
        """Whether it was never welcomed, and with its key never will be."""
        return not self.cluster and refusal.code in KEY_CODES

    def deadline(self) -> float:
        return self._hello_at if self.link is None else self._ping_at

    def tick(self, now: float) -> list[Command]:
        """The hello or ping that is due."""
        beat = self.limits.heartbeat_interval_s
        if self.link is not None and now - self._heard_at > 3 * beat:
            self.link = None
        if self.link is not None:
            if now < self._ping_at:
                return []
            self._ping_at = now + beat
            return [Send(ROUTER, self.link.ping())]
        if now < self._hello_at:
            return []
        self._hello_at = now + beat
        self._hellos += 1
        commands: list[Command] = [Send(ROUTER, Envelope(self._hello(self._hellos)))]
        if now - max(self._heard_at, self._connected_at) > 5 * beat:
            self._connected_at = now
            commands.insert(0, Reconnect())
        return commands

    def send(self, message: Record) -> list[Command]:
        """*message* on the link; nothing if there is none (a hello tells all anew)."""
        return [] if self.link is None else [Send(ROUTER, self.link.send(message))]

    def receive(self, envelope: Envelope, now: float) -> tuple[Record | None, list[Command]]:
        """(a message for the owner, commands). A Welcome that counts is for the owner too."""
        message = envelope.message
        if isinstance(message, Welcome):
            return self._welcomed(message, now)
        if isinstance(message, Refused):
            known = self.refusal == message.refusal.what
            self.link, self.refusal = None, message.refusal.what
            self._hello_at = now + self.limits.heartbeat_interval_s
            text = f"{message.refusal.what} {message.refusal.remedy}"
            return None, [] if known else [Say("error", text)]
        if isinstance(message, Wait):
            self._heard_at = now
            self._hello_at = now + message.retry_ms / 1000
            return None, [Say("info", f"The Router asks to wait: {message.reason}")]
        if self.link is None or envelope.session != self.link.session:
            return None, []
        self._heard_at = now
        if isinstance(message, Rejoin):
            self.leave(now)
            return None, []
        received, envelopes = self.link.receive(envelope, now)
        if not isinstance(message, Ping):
            self.link.acknowledge(self.link.received)
        return received, [Send(ROUTER, reply) for reply in envelopes]

    def leave(self, now: float) -> None:
        """Say hello at the next tick."""
        self.link = None
        self._hello_at = now

    def _welcomed(self, message: Welcome, now: float) -> tuple[Record | None, list[Command]]:
        if message.incarnation != self.incarnation or message.hello != self._hellos:
            return None, []
        if message.hello == self._welcomed_hello:
            return None, []  # a double: its session may be over
        older = message.epoch < self.epoch or message.lsn < self._seen_lsn
        if message.cluster == self.cluster and older:
            self._hello_at = now + self.limits.heartbeat_interval_s
            return None, [
                Say(
                    "error",
                    f"The Router is at epoch {message.epoch}, row {message.lsn}, but epoch "
                    f"{self.epoch}, row {self._seen_lsn} of the same cluster was seen: its "
                    "journal is old. Not joining it.",
                )
            ]
        self.refusal = ""
        self._welcomed_hello = message.hello
        self.cluster, self.epoch, self._seen_lsn = message.cluster, message.epoch, message.lsn
        self.link = Link(message.session, self.limits.resend_interval_s)
        self._heard_at = now
        self._ping_at = now + self.limits.heartbeat_interval_s
        return message, []

    def check(self) -> None:
        if self.link is not None:
            self.link.check()
