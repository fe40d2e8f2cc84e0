"""Brings a stream to its end: takes items from the source, hands portions to slots, and gives
what comes out to who runs it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any

from pypelinin.errors import DefinitionError, JobError, NotPicklable
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams import inside
from pypelinin.streams.inside.failures import (
    ItemFailed,
    error_of,
    failure_of,
    pack_items,
    unpack_items,
)
from pypelinin.streams.inside.play import BUDGET_S, Play, State
from pypelinin.streams.inside.portions import Chunk, ItemFailure, Pace, Report
from pypelinin.streams.inside.program import Frame, Program
from pypelinin.streams.ordering import Ordering
from pypelinin.streams.tokens import Closing, Merging, Portion, Source, Tokens

log = logging.getLogger("pypelinin.streams")

AHEAD = 3
"""Portions that are out at once, for each slot."""
CHUNK_MAX = 100_000
CHUNK_BYTES_MAX = 1024 * 1024
HELD_BYTES_MAX = 64 * 1024 * 1024
"""Of items that wait for those before them."""
PIECES = 16
"""Into so many a chunk is cut with which a slot died."""
GROWTH = 8
"""So many times larger than the one before a chunk may be."""

Deliver = Callable[[list[Any]], None]


class Items:
    """The source: what is given, from a place on."""

    def __init__(self, given: Iterable[Any], taken: int = 0) -> None:
        self._given = islice(iter(given), taken, None)
        self.taken = taken
        """Items that are in the stream, or were."""

    def take(self, count: int) -> list[Any]:
        """At most *count* items; fewer if they come slowly, none at the end. Count them then."""
        found: list[Any] = []
        until = time.perf_counter() + BUDGET_S
        for item in islice(self._given, count):
            found.append(item)
            if time.perf_counter() > until:
                break
        return found


class Conductor:
    """One run of a program."""

    def __init__(
        self,
        program: Program,
        items: Items,
        executor: Executor | None,
        deliver: Deliver,
        on_error: str = "stop",
        errors: list[ItemFailed] | None = None,
        keeps: bool = False,
    ) -> None:
        """Without *executor* all is done in this process. *errors* gets what is collected;
        *keeps*: what is given to *deliver* is kept with the state.
        """
        root = pack_value("A state", list(State(None, 0)))
        self.tokens = Tokens(program, root)
        self.ordering = Ordering() if program.ordered else None
        if self.ordering is not None and program.segments[0].reduce is not None:
            self.ordering.begin(3)
        self.errors: list[ItemFailed] = [] if errors is None else errors
        self._failures: list[ItemFailure] = []
        """The same, as data."""
        self.size = 1
        self._item_bytes = 1.0
        """Of the last chunk, on average."""
        self.settled = True
        """`state` tells the truth: a signal may come in the middle of everything."""
        self._program = program
        self.items = items
        self._executor = executor
        self._deliver = deliver
        self._on_error = on_error
        self._keeps = keeps
        self._pace: Pace = {}
        self._measured = (0.0, 0.0)
        """Items of the source that are through, and their seconds; older ones count less."""
        self._ready: list[int] = []
        """For slots; the newest last, and that goes first: what is begun is finished."""
        self._here: list[int] = []
        self._source: int | None = None
        self._due: list[Any] = []
        """Items that are being given to who runs it."""
        self._out: dict[int, Future[Report]] = {}
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._packed = b""
        if executor is not None:
            self._packed = packed_program(program)
        self._functions = [
            partial(one, self._packed) for one in (inside.worked, inside.merged, inside.resumed)
        ]
        self._out_max = AHEAD * program.cpus

    def run(self, turned: Callable[[], None] = lambda: None) -> None:
        """To the end; *turned* is called where all is settled that has happened so far.

        Raises ItemFailed, JobError, NotPicklable, and what the source raises.
        """
        try:
            while not self.tokens.over:
                self._turn()
                turned()
        finally:
            for future in self._out.values():
                future.cancel()

    def state(self) -> bytes:
        """All that is in the stream; between turns."""
        ordering = None if self.ordering is None else self.ordering.state()
        kept = [self.tokens.freeze(), ordering, self._pace, self.size, self._due, self._failures]
        return pack_value("An item of the stream", kept)

    def restore(self, state: bytes) -> None:
        """Go on from there; what was out then begins anew.

        Raises DefinitionError if one of the two gives items in order and the other does not.
        """
        tokens, ordering, self._pace, self.size, self._due, failures = unpack_value(state)
        if (ordering is None) != (self.ordering is None):
            raise DefinitionError(
                f"The checkpoint is of this stream with ordered={ordering is not None}, and now "
                f"it has ordered={ordering is None}.",
                remedy="Let it be as it was, or move the checkpoint away to begin anew.",
            )
        self._failures += failures
        self.errors += [error_of(failure) for failure in failures]
        self.tokens.thaw(tokens, self._is_here)
        if self.ordering is not None:
            self.ordering.restore(ordering)
        self._give()

    def _is_here(self, portion: Portion) -> bool:
        """Whether it is to be played here: the program may say so by now, or no more."""
        segments = self._program.segments
        if isinstance(portion, Merging):
            reduce = segments[portion.segment].reduce
            return reduce is not None and reduce.here
        if isinstance(portion, Chunk):
            stages = segments[portion.segment].stages
            return portion.stage < len(stages) and stages[portion.stage].here
        place, segment, *_ = unpack_value(portion.state)
        waits = segments[segment].reduce if place is None else segments[place[0]].stages[place[1]]
        return waits is not None and waits.here

    def _turn(self) -> None:
        for number in self.tokens.ready():
            portion = self.tokens.portion(number)
            if isinstance(portion, Source):
                self._source = number
            elif self._executor is None or portion_is_here(portion):
                self._here.append(number)
            else:
                self._ready.append(number)
        while self._ready and len(self._out) < self._out_max:
            self._submit(self._ready.pop())
        if self._here:  # before more is taken: the oldest must not wait for the last
            self._play_here(self._here.pop())
        elif not self._ended.empty():  # the source may come slowly
            self._collect(self._ended.get())
        elif self._source is not None and self._has_room:
            self._pull()
        elif self._out:
            self._collect(self._ended.get())

    @property
    def _has_room(self) -> bool:
        """For more of the source; not while too much waits for an item that takes long."""
        if not self._out:
            return True
        held = 0 if self.ordering is None else self.ordering.held_bytes
        return len(self._ready) + len(self._out) < self._out_max and held < HELD_BYTES_MAX

    def _pull(self) -> None:
        """The next items of the source become a chunk."""
        source, self._source = self._source, None
        assert source is not None
        items = self.items.take(min(self.size, max(1, int(CHUNK_BYTES_MAX / self._item_bytes))))
        self.settled = False
        self.items.taken += len(items)
        chunk = None
        if items:
            data = pack_items(items)
            stages = self._program.segments[0].stages
            chunk = Chunk(0, 0, data, len(items), bool(stages) and stages[0].here)
            self._item_bytes = len(data) / len(items)
        number = self.tokens.source_of(chunk, source)
        comes_out = self._program.segments[0].reduce is None
        if number is not None and self.ordering is not None and comes_out:
            self.ordering.begin(number)
        self.settled = True

    # --- portions --------------------------------------------------------------------------------

    def _submit(self, number: int) -> None:
        assert self._executor is not None
        portion = self.tokens.portion(number)
        work, merge, resume = self._functions
        if isinstance(portion, Chunk):
            future = self._executor.submit(work, portion, self._pace)
        elif isinstance(portion, Merging):
            parts = self.tokens.parts(number)
            future = self._executor.submit(merge, portion.segment, parts, self._pace)
        else:
            assert isinstance(portion, Closing)
            parts = self.tokens.parts(number)
            future = self._executor.submit(resume, portion.state, parts, self._pace)
        self._out[number] = future
        future.add_done_callback(lambda _: self._ended.put(number))

    def _play_here(self, number: int) -> None:
        portion = self.tokens.portion(number)
        play = Play(self._program, self._pace, in_slot=False)
        if isinstance(portion, Chunk):
            report = play.chunk(portion)
        elif isinstance(portion, Merging):
            report = play.merge(portion.segment, self.tokens.parts(number))
        else:
            assert isinstance(portion, Closing)
            report = play.resume(portion.state, self.tokens.parts(number))
        self._take(number, report)

    def _collect(self, number: int) -> None:
        future = self._out.pop(number)
        error = future.exception()
        if error is None:
            self._take(number, report_of(future.result()))
        elif isinstance(error, JobError) or not isinstance(error, Exception):
            portion = self.tokens.portion(number)
            assert not isinstance(portion, Source)
            self._take(number, self._report_of_death(portion, error))
        else:
            raise error

    def _report_of_death(self, portion: Portion, error: BaseException) -> Report:
        """A slot died with *portion*, or a function wanted it to end, as sys.exit does.

        Pieces of it are tried, until it is known by which item.
        """
        if isinstance(portion, Chunk):
            items = unpack_items(portion.items)
            if len(items) > 1:
                size = -(-len(items) // PIECES)
                cuts = [items[i : i + size] for i in range(0, len(items), size)]
                pieces = [portion._replace(items=pack_items(cut), size=len(cut)) for cut in cuts]
                return Report(None, pieces, [0] * len(pieces))
            segment = self._program.segments[portion.segment]
            stages = [*segment.stages[portion.stage :], segment.reduce]
            name = stages[0].name if stages[0] is not None else "the stream"
            return Report(None, failures=[failure_of(name, items[0], error)])
        if isinstance(portion, Closing):
            state = State(*unpack_value(portion.state))
            if state.place is not None:
                frame = self._program.segments[state.place[0]].stages[state.place[1]]
                assert isinstance(frame, Frame)
                return Report(None, failures=[failure_of(frame.name, state.first, error)])
        raise error

    def _take(self, number: int, report: Report) -> None:
        """What became of a portion."""
        if report.printed is not None:
            sys.stdout.write(report.printed[0])
            sys.stderr.write(report.printed[1])
        for failure in report.failures:
            error = error_of(failure)
            if self._on_error == "stop":
                raise error
            log.warning("%s", error.what)  # its remedy is what is being done
            if self._on_error == "collect":
                self.errors.append(error)
                self._failures.append(failure)
        for segment, seconds in report.pace.items():
            self._pace[segment] = (self._pace.get(segment, seconds) + seconds) / 2
        portion = self.tokens.portion(number)
        if isinstance(portion, Chunk) and portion.segment == portion.stage == 0 and report.done:
            self._learn(report)
        items: list[Any] = []
        if report.part is not None and self.tokens.comes_out(number):
            items = unpack_items(report.part.data)
        self.settled = False
        children = self.tokens.report(number, report)
        if children is not None and self.ordering is not None:
            size = len(report.part.data) if report.part is not None else 0
            items = self.ordering.add(number, items, report.holes, children, size)
        self._due = [] if children is None else items
        self.settled = True
        self._give()

    def _give(self) -> None:
        """Out of the stream; if it ends in the middle of that, they are given again later."""
        self.settled = not self._keeps  # a list that has got them must not get them again
        if self._due:
            self._deliver(self._due)
        self._due = []
        self.settled = True

    def _learn(self, report: Report) -> None:
        """How large the next chunk of the source shall be; many items weigh more than few."""
        items, seconds = self._measured
        self._measured = items, seconds = items / 2 + report.done, seconds / 2 + report.seconds
        fitting = int(BUDGET_S * items / max(seconds, 1e-9))
        self.size = max(1, min(fitting, self.size * GROWTH, CHUNK_MAX))


def packed_program(program: Program) -> bytes:
    """*program* for slots. Raises NotPicklable, which names the function that cannot travel."""
    functions, program = Functions(), program.for_slots()
    try:
        return functions.function(partial(inside.given, program))[1]
    except NotPicklable:
        for function in program.functions():
            functions.function(function)
        raise


def portion_is_here(portion: Portion) -> bool:
    return portion.here


def report_of(report: Any) -> Report:
    """What a slot returned. Raises DefinitionError for what is none."""
    if not isinstance(report, Report):
        raise DefinitionError(f"A slot answered {report!r}, which is no report.")
    return report
