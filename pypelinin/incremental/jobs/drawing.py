"""How plots and tables get into files, whichever library made them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pypelinin.incremental import extras
from pypelinin.incremental.exceptions import JobContractError

WAYS = ("render", "save", "savefig")
"""How a plot may be written to a file; the first that it has is taken."""


def save_plot(plot: Any, name: str, render_args: Mapping[str, Any], who: str) -> None:
    """Raises JobContractError for what is no plot."""
    way = way_of(plot)
    if way is None:
        raise JobContractError(
            f"{who}: its function returned a {type(plot).__name__}, which is no plot: it can "
            f"neither {', '.join(WAYS[:-1])} nor {WAYS[-1]}.",
            remedy="Return the figure, or the plot object.",
        )
    options = dict(render_args)
    if "verbose" not in options and _takes(way, "verbose"):
        options["verbose"] = False
    way(name, **options)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and isinstance(plot, pyplot.Figure):
        pyplot.close(plot)  # other jobs run in this process


def way_of(plot: Any) -> Callable[..., Any] | None:
    """How to write it to a file; None for what is no plot."""
    found = (getattr(plot, name, None) for name in WAYS)
    return next((way for way in found if callable(way)), None)


def _takes(function: Callable[..., Any], parameter: str) -> bool:
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def is_table(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # without it there is none
    return pandas is not None and isinstance(value, pandas.DataFrame)


def tables_of(value: Any, who: str) -> list[tuple[str | None, Any]]:
    """(title, table) of a DataFrame or a dict of them. Raises JobContractError."""
    if is_table(value):
        return [(None, value)]
    if not isinstance(value, Mapping) or not all(map(is_table, value.values())):
        found = type(value).__name__
        if isinstance(value, Mapping):
            found += f" of {', '.join(sorted({type(v).__name__ for v in value.values()}))}"
        raise JobContractError(
            f"{who}: to be written as a table, the data of a plot is a pandas DataFrame or a dict "
            f"of them, and this is a {found}.",
            remedy="Return one, or say create_table=False.",
        )
    return [(str(title), table) for title, table in value.items()]


def write_tables(value: Any, name: str, who: str) -> None:
    """A row a line, tabs between columns; before each table of a dict a line with its key."""
    tables = tables_of(value, who)
    with open(name, "w", encoding="utf-8", newline="") as file:
        for title, table in tables:
            if title is not None:
                file.write(f"#{title}\n")
            table.to_csv(file, sep="\t")


def faceted(plot: Any, arguments: Any) -> Any:
    """The plot with a panel for each group of its data."""
    if arguments is None:
        return plot
    by_place, by_name = ([], arguments) if isinstance(arguments, Mapping) else (arguments, {})
    if hasattr(plot, "facet_wrap"):
        other = plot.facet_wrap(*by_place, **by_name)
        return plot if other is None else other
    plotnine = extras.needed("plotnine", "plots", "A CombinedPlotJob with facets")
    return plot + plotnine.facet_wrap(*by_place, **by_name)
