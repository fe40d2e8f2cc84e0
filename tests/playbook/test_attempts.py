"""Attempts: fences, outcomes in order, retries, what is void and what may be adopted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pypelinin.cluster.attempts import Attempts, OpenLot
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.ids import fence_epoch, make_fence
from pypelinin.wire.codec import Record
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import HeldLot, JobFailure, Progress
from pypelinin.wire.rows import (
    CancelledRuns,
    Ended,
    Epoch,
    FinishedRun,
    GivenUp,
    HandedOut,
    JobsEnded,
    LotClosed,
    LotRow,
    LotsClosed,
)
from tests.playbook.scene import WALL, chain, ints, state_with, wide

NODE = 1
ERROR = Failure("exception", "E", "text")


@pytest.fixture
def state() -> State:
    return state_with(wide(5))


def hand_out(state: State, *jobs: int, node: int = NODE) -> int:
    row = state.attempts.judge_hand_out(
        state.epoch, node, [(ints(*[1] * len(jobs)), ints(*jobs), b"")]
    )
    apply(state, row)
    return row.lots[0].fence


def apply(state: State, *rows: Record) -> None:
    for row in rows:
        state.apply(row)
        state.check()


def progress(state: State, *items: Progress, node: int = NODE) -> list[JobsEnded]:
    rows = state.attempts.judge_progress(node, items)
    apply(state, *rows)
    return rows


def names(state: State) -> list[str]:
    return [states.NAMES[each] for each in state.runs.by_number[1].states]


# --- fences ----------------------------------------------------------------------------


def test_fences_rise_by_the_jobs_of_a_lot(state: State) -> None:
    apply(state, Epoch(3, state.lsn, "c", 0.0))
    first, second = hand_out(state, 0, 1, 2), hand_out(state, 3)
    assert (fence_epoch(first), second - first) == (3, 3)


def test_fences_of_a_new_epoch_are_above_all_before(state: State) -> None:
    apply(state, Epoch(1, state.lsn, "c", 0.0))
    old = hand_out(state, 0, 1)
    apply(state, Epoch(2, state.lsn, "c", 0.0))
    assert hand_out(state, 2) > old + 1


def test_a_lot_that_was_adopted_does_not_lower_the_next_fence(state: State) -> None:
    apply(state, Epoch(1, state.lsn, "c", 0.0))
    next_attempt = state.attempts.next_attempt = 50
    apply(state, HandedOut(NODE, (LotRow(make_fence(1, 2), ints(1), ints(0)),)))
    assert state.attempts.next_attempt == next_attempt
    apply(state, HandedOut(NODE, (LotRow(make_fence(1, 60), ints(1, 1), ints(1, 2)),)))
    assert state.attempts.next_attempt == 62


# --- outcomes --------------------------------------------------------------------------


def test_jobs_of_a_lot_end_in_order_and_the_last_ends_it(state: State) -> None:
    fence = hand_out(state, 0, 1, 2)
    progress(state, Progress(fence, 0, b"\1"))
    assert names(state)[:3] == ["done", "running", "running"]
    progress(state, Progress(fence, 1, b"\1\2", (JobFailure(2, ERROR),)))
    assert names(state)[:3] == ["done", "done", "failed"]
    assert state.attempts.lots == {}
    assert state.runs.by_number[1].failures == {2: ERROR}


def test_only_what_is_new_of_an_outcome_counts(state: State) -> None:
    fence = hand_out(state, 0, 1, 2)
    progress(state, Progress(fence, 0, b"\1"))
    (row,) = progress(state, Progress(fence, 0, b"\2\1"))
    assert row.lots == (Ended(fence, 1, b"\1"),)
    assert progress(state, Progress(fence, 0, b"\1\1")) == []
    assert names(state)[:2] == ["done", "done"]


def test_several_pieces_of_one_lot_count_in_one_turn(state: State) -> None:
    fence = hand_out(state, 0, 1, 2)
    (row,) = progress(state, Progress(fence, 0, b"\1"), Progress(fence, 1, b"\1\1"))
    assert row.lots == (Ended(fence, 0, b"\1"), Ended(fence, 1, b"\1\1"))


@pytest.mark.parametrize(
    ("item", "node"),
    [
        (Progress(0, 0, b"\1"), 2),  # not that node's
        (Progress(99, 0, b"\1"), NODE),  # no such lot
        (Progress(0, 1, b"\1"), NODE),  # a gap
        (Progress(0, 0, b"\1\1\1"), NODE),  # more than it has
        (Progress(0, 0, b""), NODE),
        (Progress(0, 0, bytes((states.AGAIN,))), NODE),  # not for a Broker to say
        (Progress(0, 0, bytes((states.CANCELLED,))), NODE),
        (Progress(0, 0, b"\xff"), NODE),
    ],
)
def test_what_cannot_be_is_not_believed(state: State, item: Progress, node: int) -> None:
    fence = hand_out(state, 0, 1)
    assert progress(state, replace(item, fence=fence + item.fence), node=node) == []
    assert names(state)[:2] == ["running", "running"]


def test_a_failure_without_details_is_a_failure(state: State) -> None:
    fence = hand_out(state, 0)
    progress(state, Progress(fence, 0, b"\2"))
    assert state.runs.by_number[1].failures[0].text == "no details were given"


# --- retries ---------------------------------------------------------------------------


def test_a_failure_opens_the_job_again_while_retries_are_left() -> None:
    state = state_with(wide(1, retries=2))
    for times in (1, 2):
        progress(state, Progress(hand_out(state, 0), 0, b"\2"))
        assert names(state) == ["waiting"]
        assert state.runs.by_number[1].failed_again[0] == times
    progress(state, Progress(hand_out(state, 0), 0, b"\2"))
    assert names(state) == ["failed"]


def test_retries_are_of_the_job_not_of_the_run() -> None:
    state = state_with(wide(2, retries=1))
    progress(state, Progress(hand_out(state, 0), 0, b"\2"))
    progress(state, Progress(hand_out(state, 1), 0, b"\2"))
    assert names(state) == ["waiting", "waiting"]
    progress(state, Progress(hand_out(state, 0, 1), 0, b"\2\1"))
    assert names(state) == ["failed", "done"]


def failing(state: State, cause: str, node: str = "n") -> str:
    """One try of job 0 that ends so; returns its state."""
    failure = Failure(cause, "T", f"{cause} it was", "", node)
    progress(state, Progress(hand_out(state, 0), 0, b"\2", (JobFailure(0, failure),)))
    return names(state)[0]


def test_a_slot_that_dies_costs_no_retry_until_it_was_once_too_often() -> None:
    state = state_with(wide(1, retries=0))
    assert failing(state, "signal", "a") == "waiting"
    assert failing(state, "exit", "b") == "waiting"
    assert failing(state, "signal", "a") == "failed"
    run = state.runs.by_number[1]
    assert run.failures[0].text == (
        "signal it was; its slots died 3 times (2 x on a, 1 x on b): it is not tried again"
    )
    assert run.failed_again[0] == 0


def test_each_cause_has_a_counter_of_its_own() -> None:
    kinds = wide(1, retries=1, memory=["1GB", "2GB"])
    state = state_with(kinds)
    run = state.runs.by_number[1]
    assert failing(state, "signal") == "waiting"
    assert failing(state, "exception") == "waiting"
    assert failing(state, "memory") == "waiting"
    terms = run.terms(0)
    assert terms is not None
    assert terms.memory == 2_000_000_000
    assert (run.crashes[0], run.failed_again[0], run.memory_kills[0]) == (1, 1, 1)
    assert failing(state, "memory") == "failed"


def test_a_job_that_ran_out_of_time_is_tried_again_while_it_has_retries() -> None:
    state = state_with(wide(1, retries=1))
    assert failing(state, "timeout") == "waiting"
    assert failing(state, "timeout") == "failed"


def test_a_cancelled_run_has_no_retries() -> None:
    state = state_with(wide(1, retries=2))
    fence = hand_out(state, 0)
    apply(state, CancelledRuns(ints(1)))
    progress(state, Progress(fence, 0, b"\2"))
    assert names(state) == ["failed"]


# --- closing ---------------------------------------------------------------------------


def test_a_returned_tail_is_open_and_the_rest_goes_on(state: State) -> None:
    fence = hand_out(state, 0, 1, 2)
    apply(state, *state.attempts.judge_returned(NODE, fence, 1))
    assert names(state)[:3] == ["running", "waiting", "waiting"]
    progress(state, Progress(fence, 0, b"\1"))
    assert state.attempts.lots == {}
    assert not state.runs.by_number[1].lost


@pytest.mark.parametrize(("node", "start"), [(2, 1), (NODE, 0), (NODE, 3), (NODE, 9)])
def test_a_return_that_cannot_be_changes_nothing(state: State, node: int, start: int) -> None:
    fence = hand_out(state, 0, 1, 2)
    progress(state, Progress(fence, 0, b"\1"))
    assert state.attempts.judge_returned(node, fence, start) == []


def test_a_lost_lot_counts_against_the_job_that_ran(state: State) -> None:
    fence = hand_out(state, 0, 1, 2)
    progress(state, Progress(fence, 0, b"\1"))
    apply(state, *state.attempts.judge_close(state.attempts.of_node(NODE), lost=True))
    assert names(state)[:3] == ["done", "waiting", "waiting"]
    assert dict(state.runs.by_number[1].lost) == {1: 1}


def test_nothing_to_close_is_no_row(state: State) -> None:
    assert state.attempts.judge_close([], lost=True) == []


def test_a_job_lost_too_often_is_given_up(state: State) -> None:
    run = state.runs.by_number[1]
    run.lost[0] = state.attempts.limits.lost_max
    lot = OpenLot(7, NODE, ints(1, 1), ints(0, 1))
    assert state.attempts.judge_given_up(lot, 0, "n") == []
    run.lost[0] += 1
    (row,) = state.attempts.judge_given_up(lot, 0, "n")
    assert isinstance(row, GivenUp)
    assert (row.jobs, row.failure.cause) == (ints(0), "lost")
    apply(state, row)
    assert names(state)[0] == "failed"


def test_a_follower_that_was_not_begun_is_not_lost(state: State) -> None:
    """Its line broke before it, and then its node went away."""
    row = HandedOut(NODE, (LotRow(make_fence(1, 9), ints(1, 1), ints(0, 1), b"\0\1"),))
    apply(state, row)
    fence = row.lots[0].fence
    apply(state, JobsEnded((Ended(fence, 0, bytes((states.FAILED,))),), ()))
    lot = state.attempts.lots[fence]
    apply(state, LotsClosed((LotClosed(fence, 1, lost=True),)))
    assert state.runs.by_number[1].lost[1] == 0
    state.runs.by_number[1].lost[1] = 99
    assert state.attempts.judge_given_up(lot, 1, "n") == []


# --- adoption --------------------------------------------------------------------------


@pytest.fixture
def later(state: State) -> State:
    """Epoch 2; row 3 was the last one of epoch 1."""
    apply(state, Epoch(1, state.lsn, "c", 0.0))
    apply(state, Epoch(2, 3, "c", 0.0))
    return state


def held(fence: int, *jobs: int, epoch: int = 1, lsn: int = 3) -> HeldLot:
    return HeldLot(fence, epoch, lsn, ints(*[1] * len(jobs)), ints(*jobs), b"", ())


OLD = make_fence(1, 7)


def judge(state: State, lot: HeldLot, node: int = NODE) -> tuple[bool, list[Record]]:
    good, rows = state.attempts.judge_held(state.epoch, node, lot)
    apply(state, *rows)
    return good, rows


def test_an_old_lot_on_durable_rows_is_adopted(later: State) -> None:
    good, (row,) = judge(later, held(OLD, 0, 1))
    assert good
    assert row == HandedOut(NODE, (LotRow(OLD, ints(1, 1), ints(0, 1)),))
    progress(later, Progress(OLD, 0, b"\1\1"))
    assert names(later)[:2] == ["done", "done"]


@pytest.mark.parametrize(
    "lot",
    [
        held(OLD, 0, lsn=4),  # on a row that was lost
        held(OLD, 0, epoch=5),  # of an epoch nobody knows
        held(OLD, 0, epoch=2),  # of this one, and not in the table: over
        held(OLD),
        held(OLD, 5),  # no such job
        held(OLD, 0, 0),  # the same job twice
        replace(held(OLD, 0), runs=ints(9)),
        replace(held(OLD, 0), runs=ints(1, 1)),
    ],
)
def test_what_does_not_stand_is_void(later: State, lot: HeldLot) -> None:
    assert judge(later, lot) == (False, [])


def test_a_job_is_adopted_once(later: State) -> None:
    judge(later, held(OLD, 0))
    assert judge(later, held(OLD + 5, 0), node=2) == (False, [])


def test_an_ended_job_or_run_is_not_adopted(later: State) -> None:
    progress(later, Progress(hand_out(later, 0), 0, b"\1"))
    assert judge(later, held(OLD, 0))[0] is False
    apply(later, FinishedRun(1, WALL))
    assert judge(later, held(OLD, 1))[0] is False


def test_an_attempt_before_a_failed_one_is_not_adopted() -> None:
    state = state_with(wide(1, retries=5))
    apply(state, Epoch(1, state.lsn, "c", 0.0))
    older = make_fence(1, state.attempts.next_attempt)
    fence = hand_out(state, 0)
    progress(state, Progress(fence, 0, b"\2"))
    base = state.lsn
    apply(state, Epoch(2, base, "c", 0.0))
    assert judge(state, held(older, 0, lsn=1))[0] is False
    assert judge(state, held(fence + 1, 0, lsn=base))[0] is True


def test_a_lot_in_the_table_fits_if_it_is_the_same(later: State) -> None:
    fence = hand_out(later, 0, 1)
    assert judge(later, held(fence, 0, 1)) == (True, [])
    assert judge(later, held(fence, 0, 1), node=2) == (False, [])
    assert judge(later, held(fence, 0, 2)) == (False, [])
    assert judge(later, held(fence, 0, 1, 2)) == (False, [])


def test_a_lot_whose_tail_was_given_back_is_cut(later: State) -> None:
    fence = hand_out(later, 0, 1, 2)
    good, rows = judge(later, held(fence, 0))
    assert good
    assert rows == [LotsClosed((LotClosed(fence, 1, False),))]
    assert names(later)[:3] == ["running", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("epoch", "lsn", "stands"),
    [(2, 999, True), (1, 3, True), (1, 4, False), (0, 0, True), (0, 3, False), (7, 0, False)],
)
def test_a_basis_stands_up_to_the_base_of_the_next_epoch(
    later: State, epoch: int, lsn: int, stands: bool
) -> None:
    assert later.attempts.bases == {1: 2, 2: 3}
    assert later.attempts.valid(2, epoch, lsn) is stands


# --- the check -------------------------------------------------------------------------


def test_the_check_sees_a_job_in_two_lots(state: State) -> None:
    attempts: Attempts = state.attempts
    hand_out(state, 0)
    state.apply(HandedOut(2, (LotRow(500, ints(1), ints(0)),)))
    with pytest.raises(AssertionError, match="two attempts"):
        attempts.check()


def test_lots_are_found_by_their_node() -> None:
    state = state_with(chain("A", "B", "C"))
    one, two = hand_out(state, 0), hand_out(state, 1, node=2)
    fences = [[lot.fence for lot in state.attempts.of_node(node)] for node in (NODE, 2)]
    assert fences == [[one], [two]]
