"""The account of one node: what it has, what of it is granted.

Pure and local to the Broker, which is the authority: the Router only believes what the
Broker asked for. One grant is one slot for now; needs beyond a slot join it with cores and
memory, in the same place.
"""

from __future__ import annotations


class Ledger:
    """Which slot holds which lot; a slot that is not usable (starting, dead) is not free."""

    __slots__ = ("_free", "_granted")

    def __init__(self) -> None:
        self._free: dict[int, None] = {}
        self._granted: dict[int, int] = {}

    def open(self, slot: int) -> None:
        """*slot* became usable."""
        self._free[slot] = None

    def close(self, slot: int) -> int | None:
        """*slot* is gone; returns the fence of the lot it held."""
        self._free.pop(slot, None)
        return self._granted.pop(slot, None)

    def grant(self, fence: int) -> int | None:
        """A free slot for the lot *fence*, or None."""
        for slot in self._free:
            del self._free[slot]
            self._granted[slot] = fence
            return slot
        return None

    def free(self, slot: int) -> None:
        """The lot on *slot* is finished."""
        del self._granted[slot]
        self._free[slot] = None

    def held(self, slot: int) -> int | None:
        return self._granted.get(slot)

    @property
    def granted(self) -> dict[int, int]:
        """slot -> fence of what runs."""
        return self._granted

    @property
    def idle(self) -> int:
        return len(self._free)

    def check(self) -> None:
        assert not self._free.keys() & self._granted.keys()
        assert len(set(self._granted.values())) == len(self._granted), "a lot runs twice"
