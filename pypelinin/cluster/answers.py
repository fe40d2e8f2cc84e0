"""What the Router answers to those who only ask; changes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from pypelinin.cluster.coordinator import Coordinator
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.runs import RunRecord
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import BATCH_ROWS_MAX
from pypelinin.wire.messages import (
    Definition,
    GetDefinition,
    GetPipelines,
    GetStatus,
    JobFailure,
    Refused,
    RunStatus,
    Status,
)


def status(state: State, message: GetStatus) -> Record:
    if len(message.runs) > BATCH_ROWS_MAX:
        text = f"{len(message.runs)} runs in one question; {BATCH_ROWS_MAX} at most."
        return Refused(message.request, refuse("malformed", text))
    found = ((run, state.runs.get(run)) for run in message.runs)
    return Status(
        message.request,
        tuple(
            RunStatus(run, "unknown") if known is None else known.status() for run, known in found
        ),
    )


def pipelines(state: State, message: GetPipelines) -> Record:
    """The newest first."""
    limit = min(max(message.limit, 0), BATCH_ROWS_MAX)
    numbers: Iterable[int] = reversed(state.runs.by_number)
    chosen: list[RunStatus] = []
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
        chosen.append(run.status())
    return Status(message.request, tuple(chosen))


def definition(state: State, coordinator: Coordinator, message: GetDefinition) -> Record:
    run = state.runs.get(message.run)
    if run is None or not run.complete:
        return Refused(message.request, refuse("not found", f"There is no run {message.run[:64]}."))
    parts = [blob for part in run.parts if part is not None for blob in part]
    running = array("I", [j for j, s in enumerate(run.states) if s == states.OUT])
    failures = tuple(JobFailure(job, failure) for job, failure in run.failures.items())
    return Definition(
        message.request,
        with_reason(run, coordinator),
        failures[:100],
        running,
        Blobs([run.header_bytes, bytes(run.states), *parts]),
    )


def with_reason(run: RunRecord, coordinator: Coordinator) -> RunStatus:
    """The run's status; if nothing of it runs, with the reason why."""
    known = run.status()
    if not run.open or run.counts[states.OUT] or not run.counts[states.QUEUED]:
        return known
    job = run.states.index(states.QUEUED)
    fields = {name: getattr(known, name) for name in RunStatus.__slots__}
    return RunStatus(**{**fields, "reason": coordinator.reason(run.kind(job))})
