"""Plots as version 1 has them: one object for the job that draws, its data and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.graph.needs import Needs
from pypelinin.incremental import state
from pypelinin.incremental.jobs import combined as core_combined
from pypelinin.incremental.jobs import plots as core
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.v1.base import EVERYTHING, JobList
from pypelinin.incremental.v1.exceptions import as_version_1
from pypelinin.incremental.v1.invariants import relative


class PlotJob:
    """Calculates data, keeps it, and draws it; without *skip_table* it is written as a table, too.

    `cache_job` calculates: what the data is made from, and what that takes, goes to it. To depend
    on this is to depend on the plot and its table. Everything else is the plot's: see `plot_job`.
    """

    def __init__(
        self,
        output_filename: str | Path,
        calc_function: Callable[[], Any],
        plot_function: Callable[[Any], Any],
        render_args: Mapping[str, Any] | None = None,
        skip_table: bool = False,
        skip_caching: bool = False,
    ) -> None:
        folder = getattr(state.current(), "cache_folder", "cache")
        with as_version_1():
            made = core.PlotJob(
                relative(output_filename), calc_function, plot_function, render_args, folder,
                cache_calc=not skip_caching, create_table=not skip_table,
                allowed_non_locals_plot=EVERYTHING, allowed_non_locals_cache=EVERYTHING,
            )  # fmt: skip
        self.plot_job = made.plot
        self.table_job = made.table
        self.cache_job: Job = made.plot if made.cache is None else made.cache.calc

    def __iter__(self) -> Iterator[Job]:
        yield self.plot_job
        if self.table_job is not None:
            yield self.table_job

    def __add__(self, other: Any) -> JobList:
        return JobList([self, other])

    def __radd__(self, other: Any) -> JobList:
        return JobList([other, self])

    def __getattr__(self, name: str) -> Any:
        if name in ("plot_job", "table_job", "cache_job"):  # not made yet
            raise AttributeError(name)
        return getattr(self.plot_job, name)

    def depends_on(self, *others: Any) -> PlotJob:
        """What the data is made from."""
        with as_version_1():
            for job in [self.cache_job] if self.cache_job is not self.plot_job else self:
                job.depends_on(*others)
        return self

    def use_cores(self, cores: int) -> PlotJob:
        """How many cores it takes to calculate the data."""
        self.cache_job.resources = Needs(cores=cores)
        return self

    def prune(self) -> None:
        """Leave out of the run all that is its own."""
        self.cache_job.prune()
        for job in self:
            job.prune()

    def unprune(self) -> None:
        self.cache_job.unprune()
        for job in self:
            job.unprune()

    def add_fiddle(self, fiddle_function: Callable[[Any], Any]) -> PlotJob:
        """Have *fiddle_function(plot)* change the plot, or return another, before it is drawn."""
        self.plot_job.add_fiddle(fiddle_function)
        return self

    def add_another_plot(
        self,
        output_filename: str | Path,
        plot_function: Callable[[Any], Any],
        render_args: Mapping[str, Any] | None = None,
    ) -> Any:
        """Another plot of the same data; returns its job."""
        with as_version_1():
            return self.plot_job.add_another_plot(
                relative(output_filename), plot_function, render_args,
                allowed_non_locals=EVERYTHING,
            )  # fmt: skip


def CombinedPlotJob(
    output_filename: str | Path,
    plot_jobs: Sequence[Any],
    facet_arguments: Any,
    render_args: Mapping[str, Any] | None = None,
    fiddle: Callable[[Any], Any] | None = None,
) -> Any:
    """Draw the data of several PlotJobs in one plot; returns the plot's job."""
    jobs = [job.plot_job if isinstance(job, PlotJob) else job for job in plot_jobs]
    with as_version_1():
        return core_combined.CombinedPlotJob(
            relative(output_filename), jobs, facet_arguments, render_args, fiddle
        )


__all__ = ["CombinedPlotJob", "PlotJob"]
