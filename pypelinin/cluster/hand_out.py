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


class _Batch:
    """What goes into one message."""

    def __init__(self) -> None:
        self.headers: list[RunForSlot] = []
        self.payloads: list[bytes] = []
        self.rows: list[Lot] = []
        self.row_payloads: list[bytes] = []
        self.size = 0

    @property
    def full(self) -> bool:
        blobs = len(self.headers) + len(self.rows)
        return self.size > MESSAGE_BYTES_MAX or blobs >= MESSAGE_BLOBS_MAX

    def message(self, epoch: int, lsn: int) -> JobsOut:
        blobs = _blobs(self.payloads, self.row_payloads)
        return JobsOut(epoch, lsn, tuple(self.headers), tuple(self.rows), blobs)


def lots_for(
    state: State,
    known: dict[int, None],
    workers: Sequence[str],
    lots: Sequence[LotRow],
    basis_lsn: int,
) -> Iterator[JobsOut]:
    """Messages with *lots*; *known* are the runs the node has headers of, and grows.

    A lot's headers come with it or before it.
    """
    batch = _Batch()
    for worker, row in zip(workers, lots, strict=True):
        runs = [state.runs.by_number[number] for number in dict.fromkeys(row.runs)]
        for run in runs:
            if run.number not in known:
                if batch.full:
                    yield batch.message(state.epoch, basis_lsn)
                    batch = _Batch()
                known[run.number] = None
                batch.headers.append(RunForSlot(run.number, run.id))
                batch.payloads.append(run.header.payload)
                batch.size += len(run.header.payload) + 64
        if batch.full:
            yield batch.message(state.epoch, basis_lsn)
            batch = _Batch()
        batch.rows.append(Lot(row.fence, worker, row.runs, row.jobs))
        batch.row_payloads.append(_payloads(row, runs))
        batch.size += 8 * len(row.jobs) + len(batch.row_payloads[-1]) + 64
    yield batch.message(state.epoch, basis_lsn)


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
