"""Members at the Router's desk: their sessions, links, leases and acknowledgements."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pypelinin.cluster.events import Send
from pypelinin.cluster.link import Link
from pypelinin.cluster.scribe import Scribe
from pypelinin.config import Limits
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.evidence import NodeSample
from pypelinin.wire.messages import Rejoin

SESSION_BITS = 32
ACKNOWLEDGE_S = 0.1
CLOCK_OFF_S = 5.0
"""What is safe is acknowledged after so long, if no message has said it before."""


@dataclass(slots=True)
class Peer:
    """One welcomed incarnation; *runs* are those whose headers it was sent.

    Until its joining is durable (row *welcome_lsn*) it is not *open*: it gets no welcome,
    and what it is told waits in the link's window. So nobody has work whom a restarted
    Router would not wait for.
    """

    address: bytes
    role: str
    name: str
    incarnation: str
    hello: int
    link: Link
    heard_at: float
    node: int = 0
    welcome_lsn: int = 0
    open: bool = False
    told_safe: int = 0
    runs: dict[int, None] = field(default_factory=dict)
    version: str = ""
    """Of its program, as it says."""
    sample: NodeSample | None = None


class Desk:
    """All sessions of this epoch."""

    def __init__(self, scribe: Scribe, limits: Limits) -> None:
        self.peers: dict[int, Peer] = {}
        self._scribe = scribe
        self._limits = limits
        self._sessions = 0
        self._hellos: dict[str, int] = {}
        self._durable = 0
        self._pending: deque[tuple[int, Link, int]] = deque()
        self._heard: dict[int, None] = {}
        self._ping_at = 0.0
        self._acknowledge_at = float("inf")
        self._turn_at = 0.0

    def by_name(self, role: str, name: str) -> Peer | None:
        for peer in self.peers.values():
            if peer.role == role and peer.name == name:
                return peer
        return None

    def fresh(self, incarnation: str, hello: int) -> bool:
        """Whether this hello is newer than all others of its incarnation."""
        if hello <= self._hellos.get(incarnation, 0):
            return False
        self._hellos[incarnation] = hello
        return True

    def is_taken(self, role: str, name: str, incarnation: str, now: float) -> bool:
        """Whether another incarnation of that name was heard a moment ago.

        A dead one is not, soon; so a new one need not wait for the lease of the old one, and
        two that live do not throw each other out for ever.
        """
        other = self.by_name(role, name)
        if other is None or other.incarnation == incarnation:
            return False
        return now - other.heard_at < 2 * self._limits.heartbeat_interval_s

    def admit(
        self, address: bytes, role: str, name: str, incarnation: str, hello: int, now: float
    ) -> Peer:
        """Open a session; the caller has ended the one before."""
        self._sessions += 1
        session = (self._scribe.state.epoch << SESSION_BITS) | self._sessions
        link = Link(session, self._limits.resend_interval_s)
        peer = Peer(address, role, name, incarnation, hello, link, now)
        self.peers[session] = peer
        return peer

    @property
    def durable(self) -> int:
        """The newest row that is known to be durable."""
        return self._durable

    def dismiss(self, peer: Peer) -> None:
        self.peers.pop(peer.link.session, None)

    def receive(self, address: bytes, envelope: Envelope, now: float) -> tuple[Peer, Record] | None:
        """The member and the message to handle, if it is the next of a known session."""
        peer = self.peers.get(envelope.session)
        if peer is None or peer.address != address:
            if peer is None and not isinstance(envelope.message, Rejoin):
                self._send(address, Envelope(Rejoin(), envelope.session))
            return None
        peer.heard_at = now
        message, replies = peer.link.receive(envelope, now)
        for reply in replies:
            self._send(address, reply)
        if message is None:
            return None
        self._heard[peer.link.session] = None
        return peer, message

    def tell(self, peer: Peer, message: Record) -> None:
        envelope = peer.link.send(message)
        if peer.open:
            peer.told_safe = envelope.received
            self._send(peer.address, envelope)

    def _send(self, address: bytes, envelope: Envelope) -> None:
        self._scribe.commands.append(Send(address, envelope))

    # --- acknowledging and time --------------------------------------------------------

    def committed(self, lsn: int) -> None:
        """What came in before row *lsn* is safe now; the next message says so."""
        self._durable = max(self._durable, lsn)
        for peer in self.peers.values():
            if not peer.open and peer.welcome_lsn <= self._durable:
                peer.open = True  # its welcome is on its way, this follows
                for envelope in peer.link.again(0):
                    self._send(peer.address, envelope)
        while self._pending and self._pending[0][0] <= self._durable:
            _, link, number = self._pending.popleft()
            link.acknowledge(number)

    def end_turn(self, lsn: int) -> None:
        """What came in this turn is safe once its last row is durable."""
        for session in self._heard:
            peer = self.peers.get(session)
            if peer is not None:
                self._pending.append((lsn, peer.link, peer.link.received))
        if self._heard:
            self._heard.clear()
            self._acknowledge_at = min(self._acknowledge_at, self._turn_at + ACKNOWLEDGE_S)
        self.committed(self._durable)

    def begin_turn(self, now: float) -> bool:
        """After a pause of this process nobody's silence counts; returns whether it paused."""
        paused = now - self._turn_at > self._limits.stall_s
        if paused:
            for peer in self.peers.values():
                peer.heard_at = now
        self._turn_at = now
        return paused

    def ping(self, now: float) -> None:
        """The heartbeat of all members, and soon after a commit that of those it made safe."""
        beat = now >= self._ping_at
        if not beat and now < self._acknowledge_at:
            return
        self._acknowledge_at = float("inf")
        if beat:
            self._ping_at = now + self._limits.heartbeat_interval_s
        for peer in self.peers.values():
            link = peer.link
            if peer.open and (beat or link.safe > peer.told_safe):
                peer.told_safe = link.safe
                self._send(peer.address, link.ping())
            if link.safe < link.received:
                self._acknowledge_at = now + ACKNOWLEDGE_S

    def silent(self, now: float) -> Iterator[Peer]:
        """Members whose lease is over."""
        for peer in list(self.peers.values()):
            if now - peer.heard_at > self._lease(peer):
                yield peer

    def _lease(self, peer: Peer) -> float:
        limits = self._limits
        return limits.node_lease_s if peer.role == "broker" else limits.pipeliner_lease_s

    def deadline(self) -> float:
        return min(self._ping_at, self._acknowledge_at)

    def compare_clocks(self, role: str, clock: float, wall: float) -> None:
        """Say so if somebody's clock (0: not told) is not ours."""
        if clock and abs(clock - wall) > CLOCK_OFF_S:
            off = f"{clock - wall:+.0f} s"
            text = f"The clock of a {role} is off by {off}; only shown times suffer."
            self._scribe.say("warning", text)

    def check(self) -> None:
        names = [(peer.role, peer.name) for peer in self.peers.values()]
        assert len(set(names)) == len(names), "one name has two sessions"
        for peer in self.peers.values():
            peer.link.check()
