"""The two decorators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pypelinin.tasks import Task, TaskError, run, task
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
