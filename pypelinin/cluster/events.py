"""What happens to the cluster's machines, and what they ask the world to do."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Envelope, Record


@dataclass(frozen=True, slots=True)
class Received(Event):
    """*peer* (its address on the socket) sent a message that the codec accepted."""

    peer: bytes
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Malformed(Event):
    """*peer* sent bytes that are no message; *code* "version" or "malformed"."""

    peer: bytes
    code: str
    what: str


@dataclass(frozen=True, slots=True)
class Unsendable(Event):
    """The socket knows no way to *peer* any more, or its outbox is over its bound."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """All rows up to *lsn* are durable."""

    lsn: int


@dataclass(frozen=True, slots=True)
class CommitFailed(Event):
    """The journal cannot take rows; the Router must stop (nothing was acknowledged)."""

    what: str


@dataclass(frozen=True, slots=True)
class Drain(Event):
    """Asked to end: finish what runs, take nothing new; asked again: stop now."""


@dataclass(frozen=True, slots=True)
class Send(Command):
    """Send to *peer*; it is on its way as soon as the loop gets to it."""

    peer: bytes
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class SendAfter(Command):
    """Send to *peer* once the row *lsn* is durable: this is what "accepted" hangs on."""

    peer: bytes
    envelope: Envelope
    lsn: int


@dataclass(frozen=True, slots=True)
class Write(Command):
    """Append *row* to the journal; its number is *lsn*."""

    lsn: int
    row: Record


@dataclass(frozen=True, slots=True)
class KeepImage(Command):
    """Keep the image of run *number* (0: of the state) as of row *lsn*."""

    number: int
    lsn: int
    image: Record


@dataclass(frozen=True, slots=True)
class Compact(Command):
    """Rows up to *lsn* are covered by images now; drop them, and the images of *gone*."""

    lsn: int
    gone: array[int]


@dataclass(frozen=True, slots=True)
class DropValues(Command):
    """Once row *lsn* is durable nobody needs these kept values: files, or all of a run's id."""

    names: tuple[str, ...]
    lsn: int


@dataclass(frozen=True, slots=True)
class Publish(Command):
    """Broadcast a hint; nobody may depend on it."""

    topic: str
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class Say(Command):
    """A line for the daemon's log."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Stop(Command):
    """End this daemon; *error* is empty if that is what was asked for."""

    error: str = ""
