"""Virtual time: what is to happen, in the order of its time, then of its planning."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class Timeline:
    """A clock that jumps from one planned action to the next."""

    __slots__ = ("_count", "_planned", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Action]] = []
        self._count = 0

    def at(self, when: float, action: Action) -> None:
        """Do *action* at *when*, or now if that is over."""
        self._count += 1
        heappush(self._planned, (max(when, self.now), self._count, action))

    def after(self, delay_s: float, action: Action) -> None:
        self.at(self.now + delay_s, action)

    def step(self) -> bool:
        """Do the next action; False if nothing is planned."""
        if not self._planned:
            return False
        self.now, _, action = heappop(self._planned)
        action()
        return True
