"""A journal in memory that commits late and in groups, and forgets what a crash takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from pypelinin.cluster.events import Compact, KeepImage, Write
from pypelinin.cluster.images import restore
from pypelinin.cluster.state import State
from pypelinin.testing.timeline import Action, Timeline
from pypelinin.wire.codec import Record, pack_record
from pypelinin.wire.rows import pack_row, unpack_image, unpack_row

Entry = Write | KeepImage | Compact


class SimJournal:
    """Packed rows and images; what is committed survives.

    *rows* are all that were ever written in this lineage. `images` and `rows_behind` are
    what a new Router reads: images up to the base, and only the rows behind it.
    """

    def __init__(
        self, timeline: Timeline, random: Random, trace: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self.rows: list[bytes] = []
        self.committed = 0
        self.commit_s = 0.005
        self.on_commit: Callable[[int], None] = lambda _: None
        self.compactions = 0
        self._images: dict[int, tuple[int, bytes]] = {}
        self._coming: dict[int, tuple[int, bytes]] = {}
        self._base = 0
        self._pending: deque[tuple[int, Entry]] = deque()
        """What is not committed yet, each with the number of the newest row before it."""
        self._waiting: deque[tuple[int, Action]] = deque()
        self._committing = 0
        self._life = 0
        self._timeline = timeline
        self._random = random
        self._trace = trace

    # --- reading -----------------------------------------------------------------------

    def images(self) -> list[Record]:
        """The state's first, then those of runs by number."""
        return [unpack_image(number, data) for number, (_, data) in sorted(self._images.items())]

    def rows_behind(self) -> list[Record]:
        return [unpack_row(row) for row in self.rows[self._base :]]

    def replayed(self, state: State, images: bool) -> State:
        """What all rows come to, with or without the help of images."""
        if images:
            for image in self.images():
                restore(state, image)
        for row in self.rows_behind() if images else map(unpack_row, self.rows):
            state.apply(row)
        return state

    # --- writing -----------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        if isinstance(entry, Write):
            assert entry.lsn == len(self.rows) + 1, f"row {entry.lsn} follows {len(self.rows)}"
            packed = pack_row(entry.row)
            self._trace(packed)
            self.rows.append(packed)
        else:
            assert entry.lsn == len(self.rows), "an image of other rows than there are"
        self._pending.append((len(self.rows), entry))
        self._commit_soon()

    def after(self, lsn: int, action: Action) -> None:
        """Do *action* when row *lsn* is durable; what waits keeps its order."""
        self._waiting.append((lsn, action))
        self._release()

    def crash(self) -> None:
        """The process died: what is not committed is gone, but a commit may just have worked."""
        if self._committing:
            self._commit(self._random.randint(0, self._committing))
        del self.rows[self.committed :]
        self._pending.clear()
        self._coming.clear()
        self._committing = 0
        self._life += 1
        self._waiting.clear()

    def finish(self) -> None:
        """Commit everything at once; who waited is served."""
        self._commit(len(self._pending))
        self._committing = 0
        self._life += 1
        self._release()

    def _commit_soon(self) -> None:
        if self._committing or not self._pending:
            return
        self._committing = len(self._pending)
        life = self._life
        delay_s = self._random.uniform(0.2, 1.8) * self.commit_s
        self._timeline.after(delay_s, lambda: self._committed(life))

    def _committed(self, life: int) -> None:
        if life != self._life:
            return
        count, self._committing = self._committing, 0
        self._commit(count)
        self._release()
        self.on_commit(self.committed)
        self._commit_soon()

    def _commit(self, count: int) -> None:
        """The first *count* pending entries are durable."""
        for _ in range(count):
            self.committed, entry = self._pending.popleft()
            if isinstance(entry, KeepImage):
                self._coming[entry.number] = (entry.lsn, pack_record(entry.image))
            elif isinstance(entry, Compact):
                self.compactions += 1
                self._base = entry.lsn
                self._images.update(self._coming)
                self._coming.clear()
                for number in entry.gone:
                    self._images.pop(number, None)

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.committed:
            self._waiting.popleft()[1]()
