"""What is submitted, and what may be said of it: the records inside messages and rows.

A run is a header and parts; of each part the structure goes to the Pipeliner, the details
to the Router and the slots, and neither is decoded by the other.
"""

from __future__ import annotations

from dataclasses import field, replace

from pypelinin.graph.needs import ALL_CORES, UNSAID, WHOLE_NODE, Needs
from pypelinin.machine import record
from pypelinin.wire.codec import Ints, Record

PART_JOBS_MAX = 50_000
"""Jobs in one part of a definition, so that a part stays far below a frame's limit."""
PART_BYTES_MAX = 1024 * 1024
FRAME_BYTES_MAX = 8 * 1024 * 1024
"""No frame is larger; sockets drop who sends one."""
AMOUNT_MAX = 2**60
BATCH_ROWS_MAX = 1000
"""Rows of people's size (a run, a node) in one message."""


GONE = b"g"
"""In place of a packed result that nobody was to read any more."""
SHELL = "shell"
INLINE_BYTES_MAX = 64 * 1024
"""A packed value up to this size travels with its job or its outcome."""
KEPT = b"v"
"""First byte of a packed value that names another, which is kept outside of the journal."""
"""The worker every Broker offers that runs a command."""


def call_worker(version: str, function: str = "") -> str:
    """The worker every Broker offers that calls functions of Python *version* ("3.11").

    With the digest of one *function* behind it jobs of one function make a class of their
    own; nodes are chosen by what stands before the "/".
    """
    return f"call:{version}/{function}" if function else f"call:{version}"


def is_own(worker: str) -> bool:
    """Whether every Broker offers it, without a module of the user."""
    return worker == SHELL or worker.startswith("call:")


def offered(worker: str) -> str:
    """What a node must offer to run jobs of *worker*."""
    return worker.partition("/")[0]


@record
class Terms(Record):
    """On what terms jobs run: what they need of a node, and what their slot must be like.

    *cores* as in `graph.needs`; *memory* in bytes (0: not said); *timeout_s* 0: none. *isolate*:
    a slot of its own, used once. *startup_s*: how long a slot may take to load the workers for
    them (0: what is usual).
    """

    cores: int = 1
    memory: int = 0
    resources: dict[str, int] = field(default_factory=dict)
    timeout_s: float = 0.0
    isolate: bool = False
    env: dict[str, str] = field(default_factory=dict)
    startup_s: float = 0.0

    @property
    def sane(self) -> bool:
        """Whether it is something that a user can say."""
        return (
            (0 < self.cores <= AMOUNT_MAX or self.cores in (ALL_CORES, WHOLE_NODE))
            and 0 <= self.memory <= AMOUNT_MAX
            and 0.0 <= self.timeout_s <= AMOUNT_MAX  # NaN is not
            and 0.0 <= self.startup_s <= AMOUNT_MAX
            and all(0 < count <= AMOUNT_MAX for count in self.resources.values())
            and not any("=" in name or "\0" in name + text for name, text in self.env.items())
        )

    @property
    def key(self) -> TermsKey:
        """Equal for equal terms, and hashable."""
        return (
            self.cores, self.memory, tuple(sorted(self.resources.items())), self.timeout_s,
            self.isolate, tuple(sorted(self.env.items())), self.startup_s,
        )  # fmt: skip


TermsKey = tuple[
    int, int, tuple[tuple[str, int], ...], float, bool, tuple[tuple[str, str], ...], float
]


@record
class Kind(Record):
    """What some jobs of a run have in common: all the Router decides by.

    *terms* None: one core and nothing else. After each kill for memory the next of
    *more_memory* is what they may use.
    """

    worker: str
    labels: dict[str, str]
    retries: int
    priority: int
    terms: Terms | None = None
    more_memory: tuple[int, ...] = ()

    @property
    def sane(self) -> bool:
        """Whether its terms are what a user can say."""
        return (self.terms is None or self.terms.sane) and all(
            0 < memory <= AMOUNT_MAX for memory in self.more_memory
        )

    def over(self, defaults: Kind) -> Kind:
        """This one; where it says nothing, or what is usual, as the class of its worker says."""
        own, theirs = self.terms or Terms(), defaults.terms or Terms()
        terms = Terms(
            theirs.cores if own.cores == 1 else own.cores,
            own.memory or theirs.memory,
            own.resources or theirs.resources,
            own.timeout_s or theirs.timeout_s,
            own.isolate or theirs.isolate,
            {**theirs.env, **own.env},
            own.startup_s or theirs.startup_s,
        )
        return Kind(
            self.worker, self.labels or defaults.labels, self.retries or defaults.retries,
            self.priority or defaults.priority, None if terms == Terms() else terms,
            self.more_memory if own.memory else defaults.more_memory,
        )  # fmt: skip

    def terms_after(self, memory_kills: int) -> Terms | None:
        """The terms of the next try of a job that was killed so often for its memory."""
        if not memory_kills or not self.more_memory or self.terms is None:
            return self.terms
        memory = self.more_memory[min(memory_kills, len(self.more_memory)) - 1]
        return replace(self.terms, memory=memory)


