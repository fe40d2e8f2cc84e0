"""The Broker's side of what jobs print and use: which bytes of a slot's files are whose.

A slot says behind each job that printed where its output ends; of one that runs long the Broker
looks itself, once a beat. `take` gives the next piece for the Router: the first half of what may
be kept of an attempt as it comes, the last half when it has ended, and in between only the
newest, to look at.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from itertools import islice

from pypelinin.cluster.slots import RunLot
from pypelinin.runtime.slot_files import SlotFile, slot_files
from pypelinin.runtime.trees import children, usage
from pypelinin.wire.codec import Blobs
from pypelinin.wire.evidence import AttemptUsage, Evidence, Printed

MESSAGE_BYTES_MAX = 192 * 1024
PIECE_BYTES_MAX = 64 * 1024
LIVE_BYTES_MAX = 16 * 1024
"""Of what is only to be looked at, each time."""
ROWS_MAX = 1500
WAITING_MAX = 100_000
"""Attempts whose output or usage waits for the Router; of more it is not kept."""
UNSENT_BYTES_MAX = 256 * 1024 * 1024
"""Of output of attempts that have ended; while more waits no new output is kept."""
PAUSE_S = 0.05
IDLE_BEATS = 3
FORWARD_BYTES_MAX = 64 * 1024
PEAK_BYTES_MAX = 2**60


class Output:
    """What one attempt printed to one stream: bytes *begin* to *end* of a slot's file."""

    __slots__ = (
        "base",
        "closed",
        "dropped",
        "end",
        "fence",
        "file",
        "job",
        "live",
        "run",
        "sent",
        "stream",
        "weight",
    )

    def __init__(
        self, file: SlotFile, stream: int, attempt: tuple[str, int, int], begin: int, lost: int = 0
    ) -> None:
        """The attempt printed *lost* bytes before that are no longer in the file."""
        file.use()
        self.file = file
        self.stream = stream
        self.run, self.job, self.fence = attempt
        self.base = begin - lost
        self.sent = self.end = begin
        self.weight = 0
        """Bytes of it that are counted as unsent."""
        self.closed = self.dropped = False
        self.live = False
        """Whether there is something new to look at."""

    def next(self, half: int) -> tuple[int, int, bool]:
        """(begin, end, whether only to look at) of the next piece; begin == end: nothing now."""
        head = self.base + half
        if self.sent < min(self.end, head):
            return self.sent, min(self.end, head, self.sent + PIECE_BYTES_MAX), False
        if self.closed:
            begin = max(self.sent, self.end - half)
            return begin, min(self.end, begin + PIECE_BYTES_MAX), False
        if self.live and self.end > head:
            return max(head, self.end - LIVE_BYTES_MAX), self.end, True
        return self.sent, self.sent, False

    def unsent(self, half: int) -> int:
        """Bytes that are still to be sent if no more come."""
        head = min(self.end, self.base + half)
        return max(0, head - self.sent) + self.end - max(self.sent, head, self.end - half)

    def needed(self, half: int) -> int:
        """From where on the file must stay."""
        return self.sent if self.sent < self.base + half else max(self.sent, self.end - half)


