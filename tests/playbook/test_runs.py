"""Runs: parts in any order, doubles and conflicts, bad definitions, cancelling, retention."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace

import pytest

from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.runs import PARTS_MAX, SURPLUS_MAX, Runs
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, Record, pack_record
from pypelinin.wire.definitions import Details, Failure, Header, Kind, Place, Refusal, Structure
from pypelinin.wire.messages import AddPipeline
from pypelinin.wire.rows import (
    CancelledRuns,
    FailedJob,
    FinishedRun,
    Forgotten,
    PartAdded,
    Submitted,
)
from tests.playbook.scene import chain, ints, run_id, submission, wide

KIND = Kind("A", {}, 0, 0)


@pytest.fixture
def runs() -> Runs:
    return Runs(Limits())


def header(jobs: int, run: str = run_id(1), digest: bytes = b"d", **more: object) -> Header:
    return replace(Header(run, digest, "me", jobs, (KIND,), b"m\xc0", {}), **more)


def structure(first: int, *upstreams: tuple[int, ...]) -> Structure:
    offsets, flat = [0], []
    for ups in upstreams:
        flat += ups
        offsets.append(len(flat))
    return Structure(first, ints(*offsets), ints(*flat))


def details(first: int, **more: object) -> Details:
    return replace(Details(first, ints(), ints(), b""), **more)


def free(first: int, jobs: int) -> tuple[Structure, Details]:
    """A part of *jobs* jobs that wait for nothing."""
    return structure(first, *[()] * jobs), details(first)


def add(
    runs: Runs,
    head: Header,
    index: int,
    total: int,
    part: tuple[Structure, Details],
    fits: Callable[[Kind], Refusal | None] | None = None,
) -> tuple[Refusal | None, list[Record]]:
    blobs = Blobs([pack_record(head), pack_record(part[0]), pack_record(part[1])])
    message = AddPipeline(1, False, False, (Place(index, total),), blobs)
    return take(runs, message, fits)


def take(
    runs: Runs, message: AddPipeline, fits: Callable[[Kind], Refusal | None] | None = None
) -> tuple[Refusal | None, list[Record]]:
    ((added, rows),) = runs.judge_parts(message, 5.0, fits)
    apply(runs, rows)
    return added.refusal, rows


def apply(runs: Runs, rows: list[Record]) -> None:
    for row in rows:
        runs.apply(row, 1)
    runs.check()


def code(answer: tuple[Refusal | None, list[Record]]) -> str:
    refusal, _ = answer
    return "" if refusal is None else refusal.code


def finish(runs: Runs, number: int, at: float) -> None:
    apply(runs, [FinishedRun(number, at)])


# --- parts -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_parts_come_in_any_order(runs: Runs, order: tuple[int, ...]) -> None:
    parts = [
        (structure(0, (), (0,)), details(0, ends=ints(1, 3), payloads=b"abb")),
        (structure(2, (1,)), details(2, ends=ints(3), payloads=b"ccc")),
        (structure(3, (0, 2), ()), details(3, ends=ints(0, 1), payloads=b"d")),
    ]
    for step, index in enumerate(order):
        run = runs.get(run_id(1))
        assert run is None or not run.open
        refusal, rows = add(runs, header(5), index, 3, parts[index])
        assert refusal is None
        kinds = [Submitted, PartAdded] if step == 0 else [PartAdded]
        assert [type(row) for row in rows] == kinds
    run = runs.get(run_id(1))
    assert run is not None
    assert run.open
    assert [run.payload(job) for job in range(5)] == [b"a", b"bb", b"ccc", b"", b"d"]
    assert (run.widest, run.counts[states.OPEN], runs.open_count) == (3, 5, 1)


def test_a_double_of_a_part_is_accepted_and_changes_nothing(runs: Runs) -> None:
    add(runs, header(2), 0, 2, free(0, 1))
    assert add(runs, header(2), 0, 2, free(0, 1)) == (None, [])
    add(runs, header(2), 1, 2, free(1, 1))
    assert add(runs, header(2), 1, 2, free(1, 1)) == (None, [])


def test_a_double_of_a_finished_run_is_accepted(runs: Runs) -> None:
    take(runs, submission(wide(1)))
    finish(runs, 1, 6.0)
    assert take(runs, submission(wide(1))) == (None, [])


def test_the_same_id_with_other_content_is_a_conflict(runs: Runs) -> None:
    add(runs, header(2), 0, 2, free(0, 1))
    assert code(add(runs, header(2, digest=b"other"), 1, 2, free(1, 1))) == "conflict"
    assert code(add(runs, header(2), 1, 3, free(1, 1))) == "conflict"
    assert code(add(runs, header(2), 1, 2, free(1, 1))) == ""


def test_each_part_of_a_message_gets_its_own_answer(runs: Runs) -> None:
    one, two = submission(wide(1), 1), submission(wide(2), 2)
    bad = (one.blobs[0], b"nonsense", one.blobs[2])
    message = AddPipeline(1, False, True, (Place(0, 1),) * 3, Blobs([*two.blobs, *bad, *one.blobs]))
    answers = []
    for added, rows in runs.judge_parts(message, 5.0, None):
        apply(runs, rows)
        answers.append((added.run, added.refusal and added.refusal.code))
    assert answers == [(run_id(2), None), ("", "malformed"), (run_id(1), None)]
    assert runs.open_count == 2


def test_a_message_without_three_frames_a_part_is_refused(runs: Runs) -> None:
    whole = submission(wide(1))
    message = replace(whole, blobs=Blobs(whole.blobs[:2]))
    assert code(take(runs, message)) == "malformed"


@pytest.mark.parametrize(
    "part",
    [
        free(0, 0),
        free(2, 1),
        free(0, 3),
        (structure(0, (), (1,)), details(0)),
        (structure(0, (), (0, 0)), details(0)),
        (Structure(0, ints(0, 1, 0), ints()), details(0)),
        (Structure(0, ints(), ints()), details(0)),
        (structure(0, (), ()), details(1)),
        (structure(0, (), ()), details(0, kind_of=ints(0))),
        (structure(0, (), ()), details(0, kind_of=ints(0, 1))),
        (structure(0, (), ()), details(0, ends=ints(1), payloads=b"x")),
        (structure(0, (), ()), details(0, ends=ints(1, 2), payloads=b"x")),
        (structure(0, (), ()), details(0, ends=ints(2, 1), payloads=b"x")),
        (structure(0, (), ()), details(0, payloads=b"x")),
    ],
)
def test_a_part_that_is_not_sound_is_malformed(runs: Runs, part: tuple[Structure, Details]) -> None:
    refusal, rows = add(runs, header(2), 0, 1, part)
    assert refusal is not None
    assert refusal.code == "malformed"
    assert rows == []
    assert runs.get(run_id(1)) is None


@pytest.mark.parametrize(
    ("head", "index", "total"),
    [
        (header(0), 0, 1),
        (header(1_000_001), 0, 1),
        (header(1, kinds=()), 0, 1),
        (header(1, run="short"), 0, 1),
        (header(1, run="x" * 65), 0, 1),
        (header(1), 1, 1),
        (header(1), -1, 1),
        (header(1), 0, PARTS_MAX + 1),
        (header(1, kinds=(KIND, KIND)), 0, 1),
    ],
)
def test_a_header_out_of_bounds_is_malformed(
    runs: Runs, head: Header, index: int, total: int
) -> None:
    assert code(add(runs, head, index, total, free(0, 1))) == "malformed"
    assert not runs.by_number


@pytest.mark.parametrize(
    "second",
    [
        free(0, 2),  # does not follow
        free(2, 1),  # one too few
        (structure(2, (), ()), details(2, ends=ints(1, 2), payloads=b"xy")),  # only this has some
    ],
)
def test_parts_that_are_no_run_together_are_refused_and_forgotten(
    runs: Runs, second: tuple[Structure, Details]
) -> None:
    add(runs, header(4), 0, 2, free(0, 2))
    refusal, rows = add(runs, header(4), 1, 2, second)
    assert refusal is not None
    assert refusal.code == "malformed"
    assert [type(row) for row in rows] == [Forgotten]
    assert not runs.by_number
    assert add(runs, header(4), 0, 1, free(0, 4))[0] is None  # it can be sent again


def test_too_many_bytes_of_incomplete_definitions_are_busy() -> None:
    size = sum(len(pack_record(record)) for record in free(0, 1))
    runs = Runs(Limits(partial_bytes_max=2 * size))
    assert code(add(runs, header(2), 0, 2, free(0, 1))) == ""
    assert code(add(runs, header(3, run_id(2)), 0, 3, free(0, 1))) == ""
    assert code(add(runs, header(3, run_id(2)), 1, 3, free(1, 1))) == "busy"
    apply(runs, [Forgotten(ints(1))])  # makes room
    assert code(add(runs, header(3, run_id(2)), 1, 3, free(1, 1))) == ""


def test_what_no_node_can_run_is_refused_unless_queued_anyway(runs: Runs) -> None:
    def fits(kind: Kind) -> Refusal:
        return refuse("unknown worker", kind.worker)

    whole = submission(wide(1), queue_anyway=False)
    assert code(take(runs, whole, fits)) == "unknown worker"
    assert not runs.by_number
    assert code(take(runs, replace(whole, queue_anyway=True), fits)) == ""


# --- states ----------------------------------------------------------------------------


def test_kinds_and_payloads_are_by_job(runs: Runs) -> None:
    take(runs, submission(chain("A", "B", "A2")))
    run = runs.by_number[1]
    assert [run.kind(job).worker for job in range(3)] == ["A", "B", "A2"]
    assert run.payload(1) == b"\xc0"


@pytest.mark.parametrize(
    ("cancelled", "job_states", "verdict", "rest"),
    [
        (False, (states.DONE, states.DONE), "done", "done"),
        (False, (states.FAILED, states.OPEN), "failed", "skipped"),
        (True, (states.DONE, states.OPEN), "cancelled", "cancelled"),
        (True, (states.FAILED, states.OPEN), "failed", "cancelled"),
        (True, (states.DONE, states.DONE), "done", "done"),
    ],
)
def test_the_verdict(
    runs: Runs, cancelled: bool, job_states: tuple[int, int], verdict: str, rest: str
) -> None:
    take(runs, submission(chain("A", "B")))
    run = runs.by_number[1]
    for job, state in enumerate(job_states):
        run.set_state(job, state)
    if cancelled:
        apply(runs, runs.judge_cancel([run]))
    finish(runs, 1, 9.0)
    assert run.state == verdict
    assert states.NAMES[run.states[1]] == rest
    assert (run.status().finished_at, runs.open_count) == (9.0, 0)


def test_only_what_runs_and_was_not_cancelled_is_cancelled(runs: Runs) -> None:
    for number in (1, 2, 3):
        take(runs, submission(wide(1), number))
    finish(runs, 1, 9.0)
    apply(runs, [CancelledRuns(ints(2))])
    assert runs.judge_cancel(runs.by_number.values()) == [CancelledRuns(ints(3))]
    assert runs.judge_cancel([runs.by_number[1]]) == []


def test_kept_failures_are_bounded_and_final_ones_go_before_others() -> None:
    runs = Runs(Limits(kept_failures_max=2))
    take(runs, submission(wide(4)))
    run = runs.by_number[1]
    for job, state in ((0, states.OPEN), (1, states.FAILED), (2, states.FAILED)):
        run.set_state(job, state)
        runs.keep_failure(FailedJob(1, job, Failure("exception", "E", str(job))))
    assert list(run.failures) == [1, 2]
    runs.keep_failure(FailedJob(1, 3, Failure("exception", "E", "3")))
    assert list(run.failures) == [1, 2]


# --- retention -------------------------------------------------------------------------


def forgotten(rows: list[Record]) -> list[int]:
    return [number for row in rows if isinstance(row, Forgotten) for number in row.runs]


def test_finished_runs_are_forgotten_by_age(runs: Runs) -> None:
    runs.limits = Limits(history_s=100.0)
    for number in (1, 2, 3):
        take(runs, submission(wide(1), number))
    finish(runs, 2, 10.0)
    finish(runs, 1, 60.0)
    assert forgotten(runs.judge_retention(110.0, 0.0)) == []
    assert forgotten(runs.judge_retention(111.0, 0.0)) == [2]
    assert forgotten(runs.judge_retention(1e9, 0.0)) == [2, 1]  # 3 still runs


def test_finished_runs_are_forgotten_by_number_the_oldest_first(runs: Runs) -> None:
    runs.limits = Limits(history_runs_max=1)
    for number in (1, 2, 3):
        take(runs, submission(wide(1), number))
    for number in (3, 1, 2):
        finish(runs, number, 10.0)
    rows = runs.judge_retention(11.0, 0.0)
    assert forgotten(rows) == [3, 1]
    apply(runs, rows)
    assert list(runs.by_number) == [2]
    assert runs.get(run_id(3)) is None
    assert runs.judge_retention(11.0, 0.0) == []


def test_far_too_many_finished_runs_are_not_kept_for_a_minute(runs: Runs) -> None:
    runs.limits = Limits(history_runs_max=1)
    for number in range(1, SURPLUS_MAX + 3):
        assert not runs.too_many
        take(runs, submission(wide(1), number))
        finish(runs, number, 10.0)
    assert runs.too_many
    apply(runs, runs.judge_retention(11.0, 0.0))
    assert list(runs.by_number) == [SURPLUS_MAX + 2]
    assert not runs.too_many


def test_a_definition_whose_parts_stop_coming_is_forgotten(runs: Runs) -> None:
    runs.limits = Limits(partial_s=100.0)
    add(runs, header(3), 0, 3, free(0, 1))
    assert forgotten(runs.judge_retention(0.0, 0.0)) == []
    add(runs, header(3), 1, 3, free(1, 1))
    assert forgotten(runs.judge_retention(0.0, 90.0)) == []  # a part came since
    assert forgotten(runs.judge_retention(0.0, 190.0)) == []
    rows = runs.judge_retention(0.0, 191.0)
    assert forgotten(rows) == [1]
    apply(runs, rows)
    assert not runs.by_number


def test_the_check_sees_counts_that_do_not_fit(runs: Runs) -> None:
    take(runs, submission(wide(2)))
    runs.by_number[1].states = bytearray(array("B", (states.DONE, 0)))
    with pytest.raises(AssertionError):
        runs.check()
