"""Simulated machines that several Brokers share by claims."""

from __future__ import annotations

from collections.abc import Callable

from pypelinin.cluster.sharing import Claim, Indices, OthersChanged, Share, Shared, share
from pypelinin.machine import Event
from pypelinin.testing.history import Place, demand
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import Capacity

LOOK_S = 0.1


class Host:
    """What the participants on one machine hold, by life; who dies holds nothing any more."""

    def __init__(self, capacity: Capacity, timeline: Timeline) -> None:
        self.capacity = capacity
        self.devices: Indices = {n: tuple(range(c)) for n, c in capacity.resources.items()}
        self._timeline = timeline
        self._claims: dict[Place, Claim] = {}
        self._tell: dict[Place, Callable[[Event], None]] = {}

    def join(self, place: Place, tell: Callable[[Event], None]) -> None:
        self._claims[place], self._tell[place] = Claim(total=self.capacity.cores), tell

    def leave(self, place: Place) -> None:
        self._claims.pop(place, None)
        self._tell.pop(place, None)
        self._changed(place)

    def claim(self, place: Place) -> Capacity:
        """What it holds now."""
        claim = self._claims[place]
        return Capacity(claim.cores, claim.memory)

    def update(self, place: Place, wish: Share) -> Shared:
        own = self._claims[place]
        others = [claim for other, claim in self._claims.items() if other != place]
        claim, shared = share(self.capacity, self.devices, own, others, wish, self._timeline.now)
        self._claims[place] = claim
        held = list(self._claims.values())
        demand(sum(c.cores for c in held) <= self.capacity.cores, "more is held than there is")
        demand(sum(c.memory for c in held) <= self.capacity.memory, "more memory is held")
        if claim != own:
            self._changed(place)
        if claim.wants:
            self._later(place)
        return shared

    def _changed(self, place: Place) -> None:
        for other in self._tell:
            if other != place:
                self._later(other)

    def _later(self, place: Place) -> None:
        """It looks soon."""

        def look() -> None:
            if place in self._tell:
                self._tell[place](OthersChanged())

        self._timeline.after(LOOK_S, look)
