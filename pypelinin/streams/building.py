"""Puts a program together, in the order in which the functions stand in the source."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.streams.inside.program import Frame, Function, Program, Reduce, Segment, Stage


class Builder:
    """A program that is not whole yet."""

    def __init__(self) -> None:
        self.program = Program()
        self._open: list[tuple[Frame, int]] = []
        """Frames that are not closed, each with the segment in which it stands."""
        self._current = 0

    def job(self, stage: Stage) -> None:
        self._segment.stages.append(stage)

    def frame(self, frame: Frame) -> None:
        _check_store(frame)
        self._segment.stages.append(frame)
        self._open.append((frame, self._current))
        frame.body = self._current = self._new()

    @property
    def own_end(self) -> Function | None:
        """What a class that is the innermost open frame does at its end."""
        return self._open[-1][0].end if self._open else None

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
        _check_store(reduce)
        segment, new = self._segment, self._new()
        segment.reduce, segment.next = reduce, new
        self._current = new

    def finished(self) -> Program:
        for segment in self.program.segments:
            for stage in segment.stages:
                if isinstance(stage, Frame):
                    self._settle_reduces(stage)
        self.check_closed()
        return self.program

    def check_closed(self, but: int = 0) -> None:
        """Raise DefinitionError if more than the outermost *but* frames are open."""
        if len(self._open) > but:
            raise DefinitionError(
                f"The frame {self._open[-1][0].name} is never closed.",
                remedy="Put @w.frameEnd behind its last stage.",
            )

    def _settle_reduces(self, frame: Frame) -> None:
        """A loop and the reduces of its turns are one thing, so they are in one process."""
        number = frame.body
        found: list[Frame | Reduce] = [frame]
        while (reduce := self.program.segments[number].reduce) is not None:
            found.append(reduce)
            number = self.program.segments[number].next
        here = any(one.here for one in found)
        for one in found:
            one.here = here

    @property
    def _segment(self) -> Segment:
        return self.program.segments[self._current]

    def _new(self) -> int:
        self.program.segments.append(Segment())
        return len(self.program.segments) - 1


def check_arguments(what: str, function: Function, count: int, at_least: bool = False) -> None:
    """Raise ValueError unless *function* takes *count* arguments, or *at_least* so many.

    *args takes any number, **kwargs counts as one where more are allowed; annotations count for
    nothing.
    """
    check_callable(what, function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of the interpreter's own: nobody can say
        return
    kinds = [parameter.kind for parameter in parameters]
    plain = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    more = inspect.Parameter.VAR_POSITIONAL in kinds
    if at_least:
        fits = more or len(parameters) >= count
    else:
        required = [one for one in plain if one.default is one.empty]
        named = any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters)
        fits = len(required) <= count and (more or len(plain) >= count) and not named
    if not fits:
        wanted = f"{'at least' if at_least else 'exactly'} {count} argument{'s' * (count != 1)}"
        listed = ", ".join(one.name for one in parameters) or "none"
        raise ValueError(f"{what} {name_of(function)} must take {wanted}; it takes: {listed}.")


def _check_store(stage: Frame | Reduce) -> None:
    check_callable(f"store of {stage.name}", stage.store)
    check_callable(f"emit of {stage.name}", stage.emit)


def check_callable(what: str, function: object) -> None:
    """Raise DefinitionError unless *function* is one."""
    if not callable(function):
        raise DefinitionError(
            f"{what} is {function!r} ({type(function).__name__}), which cannot be called.",
            remedy="Give a function.",
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        kind = "is async" if inspect.iscoroutinefunction(function) else "yields"
        raise DefinitionError(
            f"{what} {name_of(function)} {kind}; it must be an ordinary function.",
            remedy="Return Multiple([...]) to give several items; use asyncio.run() inside of it.",
        )


def name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__
