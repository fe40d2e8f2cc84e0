"""Dispatch: what is queued goes out once, what ended is told on, what came back is queued."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.cluster.dispatch import Dispatch
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire.definitions import Capacity, Failure
from pypelinin.wire.messages import (
    Cancel,
    GetJob,
    JobFailure,
    JobsOut,
    JobsReturned,
    Lot,
    Returned,
)
from pypelinin.wire.rows import HandedOut, JobsEnded
from tests.playbook.scene import Node, Scene, chain, run_id, wide


@pytest.fixture
def scene() -> Scene:
    return Scene()


def dispatch(scene: Scene) -> Dispatch:
    return scene.router.dispatch


def test_ready_jobs_are_queued_and_others_are_not(scene: Scene) -> None:
    scene.submit(chain("A", "B"))
    assert dispatch(scene).queues.count == 1
    assert bytes(scene.state.runs.by_number[1].states) == bytes((states.QUEUED, states.OPEN))


@pytest.mark.parametrize("state", [states.QUEUED, states.OUT, states.DONE, states.FAILED])
def test_only_open_jobs_are_queued(scene: Scene, state: int) -> None:
    scene.submit(wide(3))
    run = scene.state.runs.by_number[1]
    dispatch(scene).queues.drop({1})
    run.set_state(0, state)
    run.set_state(1, states.OPEN)
    run.set_state(2, states.OPEN)
    dispatch(scene).enqueue(run, [0, 1, 1, 99])
    assert dispatch(scene).queues.count == 1


def test_of_a_cancelled_run_nothing_is_queued(scene: Scene) -> None:
    scene.submit(wide(2))
    scene.ask(Cancel(1, (run_id(1),)))
    assert dispatch(scene).queues.count == 0


def test_what_goes_to_a_node_in_a_turn_is_one_row_and_one_message(scene: Scene) -> None:
    node = Node(scene, slots=3)
    node.join()
    scene.submit(wide(3))
    assert sum(isinstance(row, HandedOut) for row in scene.rows) == 1
    (message,) = (m for m in node.read() if isinstance(m, JobsOut))
    assert [lot.jobs.tolist() for lot in message.lots] == [[0], [1], [2]]


def test_a_hand_out_builds_on_the_newest_row_of_its_runs_only(scene: Scene) -> None:
    node = Node(scene, slots=9)
    node.join()
    scene.submit(chain("A", "B"), 1)
    scene.submit(wide(1, "C"), 2)
    first, other = node.next_lot(), node.next_lot()
    node.end(other, b"\1")
    node.end(first, b"\1")
    ended = max(i for i, row in enumerate(scene.rows, 1) if isinstance(row, JobsEnded))
    second = node.next_lot()
    assert node.basis[second.fence] == (1, ended)
    assert node.basis[first.fence][1] < node.basis[other.fence][1] < ended


def test_a_measured_worker_gets_many_jobs_in_a_lot(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 100}))
    scene.submit(wide(10))
    assert len(node.next_lot().jobs) == 10


def test_a_lot_that_ended_makes_room_and_half_of_one_does_not(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 2}))
    scene.submit(wide(4))
    lot = node.next_lot()
    node.end(lot, b"\1")
    node.read()
    assert node.lots == []
    node.end(lot, b"\1", start=1)
    assert node.next_lot().jobs.tolist() == [2, 3]


def test_failures_in_a_lot_are_told_apart_from_what_is_tried_again(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 3}))
    scene.submit(wide(3, retries=1))
    failed = JobFailure(1, Failure("exception", "E", "x"))
    node.end(node.next_lot(), b"\1\2\1", failed)
    assert bytes(scene.state.runs.by_number[1].states) == b"\1\0\1"
    assert [job for _, _, job in dispatch(scene).retries] == [1]
    scene.wait(1.0, node)
    assert node.next_lot().jobs.tolist() == [1]
    assert dispatch(scene).retries == []


def test_the_delay_of_a_retry_has_a_bound() -> None:
    scene = Scene(Limits(retry_base_s=1.0, retry_max_s=3.0))
    node = Node(scene)
    node.join()
    scene.submit(wide(1, retries=99))
    scene.state.runs.by_number[1].failed_again[0] = 60
    node.end(node.next_lot(), b"\2")
    ((at, _, _),) = dispatch(scene).retries
    assert scene.now + 1.5 <= at <= scene.now + 3.0


def test_what_came_back_goes_before_what_waits(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(3))
    lot = node.next_lot()
    node.tell(JobsReturned((Returned(lot.fence, 0),)))
    assert node.next_lot().jobs.tolist() == [0]


def test_lots_of_several_runs_are_told_to_each_of_them(scene: Scene) -> None:
    scene.submit(wide(1), 1)
    scene.submit(wide(2), 2)
    node = Node(scene, slots=1)
    node.join()
    lot = node.next_lot()
    node.tell(GetJob(Capacity(1), 0, {"A": 9}))
    node.end(lot, b"\1")
    lot = node.next_lot()
    assert lot.runs.tolist() == [2, 2]
    node.end(lot, b"\1\1")
    assert [run.state for run in scene.state.runs.by_number.values()] == ["done", "done"]


def test_the_check_sees_a_queued_job_that_is_in_no_queue(scene: Scene) -> None:
    scene.submit(wide(1))
    dispatch(scene).queues.drop({1})
    with pytest.raises(AssertionError):
        dispatch(scene).check()


# --- lines: a job and those that only wait for it, in one lot -----------------------------------


def line_of(scene: Scene, *, jobs: int = 4, slots: int = 1, **options: object) -> tuple[Node, Lot]:
    """A node that measured A short, and the lot it got of a chain of A."""
    node = Node(scene, slots=slots)
    node.join()
    node.tell(GetJob(Capacity(slots), 0, {"A": 100}))
    scene.submit(line(jobs, **options))
    return node, node.next_lot()


def line(jobs: int, **options: Any) -> Pipeline:
    named = [Job("A", name=f"A{i}") for i in range(jobs)]
    pairs = list(zip(named, [*named[1:], None], strict=True))
    return Pipeline(pairs, **options)


def now_states(scene: Scene, run: int = 1) -> bytes:
    return bytes(scene.state.runs.by_number[run].states)


def error(position: int) -> JobFailure:
    return JobFailure(position, Failure("exception", "E", "x"))


def test_a_chain_of_short_jobs_is_one_lot(scene: Scene) -> None:
    node, lot = line_of(scene, jobs=4)
    assert (lot.jobs.tolist(), lot.follows) == ([0, 1, 2, 3], b"\0\1\1\1")
    node.end(lot, b"\1\1\1\1")
    assert scene.state.runs.by_number[1].state == "done"
    assert node.lots == []


def test_lines_stand_side_by_side_in_a_lot(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 6}))
    jobs = {name: Job("A", name=name) for name in "abcdefg"}
    pairs = [(jobs["a"], jobs["b"]), (jobs["c"], None), (jobs["d"], jobs["e"])]
    scene.submit(Pipeline([*pairs, (jobs["e"], jobs["f"]), (jobs["f"], jobs["g"])]))
    run = scene.state.runs.by_number[1]
    lot = node.next_lot()
    assert lot.follows == b"\0\1\0\0\1\1"  # a b, c, d e f: six is the pace
    assert run.counts[states.OUT] == 6
    node.end(lot, b"\1" * 6)
    assert len(node.next_lot().jobs) == 1


def test_a_line_ends_before_a_job_of_another_kind(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 100, "B": 100}))
    first, second = Job("A", name="x"), Job("A", name="y")
    scene.submit(Pipeline([(first, second), (second, Job("B"))]))
    assert node.next_lot().jobs.tolist() == [0, 1]


def test_behind_a_failure_nothing_of_the_line_is_done(scene: Scene) -> None:
    node, lot = line_of(scene)
    node.end(lot, bytes((states.DONE, states.FAILED)), error(1))
    assert not scene.state.runs.by_number[1].finished_at  # the rest is still with the node
    node.end(lot, bytes((states.UNBEGUN,) * 2), start=2)
    done, failed, skipped = states.DONE, states.FAILED, states.SKIPPED
    assert now_states(scene) == bytes((done, failed, skipped, skipped))
    assert node.lots == []


def test_a_line_goes_on_behind_a_job_that_is_tried_again(scene: Scene) -> None:
    node, lot = line_of(scene, retries=1)
    node.end(lot, bytes((states.DONE, states.FAILED, states.UNBEGUN, states.UNBEGUN)), error(1))
    node.read()
    assert node.lots == []
    scene.wait(1.0, node)
    again = node.next_lot()
    assert (again.jobs.tolist(), again.follows) == ([1, 2, 3], b"\0\1\1")
    node.end(again, b"\1\1\1")
    assert scene.state.runs.by_number[1].state == "done"


def test_a_follower_that_comes_back_late_is_queued_if_its_time_has_come(scene: Scene) -> None:
    node, lot = line_of(scene, jobs=2, slots=2, retries=1)
    node.end(lot, bytes((states.FAILED,)), error(0))
    scene.wait(1.0, node)
    again = node.next_lot()
    assert again.jobs.tolist() == [0]  # job 1 is still out in the first lot
    node.end(again, b"\1")
    node.read()
    assert node.lots == []
    node.end(lot, bytes((states.UNBEGUN,)), start=1)
    assert node.next_lot().jobs.tolist() == [1]


def test_what_follows_nothing_cannot_be_unbegun(scene: Scene) -> None:
    node, lot = line_of(scene, jobs=2)
    node.end(lot, bytes((states.UNBEGUN, states.UNBEGUN)))
    assert now_states(scene) == bytes((states.OUT, states.OUT))


def test_of_a_lost_line_only_its_head_is_queued(scene: Scene) -> None:
    node, lot = line_of(scene)
    node.end(lot, b"\1")
    other = Node(scene, "other", slots=4)
    other.join()
    scene.wait(15.0, other)
    assert now_states(scene)[0] == states.DONE
    assert other.next_lot().jobs.tolist() == [1]
    assert other.lots == []


def test_of_a_returned_tail_nothing_is_queued_before_its_time(scene: Scene) -> None:
    node, lot = line_of(scene, slots=2)
    node.tell(JobsReturned((Returned(lot.fence, 2),)))
    node.read()
    assert node.lots == []
    assert now_states(scene) == bytes((states.OUT, states.OUT, states.OPEN, states.OPEN))
    node.end(lot, b"\1\1")
    assert node.next_lot().jobs.tolist() == [2, 3]


def test_a_cancelled_line_ends_when_the_node_gave_it_back(scene: Scene) -> None:
    node, lot = line_of(scene)
    scene.ask(Cancel(1, (run_id(1),)))
    node.end(lot, b"\1")
    assert not scene.state.runs.by_number[1].finished_at
    node.tell(JobsReturned((Returned(lot.fence, 1),)))
    assert now_states(scene) == bytes((states.DONE, *(states.CANCELLED,) * 3))
    assert scene.state.runs.by_number[1].finished_at


def test_a_cancelled_line_may_also_end_as_it_would(scene: Scene) -> None:
    node, lot = line_of(scene, jobs=2)
    scene.ask(Cancel(1, (run_id(1),)))
    node.end(lot, b"\1")
    node.end(lot, b"\1", start=1)
    assert now_states(scene) == b"\1\1"
    assert scene.state.runs.by_number[1].finished_at


def test_a_restarted_router_knows_what_follows(scene: Scene) -> None:
    node, lot = line_of(scene)
    node.end(lot, b"\1")
    after = scene.restarted()
    other = Node(after, "other", slots=4)
    other.join()
    after.wait(30.0, other)  # the first node does not come back
    assert other.next_lot().jobs.tolist() == [1]
    assert other.lots == []
