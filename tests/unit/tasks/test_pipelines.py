"""Which tasks a pipeline has."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import Cycle
from pypelinin.tasks import Pipeline, PipelineError, Sequential, Task, TaskError, task


@task("N")
def node(data: Any, n: int = 1) -> None: ...


def names(pipeline: Pipeline) -> list[str]:
    return [one.tag for one in pipeline.tasks]


def test_what_is_below_its_roots_belongs_to_it() -> None:
    a, b, c, d = (node(name) for name in "abcd")
    d([b(a), c])
    pipeline = Pipeline("p", [a, c])
    assert names(pipeline) == ["a", "c", "b", "d"]
    assert len(pipeline) == 4
    assert next(iter(pipeline)) == "N(a)"
    assert pipeline.roots == [a, c]
    assert repr(pipeline) == "<Pipeline 'p' of 4 tasks>"


def test_roots_can_be_added_in_three_ways() -> None:
    pipeline = Pipeline("p")
    pipeline.add(node("a"))
    assert pipeline(node("b")) is pipeline
    assert names(pipeline) == ["a", "b"]
    pipeline.set_tasks([node("c")])
    assert names(pipeline) == ["c"]


def test_an_empty_one_cannot_be_run() -> None:
    assert len(Pipeline("p")) == 0
    assert Pipeline("p")
    with pytest.raises(PipelineError, match="No tasks in pipeline 'p'"):
        Pipeline("p").validate()


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(PipelineError, match="name is text"):
        Pipeline(name)


@pytest.mark.parametrize(
    ("wrong", "said"), [(node, "not instantiated: N is a class"), (3, "not of type Task: 3")]
)
def test_what_is_no_task_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        Pipeline("p", [wrong])
    with pytest.raises(TaskError, match=said):
        Sequential("p").add(wrong)


@pytest.mark.parametrize("kind", [Pipeline, Sequential])
@pytest.mark.parametrize("wrong", [node("a"), node, "N(a)", 3])
def test_tasks_are_given_as_a_list(kind: type[Pipeline], wrong: Any) -> None:
    pipeline = kind("p", [node("a")])
    with pytest.raises(TaskError, match="given as a list, not as"):
        kind("p", wrong)
    with pytest.raises(TaskError, match="not of type Task"):
        pipeline.set_tasks([node("b"), None])  # type: ignore[list-item]  # that is what is tried
    assert names(pipeline) == ["a"]


def test_two_of_one_name() -> None:
    a = node("a")
    node("a")(a)
    with pytest.raises(PipelineError, match=r"Node names must be unique.*N\(a\)"):
        Pipeline("p", [a]).validate()


def test_a_cycle_is_named() -> None:
    a, b, c = (node(name) for name in "abc")
    b([a, c])
    c(b)
    with pytest.raises(
        Cycle, match=r"not acyclic, please remove cycle \(N\(c\) -> N\(b\) -> N\(c\)\)\."
    ):
        Pipeline("p", [a]).validate()


def test_a_parent_from_outside_is_named() -> None:
    a, b, other = (node(name) for name in ("a", "b", "other"))
    b([a, other])
    with pytest.raises(PipelineError, match=r"N\(b\) reads N\(other\), which is not in the pipe"):
        Pipeline("p", [a]).validate()


def test_a_sequence_is_a_chain_and_can_be_made_again() -> None:
    a, b, c, d = (node(name) for name in "abcd")
    pipeline = Sequential("p", [a, b, c])
    pipeline.add(d)
    assert [parent.tag for one in (b, c, d) for parent in one.parents] == ["a", "b", "c"]
    other = node("b")
    again = Sequential("p", [a, other, c, d])
    assert again.validate() == [a, other, c, d]
    assert (b.parents, b.children) == ([], [])


def test_a_task_stands_in_a_sequence_once() -> None:
    a, b, c = (node(name) for name in "abc")
    pipeline = Sequential("p", [a, b, c])
    with pytest.raises(PipelineError, match=r"N\(b\) is in the sequence 'p' already"):
        pipeline.add(b)
    assert names(pipeline) == ["a", "b", "c"]
    with pytest.raises(PipelineError, match=r"N\(a\) is in the sequence"):
        pipeline.set_tasks([a, b, a])
    assert names(pipeline) == ["a", "b", "c"]


def test_results_before_a_run() -> None:
    with pytest.raises(AttributeError, match="'p' has not been run"):
        Pipeline("p").results()
    with pytest.raises(AttributeError, match="'p' has not been run"):
        Pipeline("p")["N()"]


def test_a_chain_of_100_000_has_an_order() -> None:
    chain = [node(str(i)) for i in range(100_000)]
    for up, down in itertools.pairwise(chain):
        down(up)
    assert Pipeline("p", chain[:1]).validate() == chain


def described(pipeline: Pipeline) -> list[tuple[str, dict[str, Any], list[str], str]]:
    return [
        (one.name, one.params, [parent.name for parent in one.parents], one.hash())
        for one in pipeline.tasks
    ]


def diamond() -> Pipeline:
    top, left, right, end = (node(name, n=i) for i, name in enumerate("tlre"))
    end([right(top), left(top)])
    return Pipeline("diamond", [top])


@pytest.mark.parametrize("scheme", ["code", "md5", "sha256"])
@pytest.mark.parametrize(
    "made",
    [
        diamond,
        lambda: Sequential("s", [node(name) for name in "abc"]),
        lambda: Pipeline("p", [node()]),
    ],
    ids=["diamond", "sequence", "one"],
)
def test_every_pipeline_comes_back_from_its_file(made: Any, scheme: str, tmp_path: Path) -> None:
    pipeline: Pipeline = made()
    pipeline.set_hash_scheme(scheme)
    path = str(tmp_path / "p.yaml")
    pipeline.to_file(path)
    back = Pipeline.from_file(path)
    assert type(back) is type(pipeline)
    assert described(back) == described(pipeline)
    assert Pipeline.from_dict(back.to_dict()).to_dict() == pipeline.to_dict()


def test_a_parameter_that_cannot_be_saved() -> None:
    @task("Any")
    def anything(data: Any, n: Any) -> None: ...

    pipeline = Pipeline("p", [anything(n=range(3))])
    with pytest.raises(TaskError, match=r"Any\(\).n is a builtins.range, which cannot be saved"):
        pipeline.to_dict()
    assert issubclass(anything, Task)


def test_what_was_said_of_a_task_comes_back() -> None:
    pipeline = Pipeline("p", [node("a", reload=True).options(retries=2, timeout="1h"), node("b")])
    told = pipeline.to_dict()
    assert not {"reload", "options"} & told["tasks"]["N(b)"].keys()
    a, b = Pipeline.from_dict(told).tasks
    assert (a.reload, a.all_options()) == (True, {"retries": 2, "timeout": "1h"})
    assert (b.reload, b.all_options()) == (False, {})
