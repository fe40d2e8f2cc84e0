"""Planning: which Pipeliner plans a run, and what it is told."""

from __future__ import annotations

import pytest

from pypelinin.cluster.planning import RESIDENT
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.wire.messages import (
    AddJob,
    AssignRuns,
    Cancel,
    JobsSettled,
    PipelineSettled,
    Ready,
    Settled,
    SettledRun,
    Withdraw,
)
from pypelinin.wire.rows import Assigned
from tests.playbook.scene import Node, Planner, Scene, ints, run_id, wide

LARGE = 5


@pytest.fixture
def scene() -> Scene:
    return Scene(Limits(resident_jobs_max=LARGE - 1, batch_jobs_max=4))


@pytest.fixture
def planner(scene: Scene) -> Planner:
    planner = Planner(scene, "p")
    planner.join()
    return planner


def owners(scene: Scene) -> list[str]:
    """Who plans run 1, 2, ..."""
    peers = scene.router.desk.peers
    owner = scene.router.planning.owner
    return [peers[owner[n]].name if owner[n] else "resident" for n in sorted(owner)]


def assigned(planner: Planner) -> list[AssignRuns]:
    return [m for m in planner.read() if isinstance(m, AssignRuns)]


def add(planner: Planner, assignment: int, *jobs: int) -> None:
    planner.tell(AddJob((Ready(1, assignment, ints(*jobs)),)))


def test_small_runs_are_planned_by_the_router_itself(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE - 1))
    assert owners(scene) == ["resident"]
    assert scene.router.dispatch.queues.count == LARGE - 1


def test_without_a_pipeliner_the_router_plans_large_runs_too(scene: Scene) -> None:
    scene.submit(wide(LARGE))
    assert owners(scene) == ["resident"]
    assert scene.router.dispatch.queues.count == LARGE


def test_a_large_run_goes_to_a_pipeliner_with_its_structure(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    (message,) = assigned(planner)
    (run,) = message.runs
    part = scene.state.runs.by_number[1].parts[0]
    assert part is not None
    assert (run.number, run.jobs, run.parts, run.cancelled) == (1, LARGE, 1, False)
    assert list(message.blobs) == [b"", part[0]]
    rows = [row for row in scene.rows if isinstance(row, Assigned)]
    assert [(row.assignment, row.pipeliner) for row in rows] == [(run.assignment, "p")]
    assert scene.router.dispatch.queues.count == 0


def test_large_runs_go_to_who_plans_the_fewest(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE), 1)
    other = Planner(scene, "q")
    other.join()
    for number in (2, 3, 4):
        scene.submit(wide(LARGE), number)
    assert owners(scene) == ["p", "q", "p", "q"]


def test_what_a_pipeliner_says_is_ready_is_queued(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    add(planner, 1, 0, 3)
    assert scene.router.dispatch.queues.count == 2
    add(planner, 1, 0, 3)  # a double
    assert scene.router.dispatch.queues.count == 2


def test_another_assignment_or_another_pipeliner_does_not_count(
    scene: Scene, planner: Planner
) -> None:
    scene.submit(wide(LARGE))
    other = Planner(scene, "q")
    other.join()
    add(planner, 2, 0)
    add(other, 1, 0)
    other.tell(PipelineSettled((SettledRun(1, 1),)))
    assert scene.router.dispatch.queues.count == 0
    assert scene.state.runs.open_count == 1


def test_outcomes_are_told_to_the_pipeliner_of_the_run(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    add(planner, 1, 0, 1)
    node = Node(scene)
    node.join()
    planner.read()
    node.end(node.next_lot(), b"\1")
    assert planner.read() == [JobsSettled((Settled(1, 1, ints(0), b"\1"),))]


def test_many_outcomes_are_cut_into_messages(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(9))
    planner.read()
    scene.router.planning.settle(1, range(9), b"\1" * 9)
    scene.turn()
    messages = [m for m in planner.read() if isinstance(m, JobsSettled)]
    assert [[run.jobs.tolist() for run in m.runs] for m in messages] == [
        [[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8]],
    ]  # fmt: skip


def test_a_run_is_finished_when_its_pipeliner_says_so_and_nothing_runs(
    scene: Scene, planner: Planner
) -> None:
    scene.submit(wide(LARGE))
    add(planner, 1, 0)
    planner.tell(PipelineSettled((SettledRun(1, 1),)))
    assert scene.state.runs.open_count == 1  # one is queued
    node = Node(scene)
    node.join()
    node.end(node.next_lot(), b"\2")
    planner.tell(PipelineSettled((SettledRun(1, 1),)))
    assert scene.state.runs.by_number[1].state == "failed"
    assert owners(scene) == []


@pytest.mark.parametrize("how", ["silent", "leave", "anew"])
def test_runs_of_a_pipeliner_that_is_gone_are_assigned_anew_with_what_is_known(
    scene: Scene, planner: Planner, how: str
) -> None:
    scene.submit(wide(LARGE))
    add(planner, 1, 0, 1)
    node = Node(scene)
    node.join()
    node.end(node.next_lot(), b"\1")
    other = planner if how == "anew" else Planner(scene, "q")
    planner.read()
    messages = other.join()
    if how == "silent":
        scene.wait(6.0, other, node)
    elif how == "leave":
        planner.leave()
    (message,) = [m for m in [*messages, *other.read()] if isinstance(m, AssignRuns)]
    assert message.runs[0].assignment == 2
    assert message.blobs[0] == bytes((states.DONE, 0, 0, 0, 0))
    add(planner, 1, 2)  # of the assignment before
    assert scene.state.runs.by_number[1].states[2] == states.OPEN


def test_without_another_pipeliner_the_router_takes_over(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    scene.wait(6.0)
    assert owners(scene) == ["resident"]
    assert scene.router.dispatch.queues.count == LARGE


def test_a_cancelled_run_is_withdrawn(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    planner.read()
    scene.ask(Cancel(1, (run_id(1),)))
    assert planner.read() == [Withdraw(ints(1))]
    planner.tell(PipelineSettled((SettledRun(1, 1),)))
    assert scene.state.runs.by_number[1].state == "cancelled"


def test_runs_of_before_a_restart_are_assigned_again(scene: Scene, planner: Planner) -> None:
    scene.submit(wide(LARGE))
    after = scene.restarted()
    assert owners(after) == ["resident"]
    assert after.state.runs.by_number[1].assignment == 0  # those before the restart are void
    assert after.router.dispatch.queues.count == LARGE


def test_outcomes_of_a_run_nobody_plans_are_for_nobody(scene: Scene) -> None:
    scene.router.planning.settle(9, [0], b"\1")
    scene.router.planning.withdraw([9])
    assert not scene.router.planning.pending


def test_the_check_sees_an_owner_of_a_run_that_is_over(scene: Scene) -> None:
    scene.submit(wide(1))
    scene.state.runs.by_number[1].finished_at = 1.0
    with pytest.raises(AssertionError):
        scene.router.planning.check()
    assert scene.router.planning.owner == {1: RESIDENT}
