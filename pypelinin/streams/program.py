"""What a stream does with its items: stages in order, frames as loops in them, reduces between.

A *segment* is a row of stages up to the next reduce, or to the end of its frame or of the stream.
Segments are numbered; the first one of the stream is 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.streams.words import Object

Function = Callable[..., Any]


def unchanged(store: Any) -> Any:
    """What a frame or a reduce emits if it is not told otherwise."""
    return store


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


class Builder:
    """Puts a program together, in the order in which the functions stand in the source."""

    def __init__(self) -> None:
        self.program = Program()
        self._open: list[tuple[Frame, int]] = []
        """Frames that are not closed, each with the segment in which it stands."""
        self._current = 0

    def job(self, stage: Stage) -> None:
        self._segment.stages.append(stage)

    def frame(self, frame: Frame) -> None:
        self._segment.stages.append(frame)
        self._open.append((frame, self._current))
        frame.body = self._current = self._new()

    def frame_end(self, function: Function) -> None:
        if not self._open:
            raise DefinitionError(
                "frameEnd call does not match up with frame!",
                remedy="Put @w.frame before the stages that are repeated, @w.frameEnd behind them.",
            )
        last = self._segment
        last.frame, self._current = self._open.pop()
        last.frame.end = function

    def reduce(self, reduce: Reduce) -> None:
        segment, new = self._segment, self._new()
        segment.reduce, segment.next = reduce, new
        self._current = new

    def finished(self) -> Program:
        for segment in self.program.segments:
            for stage in segment.stages:
                if isinstance(stage, Frame):
                    self._settle_reduces(stage)
        if self._open:
            raise DefinitionError(
                f"The frame {self._open[-1][0].name} is never closed.",
                remedy="Put @w.frameEnd behind its last stage.",
            )
        return self.program

    def _settle_reduces(self, frame: Frame) -> None:
        """A loop and the reduces of its turns are one thing, so they are in one process."""
        number = frame.body
        found = []
        while (reduce := self.program.segments[number].reduce) is not None:
            found.append(reduce)
            number = self.program.segments[number].next
        here = frame.here or any(reduce.here for reduce in found)
        for one in (frame, *found):
            one.here = here

    @property
    def _segment(self) -> Segment:
        return self.program.segments[self._current]

    def _new(self) -> int:
        self.program.segments.append(Segment())
        return len(self.program.segments) - 1


def check_arguments(what: str, function: Function, count: int, at_least: bool = False) -> None:
    """Raise ValueError unless *function* takes *count* arguments, or *at_least* so many.

    *args and **kwargs count as one where more are allowed; annotations count for nothing.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of the interpreter's own: nobody can say
        return
    kinds = [parameter.kind for parameter in parameters]
    plain = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    if at_least:
        fits = len(parameters) >= count
    else:
        required = [one for one in plain if one.default is one.empty]
        more = inspect.Parameter.VAR_POSITIONAL in kinds
        fits = len(required) <= count and (more or len(plain) >= count)
    if not fits:
        wanted = f"{'at least' if at_least else 'exactly'} {count} argument{'s' * (count != 1)}"
        listed = ", ".join(one.name for one in parameters) or "none"
        raise ValueError(f"{what} {name_of(function)} must take {wanted}; it takes: {listed}.")


def name_of(function: Any) -> str:
    return getattr(function, "__name__", None) or type(function).__name__
