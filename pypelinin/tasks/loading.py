"""Pipelines out of files: their classes are found by module and name, and made anew."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from pypelinin.tasks.definition import Task, kinds
from pypelinin.tasks.exceptions import PipelineError, TaskError
from pypelinin.tasks.hashing import SCHEMES, keys_of
from pypelinin.tasks.saving import value_of
from pypelinin.tasks.texts import mapping_of

AnyTask = Task[Any, Any]
DIFFER = "Cannot create pipeline from file: Hashes do not match"


class Made(Protocol):
    """A pipeline, as far as it is asked here."""

    def set_hash_scheme(self, scheme: str) -> None: ...

    @property
    def tasks(self) -> list[AnyTask]: ...


P = TypeVar("P", bound=Made)
Makers = Mapping[str, Callable[[Any, Iterable[AnyTask]], P]]


def read(filename: str) -> dict[str, Any]:
    """The mapping in a file. Raises OSError, PipelineError."""
    try:
        return mapping_of(Path(filename).read_text(encoding="utf-8"), str(filename))
    except UnicodeDecodeError as error:
        raise PipelineError(f"{filename} is no text: {error}.") from None


class Row(NamedTuple):
    """What a file says of one task."""

    name: str
    module: str
    tag: str
    params: Mapping[str, Any]
    parents: list[str]
    hash: str
    reload: bool
    options: Mapping[str, Any]


def pipeline_of(
    told: Mapping[str, Any], compare_hashes: bool, secrets: Mapping[str, Any], makers: Makers[P]
) -> P:
    """Raises PipelineError, TaskError."""
    if not isinstance(told, Mapping):
        raise PipelineError(f"A pipeline is made of a mapping, not of a {type(told).__name__}.")
    head, listed = _part(told, "pipeline"), _part(told, "tasks")
    rows = {name: _row(name, _part(listed, name)) for name in listed}
    tasks = {name: _task(name, row, secrets) for name, row in rows.items()}
    for name, row in rows.items():
        for parent in row.parents:
            if parent not in tasks:
                raise PipelineError(f"{name} names a parent {parent!r} that is not in the file.")
    kind = head.get("kind", "pipeline")
    if kind not in ("pipeline", "sequential"):
        raise PipelineError(f"There is no kind {kind!r} of pipelines.")
    if kind == "sequential":
        chosen = _chain(tasks, rows)
    else:
        for name, row in rows.items():
            tasks[name].connect_parent([tasks[parent] for parent in row.parents])
        chosen = [task for task in tasks.values() if not task.parents]
    made = makers[kind](head.get("name"), chosen)
    scheme = _scheme(head, rows)
    made.set_hash_scheme(scheme)
    if len(made.tasks) < len(tasks):
        raise PipelineError("The tasks of the file form a cycle.")
    if compare_hashes:
        _compare(made.tasks, rows, scheme)
    return made


def _row(name: str, found: Mapping[str, Any]) -> Row:
    missing = {"name", "module", "tag", "params"} - set(found)
    if missing:
        raise PipelineError(f"{name} lacks {', '.join(sorted(missing))} in the file.")
    params: Any = found["params"] or {}
    parents: Any = found.get("parents") or []
    lists = isinstance(params, Mapping) and isinstance(parents, list)
    name_there, module, tag = found["name"], found["module"], found["tag"] or ""
    texts = [name_there, module, tag, *params, *parents] if lists else [None]
    if not module or not all(isinstance(text, str) for text in texts):
        raise PipelineError(f"What the file says of {name} has not the form of a task: {found}")
    terms = found.get("reload", False), found.get("options", {})
    if type(terms[0]) is not bool or not isinstance(terms[1], Mapping):
        raise PipelineError(f"What the file says of {name} has not the form of a task: {found}")
    return Row(name_there, module, tag, params, parents, str(found.get("hash")), *terms)


def _part(told: Mapping[str, Any], name: Any) -> Mapping[str, Any]:
    found = told.get(name)
    if not isinstance(found, Mapping) or not isinstance(name, str):
        raise PipelineError(
            f"The file has no mapping {name!r}.",
            remedy="It should be what Pipeline.to_file() or a run wrote.",
        )
    return found


def _task(name: str, row: Row, secrets: Mapping[str, Any]) -> AnyTask:
    params = {key: value_of(value, f"{name}.{key}", secrets) for key, value in row.params.items()}
    if params.keys() & {"tag", "reload"}:
        raise PipelineError(f"{name} has parameters that no task can have in the file.")
    kind = kind_named(row.module, row.name)
    try:
        task = kind(row.tag, row.reload, **params)
    except TaskError:
        raise
    except TypeError as error:
        raise PipelineError(
            f"{name} cannot be made as the file says: {error}.",
            remedy="What a task is given has to be parameters of run(), not of a constructor.",
        ) from error
    options = {key: value_of(row.options[key], f"{name}.{key}", {}) for key in row.options}
    if not all(isinstance(key, str) for key in options):
        raise PipelineError(f"The options of {name} in the file are none: {row.options}")
    if options:
        task.options(**options)
    if task.name != name:
        raise PipelineError(f"The task {name} of the file is called {task.name} now.")
    return task


def kind_named(module: str, name: str) -> type[AnyTask]:
    """The task class. Raises PipelineError if it, or its module, is not there."""
    if (module, name) not in kinds:
        try:
            importlib.import_module(module)
        except Exception as error:  # odd names, and what stands in the module
            what = "".join(traceback.format_exception_only(error)).strip()
            raise PipelineError(
                f"The tasks {name} are of the module {module}, which cannot be imported: {what}.",
                remedy="Run it where that module is found.",
            ) from error
    if (module, name) not in kinds:
        raise PipelineError(
            f"The module {module} defines no task {name}.",
            remedy="Tasks of a script are only known in that script: put them into a module."
            if module == "__main__"
            else "It was renamed, or is made inside of a function that was not called yet.",
        )
    return kinds[module, name]


def _chain(tasks: Mapping[str, AnyTask], rows: Mapping[str, Row]) -> list[AnyTask]:
    behind: dict[str, str] = {}
    first = []
    for name, row in rows.items():
        parents = row.parents
        if len(parents) > 1 or (parents and parents[0] in behind):
            raise PipelineError(f"A sequential pipeline has no branches, as at {name}.")
        if parents:
            behind[parents[0]] = name
        else:
            first.append(name)
    if len(first) != 1:
        raise PipelineError(f"A sequential pipeline has one first task, this one {len(first)}.")
    chain = [first[0]]
    while chain[-1] in behind:
        chain.append(behind[chain[-1]])
    return [tasks[name] for name in chain]


def _scheme(head: Mapping[str, Any], rows: Mapping[str, Row]) -> str:
    """The original did not say: its hashes differ in their length."""
    scheme = head.get("hash_scheme")
    if scheme is None:
        sizes = {len(row.hash) for row in rows.values()}
        scheme = "sha256" if sizes == {64} else "md5"
    if scheme not in SCHEMES:
        raise PipelineError(f"The file's hash_scheme {scheme!r} is none of {', '.join(SCHEMES)}.")
    return str(scheme)


def _compare(tasks: list[AnyTask], rows: Mapping[str, Row], scheme: str) -> None:
    try:
        keys = keys_of(tasks, scheme)
    except TaskError as error:
        raise PipelineError(f"{DIFFER}: {error}") from error
    for task, key in zip(tasks, keys, strict=True):
        saved = rows[task.name].hash
        if saved != key:
            raise PipelineError(
                f"{DIFFER}: that of {task.name} was {saved}, and is {key}.",
                remedy="Its code, its parameters or a task before it changed, or the file did; "
                "compare_hashes=False loads it as it is now.",
            )


__all__ = ["kind_named", "pipeline_of", "read"]
