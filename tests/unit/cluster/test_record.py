"""A run's arrays."""

from __future__ import annotations

from array import array

from pypelinin.cluster.record import RunRecord, take_jobs
from pypelinin.graph import states
from pypelinin.wire.codec import pack_plain, unpack_record
from pypelinin.wire.definitions import GROWN, Details, Header, Kind, Structure

KINDS = (Kind("A", {}, 0, 0), Kind("B", {}, 2, 1))
HEADER = Header("r" * 32, b"d", "me", 3, KINDS, b"m\xc0", {})
OWN = [pack_plain(["one", None]), b"\xc0", pack_plain([None, b"m\x01"])]


def record() -> RunRecord:
    run = RunRecord(1, HEADER, b"", 0.0, [(b"", b"")], base_parts=1)
    ends = array("I", [len(b"".join(OWN[: i + 1])) for i in range(3)])
    structure = Structure(0, array("I", [0, 0, 1, 3]), array("I", [0, 0, 1]), b"\1\0\1")
    take_jobs(run, structure, Details(0, array("I", [0, 1, 0]), ends, b"".join(OWN)))
    run.states, run.counts[states.OPEN] = bytearray(3), 3
    return run


def test_what_is_known_of_each_job() -> None:
    run = record()
    assert [run.kind(job).worker for job in range(3)] == ["A", "B", "A"]
    assert [run.payload(job) for job in range(3)] == OWN
    assert {job: list(ups) for job, ups in run.reads.items()} == {1: [0], 2: [1]}
    assert run.widest == max(map(len, OWN))
    assert run.by_name() == {"one": 0, "B": 1, "A": 2}


def test_inputs_are_the_results_that_a_job_reads() -> None:
    run = record()
    run.keep_result(0, b"m\x05")
    assert run.inputs(1) == [b"m\x05"]
    assert run.inputs(2) == [b""]


def test_a_result_that_brings_jobs() -> None:
    run = record()
    run.keep_result(0, GROWN + pack_plain([b"m\x05", b"growth"]))
    assert run.results == {0: b"m\x05"}
    assert run.growing == {0: b"growth"}


def test_states_are_counted() -> None:
    run = record()
    run.set_state(1, states.DONE)
    assert run.counts[states.DONE] == 1
    assert run.counts[states.OPEN] == 2


def test_the_header_is_packed_when_it_is_needed() -> None:
    assert unpack_record(Header, record().packed_header()) == HEADER


def test_an_order_of_jobs_and_no_more_is_plain() -> None:
    run = record()
    assert not run.plain  # it reads results
    run.reads.clear()
    assert run.plain
    run.parts.append((b"", b""))
    assert not run.plain
