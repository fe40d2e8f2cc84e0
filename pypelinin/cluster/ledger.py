"""The account of one node: what it has, what of it is granted to which lot.

Pure and local to the Broker, which is the authority: the Router only believes what the
Broker asked for. *limit* is what others on the node leave; grants of before may be above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pypelinin.cluster.amounts import Amount, left_of, need_on
from pypelinin.wire.definitions import Capacity, Terms


@dataclass(slots=True)
class Grant:
    """What a lot has of the node; *devices* are indices of each resource by its name."""

    need: Amount
    devices: dict[str, tuple[int, ...]]


class Ledger:
    """Grants by the fence of their lot."""

    __slots__ = ("capacity", "granted", "limit", "_indices", "_left", "_plain", "_whole")

    def __init__(
        self, capacity: Capacity, indices: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self.capacity = capacity
        self.limit = capacity
        self.granted: dict[int, Grant] = {}
        given = indices or {}
        self._indices = {
            name: sorted(given.get(name) or range(count))
            for name, count in capacity.resources.items()
        }
        """Those of each resource that are free."""
        self._left = left_of(capacity, ())
        self._whole = left_of(capacity, ())
        """What could be granted if nothing were."""
        self._plain = need_on(None, capacity, capacity)

    def set_limit(self, limit: Capacity, devices: Mapping[str, Sequence[int]]) -> None:
        """What may be granted from now on."""
        self.limit = limit
        self._left = left_of(limit, (grant.need for grant in self.granted.values()))
        self._whole = left_of(limit, ())
        taken = self.devices
        self._indices = {
            name: [i for i in sorted(devices.get(name, ())) if i not in taken.get(name, ())]
            for name in self.capacity.resources
        }

    @property
    def used(self) -> Amount:
        """All that is granted."""
        used = Amount()
        for grant in self.granted.values():
            used.add(grant.need)
        return used

    @property
    def devices(self) -> dict[str, tuple[int, ...]]:
        """The indices that are granted, of each resource."""
        found: dict[str, tuple[int, ...]] = {}
        for grant in self.granted.values():
            for name, indices in grant.devices.items():
                found[name] = (*found.get(name, ()), *indices)
        return found

    def need(self, terms: Terms | None) -> Amount | None:
        """What a lot takes here now."""
        return self._plain if terms is None else need_on(terms, self.capacity, self.limit)

    def is_beyond(self, need: Amount) -> bool:
        """Whether more is needed than may be granted now, even if nothing were."""
        return not self._whole.holds(need)

    def grant(self, fence: int, terms: Terms | None) -> Grant | None:
        """What the lot *fence* asks for, if that is free."""
        need = self.need(terms)
        if need is None or not self._left.holds(need):
            return None
        grant = self.granted[fence] = Grant(need, {})
        self._left.add(need, -1)
        for name, count in need.resources.items():
            grant.devices[name] = self._taken(name, count)
        return grant

    def _taken(self, name: str, count: int) -> tuple[int, ...]:
        """The lowest ones, so that the same come again and a slot fits twice."""
        free = self._indices[name]
        taken, self._indices[name] = tuple(free[:count]), free[count:]
        return taken

    def free(self, fence: int) -> None:
        """The lot *fence* is not here any more."""
        grant = self.granted.pop(fence)
        self._left.add(grant.need)
        for name, indices in grant.devices.items():
            self._indices[name] = sorted([*self._indices[name], *indices])

    def check(self) -> None:
        left = left_of(self.limit, (grant.need for grant in self.granted.values()))
        assert (left.cores, left.memory) == (self._left.cores, self._left.memory)
        most = left_of(self.capacity, (grant.need for grant in self.granted.values()))
        assert min(most.cores, most.memory) >= 0, "more is granted than the node has"
        for name, count in self.capacity.resources.items():
            taken = [i for grant in self.granted.values() for i in grant.devices.get(name, ())]
            assert len({*taken, *self._indices[name]}) == len(taken) + len(self._indices[name])
            assert len(taken) + len(self._indices[name]) <= count
