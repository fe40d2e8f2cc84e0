"""What a Run holds of one job, and the questions that can be answered from it alone.

Sets of a job's outputs are ints, one bit each. An edge is `(upstream, outputs, even_if_failed)`.
"""

from __future__ import annotations

from collections.abc import Callable

from pypelinin.engine.table import BLOCKED, DORMANT, FAILED, IDLE, OPEN, READY, UNUSED, WANTED
from pypelinin.graph.declared import Declared, Record
from pypelinin.graph.fingerprint import Fingerprint, Tags, canonical, digest, same

Edge = tuple["Entry", int, bool]

# Why a job became WANTED, or could not.
ALWAYS, NEW, RELOADED, SPEC, OUTPUTS, INPUTS, INPUT, ALTERED, ABSENT, WOKEN = range(1, 11)
BROKEN, LOST, BARRIER, FAILURE, IMPURE, EXPANSION = range(11, 17)


class Entry:
    """One job. What stands above the blank line is declared, the rest is the Run's."""

    __slots__ = (
        *"number name always eager recipe final keyed invariant reload".split(),
        *"spec outputs all kept".split(),
        *"inputs after consumers followers".split(),
        *"state why cause verdict record recorded prints promised there altered lost".split(),
        *"facts looking cursor held open readers marks marking".split(),
        *"woken ran repeats queued sound".split(),
    )

    def __init__(self, number: int, declared: Declared) -> None:
        policy = declared.policy
        self.number = number
        self.name = declared.name
        self.always, self.eager, _, self.recipe = policy
        self.final = declared.final
        self.keyed = declared.keyed
        self.invariant = declared.invariant
        self.reload = declared.reload
        self.spec = declared.spec
        self.outputs = declared.outputs
        self.all = (1 << len(declared.outputs)) - 1
        if declared.keep is not None:
            self.kept = sum(1 << i for i, keep in enumerate(declared.keep) if keep)
        else:
            self.kept = self.all if policy.keep else 0

        self.inputs: list[Edge] = []
        self.after: list[tuple[Entry, bool]] = []
        self.consumers: dict[Entry, Edge] | None = None
        self.followers: dict[Entry, bool] | None = None
        self.state = IDLE
        self.why = 0
        self.cause: object = None
        """Of a broken job: the upstream's number, or what the driver said."""
        self.verdict = 0
        """How it had settled before it was opened again."""
        self.record: Record | None = None if self.always else declared.record
        self.recorded = declared.record is not None
        """A record of it may exist outside, so it is forgotten before a hand-out."""
        self.prints: Fingerprint | None = None
        self.promised = False
        """The fingerprint was announced before it ran: a run must give the same."""
        self.facts = self.always or declared.there is not None
        self.there = 0 if self.always or declared.there is None else self.mask(declared.there)
        self.altered = 0
        self.lost = 0
        """Outputs that were there and cannot be made again."""
        self.looking = False
        self.cursor = 0
        """WAITING: the first input not known. WANTED: the first not there; -1: look at all."""
        self.held = 0
        """The first order-only upstream that may hold the decision."""
        self.open = 0
        """Consumers that were asked and are not settled."""
        self.readers = 0
        """Consumers that are READY."""
        self.marks = 0
        """Consumers that may need its data in another run: it is not released."""
        self.marking = False
        """It is one of those for what it reads."""
        self.woken = False
        """WANTED for the sake of others only."""
        self.ran = False
        self.repeats = 0
        self.queued = False
        self.sound = -1
        """A recipe: the count of upsets at which all it reads was there."""

    def __repr__(self) -> str:
        return f"<{self.number} {self.name}>"

    def mask(self, names: tuple[str, ...] | None) -> int:
        """The bits of these outputs. Raises ValueError if there is no such one."""
        if names is None:
            return self.all
        return sum(1 << self.outputs.index(name) for name in dict.fromkeys(names))

    def names(self, mask: int) -> tuple[str, ...]:
        return tuple(name for i, name in enumerate(self.outputs) if mask >> i & 1)


def has(upstream: Entry, outputs: int) -> bool:
    """Whether these outputs are there and nobody is about to write them."""
    return upstream.there & outputs == outputs and upstream.state not in (WANTED, READY)


def is_broken(entry: Entry) -> bool:
    return entry.state >= FAILED


