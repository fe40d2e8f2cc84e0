"""Calls of functions on each other's results."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.tasks import PipelineError, Secret, TaskError, task
from pypelinin.tasks.evaluating import pipeline_of
from pypelinin.tasks.inside.references import Reference


@task(cache=True)
def load(name: str) -> list[str]:
    """Words."""
    return name.split()


@task(cache=True)
def join(parts: list[Any], between: str = " ") -> str:
    return between.join(map(str, parts))


@task(cache=False)
def now() -> int:
    return 1


def test_a_call_stands_for_its_result() -> None:
    one, two = load("a b"), load("c")
    joined = join([one, two, one], between="-")
    assert joined.parents == [one, two]
    assert joined.params == {
        "args": [[Reference(0), Reference(1), Reference(0)]], "kwargs": {"between": "-"},
    }  # fmt: skip
    assert (load.__name__, load.__doc__, repr(load)) == ("load", "Words.", "<light task load>")


def test_the_same_call_is_the_same_task() -> None:
    assert load("a") is load("a")
    assert load("a") is not load("b")
    assert join([load("a")]) is join([load("a")])
    assert join([load("a")]).name != join([load("b")]).name


def test_names_are_the_same_in_each_process() -> None:
    assert load("a").name == f"load({load('a').tag})"
    assert len(load("a").tag) == 12
    parts = ["x"]
    made = join(parts)
    parts.append("y")
    assert made.params["args"] == [["x"]]


def test_arguments_are_checked_at_the_call() -> None:
    with pytest.raises(TaskError, match="missing a required argument: 'name'"):
        load()


def test_without_a_cache_it_is_to_be_reloaded() -> None:
    assert now().reload
    assert not load("a").reload


def test_calls_with_other_secrets_are_other_tasks() -> None:
    one, same, other = load(Secret("a")), load(Secret("a")), load(Secret("b"))
    assert one is same
    assert other is not one
    assert other.name == one.name
    with pytest.raises(PipelineError, match="parameter that tells them apart"):
        pipeline_of([one, other], "p").validate()
