"""The work of every scenario, on both sides: nothing."""

from __future__ import annotations

__all__ = ["Noop"]


class Noop:
    def process(self, data: object) -> None:  # noqa: ARG002
        return None


def noop(data: object) -> None:
    """The same for a pool of processes."""
