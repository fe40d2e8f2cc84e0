"""Where a stream runs: slots of this process, a cluster, any executor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor as BaseExecutor
from contextlib import contextmanager
from typing import NamedTuple

from pypelinin.client.manager import PipelineManager
from pypelinin.errors import DefinitionError
from pypelinin.executor import Executor
from pypelinin.runtime.access import api_named
from pypelinin.runtime.capacity import cores_here


class Place(NamedTuple):
    """*on* the address of a Router, else *engine*, else *slots* of this process."""

    on: str | None = None
    engine: BaseExecutor | None = None
    slots: int | None = None

    @property
    def api(self) -> str | None:
        """The Router's address, if it is a cluster."""
        if self.on and self.engine is not None:
            raise DefinitionError("A stream runs on a cluster or on an engine, not on both.")
        return self.on or (None if self.engine is not None else api_named())

    def cpus(self) -> int:
        """Slots that there are. Raises ClusterError if that cluster cannot be reached."""
        api = self.api
        if api:
            with PipelineManager(api) as manager:
                return manager.slots()
        if self.engine is not None:
            return int(getattr(self.engine, "_max_workers", 0)) or cores_here()
        return self.slots or cores_here()

    @contextmanager
    def opened(self) -> Iterator[BaseExecutor]:
        """What carries out portions; ended, with all that runs, if the body raises."""
        if self.engine is not None and not self.on:
            yield self.engine
            return
        executor = Executor(self.slots, api=self.api)
        try:
            yield executor
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
        executor.shutdown()
