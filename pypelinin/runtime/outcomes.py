"""What a slot writes about its jobs, read by those who do not trust it, and how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pypelinin.cluster.slots import SlotProgressed
from pypelinin.graph import states
from pypelinin.units import format_bytes
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import JobFailure


class Outcomes:
    """Outcomes of the next jobs of a lot, collected one by one."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.statuses = bytearray()
        self.failures: list[JobFailure] = []
        self.results: dict[int, bytes] = {}
        self.elapsed_s = 0.0

    def take(self, outcome: Any) -> None:
        """One outcome: None (not begun), seconds, or [seconds, result] or [seconds, four texts,
        error]. Raises ValueError, TypeError or the like for all else.
        """
        if outcome is None:
            self.statuses.append(states.UNBEGUN)
            return
        if type(outcome) is float:
            self.elapsed_s += outcome
            self.statuses.append(states.DONE)
            return
        seconds = float(outcome[0])
        if type(result := outcome[-1]) is not bytes or len(outcome) not in (2, 6):
            raise ValueError("an outcome is [s, result] or [s, four texts, error]")
        self.elapsed_s += seconds
        if result:
            self.results[len(self.statuses)] = result
        if len(outcome) > 2:
            why = failure(outcome[1:5], self._node)
            self.failures.append(JobFailure(len(self.statuses), why))
        self.statuses.append(states.FAILED if len(outcome) > 2 else states.DONE)

    def told(self, slot: int) -> SlotProgressed:
        results = self.results
        listed = tuple(results.get(i, b"") for i in range(len(self.statuses))) if results else ()
        return SlotProgressed(
            slot, bytes(self.statuses), tuple(self.failures), self.elapsed_s, listed
        )


def failure(texts: Iterable[object], node: str) -> Failure:
    """Cause, type, text and traceback, as a slot tells them."""
    cause, kind, text, trace = (str(item) for item in texts)
    return Failure(cause, kind, text, trace, node)


def ending(status: int, node: str) -> Failure:
    """How a process ended, told from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        text = f"the slot was killed by {name} while it ran this job"
        return Failure("signal", name, text, "", node)
    code = os.waitstatus_to_exitcode(status)
    return Failure("exit", "Exit", f"the slot exited with code {code} in this job", "", node)


def blamed(failures: Sequence[JobFailure], why: Failure) -> tuple[JobFailure, ...]:
    """The last job that failed did so for *why*, whatever it raised."""
    *others, last = failures
    return (*others, JobFailure(last.job, replace(why, traceback=last.failure.traceback)))


def used_too_much(peak: int, limit: int, node: str) -> Failure:
    """Why a slot was ended for its memory; both in bytes."""
    text = f"it used {format_bytes(peak)} of memory; its limit is {format_bytes(limit)}"
    return Failure("memory", "MemoryLimit", text, "", node)
