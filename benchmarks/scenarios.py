"""What is measured. Each scenario runs for us and for the pool in turns, in one process.

Building the graph (`Pipeline(...)` here, lists there) is in the figures of neither side.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.cluster import SLOTS, Cluster, pss_bytes, run, scratch_directory
from benchmarks.figures import Bar, Figure, fdatasync_us, timed
from benchmarks.graphs import Graph, chain, chains, layered, unlinked
from benchmarks.pool import PROCESSES, Chaining, submit_all, submit_in_turn
from benchmarks.workers import noop
from pypelinin import PipelineManager

IDLE_S = 1.0
IDLE_MB_MAX = 150.0
START_UP_S_MAX = 1.5
LATENCY_MS_MAX = 1.0
"""To this come two fdatasyncs as measured."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a scenario works with: a warm cluster and its client, a warm pool."""

    cluster: Cluster
    manager: PipelineManager
    pool: ProcessPoolExecutor
    directory: Path


class Scenario(ABC):
    """*name* is its word on the command line."""

    name: str

    @abstractmethod
    def figures(self, synchronous: str) -> list[Figure]:
        """New lines of the table, empty."""

    def judged(self, figures: list[Figure]) -> list[Figure]:
        """The filled *figures* with bars that depend on what was measured."""
        return figures


class Warm(Scenario):
    """One run is a value for each figure."""

    @abstractmethod
    def ours(self, bench: Bench) -> list[float]: ...

    @abstractmethod
    def pool(self, bench: Bench) -> list[float]: ...


class Cold(Scenario):
    """The same, but each run starts what it measures."""

    @abstractmethod
    def ours(self, directory: Path, synchronous: str) -> list[float]: ...

    @abstractmethod
    def pool(self) -> list[float]: ...


Prepared = Callable[[], object]
Prepare = Callable[[ProcessPoolExecutor], Prepared]


@dataclass(frozen=True, slots=True)
class Run(Warm):
    """*graphs* submitted at once and waited for; *units* of work a second, or µs for each."""

    name: str
    what: str
    unit: str
    units: int
    graphs: list[Graph]
    prepare: Prepare
    bar: Bar | None = None

    def figures(self, synchronous: str) -> list[Figure]:
        rate = self.unit.endswith("/s")
        return [Figure(self.name, self.what, synchronous, self.unit, rate, self.bar)]

    def ours(self, bench: Bench) -> list[float]:
        pipelines = [graph.pipeline() for graph in self.graphs]
        return [self._value(timed(lambda: run(bench.manager, pipelines)))]

    def pool(self, bench: Bench) -> list[float]:
        return [self._value(timed(self.prepare(bench.pool)))]

    def _value(self, seconds: float) -> float:
        return self.units / seconds if self.unit.endswith("/s") else 1e6 * seconds / self.units


def by_hand(graph: Graph) -> Prepare:
    """The client follows the graph itself."""

    def prepare(pool: ProcessPoolExecutor) -> Prepared:
        chaining = Chaining(graph)
        return lambda: chaining.run(pool)

    return prepare


class Latency(Warm):
    """Submitted, durable, run, known to be done; then the next."""

    name = "latency"

    def __init__(self, pipelines: int) -> None:
        self._pipelines = pipelines

    def figures(self, synchronous: str) -> list[Figure]:
        what = f"{self._pipelines:,} pipelines of 1 job in turn"
        return [
            Figure(self.name, f"{what}, p50", synchronous, "ms"),
            Figure(self.name, f"{what}, p95", synchronous, "ms"),
            Figure(self.name, "fdatasync of 4 KiB then", synchronous, "µs"),
        ]

    def ours(self, bench: Bench) -> list[float]:
        pipelines = [[unlinked(1).pipeline()] for _ in range(self._pipelines)]
        before_us = fdatasync_us(bench.directory)
        seconds = [timed(partial(run, bench.manager, p)) for p in pipelines]
        return [*percentiles_ms(seconds), min(before_us, fdatasync_us(bench.directory))]

    def pool(self, bench: Bench) -> list[float]:
        times = range(self._pipelines)
        return percentiles_ms([timed(lambda: submit_in_turn(bench.pool, 1)) for _ in times])

    def judged(self, figures: list[Figure]) -> list[Figure]:
        limit = LATENCY_MS_MAX + 2 * figures[2].median / 1000
        figures[0].bar = Bar(limit, at_least=False, why="1 ms + 2 fdatasyncs")
        return figures


def percentiles_ms(seconds: list[float]) -> list[float]:
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return [1000 * cuts[9], 1000 * cuts[18]]


