"""What goes to `hands`, and what comes back."""

from __future__ import annotations

from typing import Any, NamedTuple

from pypelinin.graph.needs import Needs
from pypelinin.incremental.enums import Resources


class HandOut(NamedTuple):
    """A job that can begin; *loaders* are what must be loaded where it runs: (number, digest of
    what it reads, digest of what it must give, or nothing)."""

    number: int
    resources: Resources | Needs
    loaders: tuple[tuple[int, bytes, bytes], ...] = ()
    alone: bool = False
    """In a process of its own; so is what reads loaded data."""


class Ended(NamedTuple):
    """How a job ended: what it gave, or why not."""

    number: int
    value: Any
    error: BaseException | None
