"""`Pipeline` and `Sequential`: tasks that belong together, from their roots downwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pypelinin.errors import Cycle
from pypelinin.graph.graph import order
from pypelinin.tasks import drawing, loading
from pypelinin.tasks.connecting import refuse_class
from pypelinin.tasks.definition import Task
from pypelinin.tasks.exceptions import NoResults, PipelineError, TaskError
from pypelinin.tasks.hashing import CODE, checked_scheme, keys_of
from pypelinin.tasks.texts import text_of

if TYPE_CHECKING:
    from pypelinin.tasks.results import PipelineResult

AnyTask = Task[Any, Any]


class Pipeline:
    """Tasks with a name in common: those that are added, and all that is connected below them.

    Raises PipelineError for a name that is none, TaskError for what is no task.
    """

    is_sequential = False

    def __init__(self, name: str, tasks: Iterable[AnyTask] | None = None) -> None:
        self.name = checked_name(name)
        self.hash_scheme = CODE
        """That of the runner that had it last; `to_dict` uses it."""
        self._roots: dict[AnyTask, None] = {}
        self._results: PipelineResult | None = None
        self.set_tasks([] if tasks is None else tasks)

    # --- its tasks ----------------------------------------------------------------------------

    def add(self, task: AnyTask) -> None:
        """Add a root: a task at which the pipeline starts.

        Raises TaskError for what is no task.
        """
        self._roots[checked(task)] = None

    def __call__(self, task: AnyTask) -> Self:
        self.add(task)
        return self

    def set_tasks(self, tasks: Iterable[AnyTask]) -> None:
        """These are the roots, and no others. Raises TaskError for what are no tasks."""
        self._roots = dict.fromkeys(all_checked(tasks))

    @property
    def roots(self) -> list[AnyTask]:
        return list(self._roots)

    @property
    def tasks(self) -> list[AnyTask]:
        """All of them, parents first. Raises Cycle."""
        found = dict(self._roots)
        stack = list(reversed(self._roots))
        while stack:
            for child in stack.pop().children:
                if child not in found:
                    found[child] = None
                    stack.append(child)
        edges = [(up, task) for task in found for up in task.parents if up in found]
        try:
            return order(list(found), edges)[0]
        except Cycle as error:
            raise Cycle(
                "Graph is not acyclic, please remove cycle "
                f"({error.what.rpartition(': ')[2].rstrip('.')})."
            ) from None

    def validate(self) -> list[AnyTask]:
        """Its tasks, parents first. Raises PipelineError, Cycle for what cannot be run."""
        tasks = self.tasks
        if not tasks:
            raise PipelineError(
                f"No tasks in pipeline {self.name!r}.",
                remedy="Give it its first tasks: Pipeline(name, [task]), or add(task).",
            )
        names: dict[str, AnyTask] = {}
        for task in tasks:
            if names.setdefault(task.name, task) is not task:
                raise PipelineError(
                    f"Node names must be unique: pipeline {self.name!r} has two {task.name}.",
                    remedy="Give one of them another tag, or a parameter that tells them apart.",
                )
        inside = set(tasks)
        for task in tasks:
            for parent in task.parents:
                if parent not in inside:
                    raise PipelineError(
                        f"{task.name} reads {parent.name}, which is not in the pipeline "
                        f"{self.name!r}.",
                        remedy=f"Add {parent.name}, or the roots above it, to the pipeline.",
                    )
        return tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[str]:
        return (task.name for task in self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {len(self)} tasks>"

    # --- as pictures --------------------------------------------------------------------------

    def create_graph(self) -> Any:
        """A `networkx.DiGraph` of its tasks. Raises ModuleNotFoundError for the extra "tasks"."""
        return drawing.networkx_graph(self.tasks)

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Print it as boxes with lines between them, parents on top."""
        print_fn(drawing.ascii_of(self.tasks))

    def plot_graph(self, filename: str) -> None:
        """Draw it into a file: .svg, or .png with the extra "tasks"."""
        drawing.draw(self.tasks, filename)

    # --- as a file ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain data.

        Raises PipelineError, Cycle, and TaskError for a parameter that cannot be saved.
        """
        tasks = self.validate()
        return self.description(dict(zip(tasks, keys_of(tasks, self.hash_scheme), strict=True)))

    def description(self, keys: Mapping[AnyTask, str], strict: bool = True) -> dict[str, Any]:
        """The same with known hashes; if not *strict*, what cannot be saved is only shown."""
        told = {}
        for task, key in keys.items():
            told[task.name] = {
                "hash": key,
                "module": type(task).__module__,
                "name": type(task).__name__,
                "params": task.saved_params(strict),
                "parents": [parent.name for parent in task.parents],
                "tag": task.tag,
                **task.saved_terms(strict),
            }
        kind = "sequential" if self.is_sequential else "pipeline"
        head = {"name": self.name, "kind": kind, "hash_scheme": self.hash_scheme}
        return {"pipeline": head, "tasks": told}

    def to_file(self, filename: str) -> None:
        """Write that. Raises OSError besides."""
        Path(filename).write_text(text_of(self.to_dict()), encoding="utf-8")

    @staticmethod
    def from_dict(
        pipeline_dict: Mapping[str, Any],
        compare_hashes: bool = True,
        secrets: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """The pipeline that `to_dict` told of; its modules are imported.

        With *compare_hashes* each task has to have the hash that was saved. *secrets* are the
        values of secret parameters, by name. Raises PipelineError if something is missing,
        unknown or different, TaskError for a parameter.
        """
        return loading.pipeline_of(
            pipeline_dict,
            compare_hashes,
            secrets or {},
            {"pipeline": Pipeline, "sequential": Sequential},
        )

    @staticmethod
    def from_file(
        filename: str, compare_hashes: bool = True, secrets: Mapping[str, Any] | None = None
    ) -> Pipeline:
        """The same from a file, as `to_file` or a run wrote it. Only load files that you trust:
        modules that it names are imported. Raises OSError besides."""
        return Pipeline.from_dict(loading.read(filename), compare_hashes, secrets)

    # --- its results --------------------------------------------------------------------------

    def set_hash_scheme(self, scheme: str) -> None:
        """ "code", "md5" or "sha256". Raises TaskError."""
        self.hash_scheme = checked_scheme(scheme)
        for task in self.tasks:
            task.hash_scheme = self.hash_scheme

    def set_results(self, results: PipelineResult) -> None:
        self._results = results

    def results(self) -> PipelineResult:
        """Of the last run. Raises NoResults (an AttributeError) before one."""
        if self._results is None:
            raise NoResults(
                f"The pipeline {self.name!r} has not been run.", remedy="Give it to Runner.run()."
            )
        return self._results

    def __getitem__(self, name: str) -> Any:
        """The result of the task of that name. Raises as `results()[name]` does."""
        return self.results()[name]


class Sequential(Pipeline):
    """Tasks one after the other; other connections that they had are taken away."""

    is_sequential = True

    def set_tasks(self, tasks: Iterable[AnyTask]) -> None:
        """These, in this order. Raises TaskError for what are no tasks, PipelineError for one
        that is named twice."""
        chain: dict[AnyTask, None] = {}
        for task in all_checked(tasks):
            if task in chain:
                raise self._twice(task)
            chain[task] = None
        for task in chain:
            task.disconnect()
        self._chain: dict[AnyTask, None] = {}
        self._roots.clear()
        for task in chain:
            self._append(task)

    def add(self, task: AnyTask) -> None:
        """One more at the end. Raises TaskError for what is no task, PipelineError for one that
        is in it already."""
        if checked(task) in self._chain:
            raise self._twice(task)
        task.disconnect()
        self._append(task)

    def _append(self, task: AnyTask) -> None:
        if self._chain:
            task.connect_parent(next(reversed(self._chain)))
        else:
            self._roots[task] = None
        self._chain[task] = None

    def _twice(self, task: AnyTask) -> PipelineError:
        return PipelineError(
            f"{task.name} is in the sequence {self.name!r} already.",
            remedy="Make another task of its class, with another tag.",
        )


def checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise PipelineError(f"A pipeline's name is text, not {name!r}.")
    return name


def all_checked(tasks: Any) -> list[AnyTask]:
    """Raises TaskError unless these are tasks."""
    if not isinstance(tasks, Iterable) or isinstance(tasks, (str, type)):
        raise TaskError(
            f"Tasks are given as a list, not as {tasks!r}.", remedy="Write [task], even for one."
        )
    return [checked(task) for task in tasks]


def checked(task: Any) -> AnyTask:
    """Raises TaskError unless it is a task."""
    refuse_class(task)
    if not isinstance(task, Task):
        raise TaskError(
            f"Supplied node is not of type Task: {task!r}.",
            remedy='A pipeline is made of tasks: @task("Name") on a function, or class X(Task).',
        )
    return task


__all__ = ["AnyTask", "Pipeline", "Sequential", "all_checked", "checked"]
