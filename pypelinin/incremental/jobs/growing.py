"""Jobs that change the graph while it runs, and jobs that run when all others are done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pypelinin.graph.declared import ALWAYS, Policy
from pypelinin.graph.fingerprint import Fingerprint
from pypelinin.incremental.enums import JobKind, Resources
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.inside import moved_back
from pypelinin.incremental.jobs.base import (
    Job,
    Place,
    changed_directory,
    checked_callable,
    checked_name,
)
from pypelinin.incremental.jobs.invariants import automatic_invariant

GENERATED_VIEW = "generated"


class _CallerJob(Job):
    policy: ClassVar[Policy] = ALWAYS
    place: ClassVar[Place] = Place.CALLER
    may_yield: ClassVar[bool] = False
    """Whether its function may be a generator."""

    def __init__(self, job_id: str | Path, callback: Callable[[], Any]) -> None:
        checked_callable(callback, f"What a {type(self).__name__} calls", self.may_yield)
        super().__init__([checked_name(job_id)], Resources.RunsHere)
        self.function = callback

    def definition(self) -> tuple[Any, ...]:
        return (function_tags(self.function),)

    def perform(self, context: Any) -> Any:
        here = os.getcwd()
        try:
            return self.call()
        finally:
            if moved := moved_back(here):
                raise changed_directory(self, moved)

    def call(self) -> Any:
        return self.function()

    def settle(self, result: Any) -> Fingerprint:
        return ((),)


class JobGeneratingJob(_CallerJob):
    """Runs in every run, and makes jobs from what it reads.

    They become part of the running graph. Its own fingerprint is the digest of what it made, so
    what depends on it rests while that is the same.
    """

    kind: ClassVar[JobKind] = JobKind.JobGenerating

    def __init__(
        self,
        job_id: str | Path,
        callback: Callable[[], Any],
        depend_on_function: bool = True,
        allowed_non_locals: Any = None,
    ) -> None:
        super().__init__(job_id, callback)
        self.depend_on_function = depend_on_function
        self.allowed_non_locals = allowed_non_locals
        self.func_invariant: Job | None = None

    def registered(self) -> None:
        if self.func_invariant is not None:
            self.graph.disconnect(self, self.func_invariant)
            self.func_invariant = None
        if self.depend_on_function:
            self.func_invariant = automatic_invariant(
                self, self.function, self.allowed_non_locals, check=False
            )
            self.graph.connect(self, self.func_invariant, self.func_invariant.outputs)

    def settle(self, result: Any) -> Fingerprint:
        return self.as_known((((GENERATED_VIEW, self.graph.running.growth.digest()),),))


class DependencyInjectionJob(JobGeneratingJob):
    """Runs in every run; the jobs that it returns become inputs of all that depend on it.

    With *check_for_dependency_injections* it is an error to make jobs that none of those needs.
    """

    may_yield: ClassVar[bool] = True

    def __init__(
        self,
        job_id: str | Path,
        callback: Callable[[], Any],
        check_for_dependency_injections: bool = True,
    ) -> None:
        super().__init__(job_id, callback)
        self.check_for_dependency_injections = check_for_dependency_injections

    def call(self) -> Any:
        running = self.graph.running
        returned = JobsOf(self.function())
        readers = self.graph.readers_of(self)
        for reader in readers:
            reader.depends_on(returned.jobs)
        if self.check_for_dependency_injections:
            needed = self.graph.ancestors_of([reader.job_id for reader in readers])
            made = [job for job in running.growth.new if job.place is not Place.GIVEN]
            stray = [job for job in made if job.job_id not in needed]
            if stray:
                raise JobContractError(
                    f"{self!r} made {stray[0]!r}, which no job that depends on it needs.",
                    remedy="Return it, or say check_for_dependency_injections=False.",
                )
        return None


class JobsOf:
    """The jobs in what a callback returned: a job, iterables of jobs, or None."""

    def __init__(self, found: Any) -> None:
        self.jobs: list[Job] = []
        self._take(found)

    def _take(self, found: Any) -> None:
        if found is None:
            return
        if isinstance(found, Job):
            self.jobs.append(found)
            return
        try:
            items = iter(found)
        except TypeError:
            raise JobContractError(
                f"A DependencyInjectionJob returns jobs, iterables of them or None, not {found!r}."
            ) from None
        for item in items:
            self._take(item)


class FinalJob(_CallerJob):
    """Runs last, in every run in which nothing failed. It has no dependencies of its own."""

    kind: ClassVar[JobKind] = JobKind.Final
    final: ClassVar[bool] = True

    def depends_on(self, *others: Any) -> Any:
        raise JobContractError(
            f"{self!r} runs when all others are done: it depends on all of them already."
        )
