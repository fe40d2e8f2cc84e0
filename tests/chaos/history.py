"""What a Router's journal says happened, read from its rows alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pypelinin.graph import states
from pypelinin.runtime.journal import Journal
from pypelinin.wire.rows import (
    Epoch,
    FinishedRun,
    GivenUp,
    HandedOut,
    JobsEnded,
    LotsClosed,
    PartAdded,
    unpack_row,
)

Pair = tuple[int, int]
KEEP_ROWS = {"journal_rows_max": 10**9}
"""Limits under which no row is let go of."""


class History:
    """Outcomes by (run, job), and what was counted on the way."""

    def __init__(self, directory: Path) -> None:
        self.outcomes: Counter[Pair] = Counter()
        self.hand_outs: Counter[Pair] = Counter()
        self.failed: list[Pair] = []
        self.again: list[Pair] = []
        self.lost = self.epochs = self.finished = self.submitted = 0
        self._lots: dict[int, list[Pair]] = {}
        with Journal(directory, "full", "a test", lambda *_: None) as journal:
            for _, body in journal.rows():
                self._row(unpack_row(body))

    def _row(self, row: object) -> None:
        match row:
            case HandedOut(lots=lots):
                for lot in lots:
                    pairs = list(zip(lot.runs, lot.jobs, strict=True))
                    self._lots[lot.fence] = pairs
                    self.hand_outs.update(pairs)
            case JobsEnded(lots=lots):
                for lot in lots:
                    pairs = self._lots[lot.fence][lot.start : lot.start + len(lot.statuses)]
                    self._ended(pairs, lot.statuses)
            case LotsClosed(lots=lots):
                self.lost += sum(lot.lost for lot in lots)
            case GivenUp():
                raise AssertionError(f"given up: {row}")
            case FinishedRun():
                self.finished += 1
            case PartAdded():
                self.submitted += 1
            case Epoch():
                self.epochs += 1

    def _ended(self, pairs: list[Pair], statuses: bytes) -> None:
        for pair, status in zip(pairs, statuses, strict=True):
            if status == states.AGAIN:
                self.again.append(pair)
                continue
            self.outcomes[pair] += 1
            if status == states.FAILED:
                self.failed.append(pair)

    def recorded_once(self, jobs: int) -> None:
        """Assert that *jobs* outcomes were recorded, each once, and that all runs ended."""
        doubles = {pair: count for pair, count in self.outcomes.items() if count > 1}
        assert not doubles, doubles
        assert len(self.outcomes) == jobs
        assert self.finished == self.submitted
