"""The words for kinds, ends and ways, as pypipegraph2 has them."""

from __future__ import annotations

from enum import Enum


class JobKind(Enum):
    """What a job is to the graph, whatever its class."""

    Invariant = "invariant"
    Output = "output"
    Temp = "temp"
    Loading = "loading"
    JobGenerating = "job generating"
    Final = "final"


class JobOutcome(Enum):
    """How a job ended in a run."""

    Success = "success"
    Skipped = "skipped"
    """Nothing that it reads had changed, or nobody needed it."""
    Failed = "failed"
    UpstreamFailed = "upstream failed"
    Pruned = "pruned"
    NotYet = "not yet"

    @property
    def is_good(self) -> bool:
        return self in (JobOutcome.Success, JobOutcome.Skipped)


class RunMode(Enum):
    """Who sits in front of it.

    CONSOLE: definitions are strict, there are interactive commands, Ctrl-C only tells of `abort`.
    NOTEBOOK: a definition may be replaced, Ctrl-C stops. NONINTERACTIVE: strict, Ctrl-C stops.
    CONSOLE_INTERACTIVE: as CONSOLE, but definitions may be replaced, and entries that were
    loaded into dicts stay.
    """

    CONSOLE = "console"
    NOTEBOOK = "notebook"
    NONINTERACTIVE = "noninteractive"
    CONSOLE_INTERACTIVE = "console interactive"

    def is_strict(self) -> bool:
        """Whether a job that is defined again must be the same."""
        return self in (RunMode.CONSOLE, RunMode.NONINTERACTIVE)

    def is_interactive(self) -> bool:
        """Whether commands are read while it runs."""
        return self in (RunMode.CONSOLE, RunMode.CONSOLE_INTERACTIVE)


class Resources(Enum):
    """What a job takes of the machine."""

    SingleCore = "single core"
    AllCores = "all cores"
    """All but one, which another job of one core may have."""
    Exclusive = "exclusive"
    """The machine alone."""
    RunsHere = "runs here"
    """One core, in the process that called `run`."""
