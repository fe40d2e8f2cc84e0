"""What jobs know of their graph; who they are is known where the graph is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pypelinin.incremental.enums import RunMode


class Graph(Protocol):
    """See `definition.Graph`."""

    jobs: dict[str, Any]
    job_inputs: dict[str, dict[str, None]]
    outputs_to_job_ids: dict[str, str]
    later: deque[tuple[Any, Callable[[], Any]]]
    shared: dict[Any, Any]
    run_mode: RunMode
    allow_short_filenames: bool
    last_run_result: dict[str, Any]
    running: Any
    """The run that is under way."""

    def register(self, job: Any) -> Any: ...

    def remove(self, job: Any) -> None: ...

    def connect(self, job: Any, upstream: Any, outputs: Iterable[str]) -> None: ...

    def disconnect(self, job: Any, upstream: Any) -> None: ...

    def producer_of(self, name: str) -> tuple[str, str] | None: ...

    def upstreams_of(self, job: Any) -> list[Any]: ...

    def readers_of(self, job: Any) -> list[Any]: ...

    def ancestors_of(self, ids: Iterable[str]) -> set[str]: ...

    def check_output(self, name: str) -> None: ...

    def invariant(self, kind: str, *args: Any, **options: Any) -> Any: ...

    def run(self, *args: Any, **options: Any) -> dict[str, Any]: ...

    def run_for_these(self, jobs: Any, *args: Any, **options: Any) -> dict[str, Any]: ...

    def dump_subgraph_for_debug(self, jobs: Iterable[Any]) -> Path: ...

    def get_history_filename(self) -> Path: ...
