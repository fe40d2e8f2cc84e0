"""How much of a node one participant has beside others of the same user there.

Participants are Brokers and embedded runs. Each says what it holds and how much more it would
like; nobody takes what another holds. Who has work takes all that is free, so that claims are
touched only to grow or to shrink; when several want more than there is each has the same part,
and gives up what is above it as its jobs end. Who waits with a lot that is larger than its part
gets a turn (ADR 12).

All is counted in cores: memory counts as the cores whose memory it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from math import inf, nextafter

from pypelinin.cluster.amounts import Amount, per_core, weight
from pypelinin.machine import Command, Event, record
from pypelinin.wire.definitions import Capacity

TURN_S = 1.0
"""How long a lot waits before there is a turn for it, and how long that lasts at least."""
TURN_MAX_S = 600.0

Indices = dict[str, tuple[int, ...]]


@record
class Claim:
    """What a participant holds since when, and how many cores it wants more.

    *total* is how many cores it takes the node to have: who was told to use more than there are
    does so. *waits*: since when its *lot* cannot begin; *head* are the cores of that lot if they
    are what it waits for, *asks* what it needs of each resource. With fewer cores than *least*
    it can begin nothing. *until* is set while it has the turn: it lasts as long at least. *cpus*
    are the numbers of those it may run on, none if that is not known.
    """

    cores: int = 0
    memory: int = 0
    devices: Indices = field(default_factory=dict)
    wants: int = 0
    total: int = 0
    since: float = 0.0
    least: int = 0
    head: int = 0
    waits: float = 0.0
    until: float = 0.0
    lot: int = 0
    asks: dict[str, int] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()


@record
class Share(Command):
    """What the jobs here have, and what with those that wait; *idle*: nothing else is needed.

    *lot* (0: none) is the first that is too large for the limit, *head* what it needs; *least*
    are the cores of the smallest that waits. Answered by `Shared`.
    """

    used: Amount
    devices: Indices
    need: Amount
    idle: bool
    head: Amount = field(default_factory=Amount)
    lot: int = 0
    least: int = 0


@record
class Shared(Event):
    """*limit* and *devices* may be granted from now on; *offer* could be had if it were needed.

    *held* are the cores that nobody else may use meanwhile. *contended*: others want more.
    *at_once* cores of the offer nobody has now; for the others somebody must give some up.
    """

    limit: Capacity
    devices: Indices
    offer: Capacity
    held: int
    contended: bool
    at_once: int = -1
    """-1: all of it."""


def beside(own: Claim, other: Claim) -> Claim:
    """What *other* is to us: if it was bound to other processors only its devices count."""
    if not own.cpus or not other.cpus or not set(own.cpus).isdisjoint(other.cpus):
        return other
    return Claim(devices=other.devices, waits=other.waits, asks=other.asks)


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
    total = max([most.cores, own.total, *(other.total for other in others)])
    used = weight(wish.used, most)
    wanted = max(used, min(weight(wish.need, most), most.cores))
    room = min(total - sum(other.cores for other in others), most.cores)
    contended = any(other.wants for other in others)
    left = _left(everything, others)
    mine = replace(own, wants=wanted - own.cores, least=wish.least, asks=wish.head.resources)
    usual = _part(total, replace(mine, until=0.0), others)
    head = min(weight(wish.head, most), most.cores)
    have = min(room, usual if contended else most.cores)
    mine = _in_line(mine, wish, head, have, usual, others, now)
    target = own.cores
    if contended:
        target = min(wanted, _part(total, mine, others))
    elif wanted > own.cores:
        target = most.cores
    elif wish.idle:
        target = wanted
    target = max(0, min(target, room))
    cores = max(used, target)
    held, counts = _devices(left, mine, others, wish, contended or not target)
    since = own.since or _stamp(now, (o.since for o in others)) if cores else 0.0
    claim = replace(
        mine, cores=cores, memory=_amount(cores, most).memory, devices=held,
        wants=max(0, wanted - cores), total=max(own.total, most.cores), since=since,
    )  # fmt: skip
    # while cores are gathered for a large lot smaller ones get no more than they would anyway
    gathering = mine.until and target < mine.head
    limit = _amount(min(target, usual) if gathering else target, most, counts)
    could = _part(total, replace(mine, wants=most.cores - own.cores, least=0, until=0.0), others)
    possible = min(most.cores, max(1, target, could, 0 if contended else room))
    offer = _amount(possible, most, {name: len(indices) for name, indices in left.items()})
    at_once = min(possible, max(cores, room))
    return claim, Shared(limit, held, offer, cores, contended, at_once)


def _amount(cores: int, most: Capacity, resources: dict[str, int] | None = None) -> Capacity:
    """So many cores and their memory."""
    memory = most.memory if cores >= most.cores else cores * per_core(most)
    return Capacity(cores, memory, resources or {})


def _stamp(now: float, others: Iterable[float]) -> float:
    """Now, but later than all others': two are never equal, so there is one order for all."""
    return max([now, *(nextafter(other, inf) for other in others)])


# --- parts and turns -------------------------------------------------------------------


