"""What has to run, as one pipeline of function jobs: in slots here, on a cluster, on an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

from pypelinin.client.manager import PipelineManager
from pypelinin.config import Limits
from pypelinin.errors import (
    Cancelled,
    ClusterError,
    DefinitionError,
    JobError,
    NotFound,
    UpstreamFailed,
)
from pypelinin.graph.job import Job
from pypelinin.local import LocalRunner
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.access import api_named
from pypelinin.runtime.functions import Functions
from pypelinin.tasks.definition import FunctionTask, Task
from pypelinin.tasks.exceptions import PipelineError
from pypelinin.tasks.inside import files
from pypelinin.tasks.inside.begin import begin
from pypelinin.tasks.inside.work import Handed, Order, Place
from pypelinin.tasks.planning import Plan
from pypelinin.tasks.saving import revealed
from pypelinin.tasks.statuses import Status
from pypelinin.tasks.texts import Part

AnyTask = Task[Any, Any]
LOOK_S = 0.05
"""How often what tasks tell is read while they run."""


class Ended(NamedTuple):
    """How a task that was submitted ended."""

    status: Status
    exception: BaseException | None = None
    traceback: str = ""


class Where:
    """Who runs the jobs; a manager is only made when there are some.

    Raises DefinitionError if both a cluster and an engine are named.
    """

    def __init__(self, on: str | None, engine: Executor | None, slots: int | None) -> None:
        if on and engine is not None:
            raise DefinitionError("A run is on a cluster or on an engine, not on both.")
        self.api = "" if engine is not None else on or api_named() or ""
        """Of the Router; "" if they run here."""
        self._engine, self._slots = engine, slots
        self._manager: PipelineManager | None = None

    def manager(self, stack: ExitStack) -> PipelineManager:
        """Ends with *stack*. Raises ClusterError."""
        if self._manager is None:
            if self.api:
                made = PipelineManager(self.api)
            else:
                limits = Limits(crashes_max=1)  # a task that dies has failed
                made = LocalRunner(self._slots, engine=self._engine, limits=limits)
            self._manager = stack.enter_context(made)
            stack.callback(self._forget)
        return self._manager

    def _forget(self) -> None:
        self._manager = None

    def end_orphan(self, api: str, run: str) -> None:
        """A client was killed that had *run* on a cluster: if it is this one, end that there."""
        if self.api and api == self.api:
            with ExitStack() as stack, suppress(NotFound):
                self.manager(stack).cancel(run, running=True)


def compiled(plan: Plan, place: Place) -> tuple[Pipeline, dict[AnyTask, Job]]:
    """The jobs of what has to run. Raises NotPicklable for code that cannot be sent."""
    functions = Functions()
    works: dict[type, Callable[..., Any]] = {}
    jobs: dict[AnyTask, Job] = {}
    described = {task: Part(task.description(plan.keys[task])) for task in (*plan.run, *plan.load)}
    for task in plan.run:
        kind = type(task)
        if kind not in works:
            works[kind] = partial(begin, tuple(place), _packed(functions, kind))
        saved = task.params_text(described)
        jobs[task] = _job(task, plan, jobs, works[kind], saved)
    return Pipeline(list(jobs.values()), results=()), jobs


@contextmanager
def forgotten(plan: Plan) -> Iterator[None]:
    """Remove the old results of what runs again, unless what is done within fails.

    They go before anything runs: if the run fails or is killed, what was made from an old result
    must not pass for made from the new one. Raises PipelineError.
    """
    aside: list[str] = []
    try:
        for task in plan.run:
            folder = task.folder(plan.keys[task])
            if _set_aside(task, folder):
                aside.append(folder)
        yield
    except BaseException:
        for folder in aside:
            files.put_back(folder)
        raise
    for folder in aside:
        files.drop(folder)


def _set_aside(task: AnyTask, folder: str) -> bool:
    try:
        return files.set_aside(folder)
    except OSError as error:
        raise PipelineError(
            f"The old result of {task.name} cannot be removed: {error}.",
            remedy=f"Remove {folder}.",
        ) from error


def _packed(functions: Functions, kind: type[AnyTask]) -> bytes:
    return functions.function(kind.function if issubclass(kind, FunctionTask) else kind)[1]


def _job(
    task: AnyTask,
    plan: Plan,
    jobs: Mapping[AnyTask, Job],
    work: Callable[..., Any],
    saved: str,
) -> Job:
    parents, folder = task.parents, task.folder(plan.keys[task])
    reads = task.receives_input or task.refers
    inputs: list[Handed | Job] = [
        jobs[parent] if parent in jobs else ["file", plan.path(parent)] for parent in parents
    ]
    order = Order(
        name=task.name,
        folder=folder,
        receives=task.receives_input,
        refers=task.refers,
        state=task.state(),
        params=revealed(task.params),
        saved=saved,
        parents=[parent.name for parent in parents],
    )
    return Job(
        work,
        args=(order, inputs if reads else []),
        name=task.name,
        after=[] if reads else [jobs[parent] for parent in parents if parent in jobs],
        **task.all_options(),
    )


def run_jobs(
    manager: PipelineManager,
    plan: Plan,
    pipeline: Pipeline,
    jobs: Mapping[AnyTask, Job],
    began: Callable[[str], object],
    look: Callable[[], object],
) -> dict[AnyTask, Ended]:
    """Run them to their end; *look* is called now and then, *began* with the run's id.

    If it is interrupted the run is cancelled. Raises DefinitionError, ClusterError, PipelineError.
    """
    with forgotten(plan):
        run = manager.start(pipeline)
    began(run)
    try:
        while pipeline.finished_at is None:
            manager.update(LOOK_S)
            look()
    except BaseException:
        with suppress(ClusterError):
            manager.cancel(pipeline, running=True)
        raise
    failed = manager.results(pipeline).failed
    return {task: _ended(failed.get(job)) for task, job in jobs.items()}


def _ended(error: JobError | None) -> Ended:
    if error is None:
        return Ended(Status.SUCCESS)
    if isinstance(error, UpstreamFailed):
        return Ended(Status.CANT_RUN, error)
    if isinstance(error, Cancelled):
        return Ended(Status.NOT_STARTED, error)
    exception = error.exception or error
    return Ended(
        Status.FAILURE, exception, str(exception.__cause__ or error.__cause__ or "").strip()
    )


__all__ = ["Ended", "Where", "compiled", "forgotten", "run_jobs"]
