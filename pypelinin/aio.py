"""The cluster for asyncio: `async with AsyncCluster() as cluster: await cluster.submit(f, 1)`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from pypelinin.client.manager import PipelineManager
from pypelinin.errors import DefinitionError
from pypelinin.executor import Executor
from pypelinin.graph.job import Job
from pypelinin.local import LocalRunner
from pypelinin.pipeline import Pipeline
from pypelinin.running import run_with
from pypelinin.runtime.access import AccessSpec, api_named

T = TypeVar("T")
LOOK_S = 0.05


class AsyncCluster:
    """Functions and graphs as awaitables, on a cluster or in slots of this process.

    The arguments are those of `Executor`. A task that is cancelled cancels its job, running or
    not. Errors are as for `Executor` and `run`.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        api: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        access: AccessSpec = None,
    ) -> None:
        self._api, self._access = api or api_named(access), access
        self._max_workers = max_workers
        self._directory = directory
        self._executor: Executor | None = None

    async def __aenter__(self) -> Self:
        def made() -> Executor:
            return Executor(
                self._max_workers, api=self._api, directory=self._directory, access=self._access
            )

        self._executor = await asyncio.to_thread(made)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            cancel = error is not None
            await asyncio.to_thread(lambda: executor.shutdown(cancel_futures=cancel))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """Call *fn* there; await what it returns."""
        return asyncio.wrap_future(self._ready().submit(fn, *args, **kwargs))

    async def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], ahead: int = 1000
    ) -> AsyncIterator[T]:
        """Results in order; at most *ahead* calls are not yet taken."""
        waiting: deque[asyncio.Future[T]] = deque()
        try:
            for args in zip(*iterables, strict=False):
                waiting.append(self.submit(fn, *args))
                if len(waiting) >= max(1, ahead):
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()

    async def run(
        self, graph: Pipeline | Job | Sequence[Job], *, raise_on_failure: bool = True
    ) -> Any:
        """What `pypelinin.run` returns, without blocking the loop.

        If the task is cancelled, so is the run.
        """
        self._ready()
        stop = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(self._run, graph, raise_on_failure, stop))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            raise

    def _run(
        self, graph: Pipeline | Job | Sequence[Job], raise_on_failure: bool, stop: threading.Event
    ) -> Any:
        """In a thread of its own, with a way of its own to the cluster."""
        manager: PipelineManager
        if self._api:
            manager = PipelineManager(self._api, access=self._access)
        else:
            manager = LocalRunner(self._max_workers)
        with manager:
            return run_with(manager, graph, None, raise_on_failure, stop.is_set, LOOK_S)

    def _ready(self) -> Executor:
        if self._executor is None:
            raise DefinitionError(
                "This AsyncCluster is not open.",
                remedy="Use it in an `async with` block.",
            )
        return self._executor
