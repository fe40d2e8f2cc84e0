"""The graph that is current: jobs belong to it when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.incremental.faces import Graph

graph: Graph | None = None


def current() -> Graph:
    """Raises ValueError if there is no graph yet."""
    if graph is None:
        raise ValueError("There is no graph yet: call new() before you make jobs.")
    return graph


def change(new: Graph | None) -> None:
    global graph
    graph = new


# --- where loaders put what they load ----------------------------------------------------------


def loads_into(place: Any, name: Any) -> None:
    """A loader fills this entry or attribute of *place*: it is no part of what *place* is."""
    known = current().shared.setdefault("loaded into", {})
    known.setdefault(id(place), (place, set()))[1].add(name)


def without_loaded(value: Any) -> Any:
    """What *value* is besides what loaders put into it."""
    known = {} if graph is None else graph.shared.get("loaded into", {})
    found = known.get(id(value))
    if found is None:
        return value
    what = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return type(value).__qualname__, {k: v for k, v in what.items() if k not in found[1]}
