"""Which cores a slot's jobs run on, for a Broker that pins them.

A slot takes as many as its lot was granted when the lot begins, and gives them back when the lot
is finished; the next time it gets the same ones if they are free. As long as what runs together
fits the node, no core is taken twice; else those are shared that fewest have.
"""

from __future__ import annotations

from collections.abc import Iterable


class Cores:
    """Cores by number, and the slots that have them."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._takers = dict.fromkeys(sorted(numbers), 0)
        """How many slots have each core."""
        self.taken: dict[int, tuple[int, ...]] = {}
        self._last: dict[int, tuple[int, ...]] = {}

    def take(self, slot: int, count: int) -> tuple[int, ...]:
        """*count* different cores for *slot*; all, if there are no more."""
        self.free(slot)
        last = self._last.get(slot, ())
        known = sorted(self._takers, key=lambda n: (self._takers[n], n not in last, n))
        cores = tuple(sorted(known[:count]))
        for number in cores:
            self._takers[number] += 1
        self.taken[slot] = self._last[slot] = cores
        return cores

    def free(self, slot: int) -> None:
        """The lot of *slot* is finished, or it is gone."""
        for number in self.taken.pop(slot, ()):
            self._takers[number] -= 1

    def check(self) -> None:
        for number, takers in self._takers.items():
            assert takers == sum(number in cores for cores in self.taken.values())
        assert all(len(set(cores)) == len(cores) for cores in self.taken.values())


__all__ = ["Cores"]
