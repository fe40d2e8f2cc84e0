"""What a stream does with its items: stages in order, frames as loops in them, reduces between.

A *segment* is a row of stages up to the next reduce, or to the end of its frame or of the stream.
Segments are numbered; the first one of the stream is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

from pypelinin.streams.inside.words import Object

Function = Callable[..., Any]


def unchanged(store: Any) -> Any:
    """What a frame or a reduce emits if it is not told otherwise."""
    return store


def elsewhere(*_: Any, **__: Any) -> NoReturn:
    """Stands in a slot for a function that is called by whoever runs the stream."""
    raise RuntimeError("This function is for the process of whoever runs the stream.")


@dataclass(slots=True)
class Stage:
    """Called for each item."""

    function: Function
    name: str
    here: bool = False
    """In the process of whoever runs the stream, not in a slot."""


@dataclass(slots=True)
class Frame:
    """A loop for each item: *function* begins every turn, *end* takes what a turn brings."""

    function: Function
    name: str
    here: bool = False
    store: Function = Object
    emit: Function = unchanged
    end: Function | None = None
    body: int = -1
    """Its first segment."""


@dataclass(slots=True)
class Reduce:
    """Makes one store of all items that come to the end of its segment."""

    function: Function
    name: str
    here: bool = False
    store: Function = Object
    emit: Function = unchanged


S = TypeVar("S", Stage, Frame, Reduce, Stage | Frame)


def _for_slots(stage: S) -> S:
    """*stage* without its functions, if it is for here."""
    if not stage.here:
        return stage
    if isinstance(stage, Stage):
        return replace(stage, function=elsewhere)
    bare = replace(stage, function=elsewhere, store=elsewhere, emit=elsewhere)
    if isinstance(bare, Frame):
        bare.end = elsewhere
    return bare


@dataclass(slots=True)
class Segment:
    """Ends in *reduce*, after which *next* goes on; else in *frame*; else the stream is over."""

    stages: list[Stage | Frame] = field(default_factory=list)
    reduce: Reduce | None = None
    next: int = -1
    frame: Frame | None = None


@dataclass(slots=True)
class Program:
    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    captures: bool = False
    """What functions print goes back with the results: slots are not at the caller's terminal."""
    tolerant: bool = False
    """An item that fails does not end the stream."""
    ordered: bool = False
    """Items come out in the order of those that went in."""
    cpus: int = 1
    """Slots that there are."""

    def functions(self) -> Iterator[Function]:
        """All that it calls."""
        for segment in self.segments:
            for stage in segment.stages:
                yield stage.function
                if isinstance(stage, Frame):
                    yield from (stage.store, stage.emit)
            for closing in (segment.reduce, segment.frame):
                if isinstance(closing, Reduce):
                    yield from (closing.function, closing.store, closing.emit)
                elif closing is not None and closing.end is not None:
                    yield closing.end

    @property
    def is_here(self) -> bool:
        """Nothing of it is for a slot."""
        return all(
            all(stage.here for stage in segment.stages)
            and (segment.reduce is None or segment.reduce.here)
            for segment in self.segments
        )

    def stay_here(self) -> None:
        """Nothing of it shall be for a slot."""
        for segment in self.segments:
            for stage in segment.stages:
                stage.here = True
            if segment.reduce is not None:
                segment.reduce.here = True

    def for_slots(self) -> Program:
        """A copy without the functions that are called here only: these need not travel."""
        copied = [
            replace(
                segment,
                stages=[_for_slots(stage) for stage in segment.stages],
                reduce=segment.reduce and _for_slots(segment.reduce),
                frame=segment.frame and _for_slots(segment.frame),
            )
            for segment in self.segments
        ]
        return replace(self, segments=copied)

    def described(self) -> list[Any]:
        """What two programs have in common if one can go on with what the other left."""
        return [
            [
                [[type(stage).__name__, stage.name] for stage in segment.stages],
                segment.reduce and segment.reduce.name,
                segment.frame and segment.frame.name,
            ]
            for segment in self.segments
        ]
