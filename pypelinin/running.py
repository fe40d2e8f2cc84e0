"""`pypelinin.run`: a graph to its end, in this process, on a cluster or on another engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from types import ModuleType
from typing import Any

from pypelinin.client.manager import PipelineManager
from pypelinin.client.results import Results
from pypelinin.errors import DefinitionError
from pypelinin.graph.job import Job
from pypelinin.local import LocalRunner
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.access import api_named
from pypelinin.runtime.node import StoreSpec


def run(
    graph: Pipeline | Job | Sequence[Job],
    *,
    workers: str | ModuleType | Iterable[str | ModuleType] = (),
    store: StoreSpec = None,
    store_configuration: Mapping[str, Any] | None = None,
    slots: int | None = None,
    directory: str | os.PathLike[str] | None = None,
    on: str | None = None,
    engine: Executor | None = None,
    timeout: float | None = None,
    raise_on_failure: bool = True,
) -> Any:
    """Run jobs and return what came of them.

    A Job gives its result, several jobs a list of theirs, a Pipeline its `Results` (a mapping
    of jobs to results with `state`, `duration` and `failed`). It runs in slots of this process,
    unless *on* is the address of a Router or `PYPELININ_API` or `PYPELININ_ACCESS` is set, or
    *engine* is any `concurrent.futures.Executor` (processes, loky, Dask, Ray, MPI). The others are
    those of `LocalRunner`; on a cluster they are the Brokers' and not looked at here.

    Raises the first JobError at the end (not with *raise_on_failure* False, for a Pipeline),
    TimeoutError after *timeout* seconds, DefinitionError, ClusterError.
    """
    if on and engine is not None:
        raise DefinitionError("A run is on a cluster or on an engine, not on both.")
    api = on or api_named()
    manager: PipelineManager
    if api and engine is None:
        manager = PipelineManager(api)
    else:
        manager = LocalRunner(
            slots, workers=workers, store=store, store_configuration=store_configuration,
            directory=directory, engine=engine,
        )  # fmt: skip
    with manager:
        return run_with(manager, graph, timeout, raise_on_failure)


def run_with(
    manager: PipelineManager,
    graph: Pipeline | Job | Sequence[Job],
    timeout: float | None,
    raise_on_failure: bool,
    stopped: Callable[[], bool] | None = None,
    look_s: float = 0.1,
) -> Any:
    """Start *graph* and wait for its end; if *stopped* says so meanwhile, cancel it."""
    targets: Sequence[Job] = () if isinstance(graph, Pipeline) else _listed(graph)
    pipeline = graph if isinstance(graph, Pipeline) else Pipeline(targets, results=targets)
    manager.start(pipeline)
    while stopped is not None and pipeline.finished_at is None and not stopped():
        manager.update(look_s)
    if stopped is not None and stopped():
        manager.cancel(pipeline, running=True)
    manager.wait(pipeline, timeout, raise_on_failure=raise_on_failure and pipeline is graph)
    found = _kept(manager.results(pipeline))
    if isinstance(graph, Pipeline):
        return found
    if found.failed:
        raise next(iter(found.failed.values()))
    return found[graph] if isinstance(graph, Job) else [found[job] for job in targets]


def _listed(graph: Job | Sequence[Job]) -> Sequence[Job]:
    return [graph] if isinstance(graph, Job) else graph


def _kept(results: Results) -> Results:
    """The jobs find their results here when the runner is gone."""
    results.detach()
    for job in results:
        if not isinstance(job.worker, str):
            job.attach(results)
    return results
