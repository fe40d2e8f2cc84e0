"""`Runner`: runs pipelines of tasks, and keeps their results and logs."""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from typing import Any

from pypelinin.client.manager import PipelineManager
from pypelinin.tasks import drawing, environment
from pypelinin.tasks.definition import folder_name
from pypelinin.tasks.exceptions import NoResults, NotAPipeline, PipelineError, RunFailed
from pypelinin.tasks.hashing import CODE, checked_scheme, keys_of
from pypelinin.tasks.hearing import Hearing
from pypelinin.tasks.holding import Hold, made_directory
from pypelinin.tasks.inside import files
from pypelinin.tasks.pipelines import AnyTask, Pipeline
from pypelinin.tasks.planning import Plan, planned
from pypelinin.tasks.results import PipelineResult
from pypelinin.tasks.run_log import EXCEPTIONS, LOG, RunLog, new_directory
from pypelinin.tasks.statuses import Status, TaskResult
from pypelinin.tasks.submitting import Ended, Where, compiled, run_jobs
from pypelinin.tasks.texts import text_of

PARAMS, PICTURE = "pipeline.yaml", "status.svg"
PICTURE_S = 2.0
"""How often the picture is drawn while tasks run."""
PICTURE_PART = 20
"""It takes at most one in so many seconds."""
_UNSAFE = re.compile(r"[\s]+")


