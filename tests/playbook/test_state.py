"""The state: rows alone make it, and a replay of them is the life that wrote them."""

from __future__ import annotations

import pytest

from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import Cancel, JobFailure
from pypelinin.wire.rows import (
    Assigned,
    CancelledRuns,
    Epoch,
    FinishedRun,
    Forgotten,
    HandedOut,
    JobsEnded,
    Joined,
    Left,
    LotsClosed,
    PartAdded,
    Submitted,
    pack_row,
    unpack_row,
)
from tests.playbook.scene import Node, Planner, Scene, chain, ints, run_id, state_with, wide


def replayed(scene: Scene) -> State:
    state = State(scene.limits)
    for row in scene.rows:
        state.apply(unpack_row(pack_row(row)))
    state.check()
    return state


def lived() -> Scene:
    """A life with every kind of row but GivenUp."""
    scene = Scene(Limits(history_runs_max=1, resident_jobs_max=3))
    node = Node(scene, slots=3)
    node.join()
    scene.submit(chain("A", "B", "C", retries=1), 1)
    scene.submit(wide(3, retries=1), 2)
    failed = JobFailure(0, Failure("exception", "E", "text"))
    node.end(node.next_lot(), b"\1")
    node.end(node.next_lot(), b"\2", failed)
    scene.ask(Cancel(7, (run_id(2),)))
    node.end(node.next_lot(), b"\1")
    while True:
        node.read()
        if not node.lots:
            break
        node.end(node.next_lot(), b"\1")
    scene.wait(61.0)  # retention: one of two is kept; the node is silent too
    node = Node(scene, "other", slots=1)
    node.join()
    scene.submit(wide(2, "B"), 3)
    scene.wait(11.0)
    Planner(scene, "p").join()
    scene.submit(wide(4, "B"), 4)
    return scene


def test_the_replay_of_rows_is_the_life_that_wrote_them() -> None:
    scene = lived()
    kinds = {type(row) for row in scene.rows}
    assert kinds >= {
        Epoch, Joined, Left, Submitted, PartAdded, Assigned, HandedOut, JobsEnded, LotsClosed,
        CancelledRuns, FinishedRun, Forgotten,
    }  # fmt: skip
    assert replayed(scene).digest() == scene.state.digest()


def test_every_prefix_of_the_rows_is_a_sound_state() -> None:
    scene = lived()
    state = State(scene.limits)
    for row in scene.rows:
        state.apply(row)
        state.check()
    assert state.digest() == scene.state.digest()


def test_a_replay_goes_on_with_the_same_numbers() -> None:
    scene = lived()
    state = replayed(scene)
    assert state.next_node == scene.state.next_node
    assert state.next_assignment == scene.state.next_assignment
    assert state.attempts.next_attempt == scene.state.attempts.next_attempt
    assert state.runs.next_number == 5


def test_a_digest_tells_states_apart() -> None:
    one, other = state_with(wide(2)), state_with(wide(2))
    assert one.digest() == other.digest()
    other.runs.by_number[1].set_state(0, states.DONE)
    assert one.digest() != other.digest()


def test_what_is_queued_is_in_memory_only() -> None:
    one, other = state_with(wide(2)), state_with(wide(2))
    other.runs.by_number[1].set_state(0, states.QUEUED)
    assert one.digest() == other.digest()


def test_members_come_and_go() -> None:
    state = State(Limits())
    state.apply(Joined(1, "a", "i"))
    state.apply(Joined(2, "b", "j"))
    state.apply(Left(1, "left"))
    assert [member.name for member in state.members.values()] == ["b"]
    assert state.next_node == 3


def test_an_epoch_makes_assignments_void_and_attempts_begin_anew() -> None:
    state = state_with(wide(2))
    before = state.lsn
    state.apply(Epoch(1, before, "c", 0.0))
    state.apply(Assigned(4, "p", ints(1)))
    state.apply(state.attempts.judge_hand_out(1, 1, [(ints(1), ints(0), b"")]))
    assert (state.runs.by_number[1].assignment, state.attempts.next_attempt) == (4, 2)
    base = state.lsn
    state.apply(Epoch(2, base, "c", 5.0))
    assert (state.epoch, state.cluster, state.attempts.bases) == (2, "c", {1: before, 2: base})
    assert (state.runs.by_number[1].assignment, state.attempts.next_attempt) == (0, 1)
    assert state.next_assignment == 5


def test_the_check_sees_a_job_that_is_out_without_a_lot() -> None:
    state = state_with(wide(2))
    state.runs.by_number[1].set_state(0, states.OUT)
    with pytest.raises(AssertionError, match="without a lot"):
        state.check()
