"""Draining nodes, pausing runs, stopping at the first failure, and nodes that only crash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pypelinin.config import Limits
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import (
    Cancel,
    CancelJobs,
    Cluster,
    DrainNodes,
    DropJobs,
    GetCluster,
    GetJob,
    JobFailure,
    JobsReturned,
    NodeStatus,
    PauseRuns,
    Refused,
    Returned,
    RunStatus,
    SetDraining,
    Status,
)
from tests.playbook.scene import Node, Scene, chain, ints, run_id, status, wide

CRASH = Failure("signal", "SIGSEGV", "it was killed by SIGSEGV", "", "node")
ERROR = Failure("exception", "ValueError", "no")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def node(scene: Scene) -> Node:
    node = Node(scene)
    node.join()
    return node


def nodes(scene: Scene) -> dict[str, NodeStatus]:
    answer = scene.reply(GetCluster(9), b"somebody")
    assert isinstance(answer, Cluster)
    return {found.name: found for found in answer.nodes}


def pause(scene: Scene, paused: bool = True) -> RunStatus:
    answer = scene.reply(PauseRuns(5, (run_id(1),), paused), b"somebody")
    assert isinstance(answer, Status)
    return answer.runs[0]


# --- drain -----------------------------------------------------------------------------


def test_a_drained_node_gets_nothing_new_until_it_is_undrained(scene: Scene, node: Node) -> None:
    answer = scene.reply(DrainNodes(1, ("node",), "new disk"), b"somebody")
    assert isinstance(answer, Cluster)
    assert [(n.state, n.why) for n in answer.nodes] == [("draining", "new disk")]
    assert SetDraining("new disk") in node.read()
    scene.submit(wide(1))
    node.read()
    assert node.lots == []
    scene.reply(DrainNodes(2, ("node",), ""), b"somebody")
    assert SetDraining("") in node.read()
    assert len(node.lots) == 1


def test_what_the_node_said_before_it_heard_of_it_does_not_count(scene: Scene, node: Node) -> None:
    scene.reply(DrainNodes(1, ("node",), "new disk"), b"somebody")
    node.tell(GetJob(node.capacity, 0, {}))
    scene.submit(wide(1))
    node.read()
    assert node.lots == []


def test_it_stays_drained_when_the_router_starts_again(scene: Scene, node: Node) -> None:
    scene.reply(DrainNodes(1, ("node",), "new disk"), b"somebody")
    again = scene.restarted()
    back = Node(again, "node", node.incarnation)
    back.hellos = node.hellos
    back.draining = "new disk"
    back.join()
    assert nodes(again)["node"].why == "new disk"
    again.submit(wide(1))
    back.read()
    assert back.lots == []
    again.reply(DrainNodes(1, ("node",), ""), b"somebody")
    back.read()
    back.tell(GetJob(back.capacity, 0, {}))
    back.read()
    assert len(back.lots) == 1


def test_an_unknown_node_is_refused_and_none_is_drained(scene: Scene, node: Node) -> None:
    answer = scene.reply(DrainNodes(1, ("node", "nodd"), "x"), b"somebody")
    assert isinstance(answer, Refused)
    assert answer.refusal.code == "not found"
    assert "'nodd'. Did you mean 'node'? Known: node" in answer.refusal.what
    assert nodes(scene)["node"].state == "up"


def crash(scene: Scene, node: Node) -> tuple[int, int]:
    """The node's next lot of one job dies; returns (run, job)."""
    lot = node.next_lot()
    node.end(lot, b"\2", JobFailure(0, CRASH))
    return lot.runs[0], lot.jobs[0]


def test_a_node_where_five_different_jobs_crash_in_a_row_drains() -> None:
    scene = Scene(Limits(crashes_max=2))
    bad, good = Node(scene, "bad", slots=1), Node(scene, "good", slots=1)
    bad.join()
    good.join()
    scene.submit(wide(10))
    good.read()
    for _ in range(4):
        crash(scene, bad)
    assert nodes(scene)["bad"].state == "up"
    crash(scene, bad)
    found = nodes(scene)["bad"]
    assert found.state == "draining"
    assert found.why == "the slots of 5 different jobs died here one after the other"
    assert nodes(scene)["good"].state == "up"
    assert any(isinstance(message, SetDraining) for message in bad.read())


def test_a_job_that_is_done_in_between_clears_the_node() -> None:
    scene = Scene(Limits(crashes_max=2))
    bad, other = Node(scene, "bad", slots=1), Node(scene, "other", slots=1)
    bad.join()
    other.join()
    scene.submit(wide(12))
    for _ in range(4):
        crash(scene, bad)
    bad.end(bad.next_lot(), b"\1")
    for _ in range(4):
        crash(scene, bad)
    assert nodes(scene)["bad"].state == "up"


def test_the_last_node_is_never_drained_by_itself(scene: Scene, node: Node) -> None:
    scene.submit(wide(8))
    for _ in range(6):
        crash(scene, node)
    assert nodes(scene)["node"].state == "up"


