"""The other side: the same work on ProcessPoolExecutor, a submit for each job."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ProcessPoolExecutor
from queue import SimpleQueue

from benchmarks.graphs import Graph
from benchmarks.workers import noop

PROCESSES = 2
WARM_UP_JOBS = 200


def open_pool() -> ProcessPoolExecutor:
    """With its processes started: they are forked while this one has no other thread."""
    pool = ProcessPoolExecutor(PROCESSES)
    submit_all(pool, WARM_UP_JOBS)
    return pool


def submit_all(pool: Executor, jobs: int) -> None:
    futures = [pool.submit(noop, job) for job in range(jobs)]
    for future in futures:
        future.result()


def submit_in_turn(pool: ProcessPoolExecutor, jobs: int) -> None:
    """Submit, result, submit."""
    for job in range(jobs):
        pool.submit(noop, job).result()


class Chaining:
    """A graph by hand: what has no upstream left is submitted when a future is done."""

    def __init__(self, graph: Graph) -> None:
        self._missing = [0] * graph.jobs
        self._downstreams: list[list[int]] = [[] for _ in range(graph.jobs)]
        for up, down in graph.edges:
            self._missing[down] += 1
            self._downstreams[up].append(down)

    def run(self, pool: ProcessPoolExecutor) -> None:
        """Once; the counts are used up."""
        done: SimpleQueue[tuple[int, Future[None]]] = SimpleQueue()

        def start(job: int) -> None:
            pool.submit(noop, job).add_done_callback(lambda future: done.put((job, future)))

        for job in [job for job, missing in enumerate(self._missing) if not missing]:
            start(job)
        for _ in self._missing:
            job, future = done.get()
            future.result()
            for down in self._downstreams[job]:
                self._missing[down] -= 1
                if not self._missing[down]:
                    start(down)
