"""What a slot is asked for by who runs a stream."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Sequence

from pypelinin.runtime.values import unpack_value
from pypelinin.streams.inside import ambient
from pypelinin.streams.inside.play import Play
from pypelinin.streams.inside.portions import Chunk, Pace, Part, Report
from pypelinin.streams.inside.program import Program


def worked(packed: bytes, chunk: Chunk, pace: Pace) -> Report:
    """Bring *chunk* to the end of its segment."""
    return _played(packed, pace, lambda play: play.chunk(chunk))


def merged(packed: bytes, segment: int, parts: Sequence[Part], pace: Pace) -> Report:
    """One part out of those of many chunks."""
    return _played(packed, pace, lambda play: play.merge(segment, parts))


def resumed(packed: bytes, state: bytes, parts: Sequence[Part], pace: Pace) -> Report:
    """Go on with what was suspended; *parts* are what its children gave."""
    return _played(packed, pace, lambda play: play.resume(state, parts))


def given(program: Program) -> Program:
    """Stands where a function is asked for, so that a program travels as functions do."""
    return program


@functools.lru_cache(maxsize=4)
def _program(packed: bytes) -> Program:
    found: Program = unpack_value(b"p" + packed)()
    return found


def _played(packed: bytes, pace: Pace, act: Callable[[Play], Report]) -> Report:
    program = _program(packed)
    play = Play(program, pace, in_slot=True)
    with ambient.stream(program.cpus):
        return _captured(play, act) if program.captures else act(play)


def _captured(play: Play, act: Callable[[Play], Report]) -> Report:
    """With what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        report = act(play)
    if out.tell() or err.tell():
        report = report._replace(printed=(out.getvalue(), err.getvalue()))
    return report
