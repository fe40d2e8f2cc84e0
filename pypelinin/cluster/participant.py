"""When a Broker takes more of its node, and when it gives some up; part of the Broker.

It holds nothing while it has no jobs, all that is free as soon as it has some, and less when
others want it. Without others (`Broker(shares=False)`) all is its own from the start.
"""

from __future__ import annotations

from pypelinin.cluster.amounts import weight
from pypelinin.cluster.bench import Bench
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.sharing import OthersChanged, Share, Shared
from pypelinin.machine import Event
from pypelinin.wire.definitions import Capacity

LINGER_S = 1.0
"""What nothing needs is given up after so long."""


class Participant:
    """*offer* is what could be had here: what the Router is told."""

    def __init__(self, ledger: Ledger, bench: Bench) -> None:
        self.offer = ledger.capacity
        self.at_once = -1
        """The cores of it that nobody has now; -1: all."""
        self._ledger = ledger
        self._bench = bench
        self._shares = False
        self._asked: Share | None = None
        self._waits = False
        self._stirred = False
        self._contended = False
        self._held = 0
        self._lot = 0
        """The lot that waits for more than its part."""
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
            self.at_once = event.at_once
            self._ledger.set_limit(event.limit, event.devices)
        elif isinstance(event, OthersChanged):
            self._stirred = True

    def due(self, now: float) -> list[Share]:
        """Call when all that could begin has begun."""
        if not self._shares or self._waits:
            return []
        idle = self._is_idle(now)
        short = self._bench.waits and self._ledger.limit != self._ledger.capacity
        if not (self._stirred or idle or short or self._contended):
            return []  # nothing is counted on the way of a job that others have no part in
        found = self._bench.demand(self._lot)
        self._lot = found.lot
        wish = Share(
            self._ledger.used, self._ledger.devices, found.need, idle,
            found.head, found.lot, found.least,
        )  # fmt: skip
        if not (self._stirred or idle or self._is_worth(wish)):
            return []
        self._stirred, self._waits, self._asked = False, True, wish
        return [wish]

    def _is_worth(self, wish: Share) -> bool:
        """Whether more is needed than may be had, or what others want is free now.

        What it may keep and does not need just now it gives up when it looks the next time: the
        next jobs may be on their way.
        """
        asked, node = self._asked, self._ledger.capacity
        if asked is None or wish.lot != asked.lot:
            return asked is None or wish.lot > 0 or self._contended
        left = max(weight(wish.used, node), self._ledger.limit.cores)
        if self._contended and left < self._held:
            return wish != asked
        need = min(weight(wish.need, node), node.cores)
        return need > self._held and need > weight(asked.need, node)

    def _is_idle(self, now: float) -> bool:
        """Whether nothing was needed for a while, though something is held."""
        if self._ledger.granted or self._bench.waits or not self._held:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= LINGER_S

    def deadline(self) -> float:
        return float("inf") if self._idle_since is None else self._idle_since + LINGER_S
