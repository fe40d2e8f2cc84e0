"""What a lot holds, and lots as messages for a node.

Jobs that only wait for a job of the lot, and that nothing else holds up, go with it: the
slot runs such a line of jobs without asking. Messages are cut by bytes and bring the
headers that the node does not know yet.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from pypelinin.cluster.coordinator import Placed
from pypelinin.cluster.growing import NIL
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.queues import JobClass
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.runs import Runs
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, pack_plain
from pypelinin.wire.messages import JobsOut, Lot, RunForSlot
from pypelinin.wire.rows import LotRow

MESSAGE_BYTES_MAX = 256 * 1024
MESSAGE_BLOBS_MAX = 500


def with_followers(
    runs: Runs, planning: Planning, lot: Placed
) -> tuple[array[int], array[int], bytes]:
    """(runs, jobs, follows) of the lot, each job with those of its kind right behind it."""
    numbers, jobs, follows, room = array("I"), array("I"), bytearray(), lot.room
    for number, job in zip(lot.runs, lot.jobs, strict=True) if room else ():
        line = [job]
        for behind in planning.line(number, job, room):
            run = runs.by_number[number]
            if run.states[behind] != states.OPEN or run.kind(behind) is not run.kind(job):
                break
            if run.memory_kills[behind] != run.memory_kills[job] or behind in run.crash_nodes:
                break
            line.append(behind)
        room -= len(line) - 1
        jobs.extend(line)
        numbers.extend([number] * len(line))
        follows += b"\0" + b"\1" * (len(line) - 1)
    return (numbers, jobs, bytes(follows)) if any(follows) else (lot.runs, lot.jobs, b"")


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
    classes: Sequence[JobClass],
    lots: Sequence[LotRow],
    basis_lsn: int,
) -> Iterator[JobsOut]:
    """Messages with *lots*; *known* are the runs the node has headers of, and grows.

    A lot's headers come with it or before it.
    """
    batch = _Batch()
    for waiting, row in zip(classes, lots, strict=True):
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
        lot = Lot(row.fence, waiting.worker, row.runs, row.jobs, row.follows, waiting.terms)
        batch.rows.append(lot)
        batch.row_payloads.append(_payloads(row, runs))
        batch.size += 8 * len(row.jobs) + len(batch.row_payloads[-1]) + 64
    yield batch.message(state.epoch, basis_lsn)


def _blobs(headers: list[bytes], lots: list[bytes]) -> Blobs:
    return Blobs(headers + lots) if any(lots) else Blobs(headers)


def _payloads(row: LotRow, runs: Sequence[RunRecord]) -> bytes:
    """One msgpack value a job, or nothing if no job has one of its own."""
    if not any(run.ends for run in runs):
        return b""
    if any(run.reads for run in runs):
        by_number = {run.number: run for run in runs}
        return b"".join(
            _with_inputs(by_number[number], job)
            for number, job in zip(row.runs, row.jobs, strict=True)
        )
    if len(runs) == 1 and row.jobs[-1] - row.jobs[0] == len(row.jobs) - 1:
        run, first, last = runs[0], row.jobs[0], row.jobs[-1]
        if all(job == first + i for i, job in enumerate(row.jobs)):
            return bytes(run.payloads[run.ends[first - 1] if first else 0 : run.ends[last]])
    by_number = {run.number: run for run in runs}
    return b"".join(
        by_number[number].payload(job) if by_number[number].ends else NIL
        for number, job in zip(row.runs, row.jobs, strict=True)
    )


def _with_inputs(run: RunRecord, job: int) -> bytes:
    """The job's own value, [name, data], with the results that it reads behind it."""
    own = run.payload(job)
    if job not in run.reads:
        return own
    return b"\x93" + (own[1:] if own != NIL else NIL + NIL) + pack_plain(run.inputs(job))
