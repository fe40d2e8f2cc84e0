"""The work of every scenario, on both sides: nothing."""

from __future__ import annotations

__all__ = ["Noop", "Nothing"]


class Noop:
    def process(self, data: object) -> None:  # noqa: ARG002 - every process() gets it
        return None


class Nothing(Noop):
    """Another worker, so that its jobs are never of one lot with the others."""


def noop(data: object) -> None:
    """The same for a pool of processes."""


def same(data: bytes) -> bytes:
    """What came goes back, and is written anew (a pool would not share it either)."""
    return bytes(data)


def gather(*results: int) -> int:
    """A job of a graph of functions."""
    return len(results)
