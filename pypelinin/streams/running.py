"""One run of a stream, from its source or from a checkpoint to its end."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any, NamedTuple, NoReturn

from pypelinin.errors import NotPicklable
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.checkpoints import Checkpoint
from pypelinin.streams.conducting import Conductor, Deliver, Items
from pypelinin.streams.inside import ambient
from pypelinin.streams.inside.failures import ItemFailed
from pypelinin.streams.inside.program import Program
from pypelinin.streams.inside.words import items_of
from pypelinin.streams.places import Place

log = logging.getLogger("pypelinin.streams")


class Source(NamedTuple):
    """*initial* items, then what *inits* return, which are called only at a fresh start."""

    initial: Iterable[Any]
    inits: Iterable[Callable[[], Any]]


class Sink(NamedTuple):
    """*deliver* gets what comes out, *at_end* makes of *out* what the run returns."""

    out: list[Any]
    """What *deliver* fills, if it keeps what it gets: then a checkpoint has that, too."""
    deliver: Deliver
    errors: list[ItemFailed]
    """Gets those that are collected."""
    at_end: Callable[[list[Any]], Any]


def run(
    program: Program,
    source: Source,
    sink: Sink,
    place: Place,
    on_error: str,
    keeper: Checkpoint | None,
) -> Any:
    """Bring all items from *source* to *sink*; what that makes of them at the end."""
    program.cpus = 1 if program.is_here else place.cpus()
    program.captures = bool(not program.is_here and place.api)
    with nullcontext() if keeper is None else keeper.held(), ambient.stream(program.cpus):
        kept = keeper.read() if keeper is not None else None
        before = unpack_value(kept["before"]) if kept is not None else _begun(source.inits)
        items = Items(chain(source.initial, before), 0 if kept is None else kept["taken"])
        with nullcontext() if program.is_here else place.opened() as executor:
            keeps = sink.deliver == sink.out.extend
            conductor = Conductor(
                program, items, executor, sink.deliver, on_error, sink.errors, keeps
            )
            if kept is not None:
                sink.out.extend(unpack_value(kept["out"]))
                conductor.restore(kept["state"])
            if keeper is not None:
                return _kept_run(conductor, keeper, before, sink)
            conductor.run()
    return sink.at_end(sink.out)


def _kept_run(conductor: Conductor, keeper: Checkpoint, before: list[Any], sink: Sink) -> Any:
    """Run to the end, with checkpoints; one more if it ends before that."""

    def keep() -> None:
        try:
            keeper.write({
                "before": pack_value("What init returned", before),
                "taken": conductor.items.taken,
                "out": pack_value("What came out of the stream", sink.out),
                "state": conductor.state(),
            })  # fmt: skip
        except (OSError, NotPicklable) as error:  # the stream is more important
            log.warning("The checkpoint %s could not be written: %s", keeper.path, error)

    def turned() -> None:
        if keeper.is_due:
            keep()

    try:
        with _ended_by_sigterm():
            conductor.run(turned)
            found = sink.at_end(sink.out)
    except BaseException:
        if conductor.settled:  # else what was kept last is nearer to the truth
            keep()
        raise
    keeper.remove()
    return found


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is what batch systems send: it raises, as Ctrl-C does, so that the state is kept.

    Not in other threads, which cannot, and not if the program does something about it itself.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _begun(inits: Iterable[Callable[[], Any]]) -> list[Any]:
    return [item for init in inits for item in items_of(init())]
