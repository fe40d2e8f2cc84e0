"""How much of a node one participant has beside others of the same user there.

Participants are Brokers and embedded runs. Each says what it holds and how much more it would
like; nobody takes what another holds. Who has work takes all that is free, so that claims are
touched only to grow or to shrink; who has more than his part gives it up as his jobs end when
another one wants it, and with more participants than cores they take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from pypelinin.cluster.amounts import Amount
from pypelinin.machine import Command, Event, record
from pypelinin.wire.definitions import Capacity

TURN_S = 1.0
"""How long who has a core keeps it at least while others wait for their turn."""

Indices = dict[str, tuple[int, ...]]


@record
class Claim:
    """What a participant holds since when, and how many cores it wants more.

    *total* is how many cores it takes the node to have: who was told to use more than there are
    does so.
    """

    cores: int = 0
    memory: int = 0
    devices: Indices = field(default_factory=dict)
    wants: int = 0
    total: int = 0
    since: float = 0.0


@record
class Share(Command):
    """What the jobs here have, and what with those that wait; *idle*: nothing else is needed.

    Answered by `Shared`.
    """

    used: Amount
    devices: Indices
    need: Amount
    idle: bool


@record
class Shared(Event):
    """*limit* and *devices* may be granted from now on; *offer* could be had if it were needed.

    *held* are the cores that nobody else may use meanwhile. *contended*: others want more.
    """

    limit: Capacity
    devices: Indices
    offer: Capacity
    held: int
    contended: bool


@record
class OthersChanged(Event):
    """Somebody else took or gave up something."""


def share(
    most: Capacity,
    everything: Indices,
    own: Claim,
    others: Sequence[Claim],
    wish: Share,
    now: float,
) -> tuple[Claim, Shared]:
    """(what to hold now, what that means), of a node of which *most* could be ours.

    What is held is never less than what jobs use, nor more than others leave.
    """
    total = max([most.cores, *(other.total for other in others)])
    room = min(total - sum(other.cores for other in others), most.cores)
    wanted = min(wish.need.cores, most.cores)
    contended = any(other.wants for other in others)
    target = own.cores
    if contended:
        target = min(wanted, _part(total, own, others, now))
    elif wanted > own.cores:
        target = most.cores
    elif wish.idle:
        target = wanted
    target = max(0, min(target, room))
    cores = max(wish.used.cores, target)
    memory_left = max(0, most.memory - sum(other.memory for other in others))
    memory = memory_left
    if contended or not target:
        part = max(target * (most.memory // total), wish.need.memory if target else 0)
        memory = max(wish.used.memory, min(memory_left, part))
    left = _left(everything, others)
    keep = contended or not target
    devices = {name: _taken(name, left[name], wish, keep) for name in everything}
    since = own.since if own.cores and cores else now
    claim = Claim(cores, memory, devices, max(0, wanted - cores), most.cores, since)
    counts = {name: len(indices) for name, indices in devices.items()}
    possible = max(target, min(room, _part(total, own, others, now))) if contended else room
    offer = Capacity(
        max(0, possible), memory_left, {name: len(indices) for name, indices in left.items()}
    )
    return claim, Shared(Capacity(target, memory, counts), devices, offer, cores, contended)


def _part(total: int, own: Claim, others: Sequence[Claim], now: float) -> int:
    """Cores of who shares with these if all want as much as they can get.

    If there are more of them than cores, who has had one for a while lets another one have it.
    """
    active = 1 + sum(other.cores > 0 or other.wants > 0 for other in others)
    if active <= total:
        return total // active
    waiting = any(other.wants and not other.cores for other in others)
    return 0 if own.cores and waiting and now - own.since >= TURN_S else 1


def _left(everything: Indices, others: Iterable[Claim]) -> Indices:
    """The indices of each resource that nobody else holds."""
    others = list(others)
    return {
        name: tuple(i for i in indices if all(i not in o.devices.get(name, ()) for o in others))
        for name, indices in everything.items()
    }


def _taken(name: str, left: tuple[int, ...], wish: Share, sparing: bool) -> tuple[int, ...]:
    """What to hold of one resource: what is used, and what is needed or, if nobody else wants
    anything, all."""
    if not sparing:
        return left
    used = wish.devices.get(name, ())
    more = max(0, wish.need.resources.get(name, 0) - len(used))
    return tuple(sorted([*used, *[i for i in left if i not in used][:more]]))


def as_plain(claim: Claim) -> dict[str, object]:
    """For a file."""
    devices = {name: list(indices) for name, indices in claim.devices.items()}
    return {
        "cores": claim.cores, "memory": claim.memory, "devices": devices, "wants": claim.wants,
        "total": claim.total, "since": claim.since,
    }  # fmt: skip


def from_plain(found: Mapping[str, object]) -> Claim:
    """Of what stands in a file. Raises ValueError, TypeError or KeyError for what is no claim."""
    devices = found["devices"]
    if not isinstance(devices, dict):
        raise TypeError("devices are a mapping")
    numbers = [found[name] for name in ("cores", "memory", "wants", "total")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("what is claimed are numbers from 0 on")
    cores, memory, wants, total = numbers
    since = float(found["since"])  # type: ignore[arg-type]
    indices = {str(name): tuple(map(int, listed)) for name, listed in devices.items()}
    return Claim(cores, memory, indices, wants, total, since)  # type: ignore[arg-type]
