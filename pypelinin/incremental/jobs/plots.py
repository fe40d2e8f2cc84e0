"""Plots: what they show is calculated once and kept, written as a table, and drawn.

A PlotJob is up to four jobs: the calculation and the loading of its result (cached.py), the plot,
and the table. A plot is any object that can `render`, `save` or `savefig` itself to a file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pypelinin.graph.declared import ALWAYS, Policy
from pypelinin.graph.fingerprint import Fingerprint
from pypelinin.incremental import extras, state
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.functions import function_tags
from pypelinin.incremental.hashers import hash_object
from pypelinin.incremental.jobs.base import Job, Place, checked_callable
from pypelinin.incremental.jobs.cached import (
    CachedAttributeLoad,
    CachedJobTuple,
    CalcJob,
    both,
)
from pypelinin.incremental.jobs.drawing import (
    save_plot,
    tables_of,
    way_of,
    write_tables,
)
from pypelinin.incremental.jobs.files import (
    FileFacts,
    FileGeneratingJob,
    FileJob,
    checked_file,
    make_room,
)
from pypelinin.incremental.jobs.invariants import ParameterInvariant, automatic_invariant

SUFFIXES = (".png", ".pdf", ".svg")


class PlotJobTuple(NamedTuple):
    """The jobs of a plot; *cache* and *table* are None if they were not wanted."""

    plot: PlotFileJob
    cache: CachedJobTuple | None
    table: TableJob | None

    @property
    def depends_on_refused(self) -> str:
        return (
            f"The plot {self.plot.job_id!r} is several jobs. To read its file, depend on its "
            ".plot; what its data is made from goes to .cache.calc.depends_on(...)."
        )

    def depends_on(self, *others: Any) -> Any:
        """Raises TypeError: which of them would it be?"""
        raise TypeError(self.depends_on_refused)

    def __call__(self) -> Any:
        """The same as `plot()` of the plot's job."""
        return self.plot()


# --- the jobs -----------------------------------------------------------------------------------


