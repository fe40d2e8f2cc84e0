"""`pypelinin.Cluster`: the cluster that is meant here, or one for as long as a block."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pypelinin.cli import settings
from pypelinin.cli.local import LocalCluster
from pypelinin.client.manager import PipelineManager
from pypelinin.executor import Executor
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.running import run_with
from pypelinin.runtime.access import AccessSpec, named
from pypelinin.runtime.places import nearest_cluster


class Cluster:
    """Joins a cluster, or starts one on this machine that ends with the `with` block.

        with Cluster() as cluster:
            print(cluster.run(Job(add, args=(1, 2))))

    Which: *api*, else that of the nearest `pypelinin.toml` or `PYPELININ_API`, else that of an
    access file (*access*, `PYPELININ_ACCESS`), else the one that this user has running here. Only
    if there is none a Router, a Pipeliner and a Broker with *slots* slots, *workers*, *store* and
    *store_configuration* are started; what was accepted is gone with them unless there is a
    *journal* directory. `started` says which it was.

    Raises Unreachable if the cluster that is named does not answer, ClusterError if one cannot
    be started.
    """

    def __init__(
        self,
        api: str | None = None,
        *,
        slots: int | None = None,
        workers: Sequence[str] = (),
        store: str | None = None,
        store_configuration: Mapping[str, Any] | None = None,
        journal: str | Path | None = None,
        access: AccessSpec = None,
    ) -> None:
        self.api = api or ""
        self._access = access
        self.started = False
        self._own = (list(workers), store, store_configuration, slots, journal)
        self._stack = contextlib.ExitStack()
        self._manager: PipelineManager | None = None

    def __enter__(self) -> Self:
        access = self._access
        if not self.api:
            self.api, access = _named(access)
        with contextlib.ExitStack() as stack:
            if not self.api:
                own = stack.enter_context(LocalCluster(*self._own))
                self.api, access = own.api, own.access
                self.started = True
            self._access = access
            self._manager = stack.enter_context(PipelineManager(self.api, access=access))
            self._manager.configuration()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def manager(self) -> PipelineManager:
        """The client of this block."""
        assert self._manager is not None, "a Cluster is used in a `with` block"
        return self._manager

    def run(
        self,
        graph: Pipeline | Job | Sequence[Job],
        *,
        timeout: float | None = None,
        raise_on_failure: bool = True,
    ) -> Any:
        """As `pypelinin.run`, here."""
        return run_with(self.manager, graph, timeout, raise_on_failure)

    def executor(self, max_workers: int | None = None, **options: Any) -> Executor:
        """An `Executor` on this cluster; its owner shuts it down before the block ends."""
        return Executor(max_workers, api=self.api, access=self._access, **options)


def _named(access: AccessSpec) -> tuple[str, AccessSpec]:
    """The cluster that settings name or this user has running, and the key for it; "" if none."""
    loaded = settings.load({})
    given = loaded["access"] if access is None else access
    if loaded.origin("api") != "default":
        return str(loaded["api"]), given
    if (key := named(given)) is not None and key.api:
        return key.api, given
    found = nearest_cluster(Path.cwd())
    return (found.api, given or found.access) if found else ("", given)
