"""`@run` marks the work of a task class; `@task` makes a task class of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import check_function
from pypelinin.tasks.definition import OPTIONS, FunctionTask, Task
from pypelinin.tasks.exceptions import TaskError
from pypelinin.tasks.light import LightFunction

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


def run(function: F) -> F:
    """Marks the method `run` of a task class. Raises TaskError for what is no plain function."""
    _check(function)
    function.is_marked = True  # type: ignore[attr-defined]  # a mark on a function
    return function


@overload
def task(
    name: str, receives_input: bool = True, **options: Any
) -> Callable[[Callable[..., R]], type[Task[Any, R]]]: ...
@overload
def task(*, cache: bool, **options: Any) -> Callable[[Callable[..., R]], LightFunction[R]]: ...
def task(
    name: Any = None, receives_input: bool = True, *, cache: bool | None = None, **options: Any
) -> Any:
    """Makes a task class, called *name*, of a function.

    The function's parameters are those of the task. With *receives_input* it gets the results of
    the task's parents as `data`. *options* say what it needs: cores, memory, retries, timeout ...

    `@task(cache=True)`, without a name, makes the light form: calls of the function give what
    stands for their result and can be arguments of other calls (see `evaluate`); with
    `cache=False` it runs each time.

    Raises TaskError for `@task` without a call, for options that are none, and for what is no
    plain function; NoDataParameter (an AttributeError) if there is no `data`.
    """
    if not isinstance(name, str) and (name is not None or cache is None):
        raise TaskError(
            "Invalid decorator use - did you use @task instead of @task(name)?",
            remedy='Write @task("Name"), or @task(cache=True) for the light form.',
        )
    if name is not None and cache is not None:
        raise TaskError(
            f'@task("{name}") has no cache=; that is the light form, which has no name.',
            remedy="Tasks with reload=True always run.",
        )
    if name is not None and (not name or "\0" in name or not _is_text(name)):
        raise TaskError(f"{name!r} cannot be the name of a task.")
    unknown = options.keys() - set(OPTIONS)
    if unknown:
        raise TaskError(
            f"@task has no options {', '.join(sorted(unknown))}.",
            remedy=f"There are {', '.join(OPTIONS)}.",
        )

    def make(function: Callable[..., Any]) -> Any:
        if isinstance(function, type):
            raise TaskError(
                f"@task is for functions, and {function.__name__} is a class.",
                remedy=f"Write class {function.__name__}(Task) without it, and @run above run().",
            )
        _check(function)
        if name is None:
            light = _made(function, function.__name__, options, receives_input=False, refers=True)
            return LightFunction(light, bool(cache))
        made = _made(function, name, options, receives_input=receives_input, refers=False)
        made.signature()  # checks it
        return made

    return make


def _check(function: Any) -> None:
    try:
        check_function(function)
    except DefinitionError as error:
        raise TaskError(error.what, remedy=error.remedy) from None
    try:
        inspect.signature(function)
        function.__qualname__  # noqa: B018 - of what has none, as a partial, names are not known
    except (AttributeError, TypeError, ValueError):
        raise TaskError(
            f"{function!r} cannot be a task: its name or its parameters are not known.",
            remedy="Write a function that calls it.",
        ) from None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # lone surrogates
        return False
    return True


def _made(
    function: Callable[..., Any], name: str, options: dict[str, Any], **said: bool
) -> type[FunctionTask[Any, Any]]:
    content = {
        **options, **said, "function": staticmethod(function), "__doc__": function.__doc__,
        "__module__": function.__module__, "__qualname__": function.__qualname__,
    }  # fmt: skip
    return type(name, (FunctionTask,), content)


__all__ = ["run", "task"]
