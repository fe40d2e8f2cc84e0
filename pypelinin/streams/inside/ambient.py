"""What functions may ask of the stream in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_cpus: list[int] = []
"""Of the streams that run in this process, the innermost last."""


@contextmanager
def stream(cpus: int) -> Iterator[None]:
    """A stream with so many slots runs."""
    _cpus.append(cpus)
    try:
        yield
    finally:
        _cpus.pop()


def getCpuCount() -> int:
    """Slots of the stream that runs. Raises RuntimeError outside of one."""
    if not _cpus:
        raise RuntimeError("getCpuCount() is for functions of a stream while it runs.")
    return _cpus[-1]


def is_inside() -> bool:
    """Whether a function of a stream asks."""
    return bool(_cpus)


def getRank() -> int:
    """Always 0: a script runs once, however many nodes there are."""
    return 0


__all__ = ["getCpuCount", "getRank", "is_inside", "stream"]
