"""One plot of the data of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.incremental import extras
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.hashers import hash_object
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.drawing import faceted, is_table
from pypelinin.incremental.jobs.invariants import ParameterInvariant
from pypelinin.incremental.jobs.plots import PlotFileJob, PlotJobTuple


class CombinedPlotFileJob(PlotFileJob):
    """Draws the data of several plots, one below the other, with the function of the first."""

    def __init__(
        self,
        filename: str | Path,
        plot_jobs: Sequence[PlotFileJob],
        facet_arguments: Any,
        render_args: Mapping[str, Any] | None,
    ) -> None:
        first = plot_jobs[0]
        super().__init__(
            filename, first.function, render_args, first.depend_on_function,
            first.allowed_non_locals,
        )  # fmt: skip
        self.plot_jobs = list(plot_jobs)
        self.facet_arguments = facet_arguments

    def combination(self) -> Any:
        return [job.job_id for job in self.plot_jobs], self.facet_arguments

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), hash_object(self.combination()))

    def registered(self) -> None:
        super().registered()
        self.follow(ParameterInvariant(f"{self.job_id}_combined", self.combination()))

    def loaders(self) -> list[Job]:
        return [loader for job in self.plot_jobs for loader in job.source.loaders()]

    def data(self) -> Any:
        pandas = extras.needed("pandas", "plots", "CombinedPlotJob")
        found = [job.data() for job in self.plot_jobs]
        for job, data in zip(self.plot_jobs, found, strict=True):
            if not is_table(data):
                raise JobContractError(
                    f"{self!r} can combine DataFrames only; {job!r} has a {type(data).__name__}."
                )
        return pandas.concat(found)

    def made(self) -> Any:
        return self.fiddled(faceted(self.function(self.data()), self.facet_arguments))


def CombinedPlotJob(
    output_filename: str | Path,
    plot_jobs: Sequence[Any],
    facet_arguments: Any = None,
    render_args: Mapping[str, Any] | None = None,
    fiddle: Callable[[Any], Any] | None = None,
) -> PlotFileJob:
    """Draw the data of several PlotJobs in one plot, as the first of them draws its own.

    *facet_arguments* go to `facet_wrap`: a list, or a dict of what they are called. *fiddle*:
    see PlotFileJob.add_fiddle. Returns the plot's job. Raises TypeError and ValueError for what
    cannot be combined.
    """
    jobs = [job.plot if isinstance(job, PlotJobTuple) else job for job in plot_jobs]
    for job in jobs:
        if not isinstance(job, PlotFileJob):
            raise TypeError(f"CombinedPlotJob combines PlotJobs, not {job!r}.")
    if not jobs:
        raise ValueError("CombinedPlotJob combines one plot at least.")
    if not isinstance(facet_arguments, (list, tuple, Mapping, type(None))):
        raise TypeError(f"facet_arguments is a list or a dict, not {facet_arguments!r}.")
    combined = CombinedPlotFileJob(output_filename, jobs, facet_arguments, render_args)
    combined.depends_on(combined.loaders(), combined.loaders)
    for job in jobs:
        if job.source.loader is None:
            combined.depends_on(lambda source=job.source: source.upstreams)
    if fiddle is not None:
        combined.add_fiddle(fiddle)
    return combined


__all__ = ["CombinedPlotJob"]
