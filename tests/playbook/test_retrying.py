"""A run again: what is given, what runs anew, and what is refused."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import pytest

from pypelinin.cluster.retrying import judge_retry
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, pack_record, unpack_record
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    GONE,
    Capacity,
    Failure,
    Place,
    Refusal,
    Structure,
    Terms,
)
from pypelinin.wire.messages import (
    AddPipeline,
    Cancel,
    JobFailure,
    JobsFinished,
    Progress,
    Refused,
    ReleaseResults,
    RetryRun,
    RunStatus,
    Status,
)
from pypelinin.wire.rows import Forgotten, Retried, pack_row, unpack_row
from tests.playbook.scene import WALL, Node, Scene, chain, pack, run_id, state_with, status, wide

ERROR = Failure("exception", "ValueError", "no")
NEW = run_id(2)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def node(scene: Scene) -> Node:
    node = Node(scene, slots=1, capacity=Capacity(8, 2**33))
    node.join()
    return node


def ask(scene: Scene, message: RetryRun) -> RunStatus:
    answer = scene.reply(message, b"somebody")
    assert isinstance(answer, Status), answer
    return answer.runs[0]


def refused(scene: Scene, message: RetryRun) -> Refusal:
    answer = scene.reply(message, b"somebody")
    assert isinstance(answer, Refused), answer
    return answer.refusal


def failed_chain(scene: Scene, node: Node) -> None:
    """A is done, B failed, C is skipped."""
    scene.submit(chain("A", "B", "C"))
    node.end(node.next_lot(), b"\1")
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    assert status(scene, 1).state == "failed"


def test_only_what_did_not_succeed_runs_again(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    found = ask(scene, RetryRun(1, run_id(1), NEW))
    assert (found.state, found.done, found.retry_of) == ("running", 1, run_id(1))
    lot = node.next_lot()
    assert (lot.worker, lot.jobs.tolist()) == ("B", [1])
    node.end(lot, b"\1")
    node.end(node.next_lot(), b"\1")
    assert (status(scene, 2).state, status(scene, 2).done) == ("done", 3)
    assert status(scene, 1).state == "failed"


def test_asked_twice_it_is_one_run(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    ask(scene, RetryRun(1, run_id(1), NEW))
    again = ask(scene, RetryRun(2, run_id(1), NEW))
    assert again.retry_of == run_id(1)
    assert sum(isinstance(row, Retried) for row in scene.rows) == 1


def test_the_new_run_survives_a_restart(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    ask(scene, RetryRun(1, run_id(1), NEW))
    replayed = State(scene.limits)
    for row in scene.rows:
        replayed.apply(unpack_row(pack_row(row)))
    assert replayed.digest() == scene.state.digest()
    again = scene.restarted()
    back = Node(again, "node", node.incarnation, slots=1)
    back.hellos = node.hellos
    back.join()
    assert back.next_lot().worker == "B"
    assert status(again, 2).retry_of == run_id(1)


def test_with_failed_what_was_cancelled_stays_so(scene: Scene, node: Node) -> None:
    scene.submit(wide(3))
    node.end(node.next_lot(), b"\2", JobFailure(0, ERROR))
    lot = node.next_lot()
    scene.reply(Cancel(1, (run_id(1),)), b"somebody")
    node.end(lot, b"\1")
    ask(scene, RetryRun(1, run_id(1), NEW, failed_only=True))
    node.end(node.next_lot(), b"\1")
    found = status(scene, 2)
    assert (found.state, found.done, found.cancelled) == ("done", 2, 1)
    ask(scene, RetryRun(1, run_id(1), run_id(3)))
    node.end(node.next_lot(), b"\1")
    node.end(node.next_lot(), b"\1")
    assert (status(scene, 3).state, status(scene, 3).done) == ("done", 3)


def test_memory_is_what_each_job_may_use_then(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    ask(scene, RetryRun(1, run_id(1), NEW, memory=(2**30, 2**31)))
    lot = node.next_lot()
    assert lot.terms == Terms(memory=2**30)
    node.end(lot, b"\2", JobFailure(0, Failure("memory", "MemoryLimit", "too much")))
    scene.tick(5.0)
    assert node.next_lot().terms == Terms(memory=2**31)


def test_a_running_unknown_or_successful_run_is_refused(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    running = refused(scene, RetryRun(1, run_id(1), NEW))
    assert (running.code, running.what) == ("conflict", f"Run {run_id(1)} is still running.")
    assert "cancel it first" in running.remedy
    node.end(node.next_lot(), b"\1")
    assert refused(scene, RetryRun(1, run_id(1), NEW)).what == (
        f"Nothing of run {run_id(1)} is left to do."
    )
    assert refused(scene, RetryRun(1, run_id(7), NEW)).code == "not found"
    assert refused(scene, RetryRun(1, run_id(1), run_id(1))).code == "conflict"


@pytest.mark.parametrize(("new", "memory"), [("short", ()), (NEW, (0,)), (NEW, (2**61,))])
def test_nonsense_is_refused(scene: Scene, node: Node, new: str, memory: tuple[int, ...]) -> None:
    failed_chain(scene, node)
    assert refused(scene, RetryRun(1, run_id(1), new, memory=memory)).code == "malformed"


def test_who_made_what_is_gone_runs_again() -> None:
    state = state_with(chain("A", "B", "C"))
    source = state.runs.by_number[1]
    source.reads = {1: array("I", [0]), 2: array("I", [1])}
    for job, ended in enumerate((states.DONE, states.DONE, states.FAILED)):
        source.set_state(job, ended)
    source.finished_at = 1.0
    source.results = {0: GONE, 1: b"mx"}
    row = judge_retry(source, RetryRun(1, source.id, NEW), 2, WALL)
    assert isinstance(row, Retried)
    assert row.open.tolist() == [2]
    source.results = {0: GONE, 1: GONE}
    row = judge_retry(source, RetryRun(1, source.id, NEW), 2, WALL)
    assert isinstance(row, Retried)
    assert row.open.tolist() == [0, 1, 2]


def test_who_lends_results_is_kept_until_the_other_is_forgotten(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    ask(scene, RetryRun(1, run_id(1), NEW))
    runs = scene.state.runs
    scene.reply(ReleaseResults(1, (run_id(1),)), b"somebody")
    node.end(node.next_lot(), b"\1")
    node.end(node.next_lot(), b"\1")
    old = WALL + scene.limits.history_s + 1000.0
    forgotten = [row.runs.tolist() for row in runs.judge_retention(old, 0.0)
                 if isinstance(row, Forgotten)]  # fmt: skip
    assert forgotten == [[2]]
    scene.router.scribe.write(runs.judge_retention(old, 0.0))
    rows: list[Any] = runs.judge_retention(old, 0.0)
    assert [row.runs.tolist() for row in rows] == [[1]]


def test_who_is_done_and_read_what_is_made_anew_does_not_run_again(scene: Scene) -> None:
    """A is read by B, which is done, and by C, which failed; A's result is gone meanwhile."""
    node = Node(scene, slots=1)
    node.join()
    a, b, c = Job("A"), Job("B"), Job("C")
    pipeline = Pipeline({a: (b, c)})
    header, ((structure, details),) = pipeline.compile(run_id(1), "me", pack)
    reads = replace(unpack_record(Structure, structure, FRAME_BYTES_MAX), reads=b"\1\1")
    blobs = Blobs([header, pack_record(reads), details])
    scene.ask(AddPipeline(1, False, True, (Place(0, 1),), blobs))
    node.tell(JobsFinished((Progress(node.next_lot().fence, 0, b"\1", (), (b"mx",)),)))
    for status_of in (b"\1", b"\2"):
        lot = node.next_lot()
        node.end(lot, status_of, *([JobFailure(0, ERROR)] if status_of == b"\2" else []))
    assert status(scene, 1).state == "failed"
    scene.reply(ReleaseResults(1, (run_id(1),)), b"somebody")
    assert ask(scene, RetryRun(1, run_id(1), NEW)).done == 1
    lot = node.next_lot()
    assert lot.worker == "A"
    node.tell(JobsFinished((Progress(lot.fence, 0, b"\1", (), (b"mx",)),)))
    lot = node.next_lot()
    assert lot.worker == "C"
    node.end(lot, b"\1")
    assert (status(scene, 2).state, status(scene, 2).done) == ("done", 3)


def test_more_memory_than_any_node_has_is_refused(scene: Scene, node: Node) -> None:
    failed_chain(scene, node)
    found = refused(scene, RetryRun(1, run_id(1), NEW, memory=(2**50,)))
    assert found.code == "impossible"


def test_while_nodes_are_still_to_come_back_nothing_is_called_impossible(
    scene: Scene, node: Node
) -> None:
    failed_chain(scene, node)
    large = Node(scene, "large", capacity=Capacity(8, 2**51))
    large.join()
    again = scene.restarted()
    back = Node(again, "node", node.incarnation, slots=1, capacity=node.capacity)
    back.hellos = node.hellos
    back.join()
    assert ask(again, RetryRun(1, run_id(1), NEW, memory=(2**50,))).state == "running"
