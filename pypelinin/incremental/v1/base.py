"""What all jobs of version 1 have in common: their attributes, `+`, what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pypelinin.graph.needs import ALL_CORES, MEMORY_MIN, WHOLE_NODE, Needs
from pypelinin.incremental import exceptions as now
from pypelinin.incremental.enums import JobOutcome, Resources
from pypelinin.incremental.jobs import base as core
from pypelinin.incremental.util import flatten_jobs
from pypelinin.incremental.v1.exceptions import (
    ArgumentError,
    as_version_1,
    error_reason,
    translated,
)

ANY_MEMORY = -1
"""As `memory_needed`: no more than the others."""


class Everything(Collection[str]):
    """Each name is in it: outer variables of functions are not checked in version 1."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(("everything",))

    def __len__(self) -> int:
        return 1


EVERYTHING = Everything()


class Registered(core.Registered):
    """One job an id. To define it again replaces what it does, and keeps what it depends on."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        with as_version_1():
            job = type.__call__(cls, *args, **kwargs)
            known = job.graph.jobs.get(job.job_id)
            if isinstance(known, Job) and known is not job:
                job.carry_over(known)
            return job.graph.register(job)


class Job(core.Job, metaclass=Registered):
    """One job of version 1; see the classes for what they do."""

    replaceable = True
    do_cleanup_if_was_never_run = False
    _cores_needed = 1
    _memory_needed = ANY_MEMORY

    def carry_over(self, known: Job) -> None:
        """It takes the place of *known*, with what was said of that one's needs."""
        self._cores_needed, self._memory_needed = known._cores_needed, known._memory_needed
        self._take_needs()

    # --- dependencies ------------------------------------------------------------------------

    def depends_on(self, *others: Any) -> Any:
        """Read what these make: jobs, JobLists, nested iterables, None (nothing), names of
        outputs, or functions that give any of it when the run begins. Returns the job itself.
        """
        with as_version_1():
            super().depends_on(*others)
        return self

    @property
    def prerequisites(self) -> set[core.Job]:
        """What it depends on directly."""
        return set(self.upstreams)

    @property
    def dependants(self) -> set[core.Job]:
        """What depends on it directly."""
        return set(self.graph.readers_of(self))

    def is_in_dependency_chain(self, other: core.Job, max_depth: int) -> bool:
        """Whether it depends on *other* over at most so many edges."""
        level: set[core.Job] = {self}
        for _ in range(max_depth):
            level = {upstream for job in level for upstream in self.graph.upstreams_of(job)}
            if other in level:
                return True
        return False

    def list_blocks(self) -> list[core.Job]:
        """What it depends on directly that is not done."""
        return [job for job in self.upstreams if job.outcome is None or job.failed]

    def ignore_code_changes(self) -> None:
        """Let changes of its function not make it run again."""
        invariant = getattr(self, "func_invariant", None)
        if invariant is not None:
            self.graph.disconnect(self, invariant)
        vars(self).update(depend_on_function=False, func_invariant=None)

    @property
    def do_ignore_code_changes(self) -> bool:
        return not getattr(self, "depend_on_function", False)

    def __add__(self, other: Any) -> JobList:
        return JobList([self, other])

    def __radd__(self, other: Any) -> JobList:
        return JobList([other, self])

    # --- what it takes of the machine --------------------------------------------------------

    @property
    def cores_needed(self) -> int:
        """How many cores it takes; -1: all, but one other job of one core may run beside it,
        -2: all, alone."""
        return self._cores_needed

    @cores_needed.setter
    def cores_needed(self, cores: int) -> None:
        if type(cores) is not int or not (cores > 0 or cores in (ALL_CORES, WHOLE_NODE)):
            raise ArgumentError(
                f"cores_needed is a whole number from 1 on, or -1 or -2: {cores!r}.",
                remedy="-1 is all cores, beside at most one other job; -2 all cores, alone.",
            )
        self._cores_needed = cores
        self._take_needs()

    @property
    def memory_needed(self) -> int:
        """How many bytes of memory it takes: more than that ends it. -1: it was not said."""
        return self._memory_needed

    @memory_needed.setter
    def memory_needed(self, memory: int) -> None:
        if type(memory) is not int or not (memory > 0 or memory == ANY_MEMORY):
            raise ArgumentError(f"memory_needed is in bytes, or -1: {memory!r}.")
        self._memory_needed = memory
        self._take_needs()

    def use_cores(self, cores: int) -> Any:
        """Set `cores_needed`; returns the job itself."""
        self.cores_needed = cores
        return self

    def _take_needs(self) -> None:
        if self.resources is Resources.RunsHere:
            return
        if self._cores_needed == 1 and self._memory_needed == ANY_MEMORY:
            self.resources = Resources.SingleCore
            return
        memory = None if self._memory_needed < 0 else (max(MEMORY_MIN, self._memory_needed),)
        self.resources = Needs(cores=self._cores_needed, memory=memory)

    # --- after the run -----------------------------------------------------------------------

    @property
    def callback(self) -> Any:
        return getattr(self, "function", None)

    @property
    def exception(self) -> Any:
        """What it raised; None if it was not run, too."""
        found = super().exception
        return translated(found) if isinstance(found, BaseException) else None

    @property
    def error_reason(self) -> str:
        """ "no error", "Exception", "Indirect", "Unknown/died" or "Needed to much memory/cores"."""
        return error_reason(super().exception)

    @property
    def trace(self) -> str:
        return self.stack_trace

    @property
    def runtime(self) -> float | None:
        return self.run_time

    @property
    def was_run(self) -> bool:
        return self.outcome is not None and self.outcome.outcome is JobOutcome.Success

    @property
    def was_done_on(self) -> set[str]:
        return {"LocalWorker"} if self.was_run or self.start_time is not None else set()

    @property
    def _pruned(self) -> Any:
        return False if self.prune_reason is None else self.prune_reason


class JobList(core.JobList):
    """Jobs that get their dependencies together; `+` adds jobs, JobLists and lists of jobs."""

    def __init__(self, jobs: Any = ()) -> None:
        try:
            found = dict.fromkeys(flatten_jobs(jobs))
        except ValueError as error:
            raise ArgumentError(f"A JobList is made of jobs: {error}") from None
        super().__init__(found)

    def __add__(self, other: Any) -> JobList:  # type: ignore[override]  # as v1 has it
        return JobList([self[:], other])

    def __radd__(self, other: Any) -> JobList:
        return JobList([other, self[:]])

    def depends_on(self, *others: Any) -> JobList:
        with as_version_1():
            super().depends_on(*others)
        return self


def refuse_other(job: Job, known: Any, what: str) -> None:
    """Raises JobContractError: the id belongs to a job that differs in *what*."""
    with as_version_1():
        raise now.JobContractError(
            f"{job.job_id} was defined before, with another {what}, at "
            f"{known.place_of_definition}.",
            remedy="Use another id.",
        )


__all__ = [
    "ANY_MEMORY", "EVERYTHING", "Everything", "Job", "JobList", "Registered",
    "refuse_other",
]  # fmt: skip
