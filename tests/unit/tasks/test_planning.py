"""What has to run, decided before anything does."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypelinin.tasks import Pipeline, Task, task
from pypelinin.tasks.hashing import keys_of
from pypelinin.tasks.planning import Plan, planned, reloaded


@task("N")
def node(data: Any) -> None: ...


def plan_of(tasks: list[Task[Any, Any]], place: Path, force: bool = False) -> Plan:
    for one in tasks:
        one.set_data_path(str(place))
    return planned(tasks, dict(zip(tasks, keys_of(tasks, "code"), strict=True)), force)


def store(tasks: list[Task[Any, Any]], place: Path) -> None:
    for one in tasks:
        one.set_data_path(str(place))
        one.store_output(1)


def chain(length: int) -> list[Task[Any, Any]]:
    tasks = [node(str(i)) for i in range(length)]
    for up, down in itertools.pairwise(tasks):
        down(up)
    return tasks


def tags(tasks: Any) -> str:
    return "".join(sorted(one.tag for one in tasks))


@pytest.mark.parametrize(
    ("there", "reload", "runs", "loads"),
    [
        ("", "", "0123", ""), ("0123", "", "", ""), ("0123", "2", "23", "1"), ("012", "", "3", "2"),
        ("023", "", "", ""), ("03", "", "", ""), ("0", "", "123", "0"), ("13", "3", "23", "1"),
        ("123", "0", "0123", ""),
    ],
)  # fmt: skip
def test_a_chain_of_four(tmp_path: Path, there: str, reload: str, runs: str, loads: str) -> None:
    tasks = chain(4)
    store([one for one in tasks if one.tag in there], tmp_path)
    for one in tasks:
        one.set_reload(one.tag in reload)
    plan = plan_of(tasks, tmp_path)
    assert (tags(plan.run), tags(plan.load), tags(plan.there)) == (runs, loads, there)
    assert tags(plan_of(tasks, tmp_path, force=True).run) == "0123"


def test_an_empty_file_is_no_result(tmp_path: Path) -> None:
    tasks = chain(1)
    store(tasks, tmp_path)
    Path(tasks[0].output_filename()).write_bytes(b"")
    plan = plan_of(tasks, tmp_path)
    assert tags(plan.run) == "0"
    assert plan.path(tasks[0]) == tasks[0].output_filename()


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], set[int], set[int]]:
    """(parents of each task, whose result is there, what is to be reloaded)."""
    count = draw(st.integers(1, 7))
    parents = [sorted(draw(st.sets(st.integers(0, i - 1)))) if i else [] for i in range(count)]
    some = st.sets(st.integers(0, count - 1))
    return parents, draw(some), draw(some)


@settings(deadline=None)
@given(graphs())
def test_the_plan_is_what_the_rules_say(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[list[int]], set[int], set[int]]
) -> None:
    parents, there, reload = case
    place = tmp_path_factory.mktemp("data")
    tasks = [node(str(i)) for i in range(len(parents))]
    for one, ups in zip(tasks, parents, strict=True):
        one([tasks[up] for up in ups])
    store([tasks[i] for i in there], place)
    for i in reload:
        tasks[i].set_reload(True)
    plan = plan_of(tasks, place)
    again = {tasks.index(one) for one in reloaded(tasks, False)}
    inner = {up for ups in parents for up in ups}
    wanted = {i for i in range(len(tasks)) if i in again or (i not in inner and i not in there)}
    while True:
        more = {up for i in wanted for up in parents[i] if up not in there} - wanted
        if not more:
            break
        wanted |= more
    assert {tasks.index(one) for one in plan.run} == wanted
    assert {tasks.index(one) for one in plan.load} == {
        up for i in wanted for up in parents[i]
    } - wanted
    order = [tasks.index(one) for one in plan.run]
    for position, i in enumerate(order):
        assert all(up in order[:position] or up in there for up in parents[i])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_chain_of_100_000(tmp_path: Path) -> None:
    tasks = chain(100_000)
    assert list(plan_of(tasks, tmp_path).run) == tasks


def test_what_is_made_from_reloaded_is_reloaded() -> None:
    a, b, c, d = chain(4)
    b.set_reload(True)
    assert reloaded([a, b, c, d], False) == {b, c, d}
    assert reloaded([a, b, c, d], True) == {a, b, c, d}
    assert Pipeline("p", [a]).tasks == [a, b, c, d]