class SlotOutput:
    """The files of one slot, and what of them belongs to which job."""

    def __init__(self, collector: Collector) -> None:
        self.files = slot_files(collector.directory)
        self._collector = collector
        self._lot: RunLot | None = None
        self._done = 0
        self._given = [0, 0]
        """How far each file is known to be somebody's."""
        self._lost = [(0, 0), (0, 0)]
        """(fence, bytes): what that attempt had printed to each file when it was emptied."""
        self._seen: tuple[list[int], tuple[int, RunLot | None]] = ([0, 0], (0, None))
        """Sizes of the files, and (jobs done, lot), at the beat before."""
        self._current: list[Output | None] = [None, None]
        self._began = 0.0
        self._cpu_s = 0.0

    @property
    def fds(self) -> list[int]:
        return [file.fd for file in self.files]

    def lot(self, lot: RunLot, now: float, keeper: int) -> None:
        """The slot below *keeper* begins *lot*."""
        if self._lot is None:
            self._forward()
            self._cpu_s = usage(children(keeper))[0] if keeper else 0.0
        self._collector.wake(now)
        self._lot, self._done = lot, 0
        self._began = time.time()

    def progressed(self, count: int) -> None:
        self._done += count
        self._began = time.time()

    def _attempt(self, position: int) -> tuple[str, int, int] | None:
        """(run, job, fence) of a job of the lot."""
        lot = self._lot
        if lot is None or not 0 <= position < len(lot.jobs):
            return None
        header = lot.headers.get(lot.runs[position])
        return None if header is None else (header[0], lot.jobs[position], lot.fence + position)

    def note(
        self, position: int, out: int, err: int, wall_s: float, cpu_s: float, peak: int,
        exact: bool, total_s: float,
    ) -> None:  # fmt: skip
        """A job has ended, as its slot tells it; nothing of that is trusted."""
        sizes = self._sizes()
        ends = [min(int(out), sizes[0]), min(int(err), sizes[1])]
        self._cpu_s = float(total_s)
        peak = max(0, min(int(peak), PEAK_BYTES_MAX))
        self._ended(int(position), ends, float(wall_s), float(cpu_s), peak, bool(exact))

    def died(self, cpu_s: float, peak: int) -> None:
        """The slot is gone, in the job that is next."""
        ends = self._sizes()
        wall_s = time.time() - self._began
        self._ended(self._done, ends, wall_s, max(0.0, cpu_s - self._cpu_s), peak, False)

    def _ended(
        self, position: int, ends: Sequence[int], wall_s: float, cpu_s: float, peak: int,
        exact: bool,
    ) -> None:  # fmt: skip
        attempt = self._attempt(position)
        now = time.time()
        self._began = now
        if attempt is None:
            return
        sizes = [self._extend(stream, attempt, end) for stream, end in enumerate(ends)]
        for stream, output in enumerate(self._current):
            if output is not None:
                self._collector.changed(output, closed=True)
                self._current[stream] = None
        self._collector.used(
            AttemptUsage(*attempt, now - wall_s, wall_s, cpu_s, peak, exact, *sizes)
        )

    def _sizes(self) -> list[int]:
        """How large the files are; one that has shrunk was emptied, by `> /dev/stderr` in a job.

        What had not been sent of it is lost, and what is there now is of who comes next.
        """
        sizes = [file.size() for file in self.files]
        for stream, file in enumerate(self.files):
            if sizes[stream] >= max(self._given[stream], self._seen[0][stream]):
                continue
            output = self._current[stream]
            if output is not None:
                self._lost[stream] = (output.fence, output.end - output.base)
                self._current[stream] = None
            self._given[stream] = self._seen[0][stream] = 0
            self._collector.emptied(file)
        return sizes

    def _extend(self, stream: int, attempt: tuple[str, int, int], end: int) -> int:
        """What is new in that file is of this attempt; returns how much it has printed there."""
        output = self._current[stream]
        if output is not None and output.fence != attempt[2]:
            self._collector.changed(output, closed=True)
            output = self._current[stream] = None
        fence, lost = self._lost[stream]
        lost = lost if fence == attempt[2] else 0
        if end > self._given[stream]:
            if output is None:
                file, begin = self.files[stream], self._given[stream]
                output = self._current[stream] = Output(file, stream, attempt, begin, lost)
            self._given[stream] = output.end = end
            self._collector.changed(output)
        return lost if output is None else output.end - output.base

    def beat(self, busy: bool) -> None:
        """Look at what the job that runs has printed; what a lot left behind is its last job's.

        A job that was running a beat ago and still is has printed all that was there then.
        """
        sizes, before = self._sizes(), self._seen
        self._seen = (sizes, (self._done, self._lot))
        same = before[1][0] == self._done and before[1][1] is self._lot
        attempt = self._attempt(self._done if busy else self._done - 1)
        if attempt is not None and same:
            for stream in (0, 1):
                self._extend(stream, attempt, before[0][stream])
        for stream, file in enumerate(self.files):
            output = self._current[stream]
            if not busy and output is not None:
                self._collector.changed(output, closed=True)
                self._current[stream] = None
            if file.is_worth_freeing(self._given[stream]):
                file.free(self._collector.needed(file, self._given[stream]))

    def _forward(self) -> None:
        """What was printed before there was a job goes where the Broker's own output goes."""
        for stream, file in enumerate(self.files):
            end = file.size()
            if end > self._given[stream]:
                text = file.read(self._given[stream], min(end, FORWARD_BYTES_MAX))
                self._given[stream] = end
                with contextlib.suppress(OSError):
                    os.write(stream + 1, text)

    def close(self) -> None:
        """The slot is gone."""
        if self._lot is None:
            self._forward()
        else:
            sizes, attempt = self._sizes(), self._attempt(self._done - 1)
            if attempt is not None:
                for stream in (0, 1):
                    self._extend(stream, attempt, sizes[stream])
        for output in self._current:
            if output is not None:
                self._collector.changed(output, closed=True)
        for file in self.files:
            file.let_go()


