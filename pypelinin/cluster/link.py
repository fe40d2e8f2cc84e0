"""A link: messages between two peers, each handled once and in order.

Both directions are numbered from 1 and acknowledged cumulatively. What is sent stays in
the window until it is acknowledged, so the window is exactly what is not yet safe at the
other side. `acknowledge` says how far this side is *safe* (the Router: committed), which
may lag behind what was received. A gap is answered with Resend; a Ping every heartbeat
tells the last number, so a lost tail is noticed too.

A link belongs to one session, that is one welcome of one incarnation; envelopes of
another session are not for it.
"""

from __future__ import annotations

from collections import deque

from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.messages import Ping, Resend


class Link:
    """One side of a session; returns the envelopes to send, sends nothing itself."""

    __slots__ = ("_asked_at", "_interval", "_window", "received", "safe", "sent", "session")

    def __init__(self, session: int, resend_interval_s: float) -> None:
        self.session = session
        self.sent = 0
        self.received = 0
        self.safe = 0
        self._window: deque[tuple[int, Record]] = deque()
        self._interval = resend_interval_s
        self._asked_at = float("-inf")

    def send(self, message: Record) -> Envelope:
        """Number *message*; the caller sends the envelope."""
        self.sent += 1
        self._window.append((self.sent, message))
        return Envelope(message, self.session, self.sent, self.safe)

    def plain(self, message: Record) -> Envelope:
        """*message* on this session without a number (its loss does not matter)."""
        return Envelope(message, self.session, 0, self.safe)

    def receive(self, envelope: Envelope, now: float) -> tuple[Record | None, list[Envelope]]:
        """(the message to handle or None, the envelopes to send) for one of this session."""
        self._acknowledged(envelope.received)
        message, number = envelope.message, envelope.number
        if isinstance(message, Resend):
            return None, self.again(message.received)
        if isinstance(message, Ping):
            return None, self._ask(now) if message.sent > self.received else []
        if number == self.received + 1:
            self.received = number
            return message, []
        return None, self._ask(now) if number > self.received else []

    def acknowledge(self, number: int) -> None:
        """Everything received up to *number* is safe here."""
        self.safe = max(self.safe, number)

    def ping(self) -> Envelope:
        return self.plain(Ping(self.sent))

    @property
    def unacknowledged(self) -> int:
        return len(self._window)

    def _acknowledged(self, number: int) -> None:
        while self._window and self._window[0][0] <= number:
            self._window.popleft()

    def again(self, received: int) -> list[Envelope]:
        """Everything in the window behind number *received*."""
        return [
            Envelope(message, self.session, number, self.safe)
            for number, message in self._window
            if number > received
        ]

    def _ask(self, now: float) -> list[Envelope]:
        if now - self._asked_at < self._interval:
            return []
        self._asked_at = now
        return [self.plain(Resend(self.received))]

    def check(self) -> None:
        numbers = [number for number, _ in self._window]
        assert numbers == list(range(self.sent - len(numbers) + 1, self.sent + 1))
        assert self.safe <= self.received
