"""pypelinin: a cluster you `pip install`.

The names below are all that users need; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.aio import AsyncCluster as AsyncCluster
    from pypelinin.cli.cluster import Cluster as Cluster
    from pypelinin.client.manager import PipelineManager as PipelineManager
    from pypelinin.errors import ClusterError as ClusterError
    from pypelinin.errors import DefinitionError as DefinitionError
    from pypelinin.errors import JobError as JobError
    from pypelinin.errors import PypelininError as PypelininError
    from pypelinin.executor import Executor as Executor
    from pypelinin.graph.job import Job as Job
    from pypelinin.graph.shell import shell as shell
    from pypelinin.local import LocalRunner as LocalRunner
    from pypelinin.pipeline import Pipeline as Pipeline
    from pypelinin.running import run as run
    from pypelinin.runtime.daemons import Pipeliner as Pipeliner
    from pypelinin.runtime.daemons import Router as Router
    from pypelinin.runtime.node import Broker as Broker
    from pypelinin.store import Store as Store
    from pypelinin.worker import Worker as Worker

    __version__: str

_HOMES = {
    "__version__": "config",
    "AsyncCluster": "aio",
    "Broker": "runtime.node",
    "Cluster": "cli.cluster",
    "ClusterError": "errors",
    "DefinitionError": "errors",
    "Executor": "executor",
    "Job": "graph.job",
    "LocalRunner": "local",
    "JobError": "errors",
    "Pipeline": "pipeline",
    "PipelineManager": "client.manager",
    "Pipeliner": "runtime.daemons",
    "PypelininError": "errors",
    "Router": "runtime.daemons",
    "Store": "store",
    "Worker": "worker",
    "run": "running",
    "shell": "graph.shell",
}

_THERE = {"__version__": "VERSION"}

__all__ = [*_HOMES]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pypelinin' has no attribute {name!r}")
    value = getattr(import_module(f"pypelinin.{home}"), _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
