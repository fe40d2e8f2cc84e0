"""What happens to the cluster's machines, and what they ask the world to do."""

from __future__ import annotations

from array import array

from pypelinin.machine import Command, Event, record
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import Evidence, GetLogs


@record
class Received(Event):
    """*peer* (its address on the socket) sent a message that the codec accepted."""

    peer: bytes
    envelope: Envelope


@record
class Malformed(Event):
    """*peer* sent bytes that are no message; *code* "version" or "malformed"."""

    peer: bytes
    code: str
    what: str


@record
class Unsendable(Event):
    """The socket knows no way to *peer* any more, or its outbox is over its bound."""

    peer: bytes


@record
class Committed(Event):
    """All rows up to *lsn* are durable."""

    lsn: int


@record
class CommitFailed(Event):
    """The journal cannot take rows; the Router must stop (nothing was acknowledged)."""

    what: str


@record
class RoomChanged(Event):
    """The journal's disk is full (*short* says so; empty: no longer).

    While *stuck*, what was written is not durable, and will only be when there is room.
    """

    short: str
    stuck: bool = False


@record
class Drain(Event):
    """Asked to end: finish what runs, take nothing new; asked again: stop now."""


@record
class Send(Command):
    """Send to *peer*; it is on its way as soon as the loop gets to it."""

    peer: bytes
    envelope: Envelope


@record
class SendAfter(Command):
    """Send to *peer* once the row *lsn* is durable: this is what "accepted" hangs on."""

    peer: bytes
    envelope: Envelope
    lsn: int


@record
class Write(Command):
    """Append *row* to the journal; its number is *lsn*."""

    lsn: int
    row: Record


@record
class KeepImage(Command):
    """Keep the image of run *number* (0: of the state) as of row *lsn*."""

    number: int
    lsn: int
    image: Record


@record
class Compact(Command):
    """Rows up to *lsn* are covered by images now; drop them, and the images of *gone*."""

    lsn: int
    gone: array[int]


@record
class DropValues(Command):
    """Once row *lsn* is durable nobody needs these kept values: files, or all of a run's id."""

    names: tuple[str, ...]
    lsn: int


@record
class KeepEvidence(Command):
    """Keep what jobs on *node* printed and used, as far as there is room."""

    node: str
    evidence: Evidence


@record
class KeepEnding(Command):
    """Keep how an attempt failed; others of its job may follow."""

    run: str
    job: int
    fence: int
    failure: Failure


@record
class DropLogs(Command):
    """Nobody knows these runs any more."""

    runs: tuple[str, ...]


@record
class ReadLogs(Command):
    """Answer *question* with what is kept; *open*, *running* and *node* as in `Logs`."""

    peer: bytes
    question: GetLogs
    open: bool
    running: int
    node: str


@record
class Publish(Command):
    """Broadcast a hint; nobody may depend on it."""

    topic: str
    body: dict[str, object]


@record
class Say(Command):
    """A line for the daemon's log."""

    level: str
    text: str


@record
class Stop(Command):
    """End this daemon; *error* is empty if that is what was asked for."""

    error: str = ""
