"""What travels between who drives a stream and its slots: items, what is left of them, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

Pace = dict[int, float]
"""Seconds that an item took so far, by segment."""


NO_PACE: Mapping[int, float] = MappingProxyType({})


class Chunk(NamedTuple):
    """Items that stand before a stage of a segment."""

    segment: int
    stage: int
    items: bytes
    """A packed list."""
    size: int
    """Items in it."""
    here: bool = False
    """To be brought on in the process of whoever runs the stream."""


class Suspended(NamedTuple):
    """A loop, or the end of a reduce, that waits for *children*: Chunks and Suspended."""

    state: bytes
    children: tuple[Any, ...]
    here: bool = False


class Part(NamedTuple):
    """What came to the end of a segment."""

    is_store: bool
    """*data* is a store of the segment's reduce, else a list of items."""
    data: bytes


class ItemFailure(NamedTuple):
    """An item that a function of the stream raised for."""

    stage: str
    item: str
    """Its repr, shortened."""
    error: bytes
    """The packed exception, or nothing if it cannot travel."""
    kind: str
    text: str
    traceback: str


class Report(NamedTuple):
    """What became of a chunk, or of what was suspended."""

    part: Part | None
    children: Sequence[Chunk | Suspended] = ()
    holes: Sequence[int] = ()
    """By child: how many items of the part come before what it will give."""
    failures: Sequence[ItemFailure] = ()
    done: int = 0
    """Items that were begun."""
    seconds: float = 0.0
    pace: Mapping[int, float] = NO_PACE
    printed: tuple[str, str] | None = None
    """Standard output and error."""
