"""Tasks: functional pipelines whose results are kept, with the names of pyperunner.

The names below are all that users need; each is imported when it is first used, so that a slot
loads no more than it runs. See docs/tasks.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.tasks.definition import Task as Task
    from pypelinin.tasks.evaluating import evaluate as evaluate
    from pypelinin.tasks.exceptions import DataPathBusy as DataPathBusy
    from pypelinin.tasks.exceptions import PipelineError as PipelineError
    from pypelinin.tasks.exceptions import ResultDamaged as ResultDamaged
    from pypelinin.tasks.exceptions import ResultMissing as ResultMissing
    from pypelinin.tasks.exceptions import RunFailed as RunFailed
    from pypelinin.tasks.exceptions import TaskError as TaskError
    from pypelinin.tasks.inside.inputs import TaskInputs as TaskInputs
    from pypelinin.tasks.marking import run as run
    from pypelinin.tasks.marking import task as task
    from pypelinin.tasks.pipelines import Pipeline as Pipeline
    from pypelinin.tasks.pipelines import Sequential as Sequential
    from pypelinin.tasks.results import PipelineResult as PipelineResult
    from pypelinin.tasks.results import TaskResult as TaskResult
    from pypelinin.tasks.runner import Runner as Runner
    from pypelinin.tasks.saving import Secret as Secret

    __version__: str

_HOMES = {
    "DataPathBusy": "tasks.exceptions",
    "Pipeline": "tasks.pipelines",
    "PipelineError": "tasks.exceptions",
    "PipelineResult": "tasks.results",
    "ResultDamaged": "tasks.exceptions",
    "ResultMissing": "tasks.exceptions",
    "RunFailed": "tasks.exceptions",
    "Runner": "tasks.runner",
    "Secret": "tasks.saving",
    "Sequential": "tasks.pipelines",
    "Task": "tasks.definition",
    "TaskError": "tasks.exceptions",
    "TaskInputs": "tasks.inside.inputs",
    "TaskResult": "tasks.results",
    "__version__": "config",
    "evaluate": "tasks.evaluating",
    "run": "tasks.marking",
    "task": "tasks.marking",
}

_THERE = {"__version__": "VERSION"}

__all__ = [*_HOMES]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pypelinin.tasks' has no attribute {name!r}")
    value = getattr(import_module(f"pypelinin.{home}"), _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
