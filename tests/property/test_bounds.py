"""What machines send when everything is at its limit can be read at the other side."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TypeVar

import pytest

from pypelinin.cluster import pipeliner as planning
from pypelinin.cluster.broker import Broker
from pypelinin.cluster.events import Received, Send, SendAfter
from pypelinin.cluster.slots import RunLot, SlotProgressed, SlotStarted
from pypelinin.config import Limits
from pypelinin.graph.job import Job
from pypelinin.machine import Command
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import (
    Blobs,
    Envelope,
    Record,
    from_frames,
    pack_plain,
    pack_record,
    to_frames,
    unpack_record,
)
from pypelinin.wire.definitions import (
    BATCH_ROWS_MAX,
    FRAME_BYTES_MAX,
    PART_JOBS_MAX,
    Capacity,
    Details,
    Failure,
    Header,
    Kind,
    Place,
    Structure,
)
from pypelinin.wire.messages import (
    MESSAGES,
    NAMES,
    AddJob,
    AddPipeline,
    AssignRuns,
    Configuration,
    Definition,
    GetDefinition,
    GetJob,
    GetPipelines,
    GetStatus,
    HeldLot,
    JobFailure,
    JobsFinished,
    JobsOut,
    JobsSettled,
    JoinBroker,
    Lot,
    PipelineFinished,
    Progress,
    RunForSlot,
    Status,
    Welcome,
)
from tests.playbook.scene import CLIENT, Node, Planner, Scene, run_id, wide

R = TypeVar("R", bound=Record)
LONG = "x" * 16_000
FAILURE = Failure("exception", "ValueError", LONG, LONG, "node")


def read_again(commands: Iterable[Command]) -> list[Envelope]:
    """Every message of *commands* as its receiver reads it; no frame is too large."""
    envelopes = []
    for command in commands:
        if isinstance(command, (Send, SendAfter)):
            frames = to_frames(command.envelope, NAMES[type(command.envelope.message)])
            assert max(map(len, frames)) <= FRAME_BYTES_MAX
            envelopes.append(from_frames(MESSAGES, frames))
            assert envelopes[-1] == command.envelope
    return envelopes


def wide_of_numbers(count: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """(header, parts) of a run of *count* jobs that wait for nothing."""
    parts = []
    for begin in range(0, count, PART_JOBS_MAX):
        jobs = min(PART_JOBS_MAX, count - begin)
        structure = Structure(begin, array("I", bytes(4 * (jobs + 1))), array("I"))
        details = Details(begin, array("I"), array("I"), b"")
        parts.append((pack_record(structure), pack_record(details)))
    kinds = (Kind("A", {}, 0, 0),)
    return pack_record(Header(run_id(1), b"d", "me", count, kinds, b"mx", {})), parts


def submission_of(count: int) -> AddPipeline:
    header, parts = wide_of_numbers(count)
    places = tuple(Place(i, len(parts)) for i in range(len(parts)))
    return AddPipeline(1, False, True, places, Blobs(b for part in parts for b in (header, *part)))


def of_type(kind: type[R], commands: Iterable[Command]) -> list[R]:
    return [e.message for e in read_again(commands) if isinstance(e.message, kind)]


@pytest.fixture(scope="module")
def failed_runs() -> Scene:
    """A thousand watched runs, each failed with much to say and with long labels."""
    scene = Scene()
    node = Node(scene, slots=BATCH_ROWS_MAX)
    node.join()
    for number in range(1, BATCH_ROWS_MAX + 1):
        scene.submit(wide(1, labels={"note": LONG}), number, watch=True)
    node.read()
    scene.commands.clear()
    items = [Progress(lot.fence, 0, b"\2", (JobFailure(0, FAILURE),)) for lot in node.lots]
    for i in range(0, len(items), 5):
        node.tell(JobsFinished(tuple(items[i : i + 5])))
    assert len(scene.state.runs.finished_order) == BATCH_ROWS_MAX
    return scene


def test_the_news_of_a_thousand_failures(failed_runs: Scene) -> None:
    told = of_type(PipelineFinished, failed_runs.commands)
    assert sum(len(message.runs) for message in told) == BATCH_ROWS_MAX


@pytest.mark.parametrize(
    "question",
    [
        GetStatus(1, tuple(run_id(n) for n in range(1, BATCH_ROWS_MAX + 1)), False),
        GetPipelines(1, "failed", 0, BATCH_ROWS_MAX),
    ],
)
def test_the_status_of_a_thousand_failures(failed_runs: Scene, question: GetStatus) -> None:
    (status,) = of_type(Status, failed_runs.ask(question, CLIENT))
    assert len(status.runs) == BATCH_ROWS_MAX
    assert all(run.error is not None for run in status.runs)


def test_a_run_with_a_hundred_long_failures() -> None:
    scene = Scene(Limits(lot_jobs_max=100))
    node = Node(scene, slots=1)
    node.join()
    node.tell(GetJob(Capacity(1), 0, {"A": 100}))
    scene.submit(wide(100))
    while not scene.state.runs.by_number[1].finished_at:
        lot = node.next_lot()
        for i in range(len(lot.jobs)):
            node.end(lot, b"\2", JobFailure(i, FAILURE), start=i)
    (definition,) = of_type(Definition, scene.ask(GetDefinition(1, run_id(1))))
    assert len(definition.failures) == 100


def test_a_run_of_600_000_jobs_that_moves_to_another_pipeliner() -> None:
    scene = Scene()
    first, second = Planner(scene, "first"), Planner(scene, "second")
    first.join()
    scene.ask(submission_of(600_000))
    scene.state.runs.by_number[1].set_state(0, 1)  # so that the states are told
    second.join()
    scene.commands.clear()
    first.leave()
    (assigned,) = of_type(AssignRuns, scene.commands)
    assert len(assigned.blobs[0]) == 600_000


def test_lots_of_a_thousand_runs_with_large_data() -> None:
    scene = Scene(Limits(lot_jobs_max=1000))
    for number in range(1, 1001):
        scene.submit(wide(1), number)
    large = Pipeline([(Job("B", "y" * 500_000, name=str(i)), None) for i in range(40)])
    scene.submit(large, 1001)
    node = Node(scene, slots=4)
    node.join()
    scene.commands.clear()
    node.tell(GetJob(Capacity(60), 60, {"A": 1000, "B": 1000}))
    lots = [lot for m in of_type(JobsOut, scene.commands) for lot in m.lots]
    assert sum(len(lot.jobs) for lot in lots) > 500


def test_fifty_thousand_outcomes_and_ready_jobs_at_once() -> None:
    scene = Scene(Limits(resident_jobs_max=0))
    pipeliner = Planner(scene, "p")
    pipeliner.join()
    scene.ask(submission_of(50_000))
    (assigned,) = of_type(AssignRuns, scene.commands)
    ready = planning.Planner(10_000).handle([assigned])
    assert all(isinstance(message, AddJob) for message in ready)
    assert len(read_again(Send(b"", Envelope(message)) for message in ready)) == 5
    scene.commands.clear()
    scene.router.planning.settle(1, range(50_000), b"\1" * 50_000)
    scene.turn()
    assert len(of_type(JobsSettled, scene.commands)) == 5


def test_a_broker_with_five_thousand_long_failures() -> None:
    broker = Broker("n", "i", Capacity(1), {}, Limits(), "1")
    broker.handle([], 0.0)
    broker.handle([Received(b"", Envelope(Configuration(1, "c", 1, "1", "", {})))], 0.0)
    hello = broker.handle([SlotStarted(0, ("A",))], 0.1)
    broker.handle([Received(b"", Envelope(Welcome("i", 1, 7, "c", 1, 1)))], 0.2)
    jobs = array("I", range(5000))
    lot = Lot(100, "A", array("I", [1] * 5000), jobs)
    out = JobsOut(1, 1, (RunForSlot(1, "r"),), (lot,), Blobs([pack_plain(None), b""]))
    commands = broker.handle([Received(b"", Envelope(out, 7, 1, 0))], 0.3)
    assert any(isinstance(command, RunLot) for command in commands)
    failures = tuple(JobFailure(i, FAILURE) for i in range(5000))
    told = broker.handle([SlotProgressed(0, b"\2" * 5000, failures, 1.0)], 0.4)
    pieces = [p for m in of_type(JobsFinished, told) for p in m.lots]
    assert b"".join(piece.statuses for piece in pieces) == b"\2" * 5000
    assert sum(len(piece.failures) for piece in pieces) == 5000
    assert of_type(JoinBroker, hello)
    (again,) = of_type(JoinBroker, broker.handle([], 10.0))
    (held,) = (unpack_record(HeldLot, packed, FRAME_BYTES_MAX) for packed in again.held)
    assert len(held.failures) == 5000
