"""Who watches a run: consoles, log files, sockets. Each is told what happened, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome


class Watcher:
    """The face of all of them; each says what it wants to know of.

    None of them may end a run: what goes wrong with one is its own business.
    """

    beat_s = 1.0
    """How often at least it wants to be told `beat`."""

    def began(self, running: Any) -> None:
        """The run begins; *running* can be asked and told (abort, stop, kill) until `over`."""

    def started(self, jobs: Sequence[Job]) -> None:
        """These were handed out."""

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        """A job that was handed out ended so."""

    def beat(self) -> None:
        """Every `beat_s` seconds, and whenever something has happened; not while a job runs in
        this process."""

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        """The run has ended; told in any case, with what is known."""