class Collector:
    """All that is to go to the Router; *bytes_max* is kept of each stream of an attempt."""

    def __init__(self, bytes_max: int, beat_s: float = 0.5, directory: str = "") -> None:
        self.directory = directory or tempfile.gettempdir()
        self._half = max(1, bytes_max // 2)
        self._outputs: dict[Output, None] = {}
        self._unsent_bytes = 0
        """Of outputs that are closed."""
        self._usages: list[AttemptUsage] = []
        self.dropped = 0
        """How often something was not kept because too much waits already."""
        self._away = False
        """Whether a message is on its way."""
        self._at = 0.0
        self._beat_s = beat_s
        self._beat_at = float("inf")
        self._idle_beats = 0

    def open(self) -> SlotOutput | None:
        """The files of a new slot; None if there can be none."""
        try:
            return SlotOutput(self)
        except OSError:
            return None

    def changed(self, output: Output, closed: bool = False) -> None:
        output.closed = output.closed or closed
        output.live = True
        if output.dropped:
            return
        if output.closed and output.sent >= output.end:
            if output in self._outputs:
                self._let_go(output)
            return
        if output in self._outputs or self._has_room:
            self._outputs[output] = None
            self._weigh(output)
        else:
            self.dropped += 1
            output.dropped = True
            output.file.let_go()

    @property
    def _has_room(self) -> bool:
        return len(self._outputs) < WAITING_MAX and self._unsent_bytes < UNSENT_BYTES_MAX

    def _weigh(self, output: Output) -> None:
        weight = output.unsent(self._half) if output.closed else 0
        self._unsent_bytes += weight - output.weight
        output.weight = weight

    def _let_go(self, output: Output) -> None:
        self._unsent_bytes -= output.weight
        del self._outputs[output]
        output.file.let_go()

    def emptied(self, file: SlotFile) -> None:
        """What waited there to be sent is gone."""
        file.begin_again()
        for output in [output for output in self._outputs if output.file is file]:
            output.end = output.sent
            self.changed(output, closed=True)

    def used(self, usage: AttemptUsage) -> None:
        if len(self._usages) < WAITING_MAX:
            self._usages.append(usage)
        else:
            self.dropped += 1

    def needed(self, file: SlotFile, given: int) -> int:
        """From where on *file* must stay, if all before *given* is somebody's."""
        needed = [o.needed(self._half) for o in self._outputs if o.file is file]
        return min(needed, default=given)

    def deadline(self) -> float:
        """When there is something to take, or to look at."""
        return min(self._take_at, self._beat_at)

    @property
    def _take_at(self) -> float:
        return float("inf") if self._away or not self._waiting else self._at

    @property
    def _waiting(self) -> bool:
        return bool(self._usages) or any(self._is_due(output) for output in self._outputs)

    def _is_due(self, output: Output) -> bool:
        begin, end, _ = output.next(self._half)
        return end > begin

    def take(self, now: float) -> tuple[Evidence, bool] | None:
        """The next message and whether more waits; None if there is nothing, or one is away."""
        if now < self._take_at:
            return None
        printed: list[Printed] = []
        parts: list[bytes] = []
        room = MESSAGE_BYTES_MAX
        for output in list(islice(self._outputs, 2 * ROWS_MAX)):
            if room <= 0 or len(printed) >= ROWS_MAX:
                break
            room -= self._pieces(output, room, printed, parts)
        usages, self._usages = self._usages[:ROWS_MAX], self._usages[ROWS_MAX:]
        if not printed and not usages:
            return None
        self._away, self._at = True, now + PAUSE_S
        found = Evidence(tuple(printed), tuple(usages), Blobs([b"".join(parts)]))
        return found, self._waiting

    def _pieces(self, output: Output, room: int, printed: list[Printed], parts: list[bytes]) -> int:
        """Pieces of one output; returns their size. One that is through is let go."""
        size = 0
        while size < room:
            begin, end, live = output.next(self._half)
            if begin >= end:
                break
            data = output.file.read(begin, end)
            offset = begin - output.base
            if data:
                attempt = (output.run, output.job, output.fence)
                printed.append(Printed(*attempt, output.stream, offset, len(data), live))
                parts.append(data)
                size += len(data)
            if live:
                output.live = False
            else:
                output.sent = end
        if output.closed and output.sent >= output.end:
            self._let_go(output)
        else:
            self._weigh(output)
        return size

    def taken(self) -> None:
        """The Router has it."""
        self._away = False

    def wake(self, now: float) -> None:
        """A slot has work: it is looked at from now on."""
        self._idle_beats = 0
        if self._beat_at == float("inf"):
            self._beat_at = now + self._beat_s

    def is_due(self, now: float) -> bool:
        """Whether it is time for a beat."""
        return now >= self._beat_at

    def beat(self, slots: Sequence[tuple[SlotOutput, bool]], now: float) -> None:
        """Look at all slots; each with whether a job runs there. Some beats after the last one
        did there is nothing more to see."""
        for slot, busy in slots:
            slot.beat(busy)
        self._idle_beats = 0 if any(busy for _, busy in slots) else self._idle_beats + 1
        self._beat_at = now + self._beat_s if self._idle_beats < IDLE_BEATS else float("inf")


__all__ = ["Collector", "SlotOutput"]