def test_failures_of_the_users_code_drain_nothing() -> None:
    scene = Scene()
    one, two = Node(scene, "one", slots=1), Node(scene, "two", slots=1)
    one.join()
    two.join()
    scene.submit(wide(30))
    for _ in range(10):
        one.end(one.next_lot(), b"\2", JobFailure(0, ERROR))
    assert nodes(scene)["one"].state == "up"


# --- pause -----------------------------------------------------------------------------


def test_a_paused_run_gets_no_more_jobs_and_goes_on_later(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(3))
    lot = node.next_lot()
    paused = pause(scene)
    assert (paused.state, paused.paused) == ("running", True)
    assert DropJobs((lot.fence,)) in node.read()
    node.end(lot, b"\1")
    node.read()
    assert node.lots == []
    assert pause(scene, False).paused is False
    node.end(node.next_lot(), b"\1")
    node.end(node.next_lot(), b"\1")
    assert status(scene).state == "done"


def test_a_run_that_ended_while_it_was_paused_is_not_told_as_paused(scene: Scene) -> None:
    """Who asks until it is not paused any more would ask for ever."""
    scene.submit(wide(1))
    assert pause(scene).paused
    scene.reply(Cancel(6, (run_id(1),)), b"somebody")
    assert (status(scene).state, status(scene).paused) == ("cancelled", False)
    assert pause(scene, False).paused is False


def test_what_comes_back_of_a_paused_run_waits(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    pause(scene)
    node.tell(JobsReturned((Returned(lot.fence, 0),)))
    node.read()
    assert node.lots == []
    pause(scene, False)
    assert node.next_lot().jobs.tolist() == [0]


def test_a_run_stays_paused_when_the_router_starts_again(scene: Scene) -> None:
    scene.submit(wide(2))
    assert pause(scene).paused
    again = scene.restarted()
    node = Node(again)
    node.join()
    assert node.lots == []
    assert status(again).paused
    pause(again, False)
    assert node.next_lot().jobs.tolist() == [0]


def test_what_becomes_ready_in_a_paused_run_waits(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    lot = node.next_lot()
    pause(scene)
    node.end(lot, b"\1")
    node.read()
    assert node.lots == []
    pause(scene, False)
    assert node.next_lot().worker == "B"


def test_a_paused_run_can_be_cancelled_whole_and_in_part(scene: Scene) -> None:
    scene.submit(wide(3))
    pause(scene)
    scene.reply(CancelJobs(1, run_id(1), ints(0)), b"somebody")
    assert (status(scene).state, status(scene).cancelled) == ("running", 1)
    scene.reply(Cancel(2, (run_id(1),)), b"somebody")
    assert (status(scene).state, status(scene).cancelled) == ("cancelled", 3)


def test_pausing_what_is_paused_or_over_changes_nothing(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    pause(scene)
    rows = len(scene.rows)
    assert pause(scene).paused
    assert len(scene.rows) == rows
    pause(scene, False)
    node.end(node.next_lot(), b"\1")
    assert pause(scene).paused is False


# --- stop ------------------------------------------------------------------------------


def test_on_failure_stop_begins_nothing_more(scene: Scene) -> None:
    node = Node(scene, slots=2)
    node.join()
    scene.submit(wide(5, on_failure="stop"))
    first, second = node.next_lot(), node.next_lot()
    node.end(first, b"\2", JobFailure(0, ERROR))
    assert DropJobs((second.fence,)) in node.read()
    assert node.lots == []
    assert status(scene).finished_at == 0
    node.end(second, b"\1")
    ended = status(scene)
    assert (ended.state, ended.done, ended.failed, ended.cancelled) == ("failed", 1, 1, 3)
    assert ended.finished_at > 0


def test_a_failure_that_is_tried_again_stops_nothing(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(2, on_failure="stop", retries=1))
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    node.end(node.next_lot(), b"\1")
    assert status(scene).state == "running"
    scene.tick(2.0)
    node.end(node.next_lot(), b"\1")
    assert (status(scene).state, status(scene).done) == ("done", 2)


def test_without_it_what_is_independent_goes_on(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(2))
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    node.end(node.next_lot(), b"\1")
    assert (status(scene).state, status(scene).done, status(scene).failed) == ("failed", 1, 1)


def test_a_failure_that_is_told_while_the_router_starts_again_stops_the_run(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(3, on_failure="stop"))
    lot = node.next_lot()
    again = scene.restarted()
    back = Node(again, "node", node.incarnation, slots=1)
    back.hellos, back.basis = node.hellos, node.basis
    back.join(replace(back.held(lot, b"\2"), failures=(JobFailure(0, ERROR),)))
    assert back.lots == []
    assert (status(again).state, status(again).cancelled) == ("failed", 2)


def test_a_node_that_joins_again_before_it_heard_is_told_again(scene: Scene, node: Node) -> None:
    scene.reply(DrainNodes(1, ("node",), "new disk"), b"somebody")
    assert SetDraining("new disk") in [*node.join(), *node.read()]
    assert nodes(scene)["node"].why == "new disk"