class Runner:
    """Runs pipelines; results are kept in *data_path*, logs in *log_path*.

    At most *process_limit* tasks run at once (None: as many as this process has CPUs); they run in
    slots of this process, unless *on* is the address of a Router, or `PYPELININ_API` is set, or
    *engine* is any `concurrent.futures.Executor`. Then all nodes have to share *data_path*, and
    the limit is theirs. *hash_scheme* "code" runs a task again when its code has changed, "md5"
    and "sha256" find the results that the original kept.

    Raises PipelineError if a path cannot be made or written, TaskError for an unknown scheme.
    """

    def __init__(
        self,
        data_path: str | os.PathLike[str],
        log_path: str | os.PathLike[str],
        process_limit: int | None = None,
        *,
        hash_scheme: str = CODE,
        on: str | None = None,
        engine: Executor | None = None,
    ) -> None:
        if process_limit is not None and (type(process_limit) is not int or process_limit < 1):
            raise PipelineError(f"process_limit is at least 1, not {process_limit!r}.")
        self.data_path = made_directory(os.fspath(data_path), "data path")
        self.log_path = made_directory(os.fspath(log_path), "log path")
        self.process_limit = process_limit
        self.hash_scheme = checked_scheme(hash_scheme)
        self.on, self.engine = on, engine
        self.pipeline: Pipeline | None = None
        self.tasks_queue: list[AnyTask] = []
        """All tasks of the pipeline, parents first."""
        self.tasks_execute: list[AnyTask] = []
        """Those that have to run, and those whose results these read."""
        self.tasks_run: list[AnyTask] = []
        """Those that have to run."""
        self.tasks_finished: list[AnyTask] = []
        self.tasks_error: list[AnyTask] = []
        """Those that failed, could not run for that, or were cancelled."""
        self.run_path = ""
        """The log directory of the last run."""
        self._plan: Plan | None = None
        self._log: RunLog | None = None
        self._results: PipelineResult | None = None

    # --- the pipeline -------------------------------------------------------------------------

    def set_pipeline(self, pipeline: Pipeline) -> None:
        """The one to be run. Raises NotAPipeline (a TypeError)."""
        self.pipeline = _pipeline(pipeline)
        self._plan = None

    @staticmethod
    def validate_pipeline(pipeline: Pipeline) -> None:
        """Raises PipelineError if names are not unique, or a task reads one from outside; Cycle
        (a ValueError) if there is one; NotAPipeline."""
        _pipeline(pipeline).validate()

    def assert_valid_pipeline(self) -> None:
        """Raises PipelineError unless a pipeline is set and can be run, Cycle."""
        self.validate_pipeline(self._set)

    @property
    def _set(self) -> Pipeline:
        if self.pipeline is None:
            raise PipelineError("There is no pipeline to run.", remedy="Call set_pipeline().")
        return self.pipeline

    # --- planning -----------------------------------------------------------------------------

    def analyze_pipeline(self, force_reload: bool = False) -> None:
        """Finds out what has to run: what is to be reloaded, all that is made from it, and what
        has no result but is needed. Raises PipelineError, TaskError, Cycle."""
        pipeline = self._set
        tasks = pipeline.validate()
        pipeline.hash_scheme = self.hash_scheme
        for task in tasks:
            task.set_data_path(self.data_path)
            task.hash_scheme = self.hash_scheme
        keys = dict(zip(tasks, keys_of(tasks, self.hash_scheme), strict=True))
        self._plan = planned(tasks, keys, force_reload)

    def queue_tasks(self, force_reload: bool = False) -> None:
        """Analyzes, and fills `tasks_queue`, `tasks_execute` and `tasks_run`."""
        self.analyze_pipeline(force_reload)
        plan = self._planned
        wanted = plan.load.union(plan.run)
        self.tasks_queue = list(plan.tasks)
        self.tasks_execute = [task for task in plan.tasks if task in wanted]
        self.tasks_run = list(plan.run)
        self.tasks_finished, self.tasks_error = [], []

    @property
    def _planned(self) -> Plan:
        if self._plan is None:
            self.analyze_pipeline()
        assert self._plan is not None
        return self._plan

    def execution_plan_summary(self, print_fn: Callable[[str], object] | None = None) -> None:
        """Print the pipeline as boxes; the tasks that will run have an asterisk."""
        runs = set(self._planned.run)
        text = drawing.ascii_of(
            self._planned.tasks, lambda task: f"{task.name}*" if task in runs else task.name
        )
        (print_fn or print)(text)

    # --- running ------------------------------------------------------------------------------

    def run(
        self,
        pipeline: Pipeline | None = None,
        force_reload: bool = False,
        show_execution_plan: bool = False,
        raise_on_failure: bool = False,
    ) -> None:
        """Run *pipeline*, or that of `set_pipeline`, to its end.

        What failed is in the log, and in `tasks_error` with `task.result.exception`; what does
        not depend on it runs on. With *raise_on_failure* RunFailed is raised at the end, the
        exception of the first failed task as its cause.

        Raises PipelineError, Cycle, TaskError for what cannot be run, DataPathBusy if another run
        has the data path, ClusterError.
        """
        if pipeline is not None:
            self.set_pipeline(pipeline)
        self.assert_valid_pipeline()
        where = Where(self.on, self.engine, self.process_limit)
        with ExitStack() as stack:
            hold = stack.enter_context(Hold(self.data_path, where.end_orphan))
            self._results = None
            self.queue_tasks(force_reload)
            self._begin(stack)
            if show_execution_plan:
                self.execution_plan_summary()
            try:
                self._skip_or_load()
                if self.tasks_run:
                    self._execute(where.manager(stack), where.api, hold)
            except BaseException as error:
                self._end(error)
                raise
            self._end()
        if raise_on_failure and self.tasks_error:
            raise self._failure()

    def _begin(self, stack: ExitStack) -> None:
        self.run_path = new_directory(self.log_path, self.generate_run_name())
        self._log = stack.enter_context(RunLog(self.run_path))
        for task in self.tasks_queue:
            task.result = None
            task.set_status(Status.NOT_STARTED)
        self.save_pipeline_params()

    def _skip_or_load(self) -> None:
        plan = self._planned
        runs = set(plan.run)
        for task in plan.tasks:
            if task in plan.load:
                self._say("Loading output from disk, skipping processing", task)
                self._take(task, Ended(Status.SUCCESS))
            elif task not in runs:
                self.skip_task(task)

    def skip_task(self, task: AnyTask) -> None:
        """It has not to run, and nobody reads it."""
        self._say(f'No need to execute task "{task.name}", skipping it')
        self._take(task, Ended(Status.SKIPPED))

    def _execute(self, manager: PipelineManager, api: str, hold: Hold) -> None:
        pipeline, jobs = compiled(self._planned, hold.place(echo=bool(api)))
        names = {task.name: task for task in jobs}
        hearing = Hearing(hold.directory)
        due_at = time.monotonic() + PICTURE_S

        def look() -> None:
            nonlocal due_at
            self._hear(hearing, names)
            if (begin := time.monotonic()) > due_at:
                self._draw()
                now = time.monotonic()
                due_at = now + max(PICTURE_S, PICTURE_PART * (now - begin))

        plan, began = self._planned, partial(_remember, hold, api)
        ended = run_jobs(manager, plan, pipeline, jobs, began, look)
        look()
        for task, how in ended.items():
            self._take(task, how)

    def _hear(self, hearing: Hearing, names: dict[str, AnyTask]) -> None:
        for told in hearing.new():
            if told.status in _LIVE:  # a failure may be tried again
                names[told.task].set_status(_LIVE[told.status])
            if self._log is not None:
                self._log.say(told.text, told.level, told.task, told.process, told.time)

    def _take(self, task: AnyTask, how: Ended) -> None:
        """How a task ended is known."""
        task.status = how.status
        if how.status in (Status.SUCCESS, Status.SKIPPED):
            if how.status is Status.SUCCESS or task in self._planned.there:
                task.set_stored_output(self._planned.path(task))
            self.tasks_finished.append(task)
            return
        task.result = TaskResult(how.status, None, how.exception, how.traceback)
        self.tasks_error.append(task)
        if how.status is Status.FAILURE:
            self.log_exception(task.result, task)
        elif how.status is Status.CANT_RUN:
            self._say(f'Task "{task.name}" can\'t run: a task before it failed', task)
        else:
            self._say(f'Task "{task.name}" was cancelled', task, error=True)

    def log_exception(self, result: TaskResult, task: AnyTask | None = None) -> None:
        """A failure goes to the log, its traceback to exception.log."""
        shown = traceback.format_exception_only(result.exception)
        self._say("".join(shown).strip(), task, error=True)
        if self._log is not None:
            text = result.traceback or "".join(shown)
            self._log.failed(self._set.name if task is None else task.name, text)

    def _say(self, text: str, task: AnyTask | None = None, error: bool = False) -> None:
        if self._log is None:
            return
        level = logging.ERROR if error else logging.INFO
        if task is None:
            self._log.say(text, level)
        else:
            self._log.say(text, level, task.name)

    def _end(self, error: BaseException | None = None) -> None:
        failed = [task for task in self.tasks_error if task.status is Status.FAILURE]
        interrupted = self._interrupted() or error is not None
        self._draw()
        keys = {task.name: {"hash": key} for task, key in self._planned.keys.items()}
        self._results = PipelineResult({"tasks": keys}, self.data_path)
        self._set.set_results(self._results)
        if not self.tasks_error and not interrupted:
            self._say("Pipeline run finished")
            self._log = None
            return
        names = ", ".join(task.name for task in failed[:10])
        more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
        stopped = "interrupted"
        if isinstance(error, Exception):
            stopped += f" by {''.join(traceback.format_exception_only(error)).strip()}"
        where = f". See {os.path.join(self.run_path, EXCEPTIONS)}" if failed else ""
        self._say(f"Pipeline run finished with errors: {names or stopped}{more}{where}", error=True)
        self._log = None

    def _interrupted(self) -> bool:
        """Whether something has no end; what told its success before that has its result."""
        for task in self.tasks_queue:
            if task.status is Status.RUNNING:
                task.status = Status.NOT_STARTED
            elif task.status is Status.SUCCESS and task.result is None:
                task.set_stored_output(self._planned.path(task))
        return any(task.status is Status.NOT_STARTED for task in self.tasks_queue)

    def _failure(self) -> RunFailed:
        failed = [task for task in self.tasks_error if task.status is Status.FAILURE]
        names = ", ".join(task.name for task in failed[:10])
        ended = Counter(task.status for task in self.tasks_error)
        told = [
            f"{len(failed)} task{'' if len(failed) == 1 else 's'} of the pipeline "
            f"{self._set.name!r} failed ({names or 'none'})"
        ]
        if blocked := ended[Status.CANT_RUN]:
            told.append(f"{blocked} could not run for that")
        if cancelled := ended[Status.NOT_STARTED]:
            told.append(f"{cancelled} were cancelled")
        first = (failed or self.tasks_error)[0].result
        where = os.path.join(self.run_path, EXCEPTIONS if failed else LOG)
        error = RunFailed(f"{', '.join(told)}.", remedy=f"See {where}.")
        error.exception = error.__cause__ = first.exception if first else None
        return error

    # --- what is kept of it -------------------------------------------------------------------

    def generate_run_name(self) -> str:
        """The pipeline's name and the time, as in my-pipeline_210119T222719."""
        return f"{folder_name(_UNSAFE.sub('-', self._set.name))}_{time.strftime('%y%m%dT%H%M%S')}"

    def pipeline_params_filename(self) -> str:
        """The pipeline.yaml of the last run."""
        return os.path.join(self.run_path or self.log_path, PARAMS)

    def save_pipeline_params(self) -> None:
        """Writes it: tasks, parameters, parents, hashes, and what the run is made with."""
        path = self.pipeline_params_filename()
        told = self._set.description(self._planned.keys, strict=False)
        told["run"] = environment.described(self.data_path, self.log_path)
        files.write_text(path, text_of(told))
        self._say(f"Stored pipeline parameters in {path}")

    def write_status_image(self, filename: str | None = None) -> None:
        """Draw the pipeline with its status: into *filename*, .svg or .png, else into the run's
        directory. Raises as `Pipeline.plot_graph` does."""
        tasks: Sequence[AnyTask] = self._plan.tasks if self._plan is not None else self._set.tasks
        drawing.draw(tasks, filename or os.path.join(self.run_path or self.log_path, PICTURE))

    def _draw(self) -> None:
        try:
            self.write_status_image()
        except OSError as error:  # a disk that is full is no end of the run
            self._say(f"{PICTURE} cannot be written: {error}.", error=True)

    def get_predecessor_outputs(self, task: AnyTask) -> list[Any]:
        """The results of a task's parents. Raises ResultMissing, ResultDamaged."""
        return [parent.load_output() for parent in task.parents]

    def results(self) -> PipelineResult:
        """Of the last run. Raises NoResults (an AttributeError) before one."""
        if self._results is None:
            raise NoResults("Nothing has been run.", remedy="Call run().")
        return self._results


_LIVE = {status.name: status for status in (Status.RUNNING, Status.SUCCESS)}


def _pipeline(found: object) -> Pipeline:
    if not isinstance(found, Pipeline):
        raise NotAPipeline(
            f"Not a Pipeline: {found!r}.", remedy='Write Pipeline("name", [first_task]).'
        )
    return found


def _remember(hold: Hold, api: str, run: str) -> None:
    if api:
        hold.runs_at(api, run)


__all__ = ["Runner"]