def terms_of(needs: Needs) -> tuple[Terms | None, tuple[int, ...]]:
    """(terms, more memory after each kill for memory) of what a user said."""
    if needs is UNSAID:
        return None, ()
    memory, *more = needs.memory or (0,)
    terms = Terms(
        needs.cores or 1, memory, dict(needs.resources or ()), needs.timeout or 0.0,
        bool(needs.isolate), dict(needs.env or ()), needs.startup_timeout or 0.0,
    )  # fmt: skip
    return (None if terms == PLAIN else terms), tuple(more)


PLAIN = Terms()


def needs_of(kind: Kind) -> Needs:
    """What a user said to get this kind; the other way round."""
    terms = kind.terms
    if terms is None:
        return UNSAID
    memory = (terms.memory, *kind.more_memory) if terms.memory else None
    return Needs(
        terms.cores, memory, tuple(sorted(terms.resources.items())) or None,
        terms.timeout_s or None, terms.isolate or None, tuple(sorted(terms.env.items())) or None,
        terms.startup_s or None,
    )  # fmt: skip


@record
class Capacity(Record):
    """What a node has, or offers: cores, memory in bytes (0: not known), resources by name."""

    cores: int
    memory: int = 0
    resources: dict[str, int] = field(default_factory=dict)


@record
class Header(Record):
    """A run without its jobs. *payload* is opaque to all but the slot."""

    run: str
    digest: bytes
    submitter: str
    jobs: int
    kinds: tuple[Kind, ...]
    payload: bytes
    labels: dict[str, str]
    open: bool = False
    """Whether its client may add jobs until it says that that was all."""
    stops: bool = False
    """Whether the first job that fails ends the run: nothing more of it begins."""


@record
class Structure(Record):
    """Jobs *first* ... of a run for the Pipeliner: in-edges only (see `graph.Graph`).

    *reads* is 1 for each edge whose upstream's result is read (empty: none), *temporary* 1
    for each job whose result goes when nobody reads it any more (empty: none).
    """

    first: int
    offsets: Ints
    upstreams: Ints
    reads: bytes = b""
    temporary: bytes = b""


@record
class Details(Record):
    """The same jobs for Router and slot: kind of each (empty: all 0) and payloads.

    *payloads* is one msgpack value after the other; job i's ends at *ends[i]*. Both are
    empty if no job has a name or data of its own.
    """

    first: int
    kind_of: Ints
    ends: Ints
    payloads: bytes


GROWN = b"x"
"""First byte of a packed result behind which what the job adds to its run stands."""
GROWTH_JOBS_MAX = 10_000
GROWTH_BYTES_MAX = 1024 * 1024


def is_kept(packed: bytes | memoryview | None) -> bool:
    """Whether a packed value is only the name of one that is kept in a file."""
    return packed is not None and bytes(packed[:1]) == KEPT


def value_name(packed: bytes) -> str:
    """The file that a kept value is in."""
    return packed[1:].partition(b"|")[0].decode("ascii", "replace")


def value_size(packed: bytes) -> int:
    """How many bytes a kept value has; 0 if that is not to be seen."""
    fields = packed[1:].split(b"|") if is_kept(packed) else []
    return int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else 0


@record
class Growth(Record):
    """Jobs that a run gains, numbered from 0 among themselves; see Structure and Details.

    Of *upstreams* those from len(jobs) on are jobs that the run has, by their place in *names*.
    *feeds* are pairs (new job, place in *names*): that one waits for the new job, too.
    *functions* are those the new jobs call, by digest.
    """

    kinds: tuple[Kind, ...]
    kind_of: Ints
    ends: Ints
    payloads: bytes
    offsets: Ints
    upstreams: Ints
    reads: bytes
    names: tuple[str, ...]
    feeds: Ints
    functions: dict[str, bytes]


@record
class ValuePlace(Record):
    """Where large values are: in a directory that holds *probe* in its file "probe" for whoever
    can read it, and behind *port* of the Router's host for all others."""

    directory: str
    probe: str
    port: int
    durable: bool
    """Whether arguments are to be on the disk before a run is submitted."""
    start: str = ""
    """Since which start of the Router's machine; see `runtime.value_files`."""


NO_PLACE = ValuePlace("", "", 0, False)


@record
class Place(Record):
    """Which of how many parts of its run an entry is."""

    index: int
    total: int


@record
class Refusal(Record):
    """A typed "no": the code names the exception the client raises."""

    code: str
    what: str
    remedy: str = ""


@record
class Failure(Record):
    """Why a job failed, as data; never rebuilt by name.

    *cause*: exception (worker raised), store (the user's store raised), import (module or
    store could not be loaded), exit (slot exited), signal, lost (nodes went away), value (one
    that was kept is gone).
    """

    cause: str
    type: str
    text: str
    traceback: str = ""
    node: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it takes on the wire."""
        return 32 + 4 * (len(self.type) + len(self.text) + len(self.traceback) + len(self.node))

    def short(self) -> Failure:
        """The same in few words, where many must fit into one message."""
        return Failure(self.cause[:32], self.type[:64], self.text[:100], "", self.node[:64])
