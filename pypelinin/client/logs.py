"""What jobs printed and used, as the Router keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgpack

from pypelinin.client.operations import Operations, ids_of
from pypelinin.errors import NotFound
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import ENDING, STDERR, STDOUT, STREAMS, USAGE, GetLogs, LogEntry, Logs

FOLLOW_S = 0.5
ALL_STREAMS = 1 << STDOUT | 1 << STDERR
ABOUT_ATTEMPTS = 1 << USAGE | 1 << ENDING


@dataclass(slots=True)
class Attempt:
    """One try of a job; what is not known is None. Times in seconds since 1970 and seconds,
    memory in bytes: the largest peak of one of its processes, or, if not *own_peak*, of all that
    ran in its slot until then."""

    number: int
    fence: int
    node: str = ""
    running: bool = False
    began_at: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    memory_peak: int | None = None
    own_peak: bool = False
    stdout_bytes: int | None = None
    stderr_bytes: int | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class LogPart:
    """Something a job printed; *stream* is "stdout" or "stderr". Before it *left_out* bytes were
    printed that are not kept, or not here yet. *attempt* counts those known of the job."""

    job: int
    attempt: int
    fence: int
    stream: str
    offset: int
    data: bytes
    left_out: int = 0


class Joined:
    """Puts parts together: some come twice, and some never come."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, int], int] = {}
        self._attempts: dict[int, list[int]] = {}

    def add(self, entry: LogEntry, data: bytes) -> LogPart | None:
        """What of *entry* is new."""
        fences = self._attempts.setdefault(entry.job, [])
        if entry.fence not in fences:
            fences.append(entry.fence)
        attempt = fences.index(entry.fence) + 1
        if entry.kind not in (STDOUT, STDERR):
            return None
        end = self._ends.get((entry.fence, entry.kind), 0)
        known = max(0, end - entry.offset)
        if known >= len(data):
            return None
        offset = entry.offset + known
        self._ends[entry.fence, entry.kind] = entry.offset + len(data)
        stream = STREAMS[entry.kind]
        return LogPart(entry.job, attempt, entry.fence, stream, offset, data[known:], offset - end)


class LogRequests(Operations):
    """Questions about evidence."""

    def logs(
        self,
        run: Pipeline | str,
        job: Job | str | int | None = None,
        *,
        follow: bool = False,
        attempt: int | None = None,
        streams: tuple[str, ...] = STREAMS,
    ) -> Iterator[LogPart]:
        """What *job* (a name or a number; None: all jobs) printed, in the order in which it came.

        *attempt* is that of `attempts` (-1: the last); all, if not given. *follow* goes on until
        the job, or the run, has ended. Raises NotFound.
        """
        (name,) = ids_of(run)
        number = -1 if job is None else self.job_number(name, job)
        fence = 0 if attempt is None or number < 0 else self._fence(name, number, attempt)
        kinds = ABOUT_ATTEMPTS | sum(1 << STREAMS.index(stream) for stream in streams)
        joined, place, was_open = Joined(), 0, True
        while True:
            answer = self._logs(name, number, fence, place, kinds)
            for entry, data in _entries(answer):
                part = joined.add(entry, data)
                if part is not None:
                    yield part
            place = answer.next
            if not answer.end:
                continue
            if not follow or not (answer.open or was_open):
                return
            was_open = answer.open  # what came last may be a moment behind the end
            self._drive(lambda: False, time.monotonic() + FOLLOW_S)

    def attempts(self, run: Pipeline | str, job: Job | str | int) -> list[Attempt]:
        """The tries of *job* of which something is known, in their order.

        A try of less than a millisecond that printed nothing and did not fail is not.
        Raises NotFound.
        """
        (name,) = ids_of(run)
        number = self.job_number(name, job)
        found: dict[int, Attempt] = {}
        place, end = 0, False
        while not end:
            answer = self._logs(name, number, 0, place, 15 if not place else ABOUT_ATTEMPTS)
            for entry, data in _entries(answer):
                _learn(found.setdefault(entry.fence, Attempt(0, entry.fence)), entry.kind, data)
            place, end = answer.next, answer.end
        if answer.running:
            running = found.setdefault(answer.running, Attempt(0, answer.running))
            running.running, running.node = True, answer.node
        listed = [found[fence] for fence in sorted(found)]
        for count, attempt in enumerate(listed, 1):
            attempt.number = count
        return listed

    def _fence(self, run: str, job: int, attempt: int) -> int:
        listed = self.attempts(run, job)
        place = attempt - 1 if attempt > 0 else len(listed) + attempt
        if not 0 <= place < len(listed):
            raise NotFound(f"Of job {job} of run {run} {len(listed)} attempts are known.")
        return listed[place].fence

    def _logs(self, run: str, job: int, fence: int, place: int, kinds: int) -> Logs:
        return self._ask(lambda n: GetLogs(n, run, job, fence, place, kinds), Logs)


def _entries(answer: Logs) -> Iterator[tuple[LogEntry, bytes]]:
    data, place = answer.blobs[0] if answer.blobs else b"", 0
    for entry in answer.entries:
        yield entry, data[place : place + entry.size]
        place += entry.size


def _learn(attempt: Attempt, kind: int, data: bytes) -> None:
    if kind == USAGE:
        (
            attempt.node, attempt.began_at, attempt.wall_s, attempt.cpu_s, attempt.memory_peak,
            attempt.own_peak, attempt.stdout_bytes, attempt.stderr_bytes,
        ) = msgpack.unpackb(data)  # fmt: skip
    elif kind == ENDING:
        node, *what = msgpack.unpackb(data)
        attempt.node = attempt.node or node
        cause, kind_name, text, trace = what
        attempt.failure = Failure(cause, kind_name, text, trace, node)


__all__ = ["Attempt", "LogPart", "LogRequests"]
