"""How far a run is, on standard error: one line that is kept up to date on a terminal, else a
line every few seconds, nothing if it shall be quiet."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pypelinin.engine import table
from pypelinin.incremental.ends import was_not_begun
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobCanceled
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

LINE_S = 5.0
DRAW_S = 0.25
SHARE_MAX = 0.05
"""What part of the time counting may take."""
LINE_MIN = 70
TYPED_MAX = 20
"""Columns that stay free for what is typed."""
SAVE, RESTORE, CLEAR = "\x1b7", "\x1b8", "\r\x1b[K"


class Counts(NamedTuple):
    """Jobs of a run, without its invariants."""

    done: int
    running: int
    waiting: int
    failed: int
    """They, and those that cannot be as they failed."""
    cancelled: int = 0
    left_s: float | None = None

    @property
    def total(self) -> int:
        return self.done + self.running + self.waiting + self.failed + self.cancelled

    def __str__(self) -> str:
        width = len(str(self.total))
        parts = list(zip(self[:4], ("done", "running", "waiting", "failed"), strict=True))
        if self.cancelled:
            parts.append((self.cancelled, "cancelled"))
        text = ", ".join(f"{number:{width}} {word}" for number, word in parts)
        return text if self.left_s is None else f"{text}, about {span(self.left_s)} left"


def counted(running: Running, ran: int, elapsed_s: float) -> Counts:
    """*ran* jobs have run since it began, *elapsed_s* ago."""
    states = Counter(entry.state for entry in running.run.jobs.values() if not entry.invariant)
    failed = states[table.FAILED] + states[table.BLOCKED]
    cancelled = states[table.CANCELLED]
    done = sum(states[state] for state in (table.DONE, table.KEPT, table.UNUSED))
    left = states.total() - failed - cancelled - done
    at_work = min(len(running.working()), left)
    left_s = elapsed_s / ran * left if ran and left else None
    return Counts(done, at_work, left - at_work, failed, cancelled, left_s)


def span(seconds: float) -> str:
    """A time as people say it: 0.1 s, 20 s, 3 min, 5.2 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress(Watcher):
    """Also the way for others to say something without disturbing the line."""

    beat_s = DRAW_S

    def __init__(self, is_quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_quiet = is_quiet
        self.prompt = ""
        """What stands behind the line, if commands are read."""
        self._clock = clock
        self._stream: TextIO | Any = sys.stderr
        self._is_terminal = False
        self._running: Running | None = None
        self._ran = 0
        self._began_at = self._next_at = 0.0
        self._width = 0
        """Of the line that stands there; 0: the cursor is at the beginning of an empty one."""
        self._has_told = False

    def began(self, running: Running) -> None:
        self._running = running
        self._stream = sys.stderr
        self._is_terminal = not self.is_quiet and is_terminal(self._stream)
        self._ran, self._width, self._has_told = 0, 0, False
        self._began_at = self._clock()
        self._next_at = self._began_at + (DRAW_S if self._is_terminal else LINE_S)

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        self._ran += 1
        error = outcome.error_or_none
        is_news = outcome.outcome is JobOutcome.Failed and not isinstance(error, JobCanceled)
        if self._is_terminal and is_news:
            first = str(error).partition("\n")[0]
            self.say(f"{job.job_id} failed: {first}")

    def beat(self) -> None:
        now = self._clock()
        if self.is_quiet or now < self._next_at:
            return
        line = str(self.counts())
        cost = self._clock() - now
        self._next_at = now + max(DRAW_S if self._is_terminal else LINE_S, cost / SHARE_MAX)
        if self._is_terminal:
            self._draw(line)
        else:
            self._write(f"{line}\n")
            self._has_told = True

    def counts(self) -> Counts:
        assert self._running is not None
        return counted(self._running, self._ran, self._clock() - self._began_at)

    def _draw(self, line: str) -> None:
        """What is typed behind the line stays there."""
        room = max(columns(self._stream) - TYPED_MAX - len(self.prompt), 1)
        width = max(self._width, min(max(len(line), LINE_MIN), room))
        text = line[:width].ljust(width) + self.prompt
        if width == self._width:
            self._write(f"{SAVE}\r{text}{RESTORE}")
        else:
            self._write((CLEAR if self._width else "") + text)
        self._width = width

    def line_ended(self) -> None:
        """Somebody pressed Enter: the cursor is in the next line."""
        self._width = 0
        self._next_at = 0.0

    def say(self, text: str) -> None:
        """Lines that stay, above the line that changes."""
        self._write(f"{CLEAR if self._width else ''}{text}\n")
        self.line_ended()

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        if self._running is not None and (self._is_terminal or self._has_told):
            took = span(self._clock() - self._began_at)
            self.say(f"{summary(outcomes, self._ran)} in {took}")
        self._running = None

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone: the run goes on
            self.is_quiet, self._is_terminal = True, False


def summary(outcomes: dict[str, RecordedJobOutcome], ran: int) -> str:
    """How a run ended, in one line."""
    ends = Counter(outcome.outcome for outcome in outcomes.values())
    left = sum(was_not_begun(outcome) for outcome in outcomes.values())
    parts = [(ran, "ran"), (ends[JobOutcome.Skipped], "skipped"),
             (ends[JobOutcome.Failed] - left, "failed"),
             (ends[JobOutcome.UpstreamFailed], "without what they need"),
             (left, "not begun"), (ends[JobOutcome.Pruned], "pruned")]  # fmt: skip
    return ", ".join(f"{number} {word}" for number, word in parts if number) or "nothing to do"


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # it is none, or closed
        return False


def columns(stream: Any) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
