"""Results of runs, from the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pypelinin.tasks.definition import folder_name
from pypelinin.tasks.exceptions import PipelineError
from pypelinin.tasks.inside import files
from pypelinin.tasks.loading import read


class PipelineResult(Mapping[str, Any]):
    """The results of a run by the names of its tasks, in order of the alphabet; each is loaded
    when it is asked for.

    *conf* is what stands in the run's pipeline.yaml, *data_path* where the results are now (""
    for where they were put).
    """

    def __init__(self, conf: Mapping[str, Any], data_path: str = "") -> None:
        tasks = conf.get("tasks")
        if not isinstance(tasks, Mapping):
            raise PipelineError("That is no description of a run: it has no tasks.")
        self._tasks = tasks
        run = conf.get("run")
        self._data_path = data_path or str((run or {}).get("data_path", ""))

    @staticmethod
    def from_file(filename: str) -> PipelineResult:
        """Of the pipeline.yaml in the log directory of a run. Raises OSError, PipelineError."""
        return PipelineResult(read(filename))

    def set_data_path(self, path: str) -> None:
        """The results were moved there."""
        self._data_path = path

    def filename(self, name: str) -> str:
        """The file that a task's result is in. Raises KeyError, PipelineError."""
        if name not in self._tasks:
            known = ", ".join(list(self._tasks)[:10])
            raise KeyError(f"There is no task {name!r} in this run, but {known}")
        if not self._data_path:
            raise PipelineError(
                "The description does not say where the results are.",
                remedy="Call set_data_path().",
            )
        key = str(self._tasks[name].get("hash"))
        return os.path.join(self._data_path, folder_name(name), folder_name(key), files.RESULT)

    def __getitem__(self, name: str) -> Any:
        """Raises KeyError, ResultMissing (a FileNotFoundError), ResultDamaged."""
        return files.load(self.filename(name))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<PipelineResult of {len(self)} tasks in {self._data_path!r}>"


class TaskResult:
    """One stored result: its description, and itself."""

    def __init__(self, conf: Mapping[str, Any], directory: str) -> None:
        self.description = conf.get("task")
        self.parents = conf.get("parents")
        self._directory = directory

    @staticmethod
    def from_file(filename: str) -> TaskResult:
        """Of the params.yaml beside a result. Raises OSError, PipelineError."""
        return TaskResult(read(filename), os.path.dirname(os.path.abspath(filename)))

    def output(self) -> Any:
        """Raises ResultMissing, ResultDamaged."""
        return files.load(os.path.join(self._directory, files.RESULT))


__all__ = ["PipelineResult", "TaskResult"]
