"""`Task`: one unit of work of a pipeline, as a class; and what makes one of a function."""

from __future__ import annotations

import inspect
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Generic, Self, TypeVar

from pypelinin.errors import DefinitionError
from pypelinin.graph.fingerprint import digest
from pypelinin.graph.graph import order
from pypelinin.graph.job import Job
from pypelinin.tasks import statuses
from pypelinin.tasks.connecting import Node
from pypelinin.tasks.exceptions import NoDataParameter, TaskError
from pypelinin.tasks.hashing import CODE, checked_scheme, encoded_params, keys_of
from pypelinin.tasks.inside import files
from pypelinin.tasks.inside.inputs import TaskInputs
from pypelinin.tasks.reach import NO_CODE
from pypelinin.tasks.saving import Secret, plain_of, revealed
from pypelinin.tasks.texts import text_of

In = TypeVar("In")
Out = TypeVar("Out")

OPTIONS = ("cores", "memory", "resources", "labels", "retries", "timeout", "priority", "isolate",
           "env", "startup_timeout")  # fmt: skip
"""Class attributes and `options` that say what a task needs; as for `pypelinin.Job`."""
FOLDER_BYTES_MAX = 200
_OF_OBJECTS = frozenset(
    "name tag reload params data_path hash_scheme result status _parents _children _options".split()
)
_INNER = frozenset("params hash_scheme result status _parents _children _options".split())
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[/\0-\x1f\x7f%]")
kinds: dict[tuple[str, str], type[Task[Any, Any]]] = {}
"""Task classes by module and name, for pipelines that are loaded."""


