"""What the Router answers to those who only ask; changes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pypelinin.cluster.coordinator import Coordinator
from pypelinin.cluster.desk import Peer
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import BATCH_ROWS_MAX, is_own
from pypelinin.wire.messages import (
    Cluster,
    Definition,
    GetDefinition,
    GetPipelines,
    GetResults,
    GetStatus,
    JobFailure,
    NodeStatus,
    Outcomes,
    Refused,
    Results,
    RunStatus,
    Status,
)

FAILURES_MAX = 100
ROWS_BYTES_MAX = 200_000
"""What errors and labels may take of a message of many rows."""
OUTCOMES_BYTES_MAX = 512 * 1024
"""About what results take of one message."""


def statuses(runs: Iterable[RunRecord]) -> tuple[RunStatus, ...]:
    """Their status; when there is no more room, with errors in short and without labels."""
    room = ROWS_BYTES_MAX
    rows = []
    for run in runs:
        row = run.status()
        room -= sum(4 * (len(k) + len(v)) for k, v in row.labels.items())
        room -= 0 if row.error is None else row.error.size
        if room < 0:
            error = None if row.error is None else row.error.short()
            row = replace(row, error=error, labels={})
        rows.append(row)
    return tuple(rows)


def member(
    state: State, peer: Peer, coordinator: Coordinator, owner: dict[int, int], now: float
) -> NodeStatus:
    """A Broker or Pipeliner as people see it; *owner* is the session that plans each run."""
    planned = sum(session == peer.link.session for session in owner.values())
    node = coordinator.nodes.get(peer.node)
    if node is None:
        silent_s, version = now - peer.heard_at, peer.version
        return NodeStatus(
            peer.name, peer.role, "up", 0, 0, (), {}, silent_s, planned, version=version
        )
    running = sum(len(lot.jobs) - lot.next for lot in state.attempts.of_node(peer.node))
    workers = tuple(sorted(worker for worker in node.workers if not is_own(worker)))
    return NodeStatus(
        peer.name, peer.role, "draining" if node.closed else "up", node.offered.cores, running,
        workers, node.labels, now - peer.heard_at, planned, node.capacity, node.free,
        peer.version, node.closed, peer.sample,
    )  # fmt: skip


def awaited(state: State, members: Iterable[int]) -> Iterator[NodeStatus]:
    """Nodes that are to come back after a restart."""
    for member in members:
        yield NodeStatus(state.members[member].name, "broker", "awaited", 0, 0, (), {}, 0.0)


def cluster(
    state: State, request: int, version: str, nodes: list[NodeStatus], queued: int, since: float
) -> Cluster:
    running = sum(len(lot.jobs) - lot.next for lot in state.attempts.lots.values())
    runs = state.runs
    return Cluster(
        request, state.cluster, state.epoch, version, tuple(nodes), runs.open_count,
        len(runs.finished_order), queued, running, state.lsn, since,
    )  # fmt: skip


def status(state: State, message: GetStatus) -> Record:
    if len(message.runs) > BATCH_ROWS_MAX:
        text = f"{len(message.runs)} runs in one question; {BATCH_ROWS_MAX} at most."
        return Refused(message.request, refuse("malformed", text))
    found = {run: state.runs.get(run) for run in message.runs}
    known = {row.run: row for row in statuses(run for run in found.values() if run is not None)}
    rows = tuple(known.get(run) or RunStatus(run, "unknown") for run in message.runs)
    return Status(message.request, rows)


def results(state: State, message: GetResults) -> Record:
    """The ended jobs of a run from *first* on, as many as one message takes."""
    run = state.runs.get(message.run)
    if run is None or not run.complete:
        return Refused(message.request, refuse("not found", f"There is no run {message.run[:64]}."))
    first = max(message.first, 0)
    room, end, ended = OUTCOMES_BYTES_MAX, first, []
    while end < len(run.states) and room > 0:
        status = run.states[end]
        if status in states.ENDED:
            ended.append((end, status))
            room -= 16 + len(run.results.get(end, b""))
        end += 1
    found = next(outcomes(run, ended), Outcomes(run.id, array("I"), b""))
    return Results(message.request, found, end if end < len(run.states) else -1)


def outcomes(run: RunRecord, ended: Sequence[tuple[int, int]]) -> Iterator[Outcomes]:
    """These outcomes with results and failures, in pieces of bounded size."""
    jobs, statuses = array("I"), bytearray()
    found: list[bytes] = []
    failures: list[JobFailure] = []
    size = 0
    for job, status in ended:
        if status not in states.ENDED:
            continue
        if size > OUTCOMES_BYTES_MAX:
            yield Outcomes(run.id, jobs, bytes(statuses), tuple(failures), _unless_empty(found))
            jobs, statuses, found, failures, size = array("I"), bytearray(), [], [], 0
        jobs.append(job)
        statuses.append(status)
        found.append(run.results.get(job, b""))
        size += 16 + len(found[-1])
        if status == states.FAILED and job in run.failures:
            failures.append(JobFailure(job, run.failures[job]))
            size += run.failures[job].size
    if jobs:
        yield Outcomes(run.id, jobs, bytes(statuses), tuple(failures), _unless_empty(found))


def batches(parts: Iterable[Outcomes]) -> Iterator[list[Outcomes]]:
    """Pieces that fit into one message together."""
    batch: list[Outcomes] = []
    size = 0
    for part in parts:
        added = 64 + 16 * len(part.jobs) + sum(map(len, part.results))
        if batch and (size + added > OUTCOMES_BYTES_MAX or len(batch) == BATCH_ROWS_MAX):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += added
    if batch:
        yield batch


def _unless_empty(found: list[bytes]) -> tuple[bytes, ...]:
    return tuple(found) if any(found) else ()


def pipelines(state: State, message: GetPipelines) -> Record:
    """The newest first."""
    limit = min(max(message.limit, 0), BATCH_ROWS_MAX)
    numbers: Iterable[int] = reversed(state.runs.by_number)
    chosen: list[RunRecord] = []
    skip = max(message.offset, 0)
    for number in numbers:
        run = state.runs.by_number[number]
        if not run.complete or (message.state and run.state != message.state):
            continue
        if skip:
            skip -= 1
            continue
        if len(chosen) == limit:
            break
        chosen.append(run)
    return Status(message.request, statuses(chosen))


def definition(state: State, coordinator: Coordinator, message: GetDefinition) -> Record:
    run = state.runs.get(message.run)
    if run is None or not run.complete:
        return Refused(message.request, refuse("not found", f"There is no run {message.run[:64]}."))
    parts = [blob for part in run.parts if part is not None for blob in part]
    running = array("I", [j for j, s in enumerate(run.states) if s == states.OUT])
    room = ROWS_BYTES_MAX
    failures = []
    for job, failure in list(run.failures.items())[:FAILURES_MAX]:
        room -= failure.size
        failures.append(JobFailure(job, failure if room >= 0 else failure.short()))
    return Definition(
        message.request,
        with_reason(run, coordinator),
        tuple(failures),
        running,
        Blobs([run.packed_header(), bytes(run.states), *parts]),
    )


def with_reason(run: RunRecord, coordinator: Coordinator) -> RunStatus:
    """The run's status; if nothing of it runs, with the reason why."""
    known = run.status()
    if run.open and run.paused:
        return replace(known, reason="it is paused")
    if not run.open or run.counts[states.OUT] or not run.counts[states.QUEUED]:
        return known
    job = run.states.index(states.QUEUED)
    return replace(known, reason=coordinator.reason(run.kind(job)))
