"""The states of a job as the Router records them, one byte each."""

from __future__ import annotations

OPEN = 0
"""Nothing final has happened; the job may be waiting, queued or running."""
DONE = 1
FAILED = 2
AGAIN = 3
"""Only in outcomes: it failed and will be tried again, so it is open once more."""
SKIPPED = 4
"""Something upstream failed."""
CANCELLED = 5

QUEUED = 6
"""Open, and waiting in the Router for a slot (in memory only)."""
OUT = 7
"""Open, and part of a lot that a node has."""
UNBEGUN = 8
"""Only in outcomes: it follows a job of its lot that was not done, so it is open once more."""

ENDED = frozenset((DONE, FAILED, SKIPPED, CANCELLED))
TO_RECORD = bytes(OPEN if state in (QUEUED, OUT) else state for state in range(256))
"""`bytes.translate` table: what is queued or out is open to everybody else."""

NAMES = {
    OPEN: "waiting",
    QUEUED: "ready",
    OUT: "running",
    DONE: "done",
    FAILED: "failed",
    SKIPPED: "skipped",
    CANCELLED: "cancelled",
}

RUN_STATES = ("running", "done", "failed", "cancelled")
"""A run is failed if one of its jobs is, cancelled if it was ended before its end."""