def folder_name(name: str) -> str:
    """*name* as that of a directory: the same for the usual ones, never a path."""
    safe = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
    if len(os.fsencode(safe)) > FOLDER_BYTES_MAX:
        safe = f"{safe[:40]}-{digest(name.encode('utf-8', 'surrogatepass')).hex()}"
    return safe


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises TaskError for what makes no sense."""
    try:
        Job(checked_scheme, **options)
    except DefinitionError as error:
        raise TaskError(f"{name}: {error}") from None


def _check_parameters(kind: type[Task[Any, Any]], found: list[inspect.Parameter]) -> None:
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for one in found:
        if one.name in ("tag", "reload") and not kind.refers:
            raise TaskError(
                f"{kind.__name__} has a parameter {one.name}, which it could never be given: "
                "tag and reload are the task's own.",
                remedy="Give the parameter another name.",
            )
        if isinstance(one.default, Secret):
            raise TaskError(
                f"The default of {one.name} of {kind.__name__} is a secret.",
                remedy="Give secrets when the task is made.",
            )
    named = {one.name for one in found if one.kind in by_keyword}
    if (
        kind.receives_input
        and "data" not in named
        and not any(one.kind is one.VAR_KEYWORD for one in found)
    ):
        raise NoDataParameter(
            'To receive input data, the function must accept the named parameter "data": '
            f"that of {kind.__name__} does not.",
            remedy="Write data first among its parameters; a function that needs none is marked "
            "with receives_input=False, a class says receives_input = False.",
        )


def _check_tag(kind: str, tag: object) -> None:
    if not isinstance(tag, str):
        how = f"Parameters are given by name: {kind}(name=...)."
        if isinstance(tag, Node):
            how = f"To connect the task, write {kind}(...)(parent)."
        raise TaskError(f"The tag of {kind} is text, not {tag!r}.", remedy=how)


class Task(Node, ABC, Generic[In, Out]):
    """One unit of work: it gets results of type *In*, and gives one of type *Out*.

    Subclass it and write `run(self, data, ...)`, marked with `@run`; *data* is a `TaskInputs`
    with the results of its parents. Parameters of `run` are given to the constructor. *tag*
    tells tasks of one class apart; with *reload* it runs even if its result is there.

    Raises TaskError if parameters are missing, or are too many, or cannot be hashed; TypeError
    if there is no `run`.
    """

    Status = statuses.Status
    TaskResult = statuses.TaskResult

    receives_input: ClassVar[bool] = True
    """Whether `run` gets data."""
    refers: ClassVar[bool] = False
    """Whether results of parents stand among its parameters."""
    known_signature: ClassVar[inspect.Signature | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        said = {name: vars(cls)[name] for name in OPTIONS if vars(cls).get(name) is not None}
        check_options(cls.__name__, said)
        kinds[cls.__module__, cls.__name__] = cls

    def __init__(self, tag: str = "", reload: bool = False, **params: Any) -> None:
        _check_tag(type(self).__name__, tag)
        super().__init__(f"{type(self).__name__}({tag})")
        if not self.name.isascii() and _SURROGATE.search(self.name):
            raise TaskError(
                f"The name {self.name!r} cannot be written as UTF-8.",
                remedy="A tag that is the name of a file may need os.fsencode(name).hex().",
            )
        self.tag = tag
        self.reload = reload
        self.params = params
        self.data_path = ""
        self.hash_scheme = CODE
        self.result: statuses.TaskResult | None = None
        self.status = statuses.Status.NOT_STARTED
        self._options: dict[str, Any] = {}
        self.assert_run_decorated()
        self.assert_params_complete()
        encoded_params(self)

    @abstractmethod
    def run(self, *args: Any, **kwargs: Any) -> Out:
        """The work. What it returns goes to the task's children, and to the disk."""

    def __repr__(self) -> str:
        return f"<Task {self.name} {self.status.name}>"

    # --- checks -------------------------------------------------------------------------------

    def assert_run_decorated(self) -> None:
        """Raises TaskError unless `run` is marked with `@run`."""
        if not getattr(type(self).run, "is_marked", False):
            raise TaskError(
                f"{type(self).__name__}.run() method not decorated with @run.",
                remedy="Write @run above it, from pypelinin.tasks.",
            )

    def assert_params_complete(self) -> None:
        """Raises TaskError unless the parameters are those that `run` takes."""
        try:
            self.full_params()
        except TaskError:
            raise
        except TypeError as error:
            raise TaskError(f"Could not create task {self.name}: {error}") from None

    @classmethod
    def signature(cls) -> inspect.Signature:
        """The parameters of `run`, without self and data; looked at once.

        Raises TaskError for one that no task can have, NoDataParameter.
        """
        known: inspect.Signature | None = cls.__dict__.get("known_signature")
        if known is None:
            parameters = list(inspect.signature(cls.worked_by()).parameters.values())
            if cls.worked_by() is cls.run and isinstance(
                inspect.getattr_static(cls, "run"), FunctionType
            ):
                del parameters[:1]  # self
            _check_parameters(cls, parameters)
            if cls.receives_input:
                parameters = [one for one in parameters if one.name != "data"]
            known = cls.known_signature = inspect.Signature(parameters)
        return known

    @classmethod
    def worked_by(cls) -> Callable[..., Any]:
        """What does the work."""
        return cls.run

    # --- what it is ---------------------------------------------------------------------------

    def full_params(self) -> dict[str, Any]:
        """Its parameters with the defaults of `run`."""
        if self.receives_input and "data" in self.params:
            raise TypeError("got an unexpected keyword argument 'data': its parents give that")
        return self._bound(**self.params)

    def is_default(self, name: str, value: Any) -> bool:
        """Whether *value* is the default of that parameter."""
        parameter = self.signature().parameters.get(name)
        return parameter is not None and parameter.default is value

    def _bound(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        signature = self.signature()
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        found = bound.arguments
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                found.update(found.pop(name))
        return found

    def code(self) -> list[tuple[str, Any]]:
        """(name, what) of all that its class, and classes between it and `Task`, were given."""
        return [
            (f"{place} {name}", member)
            for place, kind in enumerate(type(self).__mro__)
            if kind not in Task.__mro__ and kind is not FunctionTask
            for name, member in sorted(vars(kind).items())
            if name not in NO_CODE and name not in _OF_TASKS and name not in OPTIONS
        ]

    def attributes(self) -> Mapping[str, Any]:
        """What a constructor of its own, or somebody else, gave it beside its parameters."""
        return {name: value for name, value in vars(self).items() if name not in _OF_OBJECTS}

    def hash(self, scheme: str | None = None) -> str:
        """What its result is kept under; it depends on the task and on all tasks before it.

        *scheme* is "code", "md5" or "sha256" (None: that of the runner it was given to, else
        "code"). Takes a step for each of the tasks before it. Raises TaskError, Cycle.
        """
        tasks = self.with_ancestors()
        return keys_of(tasks, checked_scheme(scheme or self.hash_scheme))[tasks.index(self)]

    def with_ancestors(self) -> list[Task[Any, Any]]:
        """All that it is made from, and itself, parents first. Raises Cycle."""
        found: dict[Task[Any, Any], None] = {self: None}
        stack: list[Task[Any, Any]] = [self]
        while stack:
            for parent in stack.pop().parents:
                if parent not in found:
                    found[parent] = None
                    stack.append(parent)
        edges = ((parent, task) for task in found for parent in task.parents)
        return order(list(found), edges)[0]

    def description(self, key: str | None = None) -> dict[str, Any]:
        """Its name, module, tag, hash and parameters as plain data; *key* if that is known."""
        return {
            "name": type(self).__name__,
            "module": type(self).__module__,
            "tag": self.tag,
            "hash": key or self.hash(),
            "params": self.saved_params(strict=False),
        }

    def saved_params(self, strict: bool) -> dict[str, Any]:
        """Its parameters as plain data. Raises TaskError if *strict*."""
        return {
            name: plain_of(value, f"{self.name}.{name}", strict)
            for name, value in self.params.items()
        }

    def saved_terms(self, strict: bool) -> dict[str, Any]:
        """As plain data whether it is to be reloaded, and what was said of it with `options`.
        Raises TaskError if *strict*."""
        options = plain_of(self._options, f"the options of {self.name}", strict)
        said = {"reload": self.reload, "options": options}
        return {name: value for name, value in said.items() if value}

    def options(self, **options: Any) -> Self:
        """Say what it needs: cores, memory, retries, timeout ...; as for `pypelinin.Job`.

        Raises TaskError for what makes no sense.
        """
        unknown = options.keys() - set(OPTIONS)
        if unknown:
            raise TaskError(
                f"{self.name} has no options {', '.join(sorted(unknown))}.",
                remedy=f"There are {', '.join(OPTIONS)}.",
            )
        check_options(self.name, options)
        self._options.update(options)
        return self

    def all_options(self) -> dict[str, Any]:
        """Those of its class, and its own."""
        said = {name: getattr(type(self), name, None) for name in OPTIONS}
        return {
            name: value for name, value in {**said, **self._options}.items() if value is not None
        }

    # --- its stored result --------------------------------------------------------------------

    def set_data_path(self, path: str) -> None:
        self.data_path = path

    def output_filename(self, filename: str = files.RESULT) -> str:
        """Where its result is, or what else belongs to it."""
        return os.path.join(self.folder(self.hash()), filename)

    def folder(self, key: str) -> str:
        """Where what belongs to it lies, if that is its hash. Raises TaskError without a path."""
        if not self.data_path:
            raise TaskError(f"{self.name} has no data path yet.", remedy="Call set_data_path().")
        return os.path.join(self.data_path, folder_name(self.name), key)

    def output_exists(self) -> bool:
        return files.is_there(self.output_filename())

    def should_run(self) -> bool:
        """Whether it has to run by itself: it is to be reloaded, or has no result."""
        return self.reload or not self.output_exists()

    def load_output(self) -> Out:
        """Its result from the disk. Raises ResultMissing, ResultDamaged."""
        found: Out = files.load(self.output_filename())
        return found

    def store_output(self, output: Out) -> None:
        """Put *output* where its result belongs. Raises NotPicklable, OSError."""
        path = self.output_filename()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.store(path, output, self.name)

    def store_params(self) -> None:
        """Write params.yaml beside it. Raises OSError."""
        path = self.output_filename(files.PARAMS)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        found = {one: one.description(one.hash(self.hash_scheme)) for one in (self, *self.parents)}
        files.write_text(path, self.params_text(found))

    def params_text(self, described: Mapping[Any, Mapping[str, Any]]) -> str:
        """The text of params.yaml: the descriptions of it and of its parents."""
        parents = {parent.name: described[parent] for parent in self.parents}
        return text_of({"task": described[self], "parents": parents})

    # --- in a run -----------------------------------------------------------------------------

    @property
    def output(self) -> Any:
        """What it returned in the last run; None if it did not. Raises as `load_output` does."""
        return None if self.result is None else self.result.output

    def set_output(self, output: Any) -> None:
        self.result = statuses.TaskResult(self.status, output)

    def set_stored_output(self, path: str) -> None:
        """Its output lies there; it is loaded when it is asked for."""
        self.result = statuses.TaskResult(self.status, statuses.Stored(path))

    def set_status(self, status: statuses.Status) -> None:
        self.status = status
        if self.result is not None:
            self.result.status = status

    def set_reload(self, reload: bool) -> None:
        self.reload = reload

    def run_wrapper(self, data: TaskInputs[In] | list[In] | None = None) -> Out:
        """Run it here and now with *data*; its result is returned, not kept."""
        given = {"data": TaskInputs(data or [])} if self.receives_input else {}
        found: Out = self.run(**given, **revealed(self.params))
        return found

    def state(self) -> dict[str, Any] | None:
        """What a slot needs of it beside its class."""
        own = {name: value for name, value in vars(self).items() if name not in _INNER}
        return {**own, "params": revealed(self.params)}


class FunctionTask(Task[In, Out]):
    """A task whose work is a function."""

    function: ClassVar[Callable[..., Any]]

    def run(self, *args: Any, **kwargs: Any) -> Out:
        found: Out = type(self).function(*args, **kwargs)
        return found

    run.is_marked = True  # type: ignore[attr-defined]  # a mark on a function

    @classmethod
    def worked_by(cls) -> Callable[..., Any]:
        return cls.function

    def state(self) -> dict[str, Any] | None:
        return None

    def attributes(self) -> Mapping[str, Any]:
        return {}  # they do not come to its function

    def full_params(self) -> dict[str, Any]:
        if not self.refers:
            return super().full_params()
        return self._bound(*self.params.get("args", ()), **self.params.get("kwargs", {}))


_OF_TASKS = frozenset("receives_input refers".split())

__all__ = ["OPTIONS", "FunctionTask", "In", "Out", "Task", "folder_name", "kinds"]