class PlotFileJob(FileGeneratingJob):
    """Draws *function(data)* to a file.

    The data is that of *owner*, another of these jobs, or its own: `use_cache` or
    `calculate_itself` says where that comes from. Calling it returns the plot.
    """

    def __init__(
        self,
        filename: str | Path,
        function: Callable[[Any], Any],
        render_args: Mapping[str, Any] | None = None,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
        calc_function: Callable[[], Any] | None = None,
        owner: PlotFileJob | None = None,
    ) -> None:
        checked_callable(function, "What makes a plot")
        if not isinstance(render_args, (Mapping, type(None))):
            raise TypeError(f"render_args is a dict, not {render_args!r}.")
        FileJob.__init__(
            self, [checked_plot(filename)], function, depend_on_function=depend_on_function,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip
        self.render_args = dict(render_args or {})
        self.render_digest = _hashed(self.render_args, self.job_id)
        self.owner = owner
        self.calc_function = calc_function
        self.fiddles: list[Callable[[Any], Any]] = []
        self.loader: Job | None = None
        self.data_: Any = None
        """What was loaded."""
        self.calc_invariant: Job | None = None
        self.own_invariants: list[Job] = []
        """Besides that of its function."""

    def definition(self) -> tuple[Any, ...]:
        calc = self.calc_function
        return (
            *super().definition(),
            self.render_digest,
            None if self.owner is None else self.owner.job_id,
            None if calc is None else function_tags(calc),
        )

    def registered(self) -> None:
        super().registered()
        self.own_invariants = []
        self.follow(ParameterInvariant(f"{self.job_id}_render", self.render_args))

    def follow(self, invariant: Job) -> None:
        """Depend on an invariant of its own."""
        self.own_invariants.append(invariant)
        self.graph.connect(self, invariant, invariant.outputs)

    def replaced(self) -> None:
        super().replaced()
        for invariant in self.own_invariants:
            self.graph.disconnect(self, invariant)

    # --- where its data comes from -----------------------------------------------------------

    def use_cache(self, cache: CachedJobTuple) -> None:
        """Its data is what *cache* puts into the attribute `data_` of this job."""
        if self.calc_invariant is not None:
            self.graph.disconnect(self, self.calc_invariant)
            self.calc_invariant = None
        self.loader = cache.load
        self.depends_on(cache.load)

    def calculate_itself(
        self, calc: Callable[[], Any], allowed_non_locals: Collection[str] | None = None
    ) -> None:
        if self.depend_on_function:
            self.calc_invariant = automatic_invariant(
                self, calc, allowed_non_locals, suffix="_calc"
            )
            self.follow(self.calc_invariant)

    @property
    def source(self) -> PlotFileJob:
        """The job whose data it shows."""
        return self if self.owner is None else self.owner

    def loaders(self) -> list[Job]:
        """What loads the data of this job."""
        return [] if self.loader is None else [self.loader]

    def data(self) -> Any:
        """What it shows; where it runs, after that was loaded."""
        if self.owner is not None:
            return self.owner.data()
        if self.loader is not None:
            return self.data_
        assert self.calc_function is not None
        return self.calc_function()

    # --- what it does --------------------------------------------------------------------------

    def made(self) -> Any:
        """The plot."""
        plot = self.function(self.data())
        wrapped = getattr(plot, "pd", None)  # what a pipe of dppd ends in
        return self.fiddled(plot if way_of(wrapped) is None else wrapped)

    def fiddled(self, plot: Any) -> Any:
        for fiddle in self.fiddles:
            other = fiddle(plot)
            plot = plot if other is None else other
        return plot

    def perform(self, context: Any) -> list[FileFacts]:
        name = self.outputs[0]
        make_room(name)
        begun = time.time()
        save_plot(self.made(), name, self.render_args, repr(self))
        return self.facts(begun)

    def add_fiddle(self, fiddle_function: Callable[[Any], Any]) -> PlotFileJob:
        """Have *fiddle_function(plot)* change the plot, or return another, before it is drawn."""
        checked_callable(fiddle_function, "What changes a plot")
        tags = function_tags(fiddle_function)
        if all(function_tags(known) != tags for known in self.fiddles):
            number = len(self.fiddles) + 1
            self.fiddles.append(fiddle_function)
            suffix = "_fiddle" if number == 1 else f"_fiddle{number}"
            self.follow(automatic_invariant(self, fiddle_function, suffix=suffix, check=False))
        return self

    def add_another_plot(
        self,
        output_filename: str | Path,
        plot_function: Callable[[Any], Any],
        render_args: Mapping[str, Any] | None = None,
        depend_on_function: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> PlotFileJob:
        """Another plot of the same data; returns its job."""
        source = self.source
        other = PlotFileJob(
            output_filename, plot_function, render_args, depend_on_function, allowed_non_locals,
            owner=source,
        )  # fmt: skip
        if source.calc_function is not None and source.loader is None:
            other.calculate_itself(source.calc_function)
        return other.depends_on(source.loaders() or source.loaders)

    def __call__(self) -> Any:
        """Run it and all that it needs, and nothing else; returns the plot."""
        shown = ShownPlot(self)
        try:
            self.graph.run_for_these([self, shown])
        finally:
            self.graph.remove(shown)
        return shown.plot


class ShownPlot(Job):
    """Makes a plot in the caller, where all that it reads is loaded, for who wants to see it."""

    policy: ClassVar[Policy] = ALWAYS
    place: ClassVar[Place] = Place.CALLER

    def __init__(self, plot_job: PlotFileJob) -> None:
        super().__init__([f"the plot of {plot_job.job_id}"], Resources.RunsHere)
        self.graph = plot_job.graph
        self.plot_job = plot_job
        self.plot: Any = None

    def registered(self) -> None:
        self.depends_on(self.plot_job)
        # Later: the plot may itself depend on what is known only when the run begins.
        self.depends_on(lambda: list(self.graph.job_inputs[self.plot_job.job_id]))

    def perform(self, context: Any) -> Any:
        return self.plot_job.made()

    def settle(self, result: Any) -> Fingerprint:
        self.plot = result
        return ((),)


class PlotCalcJob(CalcJob):
    """Keeps the data of a plot. *has_table*: it will be written as a table, so it must be one."""

    has_table: bool = False

    def write(self, value: Any, name: str) -> None:
        if self.has_table:
            tables_of(value, repr(self))
        super().write(value, name)


class TableJob(FileGeneratingJob):
    """Writes the data of a plot as text, one row a line, with tabs between columns."""

    def __init__(self, plot: PlotFileJob, allowed_non_locals: Collection[str] | None) -> None:
        calc = plot.calc_function
        assert calc is not None
        FileJob.__init__(
            self, [f"{plot.outputs[0]}.tsv"], calc,
            depend_on_function=plot.depend_on_function and plot.loader is None,
            allowed_non_locals=allowed_non_locals,
        )  # fmt: skip
        self.plot = plot

    def definition(self) -> tuple[Any, ...]:
        return self.outputs, function_tags(self.function)

    def perform(self, context: Any) -> list[FileFacts]:
        name = self.outputs[0]
        make_room(name)
        begun = time.time()
        write_tables(self.plot.data(), name, repr(self))
        return self.facts(begun)


def _hashed(render_args: dict[str, Any], who: str) -> bytes:
    try:
        return hash_object(render_args)
    except TypeError as error:
        raise TypeError(f"The render_args of {who}: {error}") from None


def checked_plot(filename: object) -> str:
    """Raises ValueError for a file that no plot goes into."""
    name = checked_file(filename)
    if not name.endswith(SUFFIXES):
        raise ValueError(f"A plot is a file that ends in {', '.join(SUFFIXES)}, not {name!r}.")
    return name


# --- what people call ---------------------------------------------------------------------------


def PlotJob(
    output_filename: str | Path,
    calc_function: Callable[[], Any],
    plot_function: Callable[[Any], Any],
    render_args: Mapping[str, Any] | None = None,
    cache_dir: str | Path = "cache",
    depend_on_function: bool = True,
    cache_calc: bool = True,
    create_table: bool = True,
    allowed_non_locals_plot: Collection[str] | None = None,
    allowed_non_locals_cache: Collection[str] | None = None,
) -> PlotJobTuple:
    """Calculate data, and draw it: `plot_function(calc_function())`, to a .png, .pdf or .svg.

    With *cache_calc* the data is kept in *cache_dir*, so that a change of the plot does not
    calculate it again; with *create_table* it is written to `<output_filename>.tsv`, for which it
    is a pandas DataFrame or a dict of them. *render_args* go to the plot's `render`, `save` or
    `savefig`. Without a cache the plot and the table calculate the data each for itself, and
    depend on what each is given.

    Raises ValueError for another ending, and if the plot had a cache or a table before;
    ModuleNotFoundError if there shall be a table, and no pandas.
    """
    checked_callable(calc_function, "What calculates the data of a plot")
    if create_table:
        extras.check("pandas", "plots", "The table of a PlotJob (create_table=True)")
    _check_nothing_is_removed(checked_plot(output_filename), cache_calc, create_table)
    plot = PlotFileJob(
        output_filename, plot_function, render_args, depend_on_function,
        allowed_non_locals_plot, calc_function,
    )  # fmt: skip
    cache = table = None
    if cache_calc:
        file = _cache_of(plot.outputs[0], cache_dir)
        calc = PlotCalcJob(
            file, calc_function, Resources.SingleCore, depend_on_function,
            allowed_non_locals_cache,
        )  # fmt: skip
        calc.has_table = calc.has_table or create_table
        cache = both(CachedAttributeLoad(file, plot, "data_"), calc)
        plot.use_cache(cache)
    else:
        plot.calculate_itself(calc_function, allowed_non_locals_cache)
    if create_table:
        table = TableJob(plot, allowed_non_locals_cache)
        if cache is not None:
            table.depends_on(cache.load)
    return PlotJobTuple(plot, cache, table)


def _check_nothing_is_removed(name: str, cache_calc: bool, create_table: bool) -> None:
    graph = state.current()
    known = graph.jobs.get(os.path.normpath(name))
    if not isinstance(known, PlotFileJob):
        return
    for what, argument, gone in (
        ("cache", "cache_calc", known.loader is not None and not cache_calc),
        ("table", "create_table", f"{known.job_id}.tsv" in graph.jobs and not create_table),
    ):
        if gone:
            raise ValueError(
                f"The plot {known.job_id!r} was defined with a {what} before (at "
                f"{known.place_of_definition}), which cannot be taken away: {argument}=True, or a "
                "new graph."
            )


def _cache_of(output: str, cache_dir: str | Path) -> Path:
    path = Path(output)
    return Path(cache_dir, *[part for part in path.parts if part not in (path.anchor, "..")])


__all__ = ["PlotFileJob", "PlotJob", "PlotJobTuple"]