class StartUp(Cold):
    """From the start of the processes to the first result; the client is there already."""

    name = "startup"

    def figures(self, synchronous: str) -> list[Figure]:
        bar = Bar(START_UP_S_MAX, at_least=False)
        return [Figure(self.name, "three processes", synchronous, "s", bar=bar)]

    def ours(self, directory: Path, synchronous: str) -> list[float]:
        pipelines = [unlinked(1).pipeline()]
        with ExitStack() as stack:
            begin = time.perf_counter()
            cluster = stack.enter_context(Cluster(directory, synchronous))
            manager = stack.enter_context(PipelineManager(cluster.api))
            run(manager, pipelines)
            return [time.perf_counter() - begin]

    def pool(self) -> list[float]:
        begin = time.perf_counter()
        with ProcessPoolExecutor(PROCESSES) as pool:
            pool.submit(noop, 0).result()
            return [time.perf_counter() - begin]


class LocalStartUp(StartUp):
    """The same for the cluster that `pypelinin demo` starts; it waits for all daemons."""

    def figures(self, synchronous: str) -> list[Figure]:
        bar = Bar(START_UP_S_MAX, at_least=False)
        what = "LocalCluster"
        return [Figure(self.name, what, synchronous, "s", bar=bar)]

    def ours(self, directory: Path, synchronous: str) -> list[float]:
        from pypelinin.cli.local import LocalCluster

        pipelines = [unlinked(1).pipeline()]
        with scratch_directory(directory) as scratch, ExitStack() as stack:
            journal = scratch / "journal" if synchronous == "full" else None
            begin = time.perf_counter()
            cluster = stack.enter_context(
                LocalCluster(["benchmarks.workers"], slots=SLOTS, journal=journal)
            )
            manager = stack.enter_context(PipelineManager(cluster.api))
            run(manager, pipelines)
            return [time.perf_counter() - begin]


class Memory(Warm):
    """All processes that are not the client."""

    name = "memory"

    def figures(self, synchronous: str) -> list[Figure]:
        bar = Bar(IDLE_MB_MAX, at_least=False)
        return [Figure(self.name, "idle, 2 slots, PSS", synchronous, "MB", bar=bar)]

    def ours(self, bench: Bench) -> list[float]:
        time.sleep(IDLE_S)
        return [bench.cluster.pss_bytes() / 1e6]

    def pool(self, bench: Bench) -> list[float]:  # noqa: ARG002 - it is the only one
        pids = [process.pid for process in multiprocessing.active_children() if process.pid]
        return [pss_bytes(pids) / 1e6]


NAMES = (
    "startup", "memory", "throughput", "latency", "chain", "edge", "layered", "small",
    "submit", "call", "map", "payload", "functions",
)  # fmt: skip


def all_scenarios(scale: float) -> list[Scenario]:
    """In the order they run: memory before the Router has a history."""

    def scaled(count: int) -> int:
        return max(2, round(count * scale))

    from benchmarks.functions import function_scenarios  # it builds on what is above

    many, turns, edges = scaled(10_000), scaled(500), scaled(1_000)
    width, small = scaled(1_000), scaled(2_000)
    layers = layered(10, width)
    return [
        StartUp(),
        LocalStartUp(),
        Memory(),
        Run(
            "throughput", f"1 pipeline of {many:,} jobs", "jobs/s", many, [unlinked(many)],
            lambda pool: lambda: submit_all(pool, many),
            Bar(2.0, at_least=True, of_ratio=True),
        ),
        Latency(turns),
        Run(
            "chain", f"1 chain of {edges:,} jobs", "µs/job", edges, [chain(edges)],
            lambda pool: lambda: submit_in_turn(pool, edges),
            Bar(3.0, at_least=False, of_ratio=True),
        ),
        Run(
            "edge", f"1 chain of {edges:,} jobs, two workers in turn", "µs/job", edges,
            [chain(edges, "Noop", "Nothing")], lambda pool: lambda: submit_in_turn(pool, edges),
        ),
        Run(
            "layered", f"10 layers of {width:,} jobs", "jobs/s", layers.jobs, [layers],
            by_hand(layers), Bar(2.0, at_least=True, of_ratio=True),
        ),
        Run(
            "small", f"{small:,} chains of 3 jobs", "pipelines/s", small, [chain(3)] * small,
            by_hand(chains(small, 3)), Bar(1.0, at_least=True, of_ratio=True),
        ),
        *function_scenarios(scale, layers),
    ]  # fmt: skip
