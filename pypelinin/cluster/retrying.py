"""A run again: what is done is given, the rest runs anew, perhaps with more memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace

from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import refuse
from pypelinin.graph import states
from pypelinin.wire.codec import pack_record, unpack_record
from pypelinin.wire.definitions import (
    AMOUNT_MAX,
    FRAME_BYTES_MAX,
    GONE,
    Header,
    Kind,
    Refusal,
    Terms,
)
from pypelinin.wire.messages import RetryRun
from pypelinin.wire.rows import Retried


def judge_retry(
    source: RunRecord, message: RetryRun, number: int, wall: float
) -> Retried | Refusal:
    """The row that begins *source* again as run *number*, or why not."""
    if source.open:
        return refuse(
            "conflict",
            f"Run {source.id} is still running.",
            "Wait for its end, or cancel it first: `pypelinin cancel`.",
        )
    sane = all(0 < memory <= AMOUNT_MAX for memory in message.memory)
    if not 8 <= len(message.new) <= 64 or not sane:
        return refuse("malformed", "The new run's id or its memory is out of bounds.")
    jobs = _runs_anew(source, message.failed_only)
    if not jobs:
        what = "failed" if message.failed_only else "is left to do"
        return refuse("conflict", f"Nothing of run {source.id} {what}.", "Submit it anew instead.")
    header = replace(source.header, run=message.new, open=False)
    if message.memory:
        header = replace(header, kinds=tuple(_with_memory(header.kinds, message.memory)))
    return Retried(number, source.id, pack_record(header), jobs, wall)


def _with_memory(kinds: Iterable[Kind], memory: tuple[int, ...]) -> Iterable[Kind]:
    for kind in kinds:
        terms = replace(kind.terms or Terms(), memory=memory[0])
        yield replace(kind, terms=terms, more_memory=memory[1:])


def _runs_anew(source: RunRecord, failed_only: bool) -> array[int]:
    """What did not succeed, and whoever made what it reads if that is not kept any more."""
    again = {states.FAILED, states.SKIPPED} | (set() if failed_only else {states.CANCELLED})
    anew = dict.fromkeys(job for job, state in enumerate(source.states) if state in again)
    stack = list(anew)
    while stack:
        for up in source.reads.get(stack.pop(), ()):
            if up not in anew and source.results.get(up) == GONE:
                anew[up] = None
                stack.append(up)
    return array("I", sorted(anew))


def repeated(source: RunRecord, row: Retried, lsn: int) -> RunRecord:
    """The new run as it begins."""
    header = unpack_record(Header, row.header, FRAME_BYTES_MAX)
    run = RunRecord(row.number, header, row.header, row.at, list(source.parts), lsn)
    run.retry_of, run.base_parts, run.closed = source.id, source.base_parts, True
    run.kind_of, run.ends, run.payloads = source.kind_of[:], source.ends[:], source.payloads[:]
    run.widest, run.reads, run.feeds = source.widest, dict(source.reads), list(source.feeds)
    run.states = bytearray(source.states)
    for job in row.open:
        run.states[job] = states.OPEN
    run.counts = [run.states.count(state) for state in range(len(run.counts))]
    run.results = {
        job: result for job, result in source.results.items() if run.states[job] == states.DONE
    }
    return run
