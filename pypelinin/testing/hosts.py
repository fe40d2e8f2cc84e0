"""Simulated machines that several Brokers share by claims, beside somebody with endless work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from pypelinin.cluster.amounts import Amount, per_core
from pypelinin.cluster.sharing import Claim, Indices, OthersChanged, Share, Shared, share
from pypelinin.machine import Event
from pypelinin.testing.history import Place, demand
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import Capacity

LOOK_S = 0.1
IDLE_LOOK_S = 0.5
STARVES_S = 90.0
"""No lot waits longer than that for what others have, whatever they do and however they die."""


class Host:
    """What the participants on one machine hold, by life; who dies holds nothing any more."""

    def __init__(self, capacity: Capacity, timeline: Timeline) -> None:
        self.capacity = capacity
        self.devices: Indices = {n: tuple(range(c)) for n, c in capacity.resources.items()}
        self.counters: Counter[str] = Counter()
        self._timeline = timeline
        self._claims: dict[Place, Claim] = {}
        self._tell: dict[Place, Callable[[Event], None]] = {}
        self._looks_at: dict[Place, float] = {}
        self._waits: dict[Place, tuple[int, float]] = {}
        """The lot of each that waits for what others have, and since when."""

    def join(self, place: Place, tell: Callable[[Event], None]) -> None:
        self._claims[place], self._tell[place] = Claim(total=self.capacity.cores), tell

    def leave(self, place: Place) -> None:
        self._claims.pop(place, None)
        self._tell.pop(place, None)
        self._looks_at.pop(place, None)
        self._waits.pop(place, None)
        self._changed(place)

    def claim(self, place: Place) -> Capacity:
        """What it holds now."""
        claim = self._claims[place]
        return Capacity(claim.cores, claim.memory)

    def update(self, place: Place, wish: Share) -> Shared:
        now, own = self._timeline.now, self._claims[place]
        others = [claim for other, claim in self._claims.items() if other != place]
        claim, shared = share(self.capacity, self.devices, own, others, wish, now)
        self._claims[place] = claim
        held = list(self._claims.values())
        demand(sum(c.cores for c in held) <= self.capacity.cores, "more is held than there is")
        demand(sum(c.memory for c in held) <= self.capacity.memory, "more memory is held")
        for name in self.devices:
            taken = [index for c in held for index in c.devices.get(name, ())]
            demand(len(set(taken)) == len(taken), name, "is held twice")
        demand(sum(bool(c.until) for c in held) <= 1, "two have the turn")
        self._check_waiting(place, wish, now)
        self.counters["turns on a shared node"] += claim.until > 0 == own.until
        if claim != own:
            self._changed(place)
        if others:
            self._later(place, LOOK_S if claim.wants or claim.waits else IDLE_LOOK_S)
        return shared

    def _check_waiting(self, place: Place, wish: Share, now: float) -> None:
        lot, since = self._waits.get(place, (0, now))
        self._waits[place] = (wish.lot, since if wish.lot == lot else now)
        waited_s = now - self._waits[place][1] if wish.lot else 0.0
        demand(waited_s < STARVES_S, place, "has waited for", waited_s, "s beside", self._claims)

    def _changed(self, place: Place) -> None:
        for other in self._tell:
            if other != place:
                self._later(other, LOOK_S)

    def _later(self, place: Place, delay_s: float) -> None:
        """It looks soon."""
        when = self._timeline.now + delay_s
        if self._looks_at.get(place, float("inf")) <= when:
            return
        self._looks_at[place] = when

        def look() -> None:
            if self._looks_at.get(place) == when:
                del self._looks_at[place]
                self._tell[place](OthersChanged())

        self._timeline.after(delay_s, look)


class Neighbour:
    """A run beside the cluster that has jobs of one core for ever, up to *cores* at once."""

    def __init__(self, host: Host, timeline: Timeline, random: Random, cores: int) -> None:
        self.served = 0
        self.cores = cores
        self._place: Place = ("neighbour", 1)
        self._host = host
        self._timeline = timeline
        self._random = random
        self._limit = self._running = 0
        host.join(self._place, lambda _: self.look())

    def look(self) -> None:
        """Take what can be had, and begin what fits."""
        share = per_core(self._host.capacity)
        used = Amount(self._running, self._running * share)
        need = Amount(self.cores, self.cores * share)
        lot = 0 if self._limit else self.served + 1
        head = Amount(1, share) if lot else Amount()
        shared = self._host.update(self._place, Share(used, {}, need, False, head, lot, 1))
        self._limit = shared.limit.cores
        self._begin()

    def _begin(self) -> None:
        while self._running < min(self._limit, self.cores):
            self._running += 1
            self._timeline.after(self._random.choice((0.02, 0.3, 1.5)), self._ended)

    def _ended(self) -> None:
        self._running -= 1
        self.served += 1
        self._begin()
