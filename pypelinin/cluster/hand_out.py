"""Lots as messages for a node: cut by bytes, with the headers it does not know yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pypelinin.cluster.runs import NIL, RunRecord
from pypelinin.cluster.state import State
from pypelinin.wire.codec import Blobs
from pypelinin.wire.messages import JobsOut, Lot, RunForSlot
from pypelinin.wire.rows import LotRow

MESSAGE_BYTES_MAX = 256 * 1024
MESSAGE_BLOBS_MAX = 500


def lots_for(
    state: State,
    known: dict[int, None],
    workers: Sequence[str],
    lots: Sequence[LotRow],
    basis_lsn: int,
) -> Iterator[JobsOut]:
    """Messages with *lots*; *known* are the runs the node has headers of, and grows."""
    headers: list[RunForSlot] = []
    payloads: list[bytes] = []
    rows: list[Lot] = []
    row_payloads: list[bytes] = []
    size = 0
    for worker, row in zip(workers, lots, strict=True):
        if size > MESSAGE_BYTES_MAX or len(headers) + len(rows) > MESSAGE_BLOBS_MAX:
            blobs = _blobs(payloads, row_payloads)
            yield JobsOut(state.epoch, basis_lsn, tuple(headers), tuple(rows), blobs)
            headers, payloads, rows, row_payloads, size = [], [], [], [], 0
        runs = [state.runs.by_number[number] for number in dict.fromkeys(row.runs)]
        for run in runs:
            if run.number not in known:
                known[run.number] = None
                headers.append(RunForSlot(run.number, run.id))
                payloads.append(run.header.payload)
        rows.append(Lot(row.fence, worker, row.runs, row.jobs))
        row_payloads.append(_payloads(row, runs))
        size += 8 * len(row.jobs) + 64
    yield JobsOut(
        state.epoch, basis_lsn, tuple(headers), tuple(rows), _blobs(payloads, row_payloads)
    )


def _blobs(headers: list[bytes], lots: list[bytes]) -> Blobs:
    return Blobs(headers + lots) if any(lots) else Blobs(headers)


def _payloads(row: LotRow, runs: Sequence[RunRecord]) -> bytes:
    """One msgpack value a job, or nothing if no job has one of its own."""
    if not any(run.ends for run in runs):
        return b""
    if len(runs) == 1 and row.jobs[-1] - row.jobs[0] == len(row.jobs) - 1:
        run, first, last = runs[0], row.jobs[0], row.jobs[-1]
        if all(job == first + i for i, job in enumerate(row.jobs)):
            return bytes(run.payloads[run.ends[first - 1] if first else 0 : run.ends[last]])
    by_number = {run.number: run for run in runs}
    return b"".join(
        by_number[number].payload(job) if by_number[number].ends else NIL
        for number, job in zip(row.runs, row.jobs, strict=True)
    )
