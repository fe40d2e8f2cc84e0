"""The slots of a node: how each was started, which lot it has and since when.

A slot is started for a *shape*: cores, devices and environment. A lot goes to a free slot of
its shape; if there is none, a slot that nobody uses is ended and started anew for it, and the
lot waits there. What a lot was granted is free again when its slot is, or is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pypelinin.cluster.ledger import Grant, Ledger
from pypelinin.cluster.slots import PLAIN_SHAPE, KillSlot, Shape, StartSlot
from pypelinin.config import Limits
from pypelinin.machine import Command
from pypelinin.wire.definitions import Failure, Terms

RESTART_S = 0.5
AGAIN_S = 1.0
BAD_STARTS_MAX = 3
"""A slot that was started for a lot and failed so often fails the lot; the first one fails all."""


@dataclass(slots=True)
class PooledSlot:
    """*start_at* is set while it has no process; it is *usable* once that has loaded."""

    number: int
    shape: Shape = PLAIN_SHAPE
    start_at: float | None = None
    begun_at: float = 0.0
    usable: bool = False
    ending: bool = False
    fence: int | None = None
    since: float | None = None
    """When the job that it runs began."""
    timeout_s: float = 0.0
    startup_s: float = 0.0
    """How long its lot waits for its start (0: what is usual)."""
    recalled: bool = False
    overdue: bool = False
    wish: tuple[int, Failure] | None = None
    """Why the job at that position of its lot is to end, once no other can begin."""
    doom: Failure | None = None
    """Why its job was told to end."""
    kill_at: float | None = None
    bad_starts: int = 0

    @property
    def runs(self) -> bool:
        return self.since is not None

    @property
    def loads(self) -> bool:
        """Whether it has a process that is not ready yet."""
        return self.start_at is None and not self.usable and not self.ending


class Pool:
    """All slots by number; as many as the node has cores."""

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self.ledger = ledger
        self.slots: dict[int, PooledSlot] = {}
        self.most = ledger.capacity.cores
        self._limits = limits

    def open(self, number: int, now: float) -> None:
        """There shall be a slot of that number."""
        self.slots[number] = PooledSlot(number, start_at=now)

    # --- time --------------------------------------------------------------------------

    def due(self, now: float) -> Iterator[Command]:
        """Slots to start; what takes too long to start, to run or to end."""
        for slot in self.slots.values():
            if slot.start_at is not None:
                if now >= slot.start_at:
                    slot.start_at, slot.begun_at = None, now
                    yield StartSlot(slot.number, slot.shape)
            elif slot.kill_at is not None:
                if now >= slot.kill_at:
                    slot.kill_at = None
                    yield KillSlot(slot.number)
            elif slot.loads and now >= self._loaded_by(slot):
                slot.doom = self._too_slow(slot)
                yield self.end(slot)

    def _loaded_by(self, slot: PooledSlot) -> float:
        """When it is to have loaded the workers: its lot may have said how long that may take."""
        said = 0.0 if slot.fence is None else slot.startup_s
        return slot.begun_at + (said or self._limits.slot_start_s)

    def _too_slow(self, slot: PooledSlot) -> Failure:
        if slot.fence is not None and slot.startup_s:
            text = (
                "its start-up took longer than its startup_timeout of "
                f"{slot.startup_s:g} s: its slot had not loaded the workers"
            )
            return Failure("timeout", "Timeout", text)
        text = f"the workers were not loaded within {self._limits.slot_start_s:g} s"
        return Failure("import", "Timeout", text)

    def overdue(self, now: float) -> Iterator[PooledSlot]:
        """Slots whose job has run for longer than it may; each is told once a job."""
        for slot in self.slots.values():
            if slot.since is None or not slot.timeout_s or slot.overdue:
                continue
            if now >= slot.since + slot.timeout_s:
                slot.overdue = True
                yield slot

    def deadline(self) -> float:
        nearest = float("inf")
        for slot in self.slots.values():
            if slot.since is not None and slot.kill_at is None:
                if not slot.recalled:
                    nearest = min(nearest, slot.since + self._limits.blocked_slot_s)
                if slot.timeout_s and not slot.overdue:
                    nearest = min(nearest, slot.since + slot.timeout_s)
            elif slot.start_at is not None:
                nearest = min(nearest, slot.start_at)
            elif slot.kill_at is not None:
                nearest = min(nearest, slot.kill_at)
            elif slot.loads:
                nearest = min(nearest, self._loaded_by(slot))
        return nearest

    def blocked(self, now: float) -> Iterator[PooledSlot]:
        """Slots that have been in one job for a while; each is told once a job."""
        for slot in self.slots.values():
            if slot.since is None or slot.recalled:
                continue
            if now - slot.since >= self._limits.blocked_slot_s:
                slot.recalled = True
                yield slot

    # --- lots --------------------------------------------------------------------------

    def place(
        self, fence: int, terms: Terms | None, now: float
    ) -> tuple[PooledSlot | None, list[Command]]:
        """The slot that is for the lot from now on (it may have to start first), or None."""
        grant = self.ledger.grant(fence, terms)
        if grant is None:
            return None, []
        shape = shape_of(grant, terms, fence)
        slot = self._free_slot(shape, now)
        if slot is None:
            self.ledger.free(fence)
            return None, []
        slot.fence, slot.timeout_s, slot.startup_s = fence, 0.0, 0.0
        if terms is not None:
            slot.timeout_s, slot.startup_s = terms.timeout_s, terms.startup_s
        if slot.shape == shape:
            return slot, []
        slot.shape, slot.bad_starts = shape, 0
        return slot, [] if slot.start_at is not None or slot.ending else [self.end(slot)]

    def _free_slot(self, shape: Shape, now: float) -> PooledSlot | None:
        """One of this shape that is ready or will soon be; else the one that is missed least."""
        free = [slot for slot in self.slots.values() if slot.fence is None]
        for slot in free:
            if slot.shape == shape and slot.usable:
                return slot
        for slot in free:
            if slot.shape == shape and not slot.ending:
                return slot
        number = next((n for n in range(self.most) if n not in self.slots), None)
        if number is not None:
            self.open(number, now)
            return self.slots[number]
        return min(free, key=_worth, default=None)

    def began(self, slot: PooledSlot, now: float) -> None:
        """The slot begins with its lot, or with the next job of it."""
        slot.since, slot.recalled, slot.overdue = now, False, False

    def free(self, slot: PooledSlot) -> list[Command]:
        """Its lot is finished."""
        assert slot.fence is not None
        self.ledger.free(slot.fence)
        slot.fence, slot.since, slot.wish = None, None, None
        self.slots[slot.number] = self.slots.pop(slot.number)  # used most recently
        if slot.doom is None and not slot.shape.once:
            return []
        slot.shape, slot.doom = PLAIN_SHAPE, None
        return [] if slot.ending else [self.end(slot)]

    def withdraw(self, fence: int) -> bool:
        """Take the lot back from a slot that has not got it yet; False if none is so."""
        slot = self.of(fence)
        if slot is None or slot.runs:
            return False
        self.ledger.free(fence)
        slot.fence = None
        return True

    def of(self, fence: int) -> PooledSlot | None:
        """The slot that has the lot *fence*, or will."""
        return next((slot for slot in self.slots.values() if slot.fence == fence), None)

    # --- processes ---------------------------------------------------------------------

    def end(self, slot: PooledSlot) -> Command:
        """End its process at once; it starts anew in its shape."""
        slot.ending, slot.usable, slot.kill_at = True, False, None
        return KillSlot(slot.number)

    def doom(self, slot: PooledSlot, why: Failure, now: float) -> Command:
        """Ask its job to end for that reason, and end it if it does not."""
        slot.doom, slot.kill_at = why, now + self._limits.kill_grace_s
        return KillSlot(slot.number, gently=True)

    def started(self, number: int) -> PooledSlot:
        slot = self.slots[number]
        slot.usable, slot.bad_starts = True, 0
        return slot

    def not_started(self, number: int, now: float) -> PooledSlot:
        """Its process is gone before it was of use; it is tried again."""
        slot = self.slots[number]
        slot.bad_starts += 1
        slot.start_at, slot.usable, slot.ending = now + AGAIN_S, False, False
        slot.doom = slot.kill_at = slot.wish = None
        if slot.fence is None:
            slot.shape, slot.bad_starts, slot.startup_s = PLAIN_SHAPE, 0, 0.0
        return slot

    def exited(self, number: int, at: float) -> None:
        """Its process is gone; it starts again at that time. A lot that it ran is not here."""
        slot = self.slots[number]
        if slot.runs:
            assert slot.fence is not None
            self.ledger.free(slot.fence)
            slot.fence = None
        if slot.fence is None:  # its session may be over
            slot.shape = PLAIN_SHAPE
        slot.usable = slot.ending = False
        slot.since = slot.kill_at = slot.doom = slot.wish = None
        slot.start_at = at

    @property
    def busy(self) -> Iterator[PooledSlot]:
        """Those that run something."""
        return (slot for slot in self.slots.values() if slot.since is not None)

    @property
    def idle(self) -> int:
        return sum(slot.usable and slot.fence is None for slot in self.slots.values())

    def check(self) -> None:
        self.ledger.check()
        fences = [slot.fence for slot in self.slots.values() if slot.fence is not None]
        assert len(set(fences)) == len(fences), "a lot runs twice"
        assert set(fences) == self.ledger.granted.keys()
        assert len(self.slots) <= self.most
        for slot in self.slots.values():
            assert not slot.runs or (slot.fence is not None and slot.start_at is None)
            assert not slot.usable or slot.start_at is None


def shape_of(grant: Grant, terms: Terms | None, fence: int) -> Shape:
    if terms is None:
        return PLAIN_SHAPE
    devices = tuple(sorted(grant.devices.items()))
    env = tuple(sorted(terms.env.items()))
    return Shape(grant.need.cores, devices, env, fence if terms.isolate else 0)


def _worth(slot: PooledSlot) -> int:
    """One without a process is missed least, one that loads now most."""
    return 0 if slot.start_at is not None else 1 if slot.ending or slot.usable else 2
