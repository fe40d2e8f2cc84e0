"""Jobs are numbered so that upstreams come first, and what breaks that is refused."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin import Job, Pipeline
from pypelinin.errors import Cycle, DefinitionError
from pypelinin.graph import graph as module
from pypelinin.graph.graph import Graph, check_size, order

EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25)
ACYCLIC = EDGES.map(lambda edges: [(a, b) for a, b in edges if a < b])


def graph(*upstreams: list[int]) -> Graph:
    offsets, targets = array("I", [0]), array("I")
    for ups in upstreams:
        targets.extend(ups)
        offsets.append(len(targets))
    return Graph(offsets, targets)


def edges_of(nodes: list[int], made: Graph) -> list[tuple[int, int]]:
    return [(nodes[up], nodes[job]) for job in range(made.jobs) for up in made.upstreams_of(job)]


@given(ACYCLIC, st.permutations(range(12)))
def test_every_edge_comes_back_once_and_leads_upwards(
    edges: list[tuple[int, int]], nodes: list[int]
) -> None:
    sequence, made = order(nodes, edges)
    made.check()
    assert sorted(sequence) == sorted(nodes)
    assert sorted(edges_of(sequence, made)) == sorted(set(edges))


@given(EDGES)
def test_a_cycle_is_named_edge_by_edge(edges: list[tuple[int, int]]) -> None:
    try:
        _, made = order(range(12), edges)
    except Cycle as cycle:
        named = cycle.what.removeprefix("The jobs form a cycle: ").removesuffix(".")
        path = [int(name) for name in named.split(" -> ")]
        assert path[0] == path[-1]
        assert len(set(path)) == len(path) - 1 > 0
        assert set(pairwise(path)) <= set(edges)
    else:
        made.check()


def test_jobs_that_may_keep_their_order_keep_it() -> None:
    assert order("dbca", [])[0] == list("dbca")
    assert order("dbca", [("d", "b"), ("b", "c"), ("c", "a")])[0] == list("dbca")


def test_a_job_that_waits_for_itself_is_a_cycle() -> None:
    with pytest.raises(Cycle, match="a -> a"):
        order("ab", [("a", "a"), ("a", "b")])


def test_a_cycle_of_100_000_jobs_is_found() -> None:
    jobs = range(100_000)
    with pytest.raises(Cycle):
        order(jobs, [(i, (i + 1) % len(jobs)) for i in jobs])


def test_too_many_jobs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOBS_MAX", 3)
    check_size(3)
    with pytest.raises(DefinitionError, match="4 jobs are more than the 3"):
        check_size(4)
    with pytest.raises(DefinitionError, match="4 jobs are more than the 3"):
        Pipeline([Job(name) for name in "abcd"])


def test_upstreams_of_one_job() -> None:
    diamond = graph([], [0], [0], [1, 2])
    assert diamond.jobs == 4
    assert [list(diamond.upstreams_of(job)) for job in range(4)] == [[], [0], [0], [1, 2]]


def test_a_later_part_may_name_jobs_before_it() -> None:
    part = graph([5], [10, 3])
    part.check(first=10)
    with pytest.raises(DefinitionError, match="Job 0 waits"):
        part.check()
    with pytest.raises(DefinitionError, match="Job 10 waits"):
        part.check(first=9)


@pytest.mark.parametrize(
    ("offsets", "upstreams", "what"),
    [
        ([], [], "do not fit"),
        ([1, 1], [0], "do not fit"),
        ([0, 0, 2], [0], "do not fit"),
        ([0, 0, 0], [0], "do not fit"),
        ([0, 0, 2, 1], [0], "fall at job 2"),
        ([0, 1], [0], "Job 0 waits"),
        ([0, 0, 1], [1], "Job 1 waits"),
        ([0, 0, 1], [2**32 - 1], "Job 1 waits"),
        ([0, 0, 2], [0, 0], "Job 1 names an upstream twice"),
    ],
)
def test_arrays_that_are_no_graph_are_refused(
    offsets: list[int], upstreams: list[int], what: str
) -> None:
    with pytest.raises(DefinitionError, match=what):
        Graph(array("I", offsets), array("I", upstreams)).check()


@given(
    st.lists(st.integers(0, 9), max_size=8).map(lambda offsets: array("I", offsets)),
    st.lists(st.integers(0, 9), max_size=8).map(lambda targets: array("I", targets)),
)
def test_whatever_a_peer_sends_is_a_graph_or_refused(
    offsets: array[int], upstreams: array[int]
) -> None:
    made = Graph(offsets, upstreams)
    try:
        made.check()
    except DefinitionError:
        return
    named = [(up, job) for job in range(made.jobs) for up in made.upstreams_of(job)]
    assert len(named) == len(set(named)) == len(upstreams)
    assert all(up < job for up, job in named)
