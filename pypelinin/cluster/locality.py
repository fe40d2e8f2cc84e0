"""Where large values are near: the nodes that made or read them keep copies.

Known in memory only: after a restart of the Router jobs go wherever there is room.
"""

from __future__ import annotations

from array import array
from collections import Counter

from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.runs import Runs
from pypelinin.graph import states
from pypelinin.wire.definitions import is_kept, value_size


class Locality:
    """Nodes by the kept results of jobs."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._nodes: dict[int, dict[int, dict[int, None]]] = {}
        """Run number -> job -> nodes that have its result."""

    def ended(self, run: RunRecord, jobs: array[int], statuses: bytes, node: int) -> None:
        """Jobs of a run whose jobs read each other ended on *node*."""
        for job, status in zip(jobs, statuses, strict=True):
            if status != states.DONE:
                continue
            for other in (job, *run.reads.get(job, ())):
                if is_kept(run.results.get(other)):
                    self._nodes.setdefault(run.number, {}).setdefault(other, {})[node] = None

    def near(self, number: int, job: int) -> Counter[int]:
        """How many bytes of what the job reads each node has."""
        found: Counter[int] = Counter()
        known = self._nodes.get(number)
        if known is not None:
            run = self._runs.by_number[number]
            for up in run.reads.get(job, ()):
                for node in known.get(up, ()):
                    found[node] += value_size(run.results.get(up, b""))
        return found

    def forget(self, number: int) -> None:
        """The run is over."""
        self._nodes.pop(number, None)
