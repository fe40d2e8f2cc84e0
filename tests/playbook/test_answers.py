"""Answers: what the Router says to those who only ask."""

from __future__ import annotations

import pytest

from pypelinin.cluster import answers
from pypelinin.cluster.coordinator import Coordinator, Node
from pypelinin.cluster.desk import Peer
from pypelinin.cluster.link import Link
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.wire.definitions import BATCH_ROWS_MAX, Capacity, Failure
from pypelinin.wire.messages import (
    Definition,
    GetDefinition,
    GetPipelines,
    GetStatus,
    NodeStatus,
    Refused,
    RunStatus,
    Status,
)
from pypelinin.wire.rows import (
    Ended,
    FailedJob,
    FinishedRun,
    GivenUp,
    HandedOut,
    JobsEnded,
    LotRow,
    Submitted,
)
from tests.playbook.scene import WALL, chain, ints, run_id, state_with, wide


def ended(state: State, run: int, statuses: bytes, *failures: Failure) -> None:
    """Jobs 0, 1, ... of *run* were handed out and ended so; the run is finished."""
    jobs = ints(*range(len(statuses)))
    state.apply(HandedOut(1, (LotRow(run << 8, ints(*[run] * len(jobs)), jobs),)))
    failed = (job for job, status in enumerate(statuses) if status == states.FAILED)
    why = tuple(FailedJob(run, j, f) for j, f in zip(failed, failures, strict=True))
    state.apply(JobsEnded((Ended(run << 8, 0, statuses),), why))
    state.apply(FinishedRun(run, WALL + run))
    state.check()


def runs(answer: object) -> list[str]:
    assert isinstance(answer, Status)
    return [row.run for row in answer.runs]


def test_status_answers_each_in_the_order_asked_unknown_ones_too() -> None:
    answer = answers.status(
        state_with(wide(1), wide(2)), GetStatus(5, (run_id(2), "nobody", run_id(1)), False)
    )
    assert isinstance(answer, Status)
    assert answer.request == 5
    assert [(row.run, row.state, row.jobs) for row in answer.runs] == [
        (run_id(2), "running", 2),
        ("nobody", "unknown", 0),
        (run_id(1), "running", 1),
    ]


def test_status_counts_jobs_and_shows_the_first_error() -> None:
    state = state_with(wide(3))
    ended(state, 1, bytes((1, 2, 2)), Failure("exception", "E", "one"), Failure("signal", "", "2"))
    answer = answers.status(state, GetStatus(1, (run_id(1),), False))
    assert isinstance(answer, Status)
    row = answer.runs[0]
    assert (row.state, row.done, row.failed, row.finished_at) == ("failed", 1, 2, WALL + 1)
    assert (row.error, row.error_job) == (Failure("exception", "E", "one"), "1")


@pytest.mark.parametrize(
    ("count", "kind"), [(BATCH_ROWS_MAX, Status), (BATCH_ROWS_MAX + 1, Refused)]
)
def test_status_has_a_bound(count: int, kind: type) -> None:
    question = GetStatus(1, ("x",) * count, False)
    assert isinstance(answers.status(state_with(), question), kind)


def test_long_errors_are_cut_when_there_is_no_more_room() -> None:
    state = state_with(*(wide(1, labels={"n": str(n)}) for n in range(30)))
    for number in range(1, 31):
        ended(state, number, b"\2", Failure("exception", "E", "x" * 5000, "trace"))
    rows = answers.statuses(state.runs.by_number.values())
    whole = [row for row in rows if row.error is not None and row.error.traceback]
    short = rows[len(whole) :]
    assert 0 < len(whole) < 30
    assert all(row.labels for row in whole)
    assert {len(row.error.text) for row in short if row.error is not None} == {100}
    assert not any(row.labels for row in short)


def test_pipelines_are_listed_newest_first_in_pages() -> None:
    state = state_with(*(wide(1) for _ in range(5)))
    assert runs(answers.pipelines(state, GetPipelines(1, "", 0, 2))) == [run_id(5), run_id(4)]
    assert runs(answers.pipelines(state, GetPipelines(1, "", 3, 9))) == [run_id(2), run_id(1)]
    assert runs(answers.pipelines(state, GetPipelines(1, "", -3, -1))) == []


