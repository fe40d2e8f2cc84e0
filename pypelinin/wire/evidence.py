"""What jobs printed and used: told by Brokers, kept by the Router, asked for by clients.

Evidence is no fact: it stands in no row, and losing some of it changes nothing else.
"""

from __future__ import annotations

from pypelinin.machine import record
from pypelinin.wire.codec import Blobs, Record

STDOUT, STDERR, USAGE, ENDING = 0, 1, 2, 3
"""Kinds of what is kept of an attempt: two streams, what it used, and how it failed."""
STREAMS = ("stdout", "stderr")
LOGS_BYTES_MAX = 256 * 1024
"""About what one answer or one message of evidence carries."""


@record
class NodeSample(Record):
    """How a node is now: CPU in percent of all its cores, memory in bytes, load of a minute."""

    cpu_percent: float
    memory_used: int
    memory_total: int
    load: float


@record
class AttemptUsage(Record):
    """What one attempt took. *memory_peak* is in bytes; *own_peak*: of this attempt alone, else
    of all that ran in its slot before, too. *began_at* is in seconds since 1970."""

    run: str
    job: int
    fence: int
    began_at: float
    wall_s: float
    cpu_s: float
    memory_peak: int
    own_peak: bool
    stdout_bytes: int
    stderr_bytes: int


@record
class Printed(Record):
    """The next *size* bytes of the message are what an attempt printed from *offset* on.

    *live*: the newest of much, to look at; what is to be kept of it comes when it has ended.
    """

    run: str
    job: int
    fence: int
    stream: int
    offset: int
    size: int
    live: bool = False


@record
class Evidence(Record):
    """Of a Broker's jobs; *blobs* is one blob, the bytes of all of *printed*."""

    printed: tuple[Printed, ...]
    usages: tuple[AttemptUsage, ...]
    blobs: Blobs


@record
class GetLogs(Record):
    """What is kept of *job* (-1: of all) of a run, from place *offset* of it on.

    *fence* 0: of all attempts. *kinds* has bit 1 << kind for each kind that is wanted.
    """

    request: int
    run: str
    job: int = -1
    fence: int = 0
    offset: int = 0
    kinds: int = 15


@record
class LogEntry(Record):
    """The next *size* bytes of the answer; *offset* as in `Printed`."""

    kind: int
    job: int
    fence: int
    offset: int
    size: int


@record
class Logs(Record):
    """Some of it; go on at *next*, unless *end*: then that is all for now.

    *open*: there may be more. *running*: the fence of the attempt that runs now, on *node*
    (0: none, or all jobs were asked for). *dropped*: the run's evidence was deleted, or is not
    complete.
    """

    request: int
    entries: tuple[LogEntry, ...]
    blobs: Blobs
    next: int
    end: bool
    open: bool
    running: int = 0
    node: str = ""
    dropped: bool = False
