"""Streams of items: what stands in the source from top to bottom is what items go through.

    from pypelinin.streams import Work

    with Work(range(10)) as w:
        @w.job
        def square(x):
            return x * x

        @w.reduce(store=lambda: [0], emit=lambda store: store[0])
        def total(store, works, others):
            store[0] += sum(works) + sum(other[0] for other in others)

        @w.result
        def show(total):
            print(total)

The names and their meaning are those of job_stream.inline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Self, TypeVar

from pypelinin.errors import DefinitionError, PypelininError
from pypelinin.streams import common, places, running
from pypelinin.streams.building import Builder, check_arguments, check_callable, name_of
from pypelinin.streams.checkpoints import Checkpoint, named_by_environment
from pypelinin.streams.inside.ambient import getCpuCount, getRank
from pypelinin.streams.inside.failures import ItemFailed, of_the_user
from pypelinin.streams.inside.program import Frame, Reduce, Stage, unchanged
from pypelinin.streams.inside.words import Args, Multiple, Object

F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]

ON_ERROR = ("stop", "skip", "collect")


class Work:
    """A stream, and the items that go into it.

    *initialWork* is any iterable, and is taken from as the stream has room. Without
    *useMultiprocessing* all functions are called in this process. *checkpointFile* is where the
    state of the stream is kept every *checkpointInterval* seconds, and from where it goes on if
    that file is there (else `PYPELININ_CHECKPOINT`; *checkpointSyncInterval* is accepted, and
    nothing waits for it). *on* is the address of a Router (else `PYPELININ_API`), *engine* any
    `concurrent.futures.Executor`, *slots* how many run here. With *ordered* items come out in the
    order of those that went in. *on_error*: "stop" raises ItemFailed for the first item that a
    function raised for, "skip" goes on without it, "collect" keeps the errors in `errors`, too.
    """

    def __init__(
        self,
        initialWork: Iterable[Any] = (),
        useMultiprocessing: bool = True,
        *,
        checkpointFile: str | os.PathLike[str] | None = None,
        checkpointInterval: float = 600.0,
        checkpointSyncInterval: float = 10.0,
        on: str | None = None,
        engine: Executor | None = None,
        slots: int | None = None,
        ordered: bool = False,
        on_error: str = "stop",
    ) -> None:
        for name, value in (
            ("checkpointInterval", checkpointInterval),
            ("checkpointSyncInterval", checkpointSyncInterval),
        ):
            if not _is_time(value):
                raise DefinitionError(f"{name} is seconds, at least 0, not {value!r}.")
        if on_error not in ON_ERROR:
            raise DefinitionError(f"on_error is one of {', '.join(ON_ERROR)}, not {on_error!r}.")
        iter(initialWork)  # raises now if it is none
        self._initial = initialWork
        self._ran = False
        self.errors: list[ItemFailed] = []
        """Of the last run, with on_error="collect"."""
        self._place = places.Place(on, engine, slots)
        self._multiprocessing = useMultiprocessing
        self._path = checkpointFile
        self._interval_s = float(checkpointInterval)
        self._ordered = ordered
        self._on_error = on_error
        self._builder = Builder()
        self._inits: list[Function] = []
        self._result: Function | None = None
        self._finish: Function | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # functions may name it; where they run it is nobody

    # --- building --------------------------------------------------------------------------------

    def init(self, func: F | None = None) -> Any:
        """Called once before all else, in this process; what it returns are items, too."""

        def add(func: F) -> F:
            check_arguments("init", func, 0)
            self._inits.append(func)
            return func

        return self._added(func, add)

    def job(self, func: Any = None, *, useMultiprocessing: bool = True) -> Any:
        """Called for each item; what it returns goes on: None nothing, Multiple several items."""

        def add(func: Any) -> Any:
            function = func
            if _is_class(func, common.Job):
                function = common.job_function(func)
            else:
                check_arguments("job", func, 1, at_least=True)
            self._builder.job(Stage(function, name_of(func), _is_here(func, useMultiprocessing)))
            return func

        return self._added(func, add)

    def frame(
        self,
        func: Any = None,
        *,
        store: Function = Object,
        emit: Function = unchanged,
        useMultiprocessing: bool = True,
    ) -> Any:
        """The begin of a loop for each item, up to `frameEnd`.

        Called as func(store, first) at first, and each time that all items in the loop are
        through; what it returns goes into the loop. When it returns None, *emit*(store) goes on.
        """

        def add(func: Any) -> Any:
            made = Frame(func, name_of(func), _is_here(func, useMultiprocessing), store, emit)
            if _is_class(func, common.Frame):
                made.function, made.store, made.emit, made.end = common.frame_functions(func)
            else:
                check_arguments("frame", func, 2, at_least=True)
            self._builder.frame(made)
            return func

        return self._added(func, add)

    def frameEnd(self, func: F | None = None) -> Any:
        """The end of a loop: func(store, next); what it returns goes into the loop again."""

        def add(func: F) -> F:
            check_arguments("frameEnd", func, 2, at_least=True)
            self._builder.frame_end(func)
            return func

        return self._added(self._builder.own_end if func is None else func, add)

    def reduce(
        self,
        func: Any = None,
        *,
        store: Function = Object,
        emit: Function = unchanged,
        useMultiprocessing: bool = True,
    ) -> Any:
        """func(store, works, others) takes items and other stores into *store*.

        When all items before it are through, *emit*(store) goes on. What func returns goes
        through the stages before it once more.
        """

        def add(func: Any) -> Any:
            made = Reduce(func, name_of(func), _is_here(func, useMultiprocessing), store, emit)
            if _is_class(func, common.Reducer):
                made.function, made.store, made.emit = common.reduce_functions(func)
            else:
                check_arguments("reduce", func, 3)
            self._builder.reduce(made)
            return func

        return self._added(func, add)

    def result(self, func: F | None = None) -> Any:
        """Called in this process for each item that comes out, one after the other.

        Once for each item in an undisturbed run; again for some if a run goes on from a
        checkpoint.
        """

        def add(func: F) -> F:
            check_arguments("result", func, 1, at_least=True)
            self._result = func
            return func

        return self._added(func, add)

    def finish(self, func: F | None = None) -> Any:
        """Called in this process with the list of all that came out; `run` returns its result."""

        def add(func: F) -> F:
            check_arguments("finish", func, 1)
            self._finish = func
            return func

        return self._added(func, add)

    def _added(self, func: Any, add: Callable[[Any], Any]) -> Any:
        if self._result is not None or self._finish is not None:
            raise DefinitionError(
                "After Work.result|finish is used, no other elements may be added to the stream."
            )
        return add if func is None else add(func)

    # --- running ---------------------------------------------------------------------------------

    def run(self) -> Any:
        """Bring all items through.

        Returns what `finish` returned, None if there is a `result`, else the list of all that
        came out, in no order (but with *ordered*).

        Raises ItemFailed, NotPicklable, DefinitionError, ClusterError.
        """
        if self._ran and iter(self._initial) is self._initial:
            raise DefinitionError(
                f"The initial work is {self._initial!r}, and an earlier run has taken from it.",
                remedy="Give a list, or make a new Work.",
            )
        program = self._builder.finished()
        program.ordered, program.tolerant = self._ordered, self._on_error != "stop"
        if not self._multiprocessing:
            program.stay_here()
        out: list[Any] = []
        deliver = out.extend if self._result is None else partial(_each, self._result)
        if not self._path:
            self._path = named_by_environment()
        described = program.described()
        keeper = Checkpoint(self._path, described, self._interval_s) if self._path else None
        source = running.Source(self._initial, self._inits)
        self._ran = True
        self.errors = []
        sink = running.Sink(out, deliver, self.errors, self._ended)
        try:
            return running.run(program, source, sink, self._place, self._on_error, keeper)
        except PypelininError as error:
            if of_the_user(error) is None:
                error.__traceback__ = None  # its words and its cause tell all
            raise

    def _ended(self, out: list[Any]) -> Any:
        if self._finish is not None:
            return self._finish(out)
        return None if self._result is not None else out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        if kind is None:
            if self._result is None and self._finish is None:
                self._result = _drop
            self.run()


def map(func: Function, *sequence: Iterable[Any], **kwargs: Any) -> list[Any]:
    """`[func(*items) for items in zip(*sequence)]`, in parallel; *kwargs* are those of Work."""
    work = Work((Args(*items) for items in zip(*sequence, strict=False)), ordered=True, **kwargs)
    check_callable("The function of map", func)
    work._builder.job(Stage(partial(_boxed, func), name_of(func)))
    return [box[0] for box in work.run()]


def _boxed(func: Function, *items: Any) -> tuple[Any]:
    """So that None, and Multiple, are results as all others."""
    return (func(*items),)


def _each(result: Function, items: Iterable[Any]) -> None:
    for item in items:
        if isinstance(item, Args):
            result(*item.args, **item.kwargs)
        else:
            result(item)


def _drop(item: Any) -> None:
    """What a stream in a `with` does with items for which there is no result function."""


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and value >= 0  # NaN is no time either


def _is_here(func: Any, useMultiprocessing: bool) -> bool:
    """Classes may say it, too."""
    return not (useMultiprocessing and getattr(func, "USE_MULTIPROCESSING", True))


def _is_class(func: Any, base: type) -> bool:
    if isinstance(func, type) and not issubclass(func, base):
        raise DefinitionError(
            f"{func.__name__} is a class, and none of common.{base.__name__}.",
            remedy=f"Derive it from common.{base.__name__}, or give a function.",
        )
    return isinstance(func, type)


__all__ = ["Args", "ItemFailed", "Multiple", "Object", "Work", "getCpuCount", "getRank", "map"]
