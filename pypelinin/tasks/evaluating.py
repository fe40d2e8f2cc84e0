"""The light form's run: from what stands for results to the results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar, overload

from pypelinin.tasks.definition import Task
from pypelinin.tasks.exceptions import TaskError
from pypelinin.tasks.pipelines import Pipeline, all_checked, checked
from pypelinin.tasks.runner import Runner

R = TypeVar("R")
AnyTask = Task[Any, Any]


def pipeline_of(wanted: Sequence[AnyTask], name: str) -> Pipeline:
    """The pipeline of these tasks and all that they are made from. Raises TaskError, Cycle."""
    found: dict[AnyTask, None] = {}
    for task in wanted:
        for one in checked(task).with_ancestors():
            found[one] = None
    return Selection(name, [task for task in found if not task.parents], set(found))


class Selection(Pipeline):
    """A pipeline of some of the tasks that are connected: others read their results as well."""

    def __init__(self, name: str, roots: Sequence[AnyTask], members: set[AnyTask]) -> None:
        self._members = members
        super().__init__(name, roots)

    @property
    def tasks(self) -> list[AnyTask]:
        return [task for task in super().tasks if task in self._members]


@overload
def evaluate(
    wanted: Task[Any, R],
    data_path: str | os.PathLike[str] = ...,
    log_path: str | os.PathLike[str] = ...,
    process_limit: int | None = ...,
    *,
    name: str | None = ...,
    force_reload: bool = ...,
    on: str | None = ...,
    engine: Executor | None = ...,
) -> R: ...
@overload
def evaluate(
    wanted: Sequence[AnyTask],
    data_path: str | os.PathLike[str] = ...,
    log_path: str | os.PathLike[str] = ...,
    process_limit: int | None = ...,
    *,
    name: str | None = ...,
    force_reload: bool = ...,
    on: str | None = ...,
    engine: Executor | None = ...,
) -> list[Any]: ...
def evaluate(
    wanted: AnyTask | Sequence[AnyTask],
    data_path: str | os.PathLike[str] = "data",
    log_path: str | os.PathLike[str] = "log",
    process_limit: int | None = None,
    *,
    name: str | None = None,
    force_reload: bool = False,
    on: str | None = None,
    engine: Executor | None = None,
) -> Any:
    """Run what *wanted* is made from, and give its result; of several a list of theirs.

    *wanted* are calls of functions with `@task(cache=True)`, or any tasks. The others are those
    of `Runner`; *name* is that of the pipeline, and of its logs.

    Raises RunFailed if a task failed, with its exception as the cause, and as `Runner.run` does.
    """
    listed = [wanted] if isinstance(wanted, Task) else all_checked(wanted)
    if not listed:
        raise TaskError("There is nothing to evaluate.")
    title = name or type(listed[0]).__name__
    runner = Runner(data_path, log_path, process_limit, on=on, engine=engine)
    runner.run(pipeline_of(listed, title), force_reload, raise_on_failure=True)
    results = runner.results()
    found = [results[task.name] for task in listed]
    return found[0] if isinstance(wanted, Task) else found


__all__ = ["evaluate", "pipeline_of"]
