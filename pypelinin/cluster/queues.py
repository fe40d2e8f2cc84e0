"""Who waits: ready jobs by what they need, fair between submitters.

A class is all a node is chosen by: worker, labels, priority, terms. Within a class each
submitter has a line of its own; a line holds segments (run, array of jobs), not an object a job.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

from pypelinin.wire.definitions import Kind, Terms, TermsKey

ClassKey = tuple[int, str, tuple[tuple[str, str], ...], TermsKey | None, str]
LOT_RUNS_MAX = 250
"""Runs in one lot: each may need a frame of its own for its header."""


@dataclass(slots=True)
class _Segment:
    run: int
    jobs: array[int]
    begin: int = 0


@dataclass(slots=True)
class JobClass:
    """Jobs that any node of the same kind can run; *served* orders classes in turns.

    *since* is when no room was found for it first (-1: not since something of it was placed).
    """

    worker: str
    labels: dict[str, str]
    priority: int
    terms: Terms | None = None
    avoid: str = ""
    """The node where slots died with these; another one is to try them, if there is any."""
    served: int = 0
    since: float = -1.0
    count: int = 0
    widest: int = 1
    lines: dict[str, deque[_Segment]] = field(default_factory=dict)

    def add(self, submitter: str, run: int, jobs: array[int], first: bool) -> None:
        line = self.lines.get(submitter)
        if line is None:
            line = self.lines[submitter] = deque()
        if first:
            line.appendleft(_Segment(run, jobs))
        else:
            line.append(_Segment(run, jobs))
        self.count += len(jobs)

    def first(self, submitter: str) -> tuple[int, int]:
        """(run, job) of what *submitter* gets next."""
        segment = self.lines[submitter][0]
        return segment.run, segment.jobs[segment.begin]

    def take(self, submitter: str, jobs_max: int) -> tuple[array[int], array[int]]:
        """Up to *jobs_max* jobs of not too many runs, all of *submitter*."""
        line = self.lines[submitter]
        runs, jobs = array("I"), array("I")
        segments = 0
        while line and len(jobs) < jobs_max and segments < LOT_RUNS_MAX:
            segments += 1
            segment = line[0]
            got = segment.jobs[segment.begin : segment.begin + jobs_max - len(jobs)]
            segment.begin += len(got)
            jobs += got
            runs += array("I", [segment.run]) * len(got)
            if segment.begin == len(segment.jobs):
                line.popleft()
        self.count -= len(jobs)
        del self.lines[submitter]
        if line:
            self.lines[submitter] = line  # to the back: the others' turn
        return runs, jobs


class Queues:
    """All classes; empty ones are dropped."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, JobClass] = {}
        self.served = 0

    def add(
        self,
        kind: Kind,
        submitter: str,
        run: int,
        jobs: array[int],
        first: bool = False,
        widest: int = 1,
        memory_kills: int = 0,
        avoid: str = "",
    ) -> None:
        """Queue *jobs* of *run*; no payload of theirs is over *widest* bytes."""
        terms = kind.terms_after(memory_kills)
        labels = tuple(sorted(kind.labels.items())) if kind.labels else ()
        key = (-kind.priority, kind.worker, labels, None if terms is None else terms.key, avoid)
        found = self.classes.get(key)
        if found is None:
            found = JobClass(kind.worker, kind.labels, kind.priority, terms, avoid, self.served)
            self.classes[key] = found
        found.widest = max(found.widest, widest)
        found.add(submitter, run, jobs, first)

    def take(self, key: ClassKey, submitter: str, jobs_max: int) -> tuple[array[int], array[int]]:
        found = self.classes[key]
        self.served += 1
        found.served = self.served
        taken = found.take(submitter, jobs_max)
        if not found.count:
            del self.classes[key]
        return taken

    def drop(self, runs: set[int]) -> list[tuple[int, array[int]]]:
        """Take out everything of *runs* (they were cancelled); returns (run, jobs)."""
        dropped = []
        for key, found in list(self.classes.items()):
            for submitter, line in list(found.lines.items()):
                for segment in [s for s in line if s.run in runs]:
                    line.remove(segment)
                    dropped.append((segment.run, segment.jobs[segment.begin :]))
                    found.count -= len(segment.jobs) - segment.begin
                if not line:
                    del found.lines[submitter]
            if not found.count:
                del self.classes[key]
        return dropped

    @property
    def count(self) -> int:
        return sum(found.count for found in self.classes.values())

    def check(self) -> None:
        for found in self.classes.values():
            waiting = [len(s.jobs) - s.begin for line in found.lines.values() for s in line]
            assert found.count == sum(waiting) > 0
