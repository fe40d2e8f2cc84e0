"""Evidence in the Router: whose it takes, what it says of failures, whom it lets read."""

from __future__ import annotations

import pytest

from pypelinin.cluster.events import DropLogs, KeepEnding, KeepEvidence, ReadLogs
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.machine import Command
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import AttemptUsage, Evidence, GetLogs, NodeSample, Printed
from pypelinin.wire.messages import Cluster, GetCluster, JobFailure, Refused
from tests.playbook.scene import CLIENT, Node, Scene, chain, run_id, wide

WHY = Failure("exception", "ValueError", "no", "frames", "node")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def node(scene: Scene) -> Node:
    node = Node(scene)
    node.join()
    return node


def usage(job: int = 0, run: int = 1, fence: int = 9) -> AttemptUsage:
    return AttemptUsage(run_id(run), job, fence, 1.0, 1.0, 1.0, 5, True, 3, 0)


def printed(size: int, job: int = 0, run: int = 1, stream: int = 0, offset: int = 0,
            fence: int = 9) -> Printed:  # fmt: skip
    return Printed(run_id(run), job, fence, stream, offset, size)


def of(kind: type[Command], commands: list[Command]) -> list[Command]:
    return [command for command in commands if isinstance(command, kind)]


# --- what is kept -----------------------------------------------------------------------------


def test_evidence_of_runs_that_are_here_is_kept(scene: Scene, node: Node) -> None:
    scene.submit(wide(2))
    evidence = Evidence((printed(3), printed(2, job=1)), (usage(),), Blobs([b"onetw"]))
    assert of(KeepEvidence, node.tell(evidence)) == [KeepEvidence("node", evidence)]


@pytest.mark.parametrize(
    "wrong",
    [
        printed(3, run=2), printed(3, job=2), printed(3, stream=2), printed(3, offset=-1),
        printed(3, fence=2**63), printed(3, job=-1),
    ],
)  # fmt: skip
def test_what_is_not_sound_is_left_out(scene: Scene, node: Node, wrong: Printed) -> None:
    scene.submit(wide(2))
    commands = node.tell(Evidence((wrong, printed(2)), (usage(7),), Blobs([b"onetw"])))
    assert of(KeepEvidence, commands) == [
        KeepEvidence("node", Evidence((printed(2),), (), Blobs([b"tw"])))
    ]


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence((printed(3),), (), Blobs([b"on"])), Evidence((printed(3),), (), Blobs([])),
        Evidence((printed(3, run=2),), (usage(run=2),), Blobs([b"one"])),
        Evidence((printed(-1), printed(4)), (), Blobs([b"one"])),
    ],
)  # fmt: skip
def test_nothing_is_kept_of_nonsense(scene: Scene, node: Node, evidence: Evidence) -> None:
    scene.submit(wide(2))
    kept = of(KeepEvidence, node.tell(evidence))
    assert all(
        isinstance(command, KeepEvidence) and command.evidence.printed == (printed(4),)
        for command in kept
    )


def test_each_failed_attempt_is_told_with_its_fence(scene: Scene, node: Node) -> None:
    scene.submit(Pipeline([Job("A", retries=1)]))
    first = node.next_lot()
    commands = node.end(first, bytes((states.FAILED,)), JobFailure(0, WHY))
    assert of(KeepEnding, commands) == [KeepEnding(run_id(1), 0, first.fence, WHY)]
    scene.wait(2.0, node)
    second = node.next_lot()
    commands = node.end(second, bytes((states.FAILED,)), JobFailure(0, WHY))
    assert of(KeepEnding, commands) == [KeepEnding(run_id(1), 0, second.fence, WHY)]
    assert second.fence > first.fence


def test_a_node_that_went_away_is_told(scene: Scene, node: Node) -> None:
    scene.submit(chain("A"))
    lot = node.next_lot()
    scene.commands.clear()
    scene.wait(Limits().node_lease_s + 2)
    (found,) = of(KeepEnding, scene.commands)
    assert isinstance(found, KeepEnding)
    assert (found.run, found.job, found.fence) == (run_id(1), 0, lot.fence)
    assert (found.failure.cause, found.failure.node) == ("lost", "node")


def test_what_is_forgotten_goes(scene: Scene, node: Node) -> None:
    scene.submit(chain("A"))
    lot = node.next_lot()
    node.end(lot, bytes((states.DONE,)))
    scene.commands.clear()
    scene.tick(scene.limits.history_s + 1000.0)
    assert of(DropLogs, scene.commands) == [DropLogs((run_id(1),))]


# --- who asks ---------------------------------------------------------------------------------


def asked(scene: Scene, question: GetLogs) -> Command:
    return of(ReadLogs, scene.ask(question))[0]


def test_the_world_reads_and_is_told_what_runs(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    lot = node.next_lot()
    whole, first = GetLogs(5, run_id(1)), GetLogs(6, run_id(1), 0)
    assert asked(scene, whole) == ReadLogs(CLIENT, whole, True, 0, "")
    assert asked(scene, first) == ReadLogs(CLIENT, first, True, lot.fence, "node")
    node.end(lot, bytes((states.DONE,)) * len(lot.jobs))
    assert asked(scene, first) == ReadLogs(CLIENT, first, False, 0, "")


@pytest.mark.parametrize(
    "question",
    [GetLogs(5, "nobody"), GetLogs(5, run_id(1), 1), GetLogs(5, run_id(1), -2),
     GetLogs(5, run_id(1), 0, -1), GetLogs(5, run_id(1), 0, 0, -1)],
)  # fmt: skip
def test_what_is_not_there_is_refused(scene: Scene, question: GetLogs) -> None:
    scene.submit(chain("A"))
    answer: Record = scene.reply(question)
    assert isinstance(answer, Refused)
    assert (answer.request, answer.refusal.code) == (5, "not found")


def test_how_a_node_is_stands_in_the_answer(scene: Scene, node: Node) -> None:
    sample = NodeSample(12.5, 5, 9, 0.25)
    node.tell(sample)
    answer = scene.reply(GetCluster(3))
    assert isinstance(answer, Cluster)
    assert [one.sample for one in answer.nodes] == [sample]
