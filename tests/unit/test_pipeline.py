"""What a user writes becomes the graph that was meant, or an error that says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import Cycle, DefinitionError
from pypelinin.graph.graph import Graph
from pypelinin.graph.job import Job
from pypelinin.pipeline import NIL, Pipeline
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.wire.codec import unpack_plain, unpack_record
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    PART_BYTES_MAX,
    PART_JOBS_MAX,
    Details,
    Header,
    Kind,
    Structure,
)

RUN = "r" * 32
A, B, C, D = (Job(name) for name in "ABCD")


def names(pipeline: Pipeline) -> set[tuple[str, str]]:
    return {(up.name, down.name) for up, down in pipeline.edges}


def compiled(pipeline: Pipeline) -> tuple[Header, list[tuple[Structure, Details]]]:
    header, parts = pipeline.compile(RUN, "me", pack_value)
    return unpack_record(Header, header, FRAME_BYTES_MAX), [
        (
            unpack_record(Structure, structure, FRAME_BYTES_MAX),
            unpack_record(Details, details, FRAME_BYTES_MAX),
        )
        for structure, details in parts
    ]


def digest(pipeline: Pipeline) -> bytes:
    return compiled(pipeline)[0].digest


# --- what may be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "edges"),
    [
        ({A: B}, {"AB"}),
        ({A: (B, C)}, {"AB", "AC"}),
        ({A: [B, C], B: D, C: D}, {"AB", "AC", "BD", "CD"}),
        ({(A, B): C}, {"AC", "BC"}),
        ({(A, B): (C, D)}, {"AC", "AD", "BC", "BD"}),
        ([(A, B), (B, C)], {"AB", "BC"}),
        ([([A, B], [C]), (A, D)], {"AC", "BC", "AD"}),
        (((A, B), (A, B)), {"AB"}),
        (((up, B) for up in (A, C)), {"AB", "CB"}),
        ({A: None}, set()),
        ({A: ()}, set()),
        ({(A, B): None, C: []}, set()),
    ],
)
def test_a_dict_or_pairs_of_jobs_and_tuples(graph: Any, edges: set[str]) -> None:
    pipeline = Pipeline(graph)
    assert names(pipeline) == {tuple(edge) for edge in edges}
    downs = {edge[1] for edge in edges}
    assert {job.name for job in pipeline.starters} == {j.name for j in pipeline.jobs} - downs


def test_jobs_stand_in_the_order_they_were_named() -> None:
    assert Pipeline({D: None, (C, A): B}).jobs == [D, C, A, B]


@pytest.mark.parametrize("graph", [5, None, [5], [(A, B, C)], A])
def test_what_is_no_graph_is_refused(graph: Any) -> None:
    with pytest.raises(DefinitionError, match="a dict or a list of pairs, not"):
        Pipeline(graph)


@pytest.mark.parametrize("graph", [{"A": B}, {A: "B"}, {A: {B}}, {A: (B, 5)}, [(A, 0)]])
def test_what_is_no_job_is_refused(graph: Any) -> None:
    with pytest.raises(DefinitionError, match="consists of Jobs"):
        Pipeline(graph)


@pytest.mark.parametrize("graph", [{}, [], {(): None}, [((), ())]])
def test_a_pipeline_without_jobs_is_refused(graph: Any) -> None:
    with pytest.raises(DefinitionError, match="at least one job"):
        Pipeline(graph)


def test_a_cycle_is_a_value_error_that_names_its_jobs() -> None:
    with pytest.raises(ValueError, match="cycle") as caught:
        Pipeline({A: B, B: C, C: (B, D)})
    assert type(caught.value) is Cycle
    assert any(path in str(caught.value) for path in ("B -> C -> B", "C -> B -> C"))
    with pytest.raises(ValueError, match="A -> A"):
        Pipeline({A: A})


def test_the_same_worker_twice_is_one_job_unless_it_has_a_name() -> None:
    assert len(Pipeline([(Job("W"), None), (Job("W"), None)]).jobs) == 1
    assert len(Pipeline([(Job("W"), None), (Job("W", name="again"), None)]).jobs) == 2
    assert Pipeline({Job("W"): Job("W", name="again")}).starters == (Job("W"),)


@pytest.mark.parametrize("options", [{"data": 1}, {"retries": 1}, {"priority": 1}, {"labels": {}}])
def test_one_job_with_two_options_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"Job\('W'\) is named twice"):
        Pipeline([(Job("W"), None), (Job("W", **options), None)])
    Pipeline([(Job("W", **options), None), (Job("W", **options), None)])


def test_two_workers_under_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="Two jobs have the name 'V'"):
        Pipeline({Job("W", name="V"): Job("V")})


@pytest.mark.parametrize(
    "options",
    [{"retries": -1}, {"retries": 1.5}, {"priority": True}, {"labels": {"a": 1}}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        Pipeline({A: B}, **options)


# --- equality, hash and texts -----------------------------------------------------------------


def test_pipelines_are_equal_if_graph_and_data_are() -> None:
    one = Pipeline({A: (B, C)}, data=[1])
    assert one == Pipeline([(A, C), (A, B)], data=[1], labels={"a": "b"})
    assert one != Pipeline({A: (B, C)}, data=[2])
    assert one != Pipeline({A: B, B: C}, data=[1])
    assert one != Pipeline({A: (B, C), D: None}, data=[1])
    assert one != {A: (B, C)}


def test_equal_pipelines_have_one_hash_even_if_their_data_has_none() -> None:
    assert hash(Pipeline({A: (B, C)}, data=[1])) == hash(Pipeline([(A, C), (A, B)], data=[1]))
    assert len({Pipeline({A: B}), Pipeline([(A, B)]), Pipeline({B: A})}) == 2


def test_the_repr_tells_jobs_and_what_the_cluster_said() -> None:
    pipeline = Pipeline({A: B})
    assert repr(pipeline) == "<Pipeline jobs=[A, B]>"
    pipeline.id, pipeline.state = "r1", "running"
    assert repr(pipeline) == "<Pipeline jobs=[A, B], id='r1', state='running'>"
    many = Pipeline({Job(f"W{i}"): None for i in range(8)})
    assert repr(many) == "<Pipeline jobs=[W0, W1, W2, W3, W4, ... 3 more]>"


def test_the_text_is_the_graph_in_dot() -> None:
    quoted = Job("W", name='a "b" \\')
    assert str(Pipeline([((A, B), C), (quoted, None)])).splitlines() == [
        "digraph pipeline {",
        '    "A" -> "C";',
        '    "B" -> "C";',
        '    "a \\"b\\" \\\\";',
        "}",
    ]


def test_save_dot_writes_the_text(tmp_path: Path) -> None:
    pipeline = Pipeline({Job("W", name="ü"): B})
    pipeline.save_dot(str(tmp_path / "graph.dot"))
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == f"{pipeline}\n"


def test_the_duration_is_known_at_the_end() -> None:
    pipeline = Pipeline({A: B})
    assert (pipeline.id, pipeline.state, pipeline.duration) == (None, "new", None)
    pipeline.started_at = 10.0
    assert pipeline.duration is None
    pipeline.finished_at = 12.5
    assert pipeline.duration == 2.5


# --- compiled ---------------------------------------------------------------------------------


def test_the_header_says_what_was_declared() -> None:
    fast = Job("B", priority=9, retries=0, labels={"z": "1", "a": "2"})
    pipeline = Pipeline({A: fast}, data={"u": 1}, labels={"of": "me"}, retries=2, priority=1)
    header, ((structure, details),) = compiled(pipeline)
    assert (header.run, header.submitter, header.jobs) == (RUN, "me", 2)
    assert header.kinds == (Kind("A", {}, 2, 1), Kind("B", {"a": "2", "z": "1"}, 0, 9))
    assert header.labels == {"of": "me"}
    assert unpack_value(header.payload) == {"u": 1}
    assert (structure.first, list(structure.offsets), list(structure.upstreams)) == (
        0,
        [0, 0, 1],
        [0],
    )
    assert (list(details.kind_of), list(details.ends), details.payloads) == ([0, 1], [], b"")


def test_jobs_of_one_kind_take_no_room() -> None:
    header, ((_, details),) = compiled(Pipeline({Job("W"): None}))
    assert len(header.kinds) == 1
    assert not details.kind_of
    assert not details.ends


def test_names_and_data_of_jobs_are_their_payloads() -> None:
    own = [Job("W"), Job("W", name="x"), Job("V", data=[1]), Job("V", name="y", data={1})]
    _, ((_, details),) = compiled(Pipeline(dict.fromkeys(own)))
    starts = [0, *details.ends]
    values = [
        unpack_plain(details.payloads[low:high])
        for low, high in zip(starts, details.ends, strict=False)
    ]
    assert details.payloads.startswith(NIL)
    assert values[:2] == [None, ("x", None)]
    assert values[2][0] is None
    assert unpack_value(values[2][1]) == [1]
    assert values[3][0] == "y"
    assert unpack_value(values[3][1]) == {1}


def test_120_000_jobs_make_three_parts_that_follow_each_other() -> None:
    jobs = [Job("W", name=str(i)) for i in range(120_000)]
    pipeline = Pipeline([(jobs[0], jobs[1:])])
    header, parts = compiled(pipeline)
    assert header.jobs == len(jobs)
    expected = 0
    for structure, details in parts:
        count = len(structure.offsets) - 1
        assert structure.first == details.first == expected
        assert 1 <= count <= PART_JOBS_MAX
        assert len(details.ends) == count
        assert details.ends[-1] == len(details.payloads)
        Graph(structure.offsets, structure.upstreams).check(structure.first)
        assert len(structure.upstreams) == count - (expected == 0)
        expected += count
    assert expected == len(jobs)
    assert len(parts) >= 3
    assert all(len(blob) < 2 * PART_BYTES_MAX for part in pipeline_parts(pipeline) for blob in part)


def pipeline_parts(pipeline: Pipeline) -> list[tuple[bytes, bytes]]:
    return pipeline.compile(RUN, "me", pack_value)[1]


def test_parts_are_cut_at_exactly_their_limit_of_jobs() -> None:
    jobs = [Job(f"{i}") for i in range(PART_JOBS_MAX + 1)]

    def pack_nothing(what: str, value: object) -> bytes:
        return b"m" + NIL

    for count, parts in ((PART_JOBS_MAX, 1), (PART_JOBS_MAX + 1, 2)):
        made = Pipeline(dict.fromkeys(jobs[:count])).compile(RUN, "me", pack_nothing)
        assert len(made[1]) == parts


def test_large_data_of_jobs_is_spread_over_parts() -> None:
    jobs = [Job("W", name=str(i), data=b"x" * (PART_BYTES_MAX // 3)) for i in range(7)]
    parts = pipeline_parts(Pipeline(dict.fromkeys(jobs)))
    assert len(parts) == 4
    assert all(len(details) <= PART_BYTES_MAX for _, details in parts)


def test_data_of_a_job_at_its_limit_is_taken_and_above_it_refused() -> None:
    def with_data(size: int) -> Pipeline:
        return Pipeline({Job("W", data=b"x" * size): None})

    with_data(PART_BYTES_MAX - 100).compile(RUN, "me", pack_value)
    with pytest.raises(DefinitionError, match="Keep it in the store"):
        with_data(PART_BYTES_MAX + 1).compile(RUN, "me", pack_value)


def test_data_of_the_pipeline_at_its_limit_is_taken_and_above_it_refused() -> None:
    def with_data(size: int) -> Pipeline:
        return Pipeline({A: None}, data=b"x" * size)

    limit = FRAME_BYTES_MAX // 2
    header, _ = with_data(limit - 100).compile(RUN, "me", pack_value)
    assert len(header) < FRAME_BYTES_MAX
    with pytest.raises(DefinitionError, match="Keep it in the store"):
        with_data(limit).compile(RUN, "me", pack_value)


# --- the digest -------------------------------------------------------------------------------


def test_the_digest_tells_definitions_apart() -> None:
    different = [
        Pipeline({A: B}),
        Pipeline({A: None, B: None}),
        Pipeline({B: A}),
        Pipeline({A: B}, data=1),
        Pipeline({A: B}, data="1"),
        Pipeline({A: B}, retries=1),
        Pipeline({A: B}, priority=1),
        Pipeline({A: B}, labels={"a": "b"}),
        Pipeline({A: Job("B", labels={"a": "b"})}),
        Pipeline({A: Job("B", retries=3)}),
        Pipeline({A: Job("W", name="B")}),
        Pipeline({A: Job("B", data=1)}),
        Pipeline({A: Job("B", data=2)}),
    ]
    assert len({digest(pipeline) for pipeline in different}) == len(different)


def test_the_digest_is_that_of_the_definition_not_of_its_run() -> None:
    labels = {"x": "1", "y": "2"}
    turned = dict(reversed(labels.items()))
    one, other = Pipeline({A: B}, labels=labels), Pipeline({A: B}, labels=turned)
    header, _ = other.compile("s" * 32, "you", pack_value)
    assert digest(one) == unpack_record(Header, header).digest


def test_a_pickle_does_not_count_as_its_bytes_are_no_fact() -> None:
    one, other = Pipeline({A: B}, data={"a", "b"}), Pipeline({A: B}, data={"b", "c"})
    assert digest(one) == digest(other) != digest(Pipeline({A: B}))
    jobs = [Pipeline({Job("A", data=data): B}) for data in ({"a", "b"}, {"b", "c"})]
    assert digest(jobs[0]) == digest(jobs[1]) != digest(Pipeline({A: B}))


SCRIPT = """
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.values import pack_value

names = {f"job {i}" for i in range(20)}
print(list(names)[:3])
jobs = [Job("W", name=n, labels={k: "1" for k in {"a", "b", "c"}}) for n in sorted(names)]
pipeline = Pipeline({(*jobs[:9],): (*jobs[9:],)}, data={"some": names}, labels={"x": "1", "y": "2"})
header, parts = pipeline.compile("r" * 32, "me", pack_value)
from pypelinin.wire.codec import unpack_record
from pypelinin.wire.definitions import Header
print(unpack_record(Header, header).digest.hex())
"""


def test_two_processes_agree_on_the_digest_whatever_their_hash_seed() -> None:
    lines = []
    for seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        lines.append(process.stdout.splitlines())
    (one_order, one), (other_order, other) = lines
    assert one_order != other_order, "the seeds made no difference: the test proves nothing"
    assert one == other
