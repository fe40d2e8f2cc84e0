"""What a job of a task calls. It names nothing else, so that it is quick to see that it is the
same function for all jobs, and packed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.tasks.inside.work import Handed, Order


def begin(place: tuple[Any, ...], work: bytes, order: Order, inputs: list[Handed]) -> Handed:
    """`work.perform`; raises as it does."""
    from pypelinin.tasks.inside.work import perform

    return perform(place, work, order, inputs)


__all__ = ["begin"]
