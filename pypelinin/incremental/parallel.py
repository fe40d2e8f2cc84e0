"""Cores: how many there are, and a way for threads to share them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from pypelinin.incremental.util import CPUs


class CoreLock:
    """Threads take some of *max_cores* cores, and wait until so many are free.

    Who waits for many is not overtaken for ever: it is served in the order of asking.
    """

    def __init__(self, max_cores: int) -> None:
        if max_cores < 1:
            raise ValueError(f"There is at least one core, not {max_cores}.")
        self.max_cores = max_cores
        self._free = max_cores
        self._queue: list[object] = []
        self._changed = threading.Condition()
        self._terminated = False

    @contextlib.contextmanager
    def using(self, cores: int) -> Iterator[None]:
        """Hold so many in a `with` block. Raises ValueError for more than there are, or none."""
        if not 1 <= cores <= self.max_cores:
            raise ValueError(f"Between 1 and {self.max_cores} cores can be used, not {cores}.")
        self._acquire(cores)
        try:
            yield
        finally:
            self._release(cores)

    def _acquire(self, cores: int) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(
                lambda: self._terminated or (self._queue[0] is ticket and self._free >= cores)
            )
            self._queue.remove(ticket)
            self._free -= cores
            self._changed.notify_all()

    def _release(self, cores: int) -> None:
        with self._changed:
            self._free += cores
            self._changed.notify_all()

    def terminate(self) -> None:
        """Let everybody who waits go on."""
        with self._changed:
            self._terminated = True
            self._changed.notify_all()


__all__ = ["CPUs", "CoreLock"]
