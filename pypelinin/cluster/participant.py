"""When a Broker takes more of its node, and when it gives some up; part of the Broker.

It holds nothing while it has no jobs, all that is free as soon as it has some, and less when
others want it. Without others (`Broker(shares=False)`) all is its own from the start.
"""

from __future__ import annotations

from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.bench import Bench
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.sharing import OthersChanged, Share, Shared
from pypelinin.machine import Command, Event
from pypelinin.wire.definitions import Capacity

LINGER_S = 1.0
"""What nothing needs is given up after so long."""


class Participant:
    """*offer* is what could be had here: what the Router is told."""

    def __init__(self, ledger: Ledger, bench: Bench) -> None:
        self.offer = ledger.capacity
        self._ledger = ledger
        self._bench = bench
        self._shares = False
        self._asked: Share | None = None
        self._waits = False
        self._stirred = False
        self._contended = False
        self._held = 0
        self._idle_since: float | None = None

    def begin(self) -> None:
        """There may be others on the node: nothing is held before it was asked for."""
        self._shares = self._stirred = True
        self._ledger.set_limit(Capacity(0), {})
        self.offer = Capacity(0)

    def event(self, event: Event) -> None:
        if isinstance(event, Shared):
            self._waits = False
            self._contended, self._held, self.offer = event.contended, event.held, event.offer
            self._ledger.set_limit(event.limit, event.devices)
        elif isinstance(event, OthersChanged):
            self._stirred = True

    def due(self, now: float) -> list[Command]:
        """Call when all that could begin has begun."""
        if not self._shares or self._waits:
            return []
        used, need = self._ledger.used, self._bench.need()
        idle = self._is_idle(need, now)
        wish = Share(used, self._ledger.devices, need, idle)
        if not (self._stirred or idle or self._is_worth(wish)):
            return []
        self._stirred, self._waits, self._asked = False, True, wish
        return [wish]

    def _is_worth(self, wish: Share) -> bool:
        """Whether more is needed than may be had, or less while others want some."""
        if wish.need.cores > wish.used.cores:
            return self._asked is None or wish.need != self._asked.need
        return self._contended and wish.used.cores < self._held

    def _is_idle(self, need: Amount, now: float) -> bool:
        """Whether nothing was needed for a while, though something is held."""
        if need.cores or not self._held:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= LINGER_S

    def deadline(self) -> float:
        return float("inf") if self._idle_since is None else self._idle_since + LINGER_S