def test_pipelines_are_chosen_by_state_before_pages_are_counted() -> None:
    state = state_with(*(wide(1) for _ in range(4)))
    for number in (1, 2, 4):
        ended(state, number, b"\1")
    assert runs(answers.pipelines(state, GetPipelines(1, "done", 1, 5))) == [run_id(2), run_id(1)]
    assert runs(answers.pipelines(state, GetPipelines(1, "running", 0, 5))) == [run_id(3)]


def test_a_run_whose_parts_are_missing_is_not_listed_and_has_no_definition() -> None:
    state = state_with(wide(1))
    header = state.runs.by_number[1].header_bytes.replace(run_id(1).encode(), run_id(2).encode())
    state.apply(Submitted(2, 1, header, WALL))
    assert runs(answers.pipelines(state, GetPipelines(1, "", 0, 9))) == [run_id(1)]
    answer = answers.definition(state, Coordinator(), GetDefinition(1, run_id(2)))
    assert isinstance(answer, Refused)


def test_an_unknown_run_has_no_definition() -> None:
    answer = answers.definition(state_with(), Coordinator(), GetDefinition(4, "nobody"))
    assert isinstance(answer, Refused)
    assert (answer.request, answer.refusal.code) == (4, "not found")


def test_a_definition_is_the_run_whole() -> None:
    state = state_with(wide(3))
    run = state.runs.by_number[1]
    state.apply(HandedOut(1, (LotRow(9, ints(1, 1), ints(0, 2)),)))
    state.apply(GivenUp(1, ints(1), Failure("lost", "Lost", "gone")))
    answer = answers.definition(state, Coordinator(), GetDefinition(4, run_id(1)))
    assert isinstance(answer, Definition)
    assert answer.running.tolist() == [0, 2]
    assert [(f.job, f.failure.cause) for f in answer.failures] == [(1, "lost")]
    (part,) = run.parts
    assert part is not None
    assert list(answer.blobs) == [run.header_bytes, bytes(run.states), *part]


def test_a_run_that_only_waits_says_why() -> None:
    state = state_with(chain("A", "B"))
    run = state.runs.by_number[1]
    assert answers.with_reason(run, Coordinator()).reason == ""
    run.set_state(0, states.QUEUED)
    assert answers.with_reason(run, Coordinator()).reason == "no broker connected"
    run.set_state(1, states.OUT)  # something of it runs
    assert answers.with_reason(run, Coordinator()).reason == ""


def test_the_reason_changes_nothing_else() -> None:
    run = state_with(chain("A", "B")).runs.by_number[1]
    run.set_state(0, states.QUEUED)
    told = answers.with_reason(run, Coordinator())
    assert told == RunStatus(run_id(1), "running", 2, submitted_at=WALL, reason=told.reason)


@pytest.mark.parametrize(("slots", "shown"), [(2, "up"), (0, "draining")])
def test_a_broker_is_shown_with_what_runs_there(slots: int, shown: str) -> None:
    state = state_with(wide(3))
    state.apply(HandedOut(1, (LotRow(9, ints(1, 1, 1), ints(0, 1, 2)),)))
    state.apply(JobsEnded((Ended(9, 0, b"\1"),), ()))
    node = Node(1, "n", "i", frozenset(("B", "A")), {"gpu": "yes"}, Capacity(2))
    node.offer(Capacity(slots), 0, {}, 1)
    node.draining = "" if slots else "it ends"
    peer = Peer(b"n", "broker", "n", "i", 1, Link(5, 0.2), heard_at=3.0, node=1)
    told = answers.member(state, peer, Coordinator({1: node}), {}, 4.5)
    assert told == NodeStatus(
        "n", "broker", shown, slots, 2, ("A", "B"), {"gpu": "yes"}, 1.5, 0, Capacity(2),
        Capacity(slots), why=node.draining,
    )  # fmt: skip


def test_a_pipeliner_is_shown_with_what_it_plans() -> None:
    peer = Peer(b"p", "pipeliner", "p", "i", 1, Link(5, 0.2), heard_at=3.0, version="1.2")
    told = answers.member(state_with(), peer, Coordinator(), {1: 5, 2: 0, 3: 5}, 4.0)
    assert (told.role, told.state, told.runs, told.heard_s) == ("pipeliner", "up", 2, 1.0)
    assert told.version == "1.2"
