"""Small helpers of projects."""

from __future__ import annotations

import functools
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pypelinin.incremental import state
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.invariants import FileInvariant

F = TypeVar("F", bound=Callable[..., Any])


def inside_ppg() -> bool:
    """Whether there is a graph."""
    return state.graph is not None


def CPUs() -> int:
    """How many cores this process may use; NUMBER_OF_PROCESSORS overrides it."""
    said = os.environ.get("NUMBER_OF_PROCESSORS", "")
    return int(said) if said.isdigit() and int(said) else len(os.sched_getaffinity(0))


def flatten_jobs(nested: Any) -> Iterator[Job]:
    """The jobs in nested iterables. Raises ValueError for anything else in there."""
    if isinstance(nested, Job):
        yield nested
        return
    if isinstance(nested, (str, bytes)) or not hasattr(nested, "__iter__"):
        raise ValueError(f"flatten_jobs takes jobs and iterables of them, not {nested!r}.")
    for one in nested:
        yield from flatten_jobs(one)


def job_or_filename(
    found: Any, invariant_class: type[Any] = FileInvariant
) -> tuple[Path | None, list[Any]]:
    """(file, what to depend on) of a job that writes one file, of a file's name, or of None."""
    if found is None:
        return None, []
    if isinstance(found, Job):
        return Path(found.outputs[0]), [found]
    graph = state.graph
    if graph is not None and (known := graph.producer_of(str(found))) is not None:
        return Path(found), [known[1]]
    return Path(found), [invariant_class(found)]


def assert_uniqueness_of_object(
    object_with_name: Any, graph: Any = None, also_check: Any = None
) -> None:
    """One object a class and `.name` in a graph; gives it a `unique_id`. Without a graph: nothing.

    *also_check*: classes whose objects may not have the name either. Raises ValueError.
    """
    graph = graph or state.graph
    if graph is None:
        return
    name = object_with_name.name
    if "/" in name:
        raise ValueError(f"A name of an object has no '/' in it: {name!r}.")
    kind = type(object_with_name)
    others = also_check if isinstance(also_check, (list, tuple)) else [also_check]
    names = graph.shared.setdefault("names of objects", {})
    for one in [kind, *(other for other in others if other is not None)]:
        if name in names.get(one, ()):
            raise ValueError(f"Two objects of {one.__name__} are called {name!r}.")
    names.setdefault(kind, {})[name] = object_with_name
    object_with_name.unique_id = len(names[kind])


def pretty_log_errors(function: F) -> F:
    """A decorator: exceptions of the function are logged with their traceback."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            logging.getLogger("pypelinin.incremental").error(traceback.format_exc())
            raise

    return inner  # type: ignore[return-value]  # it has its face


def wrap_for_function_invariant(function: F, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """A function of no arguments that calls this one, and whose invariant follows it."""

    def inner() -> Any:
        return function(*args, **kwargs)

    inner.wrapped_function = function  # type: ignore[attr-defined]  # for FunctionInvariant
    return inner


__all__ = [
    "CPUs", "assert_uniqueness_of_object", "flatten_jobs", "inside_ppg", "job_or_filename",
    "pretty_log_errors", "wrap_for_function_invariant",
]  # fmt: skip
