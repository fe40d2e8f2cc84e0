"""The light form, from calls to results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypelinin.tasks import Pipeline, RunFailed, Task, TaskError, evaluate, task
from pypelinin.tasks.evaluating import pipeline_of

pytestmark = pytest.mark.timeout(100)


@task(cache=True)
def words(text: str, notes: str) -> list[str]:
    with open(notes, "a") as file:
        file.write("words\n")
    return text.split()


@task(cache=True)
def joined(lists: list[list[str]], notes: str, between: str = "-") -> str:
    with open(notes, "a") as file:
        file.write("joined\n")
    return between.join(word for one in lists for word in one)


@task(cache=False)
def tick(notes: str) -> int:
    with open(notes, "a") as file:
        file.write("tick\n")
    return 1


@task(cache=True)
def wrong(value: Any) -> None:
    raise ValueError(f"wrong: {value}")


def test_calls_build_the_pipeline_and_are_kept(
    tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    notes = str(tmp_path / "notes")
    places = (tmp_path / "data", tmp_path / "log", 2)
    a, b = words("a b", notes), words("c", notes)
    both = joined([a, b, a], notes=notes)
    found: str = evaluate(both, *places)
    assert found == "a-b-c-a-b"
    assert ran() == ["joined", "words", "words"]
    assert evaluate(joined([a, b, a], notes=notes), *places) == found
    assert ran() == []
    assert evaluate(joined([a], notes=notes, between="+"), *places) == "a+b"
    assert ran() == ["joined"]
    assert evaluate([a, both], *places, force_reload=True) == [["a", "b"], found]
    assert ran() == ["joined", "words", "words"]


def test_without_a_cache_it_runs_each_time(tmp_path: Path, ran: Callable[[], list[str]]) -> None:
    notes = str(tmp_path / "notes")
    for _ in range(2):
        assert evaluate(tick(notes), tmp_path / "data", tmp_path / "log", 1) == 1
    assert ran() == ["tick", "tick"]


def test_a_failure_is_raised(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="wrong") as caught:
        evaluate(wrong(wrong("x")), tmp_path / "data", tmp_path / "log", 1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert str(caught.value.__cause__) == "wrong: x"


def test_only_what_is_wanted_runs(tmp_path: Path, ran: Callable[[], list[str]]) -> None:
    notes = str(tmp_path / "notes")
    a = words("a b", notes)
    other = joined([a], notes=notes)
    assert evaluate(a, tmp_path / "data", tmp_path / "log", 1, name="some") == ["a", "b"]
    assert ran() == ["words"]
    assert other.status is Task.Status.NOT_STARTED
    assert [path.name.partition("_")[0] for path in (tmp_path / "log").iterdir()] == ["some"]


@task(cache=True)
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)  # type: ignore[operator]  # tasks


def test_inside_of_a_task_a_call_is_a_call(tmp_path: Path) -> None:
    assert evaluate(fibonacci(10), tmp_path / "data", tmp_path / "log", 1) == 55
    assert isinstance(fibonacci(3), Task)
    assert len(list((tmp_path / "data").glob("fib*"))) == 1


def test_light_pipelines_can_be_saved(tmp_path: Path) -> None:
    both = joined([words("a", "n"), words("b", "n")], notes="n")
    told = pipeline_of([both], "light").to_dict()
    back = Pipeline.from_dict(told)
    assert [one.name for one in back.tasks] == [one.name for one in pipeline_of([both], "l").tasks]


def test_nothing_or_something_else() -> None:
    with pytest.raises(TaskError, match="nothing to evaluate"):
        evaluate([])
    with pytest.raises(TaskError, match="not of type Task: 3"):
        evaluate([3])  # type: ignore[list-item]  # that is what is tried


def test_what_runs_each_time_does_so_when_it_was_loaded(tmp_path: Path) -> None:
    [loaded] = Pipeline.from_dict(pipeline_of([tick("n")], "light").to_dict()).tasks
    assert loaded.reload


@pytest.mark.parametrize("wrong", [words, Task, None])
def test_what_is_wanted_is_a_task_or_a_list(wrong: Any) -> None:
    with pytest.raises(TaskError, match="given as a list, not as"):
        evaluate(wrong)
