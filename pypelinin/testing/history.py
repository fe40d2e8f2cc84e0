"""What really happened, told independently of the Router's own state.

The history reads the journal's rows as they are written and hears from the slots what was
executed. It knows the scripts, so it can say what must never be: a job before its
upstreams, two outcomes, an outcome nobody produced, work done again for no reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.ids import fence_epoch
from pypelinin.testing.scripts import RunScript
from pypelinin.wire.codec import Record, unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Header
from pypelinin.wire.messages import JobsOut
from pypelinin.wire.rows import (
    CancelledRuns,
    Ended,
    Epoch,
    FinishedRun,
    Forgotten,
    GivenUp,
    HandedOut,
    JobsEnded,
    Joined,
    Left,
    LotClosed,
    LotRow,
    LotsClosed,
    PartAdded,
    PausedRuns,
    Released,
    Submitted,
)

Key = tuple[str, int]
"""(run id, job)."""
Place = tuple[str, int]
"""(name of a Broker, which of its lives)."""

HANDED, RUNNING, SUCCEEDED, BROKE, KILLED = "handed out", "running", "succeeded", "broke", "killed"


class Violation(AssertionError):
    """A promise was broken."""


def demand(truth: object, *what: object) -> None:
    if not truth:
        raise Violation(" ".join(map(str, what)))


@dataclass(slots=True)
class Attempt:
    """One job of one lot, under a fence of its own."""

    fence: int
    key: Key
    node: int
    epoch: int = 0
    lsn: int = 0
    state: str = HANDED
    place: Place = ("", 0)
    memory_kills: int = 0
    """How often its job had been ended for its memory before."""


def causes_of(row: JobsEnded) -> dict[tuple[int, int], str]:
    """Why jobs failed, by run number and job."""
    return {(failed.run, failed.job): failed.failure.cause for failed in row.failures}


@dataclass(slots=True)
class Lot:
    node: int
    keys: list[Key]
    next: int = 0


@dataclass(slots=True)
class Lineage:
    """What the rows of one journal say; a crash of the Router cuts it back."""

    lsn: int = 0
    epoch: int = 0
    bases: dict[int, int] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    """Parts of each run that did not come yet."""
    lots: dict[int, Lot] = field(default_factory=dict)
    out: dict[Key, int] = field(default_factory=dict)
    outcomes: dict[Key, tuple[int, int]] = field(default_factory=dict)
    failed: Counter[Key] = field(default_factory=Counter)
    memory_kills: Counter[Key] = field(default_factory=Counter)
    crashes: Counter[Key] = field(default_factory=Counter)
    tried: dict[Key, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def stands(self, epoch: int, lsn: int) -> bool:
        """Whether what was built on that row still stands."""
        if epoch == self.epoch:
            return lsn <= self.lsn
        return lsn <= self.bases.get(epoch + 1, -1)


class History:
    """Judges rows and executions; raises Violation."""

    def __init__(self, scripts: dict[str, RunScript], counters: Counter[str]) -> None:
        self.scripts = scripts
        self.crashes_max = Limits().crashes_max
        self.counters = counters
        self.lineage = Lineage()
        self.attempts: dict[int, Attempt] = {}
        self.by_key: dict[Key, list[Attempt]] = {}
        self.left: set[int] = set()
        self.dead: set[Place] = set()

    # --- rows --------------------------------------------------------------------------

    def wrote(self, row: Record) -> None:  # noqa: C901 - one case for each kind of row
        """The Router wrote *row*; it must be a fact that may be."""
        line = self.lineage
        if isinstance(row, HandedOut):
            for lot in row.lots:
                self._may_be_handed_out(row.node, lot)
        elif isinstance(row, JobsEnded):
            for ended in row.lots:
                self._may_have_ended(ended, causes_of(row))
        elif isinstance(row, GivenUp):
            for job in row.jobs:
                key = (line.runs[row.run], job)
                demand(key not in line.outcomes and key not in line.out, "given up:", key)
            self.counters["given up"] += 1
        elif isinstance(row, FinishedRun):
            self._may_be_finished(line.runs[row.number])
        elif isinstance(row, Released):
            for job in row.jobs:
                self._may_be_released(line.runs[row.number], job)
        elif isinstance(row, Left):
            self.left.add(row.node)
            self.counters[f"nodes gone: {row.why}"] += 1
        elif isinstance(row, Joined):
            self.left.discard(row.node)
        elif isinstance(row, LotsClosed):
            self.counters["lots lost" if row.lots[0].lost else "lots reopened"] += len(row.lots)
        elif isinstance(row, Epoch):
            demand(row.epoch == line.epoch + 1, "epoch", row.epoch, "after", line.epoch)
            self.counters["epochs"] += 1
        elif isinstance(row, Forgotten):
            for number in row.runs:
                run = line.runs[number]
                finished = run in line.finished or line.missing[number]
                demand(finished, "an open run was forgotten")
                for job in range(self.scripts[run].jobs):
                    self.by_key.pop((run, job), None)
        self._apply(row)

    def crashed(self, rows: list[Record]) -> None:
        """The Router died; *rows* are what is left of its journal."""
        self.counters["rows lost in crashes"] += self.lineage.lsn - len(rows)
        self.lineage = Lineage()
        for row in rows:
            self._apply(row)

    def _apply(self, row: Record) -> None:  # noqa: C901 - one case for each kind of row
        line = self.lineage
        line.lsn += 1
        match row:
            case Submitted(number, parts, header):
                line.runs[number] = unpack_record(Header, header, FRAME_BYTES_MAX).run
                line.missing[number] = parts
            case PartAdded(number):
                line.missing[number] -= 1
            case HandedOut(node, lots):
                for lot in lots:
                    line.lots[lot.fence] = Lot(node, self._keys(lot))
                    line.out.update((key, lot.fence) for key in line.lots[lot.fence].keys)
                    for fence in range(lot.fence, lot.fence + len(lot.jobs)):
                        self.attempts[fence].node = node  # an adoption may be lost in a crash
            case JobsEnded(lots):
                for ended in lots:
                    self._ended(ended, causes_of(row))
            case LotsClosed(lots):
                for closed in lots:
                    self._closed(closed)
            case GivenUp(number, jobs):
                for job in jobs:
                    line.outcomes[line.runs[number], job] = (states.FAILED, line.lsn)
            case CancelledRuns(runs):
                line.cancelled.update(line.runs[number] for number in runs)
            case PausedRuns(runs, paused):
                change = line.paused.update if paused else line.paused.difference_update
                change(line.runs[number] for number in runs)
                self.counters["paused runs"] += paused
            case FinishedRun(number):
                line.finished.add(line.runs[number])
            case Forgotten(runs):
                for number in runs:
                    self._forget(line.runs.pop(number))
            case Epoch(epoch, base):
                line.epoch = epoch
                line.bases[epoch] = base

    def _forget(self, run: str) -> None:
        """A late submit may bring it again, as something new."""
        line = self.lineage
        line.forgotten.add(run)
        line.finished.discard(run)
        line.cancelled.discard(run)
        line.paused.discard(run)
        for job in range(self.scripts[run].jobs):
            for known in (
                line.outcomes, line.failed, line.memory_kills, line.crashes, line.tried,
            ):  # fmt: skip
                known.pop((run, job), None)

    def _keys(self, lot: LotRow) -> list[Key]:
        runs = self.lineage.runs
        return [(runs[number], job) for number, job in zip(lot.runs, lot.jobs, strict=True)]

    def _may_be_handed_out(self, node: int, row: LotRow) -> None:
        line = self.lineage
        demand(row.fence not in line.lots, "lot", row.fence, "is handed out twice")
        for i, key in enumerate(self._keys(row)):
            demand(key not in line.outcomes, key, "is over and handed out again")
            demand(key not in line.out, key, "is handed out twice at once")
            demand(key[0] not in line.finished, key, "is handed out after its run's end")
            behind = self._keys(row)[i - 1] if row.follows[i : i + 1] == b"\1" else None
            for up in self.scripts[key[0]].upstreams[key[1]]:
                done = line.outcomes.get((key[0], up), (0, 0))[0] == states.DONE
                demand(done or behind == (key[0], up), key, "is handed out before upstream", up)
            if fence_epoch(row.fence) == line.epoch:
                before = self.attempts.get(row.fence + i)
                demand(before is None or not before.epoch, "fence", row.fence, "is not new")
                demand(key[0] not in line.paused, key, "is handed out though its run is paused")
                attempt = self.attempts[row.fence + i] = Attempt(row.fence + i, key, node)
                attempt.memory_kills = line.memory_kills[key]
                self.by_key.setdefault(key, []).append(attempt)
            else:
                attempt = self.attempts[row.fence + i]
                demand(attempt.key == key, "fence", row.fence + i, "was not for", key)
                demand(line.stands(attempt.epoch, attempt.lsn), key, "is adopted but void")
                tried = line.tried.get(key, -1)
                demand(attempt.fence > tried, key, "is adopted though tried since as", tried)
        self.counters["adopted lots"] += fence_epoch(row.fence) != line.epoch

    def _may_have_ended(self, row: Ended, causes: dict[tuple[int, int], str]) -> None:
        line = self.lineage
        numbers = {run: number for number, run in line.runs.items()}
        lot = line.lots.get(row.fence)
        demand(lot is not None, "outcomes of an unknown lot", row.fence)
        assert lot is not None
        demand(row.start == lot.next, "outcomes", row, "do not follow", lot.next)
        demand(row.start + len(row.statuses) <= len(lot.keys), "more outcomes than jobs")
        for i, status in enumerate(row.statuses, row.start):
            key, attempt = lot.keys[i], self.attempts[row.fence + i]
            demand(key not in line.outcomes, key, "has two outcomes")
            demand(attempt.key == key, key, "has the outcome of", attempt.key)
            if status == states.UNBEGUN:
                demand(attempt.state == HANDED, key, "is recorded as unbegun but", attempt.state)
                self.counters["followers not begun"] += 1
                continue
            demand(status in (states.DONE, states.FAILED, states.AGAIN), "outcome", status)
            never_begun = attempt.state == HANDED and status != states.DONE
            cause = causes.get((numbers[key[0]], key[1]))
            if not (never_begun and cause == "import"):
                truth: tuple[str, ...] = (SUCCEEDED,) if status == states.DONE else (BROKE,)
                if cause == "timeout" and status != states.DONE:
                    truth = (KILLED, BROKE)  # told to end, some end of themselves
                    self.counters["timeouts"] += 1
                demand(attempt.state in truth, key, "is recorded as", status, "but", attempt.state)
            if status != states.DONE:
                self._may_be_tried_again(key, status, cause or "")

    def _may_be_tried_again(self, key: Key, status: int, cause: str) -> None:
        line, kind = self.lineage, self.scripts[key[0]].kinds[key[1]]
        left = kind.retries - line.failed[key]
        if cause == "memory":
            left = len(kind.more_memory) - line.memory_kills[key]
            self.counters["memory kills"] += 1
        elif cause == "signal":
            left = self.crashes_max - 1 - line.crashes[key]
            self.counters["quarantined jobs"] += left == 0
        again = left > 0 and key[0] not in line.cancelled
        demand(again == (status == states.AGAIN), key, "has", left, "tries left")
        self.counters["retries" if again else "failures"] += 1

    def _may_be_finished(self, run: str) -> None:
        """Every job without an outcome is one that must have none."""
        line = self.lineage
        demand(run not in line.finished, run, "is finished twice")
        for job, upstreams in enumerate(self.scripts[run].upstreams):
            key = (run, job)
            demand(key not in line.out, key, "still runs at the end of its run")
            broken = [
                up for up in upstreams if line.outcomes.get((run, up), (0,))[0] != states.DONE
            ]
            if key in line.outcomes:
                demand(
                    not broken or run in line.forgotten, key, "has an outcome in spite of", broken
                )
            elif run not in line.cancelled:
                demand(broken, key, "was skipped although all it waits for is done")

    def _may_be_released(self, run: str, job: int) -> None:
        """It is temporary, and all that read it have done so well."""
        script, outcomes = self.scripts[run], self.lineage.outcomes
        demand(script.temporary[job], run, job, "is not temporary and released")
        for reader, reads in enumerate(script.reads):
            done = outcomes.get((run, reader), (0, 0))[0] == states.DONE
            demand(done or job not in reads, run, job, "is released before", reader, "is done")
        self.counters["released results"] += 1

    def _ended(self, row: Ended, causes: dict[tuple[int, int], str]) -> None:
        line, lot = self.lineage, self.lineage.lots[row.fence]
        numbers = {run: number for number, run in line.runs.items()}
        for i, status in enumerate(row.statuses, row.start):
            key = lot.keys[i]
            line.out.pop(key)
            if status in (states.AGAIN, states.UNBEGUN):
                cause = causes.get((numbers[key[0]], key[1]))
                counters = {"memory": line.memory_kills, "signal": line.crashes}
                if status == states.AGAIN:
                    counters.get(cause or "", line.failed)[key] += 1
                line.tried[key] = row.fence + i
            else:
                line.outcomes[key] = (status, line.lsn)
        lot.next = row.start + len(row.statuses)
        if lot.next == len(lot.keys):
            del line.lots[row.fence]

    def _closed(self, row: LotClosed) -> None:
        line, lot = self.lineage, self.lineage.lots[row.fence]
        demand(lot.next <= row.start < len(lot.keys), "a lot is closed at", row.start)
        for key in lot.keys[row.start :]:
            line.out.pop(key)
        del lot.keys[row.start :]
        if row.start == lot.next:
            del line.lots[row.fence]

    # --- slots -------------------------------------------------------------------------

    def sent(self, message: JobsOut) -> None:
        """The Router sends lots: their basis must cover all they come from."""
        line = self.lineage
        for lot in message.lots:
            for i in range(len(lot.jobs)):
                attempt = self.attempts[lot.fence + i]
                attempt.epoch, attempt.lsn = message.epoch, message.lsn
                run, job = attempt.key
                for up in self.scripts[run].upstreams[job]:
                    _, lsn = line.outcomes.get((run, up), (0, 0))  # 0: it is in this lot
                    demand(lsn <= message.lsn, attempt.key, "does not name row", lsn)

    def began(self, fence: int, run: str, job: int, place: Place) -> None:
        """A slot begins a job: nobody may be doing it, or have done it, for nothing."""
        attempt = self.attempts.get(fence)
        demand(attempt is not None, "fence", fence, "was never given")
        assert attempt is not None
        demand(attempt.key == (run, job), "fence", fence, "is not for", run, job)
        demand(attempt.state == HANDED, attempt.key, "is begun again under one fence")
        attempt.state, attempt.place = RUNNING, place
        self.counters["executions"] += 1
        if attempt.node in self.left or not self.lineage.stands(attempt.epoch, attempt.lsn):
            self.counters["begun in vain"] += 1
            return  # the Broker cannot know it yet
        for up in self.scripts[run].upstreams[job]:
            tried = any(t.state == SUCCEEDED for t in self.by_key.get((run, up), ()))
            recorded = self.lineage.outcomes.get((run, up), (0, 0))[0] == states.DONE
            demand(tried or recorded, attempt.key, "begins before", up)
        for other in self.by_key[attempt.key]:
            if other is attempt or other.state in (HANDED, BROKE, KILLED):
                continue
            excused = (
                other.place in self.dead
                or other.node in self.left
                or not self.lineage.stands(other.epoch, other.lsn)
            )
            demand(excused, attempt.key, f"is executed as {fence:x} though {other} is good")
            self.counters["executed again"] += 1
            if other.state == RUNNING and other.place not in self.dead:
                self.counters["executed twice at once"] += 1

    def ended(self, fence: int, state: str) -> None:
        """The slot's job came to an end: SUCCEEDED, BROKE, or KILLED."""
        self.attempts[fence].state = state
