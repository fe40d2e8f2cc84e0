"""The graphs of the scenarios, for both sides."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from pypelinin import Job, Pipeline

Edges = list[tuple[int, int]]
"""(upstream, downstream)."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Jobs 0 to *jobs* - 1; the *workers* take turns in that order."""

    jobs: int
    edges: Edges
    workers: tuple[str, ...] = ("Noop",)

    def pipeline(self) -> Pipeline:
        workers = itertools.cycle(self.workers)
        jobs = [Job(next(workers), name=str(number)) for number in range(self.jobs)]
        linked = {job for edge in self.edges for job in edge}
        pairs: list[tuple[Job, Job | None]] = [(jobs[up], jobs[down]) for up, down in self.edges]
        pairs += [(job, None) for number, job in enumerate(jobs) if number not in linked]
        return Pipeline(pairs)


def unlinked(jobs: int) -> Graph:
    return Graph(jobs, [])


def chain(jobs: int, *workers: str) -> Graph:
    return Graph(jobs, [(job, job + 1) for job in range(jobs - 1)], workers or ("Noop",))


def chains(count: int, length: int) -> Graph:
    """Many at once, as one graph."""
    starts = range(0, count * length, length)
    edges = [(start + i, start + i + 1) for start in starts for i in range(length - 1)]
    return Graph(count * length, edges)


def layered(layers: int, width: int, seed: int = 1) -> Graph:
    """Each job waits for two random ones of the layer before."""
    chosen = random.Random(seed)
    edges = [
        (start - width + up, start + job)
        for start in range(width, layers * width, width)
        for job in range(width)
        for up in chosen.sample(range(width), 2)
    ]
    return Graph(layers * width, edges)
