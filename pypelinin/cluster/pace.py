"""How long jobs of each worker take on a node, and so how many of them make a lot."""

from __future__ import annotations

from pypelinin.config import Limits

WORKERS_MAX = 1000
"""Each function is a worker of its own; those that did not run for longest are forgotten."""


class Pace:
    """Means by worker; `took` and `at_least` return whether the Router should hear of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seconds: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def took(self, worker: str, mean_s: float) -> bool:
        """Some jobs took so long each; a rise counts at once, a fall slowly."""
        before = self._seconds.get(worker, mean_s)
        return self._measured(worker, max(mean_s, 0.7 * before + 0.3 * mean_s))

    def at_least(self, worker: str, seconds: float) -> bool:
        """A job is not over after so long."""
        return self._measured(worker, max(self._seconds.get(worker, 0.0), seconds))

    def _measured(self, worker: str, seconds: float) -> bool:
        """News only if it is far from what was told."""
        self._seconds.pop(worker, None)
        self._seconds[worker] = seconds
        while len(self._seconds) > WORKERS_MAX:
            oldest = next(iter(self._seconds))
            del self._seconds[oldest]
            self._told.pop(oldest, None)
        told = self._told.get(worker, float("inf"))
        short, was_short = seconds <= self._limits.lot_s, told <= self._limits.lot_s
        if short == was_short and (not short or told / 2 <= seconds <= told * 2):
            return False
        self._told[worker] = seconds
        return True

    def jobs_in_lot(self) -> dict[str, int]:
        """Jobs that make one lot, of workers that are short."""
        limits = self._limits
        return {
            worker: min(limits.lot_jobs_max, max(1, int(limits.lot_s / max(mean, 1e-7))))
            for worker, mean in self._told.items()
            if mean <= limits.lot_s
        }
