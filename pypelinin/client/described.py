"""A run as the Router knows it, back as the Pipeline it was made of."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from pypelinin.graph.job import Job
from pypelinin.pipeline import NIL, Pipeline
from pypelinin.runtime.values import unpack_value
from pypelinin.wire.codec import unpack_plain, unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Details, Header, Structure, needs_of
from pypelinin.wire.messages import Definition, RunStatus


def take_status(pipeline: Pipeline, status: RunStatus) -> None:
    """Keep what the Router says in the user's object."""
    pipeline.state = status.state
    pipeline.started_at = status.submitted_at or pipeline.started_at
    if status.finished_at:
        pipeline.finished_at = status.finished_at
    elif status.state == "unknown":
        pipeline.finished_at = time.time()  # its history is over
    if status.error is not None:
        pipeline.error = status.error
        number = int(status.error_job or 0)
        pipeline.error_job = pipeline.jobs[number].name if number < len(pipeline.jobs) else ""


def rebuilt(run: str, found: Definition) -> Pipeline:
    """The Pipeline behind a Definition, with what is known of its run."""
    pipeline = _rebuilt(found.blobs)
    pipeline.id = run
    take_status(pipeline, found.status)
    return pipeline


def _rebuilt(blobs: Sequence[bytes]) -> Pipeline:
    """From header, states, then the parts."""
    header = unpack_record(Header, blobs[0], FRAME_BYTES_MAX)
    jobs: list[Job] = []
    edges: list[tuple[int, int]] = []
    for structure_bytes, details_bytes in zip(blobs[2::2], blobs[3::2], strict=True):
        structure = unpack_record(Structure, structure_bytes, FRAME_BYTES_MAX)
        details = unpack_record(Details, details_bytes, FRAME_BYTES_MAX)
        jobs += _jobs_of(header, details, len(structure.offsets) - 1)
        for i in range(len(structure.offsets) - 1):
            low, high = structure.offsets[i], structure.offsets[i + 1]
            edges += [(up, structure.first + i) for up in structure.upstreams[low:high]]
    pairs: list[tuple[Any, Any]] = [(job, None) for job in jobs]
    pairs += [(jobs[up], jobs[down]) for up, down in edges]
    on_failure = "stop" if header.stops else "continue"
    return Pipeline(pairs, _plain(header.payload), labels=header.labels, on_failure=on_failure)


def _jobs_of(header: Header, details: Details, count: int) -> Iterator[Job]:
    starts = array("I", [0]) + details.ends
    for i in range(count):
        kind = header.kinds[details.kind_of[i] if details.kind_of else 0]
        own = details.payloads[starts[i] : starts[i + 1]] if details.ends else NIL
        name, data = unpack_plain(own, FRAME_BYTES_MAX) or (None, None)
        job = Job(
            kind.worker, None if data is None else _plain(data), name=name, labels=kind.labels,
            retries=kind.retries, priority=kind.priority,
        )  # fmt: skip
        job.needs = needs_of(kind)
        yield job


def _plain(payload: bytes) -> Any:
    """Only what is no pickle: a description must not run code."""
    if payload[:1] == b"f":  # with functions, and where the client was
        payload = unpack_plain(payload[1:], FRAME_BYTES_MAX)[0]
    return unpack_value(payload) if payload[:1] in (b"m", b"y") else None
