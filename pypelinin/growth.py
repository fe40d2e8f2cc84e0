"""What a running job, or the client of an open run, adds to it: jobs and edges as bytes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import Job
from pypelinin.pipeline import Calls, Pack, Pipeline
from pypelinin.wire.codec import pack_record
from pypelinin.wire.definitions import GROWTH_BYTES_MAX, GROWTH_JOBS_MAX, Growth

Keep = Callable[[Sequence[bytes | None]], Sequence[bytes | None]]


class Existing(Job):
    """A job that the run has already, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__("existing", name=name)


def pack_growth(
    jobs: Iterable[Job],
    edges: Iterable[tuple[Job, Job]],
    suffix: str,
    pack: Pack,
    calls: Calls,
    keep: Keep,
    known: Collection[Job] = frozenset(),
) -> tuple[bytes, list[Job]]:
    """(packed Growth, its jobs in order). *edges* lead to jobs that the run has already.

    Jobs of functions that were given no name get one that ends with *suffix*. *keep* puts
    large arguments elsewhere. Raises DefinitionError (Cycle, NotPicklable).
    """
    new, late = list(jobs), list(edges)
    for up, down in late:
        if is_new(up, known) == is_new(down, known) or is_new(down, known):
            raise DefinitionError(
                f"An edge leads from a new job to one that the run has, not {up!r} to {down!r}.",
                remedy="Say what a new job waits for with Job(..., after=[...]).",
            )
    for job in _all_of([*new, *(up for up, _ in late)], known):
        if not job.named and not isinstance(job.worker, str):
            job.name = f"{job.name.partition('+')[0]}+{suffix}"
    graph = Pipeline([*((job, None) for job in new), *late])
    return _packed(graph, late, pack, calls, keep, known)


def is_new(job: Job, known: Collection[Job]) -> bool:
    return not isinstance(job, Existing) and job not in known


def _all_of(jobs: Iterable[Job], known: Collection[Job]) -> list[Job]:
    """These new jobs and all new ones that they name."""
    found = dict.fromkeys(job for job in jobs if is_new(job, known))
    stack = list(found)
    while stack:
        job = stack.pop()
        for up in (*job.inputs, *job.after):
            if is_new(up, known) and up not in found:
                found[up] = None
                stack.append(up)
    return list(found)


def _packed(
    graph: Pipeline,
    late: Sequence[tuple[Job, Job]],
    pack: Pack,
    calls: Calls,
    keep: Keep,
    known: Collection[Job],
) -> tuple[bytes, list[Job]]:
    positions = [i for i, job in enumerate(graph.jobs) if is_new(job, known)]
    new = [graph.jobs[i] for i in positions]
    if len(new) > GROWTH_JOBS_MAX:
        raise DefinitionError(
            f"{len(new):,} jobs at once are too many for a run that grows, at most "
            f"{GROWTH_JOBS_MAX:,}.",
            remedy="Let one of the new jobs add the others.",
        )
    number = {job: i for i, job in enumerate(new)}
    names: dict[str, int] = {}

    def place(job: Job) -> int:
        if job in number:
            return number[job]
        return len(new) + names.setdefault(job.name, len(names))

    offsets, upstreams, reads = array("I", [0]), array("I"), bytearray()
    for i, job in zip(positions, new, strict=True):
        inputs = set(job.inputs)
        for up in graph.graph.upstreams_of(i):
            upstreams.append(place(graph.jobs[up]))
            reads.append(graph.jobs[up] in inputs)
        offsets.append(len(upstreams))
    feeds = [value for up, down in late for value in (number[up], place(down) - len(new))]
    kinds: dict[tuple[Any, ...], int] = {}
    functions: dict[str, bytes] = {}
    kind_of = array("I", [graph.kind_of(job, kinds, functions, calls) for job in new])
    sent = keep([graph.data_of(i, pack, calls) for i in positions])
    payloads = [graph.payload_of(job, data) for job, data in zip(new, sent, strict=True)]
    ends = array("I")
    for payload in payloads:
        ends.append((ends[-1] if ends else 0) + len(payload))
    packed = pack_record(
        Growth(
            tuple(graph.kinds_of(kinds)), kind_of, ends,
            b"".join(payloads), offsets, upstreams, bytes(reads), tuple(names),
            array("I", feeds), functions,
        )
    )  # fmt: skip
    if len(packed) > GROWTH_BYTES_MAX:
        raise DefinitionError(
            f"{len(new):,} jobs with {len(packed):,} bytes are too much for a run to grow by, at "
            f"most {GROWTH_BYTES_MAX:,}.",
            remedy="Let one of the new jobs add the others.",
        )
    return packed, new