def lacks(upstream: Entry, outputs: int) -> bool:
    """Whether a recipe's input is broken and not there, so that nobody can follow the recipe."""
    return is_broken(upstream) and (upstream.recipe or not has(upstream, outputs))


def stands(entry: Entry) -> bool:
    """Whether a settled job holds all that it makes, so that it need not be made again."""
    return entry.there == entry.all and not entry.recipe and entry.state != UNUSED


def is_spared(entry: Entry) -> bool:
    """Whether whoever uses a job can do without it (and there is somebody)."""
    edges = [edge[2] for edge in (entry.consumers or {}).values()]
    return bool(edges) and all(edges) and all((entry.followers or {}).values())


def is_read(entry: Entry) -> bool:
    """Whether somebody runs who reads what *entry* would write again, through recipes too."""
    stack = [entry]
    while stack:
        read = stack.pop()
        if read.readers:
            return True
        stack += (up for up in read.consumers or () if up.recipe and up.state == DORMANT)
    return False


def is_short_of(entry: Entry, outputs: int) -> bool:
    """Whether a settled job lacks what is asked of it, and can make it again."""
    if is_broken(entry) or entry.lost & outputs:
        return False
    absent = entry.prints is None or entry.recipe or entry.there & outputs != outputs
    return absent and repeatable(entry)


def absolute(number: int, base: int) -> int:
    """A job's number in the run; those below 0 count new jobs, the first of which is *base*."""
    return number if number >= 0 else base - number - 1


def inputs_now(entry: Entry) -> dict[tuple[str, str], Tags]:
    """What *entry* reads, by the names that its record uses."""
    found: dict[tuple[str, str], Tags] = {}
    for upstream, outputs, _ in entry.inputs:
        prints = upstream.prints or ()
        for i, name in enumerate(upstream.outputs):
            if outputs >> i & 1:
                found[upstream.name, name] = prints[i]
    return found


def changed(entry: Entry) -> int:
    """Why a job whose inputs are known must run, 0 if it need not."""
    if entry.always:
        return ALWAYS
    if entry.reload:
        return RELOADED
    if entry.keyed:
        return 0
    record = entry.record
    if record is None:
        return NEW
    if not same(record.spec, entry.spec):
        return SPEC
    if record.outputs.keys() != set(entry.outputs):
        return OUTPUTS
    now = inputs_now(entry)
    if now.keys() != record.inputs.keys():
        return INPUTS
    if any(not same(old, now[name]) for name, old in record.inputs.items()):
        return INPUT
    return ALTERED if entry.altered & entry.kept else 0


def record_of(entry: Entry) -> Record:
    return Record(
        entry.spec, dict(zip(entry.outputs, entry.prints or (), strict=True)), inputs_now(entry)
    )


def key(entry: Entry) -> bytes:
    """The key of a keyed job: what it does, its name, and what it reads."""
    parts = [canonical(entry.spec), entry.name.encode()]
    for (name, output), tags in sorted(inputs_now(entry).items()):
        parts += (name.encode(), output.encode(), canonical(tags))
    return digest(*parts)


def key_prints(entry: Entry) -> Fingerprint:
    """The fingerprint of a keyed job: its key and the name of the output."""
    made = key(entry)
    return tuple((("key", digest(made, output.encode())),) for output in entry.outputs)


def repeatable(entry: Entry) -> bool:
    """Whether a run can make its outputs again: they depend only on what is, or can be made.

    Dynamic: an input counts if it is there now, is still to come, or is repeatable itself.
    """
    return _can_repeat(entry, lambda up, mask: has(up, mask) or OPEN[up.state] or up.state == IDLE)


def repeatable_by_declaration(entry: Entry) -> bool:
    """The same whatever has happened: inputs are kept by an eager job, or repeatable."""
    return _can_repeat(entry, lambda up, mask: up.eager and not mask & ~up.kept)


def _can_repeat(entry: Entry, stands: Callable[[Entry, int], bool]) -> bool:
    stack, seen = [entry], {entry}
    while stack:
        job = stack.pop()
        if job.always or job.invariant or job.lost or job.state in (FAILED, BLOCKED):
            return False
        for up, mask, _ in job.inputs:
            if up in seen or (not up.recipe and stands(up, mask)):
                continue
            seen.add(up)
            stack.append(up)
    return True
