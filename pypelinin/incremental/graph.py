"""The graph that projects use: definitions, and running them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pypelinin.incremental.definition import ALL_CORES, DirConfig, Graph, Options
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.watching import Watcher


class PyPipeGraph(Graph):
    """Jobs, what they depend on, and the runs of them. Made by `new`."""

    def run(
        self,
        print_failures: bool = True,
        raise_on_job_error: bool = True,
        event_timeout: float = 1,
        dump_graphml: bool | None = None,
        *,
        do_raise: bool = True,
        dry_run: bool = False,
        on: str | None = None,
        engine: Any = None,
    ) -> dict[str, RecordedJobOutcome]:
        """Bring everything up to date; returns how each job ended, by its id.

        Raises JobsFailed (all failures are in its `exceptions`) unless *raise_on_job_error*, or
        *do_raise*, is False, NotADag, HistoryLoadingFailed, ProjectLocked. *on* is the address of
        a cluster's Router, *engine* any `concurrent.futures.Executor`. With *dry_run* nothing is
        run: the outcomes (`dry.PlannedOutcome`) say what would be. With *dump_graphml* the graph
        is written beside the logs.
        """
        from pypelinin.incremental.entrance import run_graph

        return run_graph(
            self, None, print_failures, raise_on_job_error and do_raise, dump_graphml, dry_run,
            on, engine,
        )  # fmt: skip

    def run_for_these(
        self,
        jobs: Any,
        print_failures: bool = True,
        raise_on_job_error: bool = True,
        event_timeout: float = 1,
        dump_graphml: bool | None = None,
        *,
        do_raise: bool = True,
        dry_run: bool = False,
        on: str | None = None,
        engine: Any = None,
    ) -> dict[str, RecordedJobOutcome]:
        """Run these and all that they need, and nothing else: jobs, names of outputs, and
        iterables of those. The rest is as in `run`.

        Raises KeyError for a name that no job makes, JobContractError for a job of another graph.
        """
        from pypelinin.incremental.entrance import run_graph

        return run_graph(
            self, list(self._meant(jobs)), print_failures, raise_on_job_error and do_raise,
            dump_graphml, dry_run, on, engine,
        )  # fmt: skip

    def _meant(self, jobs: Any) -> Iterator[Job]:
        if isinstance(jobs, Job):
            if self.jobs.get(jobs.job_id) is not jobs:
                raise JobContractError(
                    f"{jobs!r} is no job of this graph.", remedy="readd() makes it one."
                )
            yield jobs
        elif isinstance(jobs, (str, Path)):
            yield self.find_job_from_file(jobs)
        elif isinstance(jobs, Iterable):
            for one in jobs:
                yield from self._meant(one)
        elif jobs is not None:
            raise TypeError(f"Jobs, names of outputs and iterables of them can be run: {jobs!r}.")

    @property
    def last_run(self) -> dict[str, RecordedJobOutcome]:
        """How each job ended in the last run."""
        return self.last_run_result

    def watchers(self) -> list[Watcher]:
        """Who is told what happens in a run."""
        from pypelinin.incremental.audience import audience_of

        return audience_of(self)

    def post_event(self, event: dict[str, Any]) -> None:
        """Tell who listens to the events of this graph; see `events`."""
        from pypelinin.incremental.events import post

        post(self, event)

    def dump_runtimes(self, filename: str | Path) -> None:
        """Write a table of the jobs of the last run that took a second or more."""
        from pypelinin.incremental.runlog import write_runtimes

        write_runtimes(Path(filename), self.last_run_result.values())

    @property
    def job_dag(self) -> Any:
        """The graph as a `networkx.DiGraph` of job ids. Raises DefinitionError without networkx."""
        from pypelinin.incremental.pictures import networkx_graph

        return networkx_graph(self)

    def dump_subgraph_for_debug(self, jobs: Iterable[Job | str] | None = None) -> Path:
        """Write `subgraph_debug.py`: a graph of the shape of these jobs (usual: all) and of what
        they need, whose jobs only write their names."""
        from pypelinin.incremental.pictures import dump_for_debug

        chosen = self.jobs.values() if jobs is None else jobs
        ids = [job.job_id if isinstance(job, Job) else job for job in chosen]
        return dump_for_debug(self, ids)

    def dump_subgraph_for_debug_at_run(self, job_ids: Iterable[str] | None = None) -> None:
        """The same when the next run begins, with what functions in `depends_on` add."""
        self.dump_at_run = list(self.jobs if job_ids is None else job_ids)


__all__ = ["ALL_CORES", "DirConfig", "Graph", "Options", "PyPipeGraph"]
