"""Pictures of a pipeline: SVG here, PNG with matplotlib, and a graph of networkx."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.graph.layers import Layers
from pypelinin.graph.svg import Box, svg_of
from pypelinin.tasks.definition import Task
from pypelinin.tasks.inside.files import write_text
from pypelinin.tasks.statuses import Status
from pypelinin.tasks.summary import ascii_of, edges_of

AnyTask = Task[Any, Any]
COLOURS = {
    Status.NOT_STARTED: "#ffffff", Status.FAILURE: "#f08080", Status.SUCCESS: "#90ee90",
    Status.RUNNING: "#ffff80", Status.CANT_RUN: "#c0c0c0", Status.SKIPPED: "#87ceeb",
}  # fmt: skip
INCHES_A_CHARACTER = 0.1
DRAWN_MAX = 20_000
"""Tasks of a picture; more of them nobody can look at."""


def needed(module: str, what: str) -> Any:
    """A module of the extra "tasks". Raises ModuleNotFoundError that names it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != missing:
            raise  # it is there, and lacks something itself
        raise ModuleNotFoundError(
            f"{what} needs {missing}, which is not installed: pip install 'pypelinin[tasks]'",
            name=missing,
        ) from None


def networkx_graph(tasks: Sequence[AnyTask]) -> Any:
    """Tasks as a `networkx.DiGraph`. Raises ModuleNotFoundError."""
    graph = needed("networkx", "create_graph()").DiGraph()
    graph.add_nodes_from(tasks)
    graph.add_edges_from(edges_of(tasks))
    return graph


def draw(tasks: Sequence[AnyTask], filename: str) -> None:
    """Into a file: .svg, or .png with matplotlib. Raises DefinitionError for another one,
    ModuleNotFoundError, OSError."""
    kind = Path(filename).suffix.lower()
    if kind == ".svg":
        write_text(str(filename), svg(tasks))
    elif kind == ".png":
        _png(tasks, str(filename))
    else:
        raise DefinitionError(f"Pictures are .svg or .png files, not {filename!r}.")


def svg(tasks: Sequence[AnyTask]) -> str:
    """The picture with the status of each task; above 20,000 tasks only how many there are."""
    if len(tasks) > DRAWN_MAX:
        return svg_of([Box("all", f"{len(tasks):,} tasks", "", "#ffffff")], [])
    boxes = [
        Box(task.name, task.name, f"{task.name}: {task.status.name}", COLOURS[task.status])
        for task in tasks
    ]
    return svg_of(boxes, [(up.name, down.name) for up, down in edges_of(tasks)])


def _png(tasks: Sequence[AnyTask], filename: str) -> None:
    figures = needed("matplotlib.figure", "A PNG picture")
    by_name = {task.name: task for task in tasks}
    edges = [(up.name, down.name) for up, down in edges_of(tasks)]
    layers = Layers(by_name, edges).ordered()
    longest = max((len(name) for name in by_name), default=1)
    widest = max((len(layer) for layer in layers), default=1)
    size = (widest * (longest + 4) * INCHES_A_CHARACTER, len(layers) + 0.5)
    figure = figures.Figure(figsize=tuple(min(max(inches, 2.0), 300.0) for inches in size))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    places = {}
    for row, layer in enumerate(layers):
        for place, name in enumerate(layer):
            places[name] = ((place + 0.5) / len(layer), 1 - (row + 0.5) / len(layers))
    for up, down in edges:
        axes.annotate(
            "", places[down], places[up], arrowprops={"arrowstyle": "->", "color": "#888888"}
        )
    for name, (x, y) in places.items():
        box = {"boxstyle": "round", "facecolor": COLOURS[by_name[name].status]}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, parse_math=False)
    figure.savefig(filename)


__all__ = ["COLOURS", "ascii_of", "draw", "needed", "networkx_graph", "svg"]
