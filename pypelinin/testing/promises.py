"""What clients were told, and may never be untold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.runs import Runs
from pypelinin.testing.history import demand
from pypelinin.wire.messages import RunStatus

Verdict = tuple[str, int, int, int, int]
"""State, and jobs done, failed, skipped, cancelled."""


def verdict(status: RunStatus) -> Verdict:
    return (status.state, status.done, status.failed, status.skipped, status.cancelled)


class Promises:
    """Answers that reached a client; `check` compares them with what the Router knows."""

    def __init__(self, counters: Counter[str]) -> None:
        self.parts: dict[tuple[str, int], None] = {}
        self.cancelled: dict[str, None] = {}
        self.finished: dict[str, Verdict] = {}
        self.forgetting = False
        """Whether the Router may forget finished runs."""
        self._counters = counters

    def accepted(self, run: str, part: int) -> None:
        self.parts[run, part] = None

    def cancel_accepted(self, run: str) -> None:
        self.cancelled[run] = None

    def told(self, statuses: Sequence[RunStatus]) -> None:
        for status in statuses:
            self._told(status)

    def _told(self, status: RunStatus) -> None:
        before = self.finished.get(status.run)
        if status.state == "unknown":
            accepted = any(run == status.run for run, _ in self.parts)
            demand(self.forgetting or not accepted, status.run, "was accepted, now is unknown")
        elif status.finished_at:
            same = before in (None, verdict(status)) or self.forgetting
            demand(same, status.run, before, "became", status)
            self.finished[status.run] = verdict(status)
        else:
            late = "an older answer"  # a message that overtook it is no promise broken
            self._counters[late] += before is not None

    def check(self, runs: Runs) -> None:
        for run, part in self.parts:
            found = self._find(runs, run)
            if found is not None:
                kept = found.parts[part] is not None or self.forgetting
                demand(kept, "part", part, "of", run, "is lost")
        for run in self.cancelled:
            found = self._find(runs, run)
            if found is not None:
                kept = found.cancelled or bool(found.finished_at) or self.forgetting
                demand(kept, run, "is not cancelled any more")
        for run, told in self.finished.items():
            found = self._find(runs, run)
            if found is not None:
                same = verdict(found.status()) == told or self.forgetting
                demand(same, run, "was", told, "is", found.status())

    def _find(self, runs: Runs, run: str) -> RunRecord | None:
        found = runs.get(run)
        demand(found is not None or self.forgetting, run, "was accepted and is lost")
        return found
