"""What is said of a job in each of its states."""

from __future__ import annotations

import pytest

from pypelinin.cluster.explaining import ADVICE
from pypelinin.wire.definitions import Capacity, Failure
from pypelinin.wire.messages import (
    Cancel,
    ExplainJob,
    Explanation,
    JobFailure,
    PauseRuns,
    Refused,
)
from tests.playbook.scene import Node, Scene, chain, run_id, wide

ERROR = Failure("exception", "ValueError", "no", "", "node")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def node(scene: Scene) -> Node:
    node = Node(scene, slots=1, capacity=Capacity(8, 2**33))
    node.join()
    return node


def explain(scene: Scene, job: int = 0, number: int = 1) -> tuple[str, str]:
    answer = scene.reply(ExplainJob(1, run_id(number), job), b"somebody")
    assert isinstance(answer, Explanation), answer
    return answer.state, "\n".join(answer.lines)


def test_what_waits_names_what_it_waits_for(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    assert explain(scene, 1) == ("waiting", "It waits for A (running).")


def test_what_is_queued_says_why(scene: Scene) -> None:
    scene.submit(wide(2))
    state, text = explain(scene, 0)
    assert state == "ready"
    assert text == "It is queued: no broker connected.\n2 jobs are queued in all."


def test_what_runs_says_where(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    assert explain(scene) == ("running", "It runs on node node (attempt 1.1).")


def test_a_paused_run_says_how_to_go_on(scene: Scene) -> None:
    scene.submit(wide(1))
    scene.reply(PauseRuns(1, (run_id(1),), True), b"somebody")
    assert f"`pypelinin resume {run_id(1)}`" in explain(scene)[1]


def test_what_failed_says_what_to_try(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    state, text = explain(scene)
    assert state == "failed"
    assert text.startswith("It failed on node: ValueError: no\nMend the code")
    assert f"`pypelinin retry {run_id(1)} --failed`" in text
    assert explain(scene, 1) == (
        "skipped", "It never ran: A (failed) above it did not succeed.",
    )  # fmt: skip


@pytest.mark.parametrize("cause", ADVICE)
def test_each_cause_has_its_advice(scene: Scene, node: Node, cause: str) -> None:
    scene.submit(wide(1, memory="1GB"))
    failure = JobFailure(0, Failure(cause, "Type", "text"))
    for _ in range(scene.limits.crashes_max):
        node.read()
        if node.lots:
            node.end(node.next_lot(), b"\2", failure)
        scene.wait(3.0, node)
    state, text = explain(scene)
    assert state == "failed"
    assert ADVICE[cause].format(run=run_id(1)) in text
    assert ("It had 1.00 GB" in text) == (cause == "memory")


def test_a_job_that_is_tried_again_says_when_and_why(scene: Scene, node: Node) -> None:
    scene.submit(wide(1, retries=2))
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    state, text = explain(scene)
    assert state == "waiting"
    assert "It failed and is tried again in 0." in text
    assert text.endswith("Before that it 1 x failed.")


def test_a_crash_says_where(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    crash = Failure("signal", "SIGSEGV", "x", "", "node")
    node.end(node.next_lot(), b"\2", JobFailure(0, crash))
    assert explain(scene)[1].endswith("Before that it 1 x lost its process (crashed on node 1 x).")


def test_what_is_done_or_cancelled(scene: Scene, node: Node) -> None:
    scene.submit(wide(2))
    node.end(node.next_lot(), b"\1")
    assert explain(scene)[0] == "done"
    scene.submit(wide(2), 2)
    scene.reply(Cancel(1, (run_id(2),)), b"somebody")
    assert explain(scene, 1, 2) == ("cancelled", "It was cancelled, or its run was.")


@pytest.mark.parametrize(("number", "job"), [(1, 5), (1, -1), (3, 0)])
def test_what_is_not_there(scene: Scene, number: int, job: int) -> None:
    scene.submit(wide(2))
    answer = scene.reply(ExplainJob(1, run_id(number), job), b"somebody")
    assert isinstance(answer, Refused)
    assert answer.refusal.code == "not found"