def _in_line(
    own: Claim, wish: Share, head: int, have: int, usual: int, others: Sequence[Claim], now: float
) -> Claim:
    """Our claim with its place among those that wait for more than they *have*, or with the turn.

    Who has waited longest has the turn next. It lasts until that lot has begun, and then half as
    long as it had waited, so that all get on however long the jobs of others are.
    """
    if own.until and own.lot and own.lot == wish.lot:
        return own
    if own.until and own.lot:
        lasts_s = min(max(TURN_S, (now - own.waits) / 2), TURN_MAX_S)
        own = replace(own, until=now + lasts_s, lot=0)
    if now < own.until and own.cores + own.wants > 0:
        return own
    if not wish.lot:
        return replace(own, lot=0, waits=0.0, head=0, until=0.0)
    waits = own.waits
    if wish.lot != own.lot:
        waits = _stamp(now, (other.waits for other in others))
    own = replace(own, lot=wish.lot, waits=waits, head=head if head > have else 0, until=0.0)
    first = not any(other.until or (other.head and other.waits < waits) for other in others)
    if own.head and first and now - waits >= TURN_S:
        own = replace(own, head=max(head, usual), until=now + TURN_S)
    return own


def _part(total: int, mine: Claim, others: Sequence[Claim]) -> int:
    """The cores that should be ours, as all others reckon it, too.

    Who has the turn gets what its lot needs, the others the same each of what is left. Who can
    begin nothing with that leaves it to the others.
    """
    claims = [mine, *others]
    wanted = [claim.cores + claim.wants for claim in claims]
    parts = [0] * len(claims)
    for i, claim in enumerate(claims):
        if claim.until:
            parts[i] = min(claim.head, total - sum(parts))
    rest = total - sum(parts)
    ranked = sorted(range(len(claims)), key=lambda i: _rank(claims[i]))
    sharing = [i for i in ranked if wanted[i] and not claims[i].until]
    filled = _filled(rest, sharing, wanted)
    able = [i for i in sharing if filled[i] >= claims[i].least]
    if able != sharing:
        filled = _filled(rest, able, wanted)
    rest -= sum(filled.values())
    for i in sorted((i for i in ranked if i not in able), key=lambda i: claims[i].waits or inf):
        if parts[i] + rest >= claims[i].least:
            more = max(0, min(rest, wanted[i] - parts[i]))
            parts[i] += more
            rest -= more
    return filled.get(0, parts[0])


def _rank(claim: Claim) -> tuple[int, float]:
    """If there are more participants than cores: who got its first core last keeps it."""
    return (0, -claim.since) if claim.cores else (1, claim.waits or inf)


def _filled(rest: int, sharing: Sequence[int], wanted: Sequence[int]) -> dict[int, int]:
    """The same for each, but nobody gets more than it wants."""
    parts = dict.fromkeys(sharing, 0)
    while rest and (unmet := [i for i in sharing if parts[i] < wanted[i]]):
        each = max(1, rest // len(unmet))
        for i in unmet:
            more = min(each, wanted[i] - parts[i], rest)
            parts[i] += more
            rest -= more
    return parts


# --- devices ---------------------------------------------------------------------------


def _left(everything: Indices, others: Iterable[Claim]) -> Indices:
    """The indices of each resource that nobody else holds."""
    others = list(others)
    return {
        name: tuple(i for i in indices if all(i not in o.devices.get(name, ()) for o in others))
        for name, indices in everything.items()
    }


def _devices(
    left: Indices, mine: Claim, others: Sequence[Claim], wish: Share, sparing: bool
) -> tuple[Indices, dict[str, int]]:
    """What to hold of each resource, and how many of these may be granted.

    That is what is used, and what is needed or, if nobody else wants anything, all: without what
    those ask for who have waited longer.
    """
    held, counts = {}, {}
    for name, indices in left.items():
        before = (o for o in others if not mine.asks.get(name) or o.waits < mine.waits)
        missing = (o.asks.get(name, 0) - len(o.devices.get(name, ())) for o in before)
        allowed = max(0, len(indices) - sum(max(0, count) for count in missing))
        used = wish.devices.get(name, ())
        count = min(allowed, wish.need.resources.get(name, 0)) if sparing else allowed
        free = [i for i in indices if i not in used]
        held[name] = tuple(sorted([*used, *free[: max(0, count - len(used))]]))
        counts[name] = min(allowed, len(held[name]))
    return held, counts


# --- files -----------------------------------------------------------------------------

_WHOLE = ("cores", "memory", "wants", "total", "least", "head", "lot")
_TIMES = ("since", "waits", "until")


def as_plain(claim: Claim) -> dict[str, object]:
    """For a file."""
    devices = {name: list(indices) for name, indices in claim.devices.items()}
    numbers = {name: getattr(claim, name) for name in (*_WHOLE, *_TIMES)}
    return {**numbers, "devices": devices, "asks": claim.asks, "cpus": list(claim.cpus)}


def from_plain(found: Mapping[str, object]) -> Claim:
    """Of what stands in a file. Raises ValueError, TypeError or KeyError for what is no claim."""
    devices, asks, cpus = found["devices"], found["asks"], found["cpus"]
    if not isinstance(devices, dict) or not isinstance(asks, dict) or not isinstance(cpus, list):
        raise TypeError("devices are a mapping, processors a list")
    numbers = {name: found[name] for name in _WHOLE}
    if not all(type(n) is int and n >= 0 for n in (*numbers.values(), *asks.values())):
        raise ValueError("what is claimed are numbers from 0 on")
    times = {name: float(found[name]) for name in _TIMES}  # type: ignore[arg-type]  # or it raises
    indices = {str(name): tuple(map(int, listed)) for name, listed in devices.items()}
    bound = tuple(map(int, cpus))
    return Claim(
        devices=indices, asks=asks, cpus=bound,
        **numbers, **times,  # type: ignore[arg-type]  # looked at above
    )  # fmt: skip
