"""Data flow: items through functions, loops and reductions; heir of job_stream.

The names are those of job_stream; each is imported when it is first used, so that a slot loads
only `inside`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.streams.baked import sweep as sweep
    from pypelinin.streams.inline import Work as Work
    from pypelinin.streams.inline import map as map
    from pypelinin.streams.inside.ambient import getCpuCount as getCpuCount
    from pypelinin.streams.inside.ambient import getRank as getRank
    from pypelinin.streams.inside.failures import ItemFailed as ItemFailed
    from pypelinin.streams.inside.words import Args as Args
    from pypelinin.streams.inside.words import Multiple as Multiple
    from pypelinin.streams.inside.words import Object as Object
    from pypelinin.streams.invoking import invoke as invoke

_HOMES = {
    "Args": "inside.words",
    "ItemFailed": "inside.failures",
    "Multiple": "inside.words",
    "Object": "inside.words",
    "Work": "inline",
    "getCpuCount": "inside.ambient",
    "getRank": "inside.ambient",
    "invoke": "invoking",
    "map": "inline",
    "sweep": "baked",
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
