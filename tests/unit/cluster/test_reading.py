"""A run whose jobs read results: what is ready, and whose results nobody reads any more."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.cluster.reading import ReadingRun
from pypelinin.engine.plain import PlainRun
from pypelinin.errors import BadMessage
from pypelinin.graph import states
from pypelinin.graph.graph import Graph
from pypelinin.wire.codec import pack_record
from pypelinin.wire.definitions import Structure

DONE, FAILED, CANCELLED = states.DONE, states.FAILED, states.CANCELLED


def part(upstreams: list[list[int]], temporary: Iterable[int] = (), first: int = 0) -> bytes:
    """Jobs that read all they wait for; the results of those in *temporary* may go."""
    offsets, targets = array("I", [0]), array("I")
    for ups in upstreams:
        targets.extend(ups)
        offsets.append(len(targets))
    goes = set(temporary)
    marks = bytes(first + job in goes for job in range(len(upstreams)))
    return pack_record(Structure(first, offsets, targets, b"\1" * len(targets), marks))


def reading(upstreams: list[list[int]], temporary: Iterable[int] = ()) -> ReadingRun:
    return ReadingRun([part(upstreams, temporary)])


def settle(run: ReadingRun, job: int, status: int = DONE) -> list[int]:
    ready = run.settle([job], bytes([status]))
    run.check()
    return ready


DIAMOND: list[list[int]] = [[], [0], [0], [1, 2]]


def test_a_job_is_ready_when_all_that_it_reads_is_there() -> None:
    run = reading(DIAMOND)
    assert run.start() == [0]
    assert settle(run, 0) == [1, 2]
    assert settle(run, 2) == []
    assert settle(run, 1) == [3]
    assert not run.over
    assert settle(run, 3) == []
    assert run.over


def test_a_result_is_released_when_its_last_reader_has_ended() -> None:
    run = reading(DIAMOND, temporary=[0, 1])
    run.start()
    settle(run, 0)
    settle(run, 1)
    assert run.released == []
    settle(run, 2)
    assert run.released == [0]
    settle(run, 3)
    assert sorted(run.released) == [0, 1], "2 and 3 are wanted by somebody else"


def test_a_failure_skips_who_reads_it_and_no_other() -> None:
    run = reading([[], [], [0], [2], [1]], temporary=[0, 1])
    assert sorted(run.start()) == [0, 1]
    assert settle(run, 0, FAILED) == []
    assert settle(run, 1) == [4]
    assert not run.over
    settle(run, 4, FAILED)
    assert run.over


def test_a_cancelled_job_that_was_out_skips_who_reads_it() -> None:
    run = reading([[], [0], []])
    run.start()
    assert settle(run, 0, CANCELLED) == []
    assert settle(run, 2) == []
    assert run.over


def test_cancel_lets_end_what_is_out_and_begins_nothing() -> None:
    run = reading([[], [], [0]])
    run.start()
    run.cancel()
    run.check()
    assert not run.over
    assert settle(run, 0) == []
    assert settle(run, 1, FAILED) == []
    assert run.over


def test_a_run_that_goes_on_hands_out_only_what_is_open() -> None:
    run = reading(DIAMOND, temporary=[0])
    assert run.start(bytes([DONE, DONE, states.OPEN, states.OPEN])) == [2]
    assert settle(run, 2) == [3]
    assert run.released == [0]


def test_what_was_out_when_the_router_died_is_handed_out_again() -> None:
    assert reading(DIAMOND).start(bytes(4)) == [0]


@pytest.mark.parametrize(
    "known", [[DONE] * 4, [FAILED] + [states.SKIPPED] * 3, [CANCELLED] + [states.SKIPPED] * 3]
)
def test_a_finished_run_that_goes_on_is_over_at_once(known: list[int]) -> None:
    run = reading(DIAMOND)
    assert run.start(bytes(known)) == []
    run.check()
    assert run.over


def test_an_outcome_that_comes_twice_changes_nothing() -> None:
    run = reading(DIAMOND, temporary=[0])
    run.start()
    settle(run, 0)
    assert settle(run, 0) == []
    assert settle(run, 0, FAILED) == []
    assert run.settle([1, 2], bytes([DONE, DONE])) == [3]


def test_parts_are_one_graph() -> None:
    run = ReadingRun([part([[], [0]]), part([[1], [0, 2]], first=2)])
    assert run.start() == [0]
    assert [settle(run, job) for job in range(4)] == [[1], [2], [3], []]
    assert run.over


def test_jobs_go_one_by_one() -> None:
    run = reading([[], [0], [1]])
    run.start()
    assert run.line(0, 100) == []


def test_jobs_and_statuses_of_different_length_are_a_mistake() -> None:
    run = reading(DIAMOND)
    run.start()
    with pytest.raises(ValueError, match="zip"):
        run.settle([0], b"")


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"junk", part(DIAMOND)[:-1], b"\x90", b"\xc0"])
def test_bytes_that_are_no_structure_are_said(packed: bytes) -> None:
    with pytest.raises(BadMessage):
        ReadingRun([packed])


def test_the_repr_tells_the_states() -> None:
    run = reading([[], [0]])
    run.start()
    assert repr(run) == "<ReadingRun {0: 'READY', 1: 'WAITING'}>"


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(1, 8))
    return [
        sorted(draw(st.sets(st.integers(0, job - 1), max_size=3))) if job else []
        for job in range(count)
    ]


def plain(upstreams: list[list[int]]) -> PlainRun:
    offsets = array("I", [0])
    for ups in upstreams:
        offsets.append(offsets[-1] + len(ups))
    return PlainRun(Graph(offsets, array("I", (up for ups in upstreams for up in ups))))


@given(graphs(), st.data())
def test_it_decides_as_a_run_does_whose_jobs_read_nothing(
    upstreams: list[list[int]], data: st.DataObject
) -> None:
    """And each result that may go goes once, and never before its readers have ended."""
    jobs = range(len(upstreams))
    temporary = data.draw(st.sets(st.sampled_from(jobs)))
    run, model = reading(upstreams, temporary), plain(upstreams)
    out = run.start()
    assert sorted(out) == sorted(model.start())
    while out:
        job = out.pop(data.draw(st.integers(0, len(out) - 1)))
        status = data.draw(st.sampled_from((DONE, DONE, DONE, FAILED, CANCELLED)))
        ready = settle(run, job, status)
        assert sorted(ready) == sorted(model.settle([job], bytes([status])))
        out += ready
        read = {up for other in out for up in upstreams[other]}
        assert not read & set(run.released)
    assert run.over
    assert model.over
    assert len(set(run.released)) == len(run.released)
    assert set(run.released) <= temporary


def test_a_waiting_job_that_is_cancelled_ends_with_what_reads_it() -> None:
    run = reading([[], [0], [1]])
    run.start()
    run.settle([1], bytes([states.CANCELLED]))
    assert run.settle([0], bytes([states.DONE])) == []
    assert run.over
