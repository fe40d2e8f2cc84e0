"""The two decorators."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from pypelinin.tasks import Secret, Task, TaskError, run, task
from pypelinin.tasks.light import LightFunction


@task("Named", retries=2)
def function(data: Any, n: int = 3) -> int:
    """What for."""
    return n


def test_a_function_becomes_a_class_of_its_module() -> None:
    assert issubclass(function, Task)
    assert (function.__name__, function.__module__, function.__doc__) == (
        "Named", __name__, "What for.",
    )  # fmt: skip
    assert function(n=4).params == {"n": 4}
    assert function().all_options() == {"retries": 2}


def test_input_needs_a_parameter_data() -> None:
    with pytest.raises(AttributeError, match='must accept the named parameter "data"'):

        @task("Wrong")
        def wrong() -> None: ...

    @task("Right", receives_input=False)
    def right() -> int:
        return 1

    assert right().run_wrapper() == 1


def test_task_without_a_name() -> None:
    with pytest.raises(TypeError, match="did you use @task instead of @task"):
        task(lambda data: None)  # type: ignore[call-overload]  # that is what is tried
    with pytest.raises(TypeError, match="Invalid decorator use"):
        task()  # type: ignore[call-overload]  # that is what is tried


def test_a_class_is_no_function() -> None:
    with pytest.raises(TaskError, match="@task is for functions, and Wrong is a class"):

        @task("Wrong")
        class Wrong(Task[Any, Any]):
            pass


def test_options_that_are_none() -> None:
    with pytest.raises(TaskError, match="no options speed"):
        task("X", speed=1)


def test_generators_and_coroutines_are_refused() -> None:
    with pytest.raises(TaskError, match="a generator function"):

        @task("Wrong")
        def many(data: Any) -> Iterator[int]:
            yield 1

    with pytest.raises(TaskError, match="a coroutine function"):

        @run
        async def later(self: Any, data: Any) -> None: ...


def test_without_a_name_and_with_cache_it_is_light() -> None:
    @task(cache=True)
    def light(n: int) -> int:
        return n

    assert isinstance(light, LightFunction)
    assert light.function(3) == 3


def test_run_marks_and_changes_nothing_else() -> None:
    def plain(self: Any, data: Any) -> int:
        return 1

    assert run(plain) is plain


SECRET = Secret("abc")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda data, tag: None, "parameter tag, which it could never be given"),
        (lambda data, reload=1: None, "parameter reload, which it could never be given"),
        (lambda data, p=SECRET: None, "default of p of X is a secret"),
        (lambda data, /: None, 'named parameter "data"'),
        (lambda *data: None, 'named parameter "data"'),
        (functools.partial(max, 1), "its name or its parameters are not known"),
        (min, "its name or its parameters are not known"),
    ],
)
def test_what_could_never_be_called_is_refused(function: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        task("X")(function)


@pytest.mark.parametrize("name", ["", "a\0b", "a\ud800b"])
def test_a_name_is_one(name: str) -> None:
    with pytest.raises(TaskError, match="cannot be the name of a task"):
        task(name)(lambda data: None)


def test_a_cache_is_of_the_light_form() -> None:
    with pytest.raises(TaskError, match=r"has no cache=.*reload=True"):
        task("X", cache=False)  # type: ignore[call-overload]  # that is what is tried


def test_options_are_checked_when_a_class_is_made() -> None:
    with pytest.raises(TaskError, match="X: cores is a whole number"):
        task("X", cores="many")(lambda data: None)
    with pytest.raises(TaskError, match="Y: cores is a whole number"):
        type("Y", (Task,), {"cores": 0})
