"""Functions as jobs: `Executor` and graphs of functions beside ProcessPoolExecutor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.cluster import SLOTS, scratch_directory
from benchmarks.figures import Bar, Figure, fdatasync_us, timed
from benchmarks.graphs import Graph
from benchmarks.pool import Chaining, submit_all
from benchmarks.scenarios import LATENCY_MS_MAX, Bench, Warm, percentiles_ms
from benchmarks.workers import gather, noop, same
from pypelinin import Executor, Job, LocalRunner, Pipeline, PipelineManager

MIB = 1024 * 1024
EMBEDDED_MS_MAX = 0.5
Work = Callable[[AnyExecutor], object]


@contextmanager
def executor(where: str, bench: Bench) -> Iterator[Executor]:
    """Warm: on the cluster of *bench*, here and durable, or here and not."""
    if where == "cluster":
        with Executor(api=bench.cluster.api) as made:
            submit_all(made, 200)
            yield made
    elif where == "embedded":
        with Executor(SLOTS) as made:
            submit_all(made, 200)
            yield made
    else:
        with (
            scratch_directory(bench.directory) as scratch,
            Executor(SLOTS, directory=scratch / "journal") as made,
        ):
            submit_all(made, 200)
            yield made


@dataclass(frozen=True, slots=True)
class Calls(Warm):
    """The same *work* on our executor *where* it runs, and on the pool."""

    name: str
    what: str
    where: str
    unit: str
    units: int
    work: Work
    bar: Bar | None = None

    def figures(self, synchronous: str) -> list[Figure]:
        rate = self.unit.endswith("/s")
        what = f"{self.what}, {self.where}"
        return [Figure(self.name, what, synchronous, self.unit, rate, self.bar)]

    def ours(self, bench: Bench) -> list[float]:
        with executor(self.where, bench) as ours:
            return [self._value(timed(lambda: self.work(ours)))]

    def pool(self, bench: Bench) -> list[float]:
        return [self._value(timed(lambda: self.work(bench.pool)))]

    def _value(self, seconds: float) -> float:
        return self.units / seconds if self.unit.endswith("/s") else 1e6 * seconds / self.units


@dataclass(frozen=True, slots=True)
class CallLatency(Warm):
    """`submit` and `result` in turn."""

    where: str
    calls: int
    name: str = "call"

    def figures(self, synchronous: str) -> list[Figure]:
        what = f"{self.calls:,} calls in turn, {self.where}"
        return [
            Figure(self.name, f"{what}, p50", synchronous, "ms"),
            Figure(self.name, f"{what}, p95", synchronous, "ms"),
            Figure(self.name, "fdatasync of 4 KiB then", synchronous, "µs"),
        ]

    def ours(self, bench: Bench) -> list[float]:
        before_us = fdatasync_us(bench.directory)
        with executor(self.where, bench) as made:
            seconds = [timed(lambda: made.submit(noop, 0).result()) for _ in range(self.calls)]
        return [*percentiles_ms(seconds), min(before_us, fdatasync_us(bench.directory))]

    def pool(self, bench: Bench) -> list[float]:
        pool = bench.pool
        seconds = [timed(lambda: pool.submit(noop, 0).result()) for _ in range(self.calls)]
        return percentiles_ms(seconds)

    def judged(self, figures: list[Figure]) -> list[Figure]:
        if self.where == "embedded":
            figures[0].bar = Bar(EMBEDDED_MS_MAX, at_least=False)
        else:
            limit = LATENCY_MS_MAX + 2 * figures[2].median / 1000
            figures[0].bar = Bar(limit, at_least=False, why="1 ms + 2 fdatasyncs")
        return figures


@dataclass(frozen=True, slots=True)
class FunctionGraph(Warm):
    """A graph whose jobs read each other's results (*data*), or only wait for each other."""

    name: str
    what: str
    where: str
    graph: Graph
    data: bool
    bar: Bar | None = None

    def figures(self, synchronous: str) -> list[Figure]:
        what = f"{self.what}, {self.where}"
        return [Figure(self.name, what, synchronous, "jobs/s", True, self.bar)]

    def pipeline(self) -> Pipeline:
        ups: list[list[int]] = [[] for _ in range(self.graph.jobs)]
        for up, down in self.graph.edges:
            ups[down].append(up)
        jobs: list[Job] = []
        for number in range(self.graph.jobs):
            named = [jobs[up] for up in ups[number]]
            if self.data:
                jobs.append(Job(gather, args=tuple(named), name=str(number)))
            else:
                jobs.append(Job(gather, after=named, name=str(number)))
        return Pipeline(jobs)

    def ours(self, bench: Bench) -> list[float]:
        pipeline = self.pipeline()
        if self.where == "cluster":
            return [self._rate(bench.manager, pipeline)]
        with (
            scratch_directory(bench.directory) as scratch,
            LocalRunner(SLOTS, directory=scratch / "journal") as runner,
        ):
            runner.run(Pipeline([Job(noop, args=(0,))]))
            return [self._rate(runner, pipeline)]

    def _rate(self, manager: PipelineManager, pipeline: Pipeline) -> float:
        return self.graph.jobs / timed(lambda: manager.run(pipeline))

    def pool(self, bench: Bench) -> list[float]:
        chaining = Chaining(self.graph)
        return [self.graph.jobs / timed(lambda: chaining.run(bench.pool))]


def map_chunks(count: int, chunk: int) -> Work:
    def work(executor: AnyExecutor) -> None:
        for _ in executor.map(noop, range(count), chunksize=chunk):
            pass

    return work


def payloads(count: int, size: int) -> Work:
    """*count* jobs that get and return *size* bytes, the results taken in order."""
    data = [os.urandom(size) for _ in range(8)]

    def work(executor: AnyExecutor) -> None:
        futures: list[Future[bytes]] = [
            executor.submit(same, data[i % len(data)]) for i in range(count)
        ]
        for i in range(count):
            assert len(futures[i].result()) == size
            futures[i] = Future()  # the caller keeps no result

    return work


def submits(count: int) -> Work:
    return lambda executor: submit_all(executor, count)


def function_scenarios(scale: float, layers: Graph) -> list[Warm]:
    def scaled(count: int) -> int:
        return max(2, round(count * scale))

    many, turns, mapped, large = scaled(10_000), scaled(500), scaled(100_000), scaled(1000)
    twice, once = Bar(2.0, at_least=True, of_ratio=True), Bar(1.0, at_least=True, of_ratio=True)
    found: list[Warm] = []
    for where in ("cluster", "durable", "embedded"):
        work = submits(many)
        found.append(Calls("submit", f"{many:,} calls", where, "calls/s", many, work, twice))
    for where in ("cluster", "durable", "embedded"):
        found.append(CallLatency(where, turns))
    for where in ("cluster", "durable"):
        what = f"{mapped:,} calls, chunksize 100"
        work = map_chunks(mapped, 100)
        found.append(Calls("map", what, where, "calls/s", mapped, work, once))
    for where in ("cluster", "durable", "embedded"):
        what = f"{large:,} jobs, 1 MiB in and out"
        work = payloads(large, MIB)
        found.append(Calls("payload", what, where, "jobs/s", large, work, once))
    for where in ("cluster", "durable"):
        what = f"10 layers of {layers.jobs // 10:,} functions"
        found.append(FunctionGraph("functions", what, where, layers, False, twice))
        found.append(FunctionGraph("functions", f"{what} with data", where, layers, True, twice))
    return found
