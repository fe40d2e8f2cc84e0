"""A journal in memory that commits late and in groups, and forgets what a crash takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from pypelinin.testing.timeline import Action, Timeline
from pypelinin.wire.codec import Record
from pypelinin.wire.rows import pack_row


class SimJournal:
    """Packed rows; the first *committed* of them survive."""

    def __init__(
        self, timeline: Timeline, random: Random, trace: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self.rows: list[bytes] = []
        self.committed = 0
        self.commit_s = 0.005
        self.on_commit: Callable[[int], None] = lambda _: None
        self._waiting: deque[tuple[int, Action]] = deque()
        self._committing = 0
        self._life = 0
        self._timeline = timeline
        self._random = random
        self._trace = trace

    def append(self, lsn: int, row: Record) -> None:
        assert lsn == len(self.rows) + 1, f"row {lsn} does not follow row {len(self.rows)}"
        packed = pack_row(row)
        self._trace(packed)
        self.rows.append(packed)
        self._commit_soon()

    def after(self, lsn: int, action: Action) -> None:
        """Do *action* when row *lsn* is durable; what waits keeps its order."""
        self._waiting.append((lsn, action))
        self._release()

    def crash(self) -> None:
        """The process died: what is not committed is gone, but a commit may just have worked."""
        if self._committing:
            self.committed = self._random.randint(self.committed, self._committing)
        del self.rows[self.committed :]
        self._committing = 0
        self._life += 1
        self._waiting.clear()

    def finish(self) -> None:
        """Commit everything at once; who waited is served."""
        self.committed, self._committing = len(self.rows), 0
        self._life += 1
        self._release()

    def _commit_soon(self) -> None:
        if self._committing or self.committed == len(self.rows):
            return
        self._committing = len(self.rows)
        life = self._life
        delay_s = self._random.uniform(0.2, 1.8) * self.commit_s
        self._timeline.after(delay_s, lambda: self._committed(life))

    def _committed(self, life: int) -> None:
        if life != self._life:
            return
        self.committed, self._committing = self._committing, 0
        self._release()
        self.on_commit(self.committed)
        self._commit_soon()

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.committed:
            self._waiting.popleft()[1]()
