"""A joblib backend: `import pypelinin.joblib`, then `joblib.parallel_config("pypelinin")`.

What joblib runs in parallel (scikit-learn's searches and forests, too) runs on the cluster at
`PYPELININ_API`, or in slots of this process; `parallel_config("pypelinin", api=...)` names one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from pypelinin.client.manager import PipelineManager
from pypelinin.executor import Executor
from pypelinin.runtime.access import api_named
from pypelinin.runtime.calls import call
from pypelinin.runtime.capacity import cores_here

__all__ = ["PypelininBackend"]


class PypelininBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # untyped
    """Batches of joblib's calls as calls of an `Executor`; the arguments are Executor's."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    default_n_jobs = -1

    def __init__(
        self,
        api: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._api = api or api_named()
        self._directory = directory
        self._executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Slots for so many jobs; all that there are for a negative number."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        there = cores_here()
        if self._api:
            with PipelineManager(self._api) as manager:
                there = manager.slots()
        if n_jobs is None or n_jobs < 0:
            return max(1, there + 1 + (-1 if n_jobs is None else n_jobs))
        return n_jobs

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None,
        **options: Any,
    ) -> int:  # fmt: skip
        """Called by joblib before the first batch."""
        del prefer, require, options
        self.parallel = parallel
        found = self.effective_n_jobs(n_jobs)
        slots = None if self._api else min(found, cores_here())
        self._executor = Executor(slots, api=self._api, directory=self._directory)
        return found

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> Future[Any]:
        """Run one batch; *callback* gets its future."""
        assert self._executor is not None
        future = self._executor.submit(call, func)
        future.add_done_callback(callback)
        return future

    apply_async = submit

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """What the batch returned; raises what it raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A batch failed: nobody wants the others."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def terminate(self) -> None:
        """Called by joblib at the end."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


register_parallel_backend("pypelinin", PypelininBackend)
