"""How items go through the stages of a program, in a slot or in the process of who runs it.

An item goes as far as it comes before the next one begins. A loop that is short is played right
here; of one that takes longer the items of a turn are handed back, to be spread over the slots,
and so is all that is not begun when a chunk's time is over. A loop that waits for such *children*
is suspended: its stores, and where it stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from pypelinin.errors import NotPicklable
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.inside.ends import Child, Collected, End, Reduced
from pypelinin.streams.inside.failures import failure_of, pack_items, unpack_items
from pypelinin.streams.inside.portions import Chunk, ItemFailure, Pace, Part, Report, Suspended
from pypelinin.streams.inside.program import Frame, Program, Stage
from pypelinin.streams.inside.words import Args, Multiple, items_of

Step = Callable[[Any], None]

BUDGET_S = 0.02
"""So long a turn of a loop may take to be played where it is."""
LIMIT_S = 0.1
"""After so long what is left of a chunk is handed back."""
CHILDREN_MAX = 500
SPREAD_MAX = 64
"""Parts into which one turn of a loop is cut."""
BETWEEN = -1
"""Instead of a segment: a loop between two turns."""


class State(NamedTuple):
    """A loop in the middle of a turn; without a place it is the stream itself."""

    place: tuple[int, int] | None
    """(segment, stage) of the frame."""
    segment: int
    """Where its items are."""
    reduced: tuple[Any, ...] = ()
    """The store of that segment's reduce."""
    first: Any = None
    store: Any = None
    fed: Sequence[Any] = ()
    """What goes into the loop again after this turn."""


class Waiting(NamedTuple):
    """Items are on their way through a segment elsewhere."""

    segment: int
    reduced: tuple[Any, ...]
    children: tuple[Child, ...]
    here: bool
    """Its reduce is to be called in the process of who runs the stream."""


class Ended(Exception):
    """An item failed, and that ends the stream."""


class Lost(Exception):
    """The item of a loop failed; what else goes on in it is of no use."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop


class Play:
    """One chunk, or one thing that was suspended; ask it for one `report`."""

    def __init__(self, program: Program, pace: Pace, in_slot: bool) -> None:
        self._segments = program.segments
        self._tolerant = program.tolerant
        self._groups = not program.ordered
        self._in_slot = in_slot
        self._pace = dict(pace)
        self._measured: Pace = {}
        self._failures: list[ItemFailure] = []
        self._done = self._children = 0
        self._begun = time.perf_counter()
        self._until = self._begun + LIMIT_S

    # --- what is asked for -----------------------------------------------------------------------

    def chunk(self, chunk: Chunk) -> Report:
        """Bring *chunk* to the end of its segment."""
        end = self._end_of(chunk.segment)
        return self._report(chunk.segment, end, lambda: self._bring(
            chunk.segment, chunk.stage, unpack_items(chunk.items), end
        ))  # fmt: skip

    def merge(self, segment: int, parts: Iterable[Part]) -> Report:
        """One part of many."""
        end = self._end_of(segment)

        def act() -> None:
            end.take(parts)
            self._bring(segment, 0, [], end)

        return self._report(segment, end, act)

    def resume(self, packed: bytes, parts: Iterable[Part]) -> Report:
        """Go on with what was suspended; *parts* are what its children gave."""
        state = State(*unpack_value(packed))
        if state.place is None:
            number = self.last_of(state.segment)
            last = self._end_of(number)
            return self._report(number, last, lambda: self._stream(state, parts, last))
        segment, stage = state.place
        end = self._end_of(segment)
        after = self._steps(segment, end)[stage + 1]

        def act() -> None:
            Loop(self, self._frame(segment, stage), state).play(end, after, parts)
            self._bring(segment, 0, [], end)

        return self._report(segment, end, act)

    def _report(self, segment: int, end: End, act: Callable[[], None]) -> Report:
        try:
            act()
            part = self._part_of(segment, end)
        except Ended:
            return Report(None, failures=self._failures)
        seconds = time.perf_counter() - self._begun
        return Report(
            part, tuple(end.children), tuple(end.holes), self._failures, self._done,
            seconds, self._measured,
        )  # fmt: skip

    def _part_of(self, segment: int, end: End) -> Part | None:
        """What came to *end*, without items that cannot be sent: these failed."""
        try:
            return end.part()
        except NotPicklable:
            if not isinstance(end, Collected):
                raise
        stages = self._segments[segment].stages
        end.leave_out(partial(self.fail, stages[-1].name if stages else "the source"))
        return end.part()

    def _stream(self, state: State, parts: Iterable[Part], last: End) -> None:
        """The end of a reduce that stands in no frame, and all that comes after it."""
        waiting = self.through(state.segment, (), last, state.reduced, parts)
        if waiting is not None:
            last.add_child(self.suspended(waiting, State(None, waiting.segment)))

    # --- items through stages --------------------------------------------------------------------

    @property
    def late(self) -> bool:
        """What is not begun is to be handed back."""
        return self._in_slot and (
            self._children > CHILDREN_MAX or time.perf_counter() > self._until
        )

    def through(
        self,
        number: int,
        items: Sequence[Any],
        last: End,
        reduced: tuple[Any, ...] = (),
        parts: Iterable[Part] | None = None,
    ) -> Waiting | None:
        """Bring *items*, or what *parts* gave, to *last* and through all reduces before it.

        What it has to wait for, if that is in front of a reduce; else it is *last*'s children.
        """
        while True:
            segment = self._segments[number]
            reduce = segment.reduce
            end = last if reduce is None else self._end_of(number, reduced)
            if parts is not None:
                end.take(parts)
                parts = None
            if self._should_spread(number, len(items)):
                for child in self._spread(number, items):
                    end.add_child(child)
            else:
                self._bring(number, 0, items, end)
            if reduce is None:
                return None
            if isinstance(end, Collected):  # its reduce is not to be called in this process
                if end.items:
                    end.add_child(self._chunk_of(number, len(segment.stages), end.items))
                return Waiting(number, reduced, tuple(end.children), reduce.here)
            assert isinstance(end, Reduced)
            if end.children:
                return Waiting(number, end.kept, tuple(end.children), reduce.here)
            items, number, reduced = end.emitted(), segment.next, ()

    def _bring(self, number: int, stage: int, items: Sequence[Any], end: End) -> None:
        """Bring *items* from *stage* to *end*, and what it sends through the segment again."""
        while True:
            if items:
                self._flow(number, stage, items, end)
            items, stage = end.again(), 0
            if not items:
                self._hand_back_aside(end)
                return
            if self._should_spread(number, len(items)):
                for child in self._spread(number, items):
                    end.add_child(child)
                return

    def _flow(self, number: int, stage: int, items: Sequence[Any], end: End) -> None:
        step = self._steps(number, end)[stage]
        begun, children, done = time.perf_counter(), self._children, 0
        for item in items:
            step(item)
            done += 1
            if self.late:
                break
        self._done += done
        if self._children == children:
            self._measured[number] = self._pace[number] = (time.perf_counter() - begun) / done
        if done < len(items):
            end.add_child(self._chunk_of(number, stage, items[done:]))

    def _steps(self, number: int, end: End) -> list[Step]:
        """By stage: what brings an item from there to *end*."""
        stages = self._segments[number].stages
        steps: list[Step] = [end.add]
        for index in reversed(range(len(stages))):
            stage = stages[index]
            if stage.here == self._in_slot:
                steps.append(partial(self._put_aside, (number, index), end))
            elif isinstance(stage, Frame):
                steps.append(partial(self._loop, (number, index), end, steps[-1]))
            else:
                steps.append(self._step(number, index, stage, end, steps[-1]))
        return steps[::-1]

    def _step(self, number: int, index: int, stage: Stage, end: End, after: Step) -> Step:
        function = stage.function

        def step(item: Any) -> None:
            try:
                if isinstance(item, Args):
                    given = function(*item.args, **item.kwargs)
                else:
                    given = function(item)
            except Exception as error:
                self.fail(stage.name, item, error)
                return
            if given is None:
                return
            if isinstance(given, Multiple):
                self.several((number, index), stage.name, item, end, after, given)
            else:
                after(given)

        return step

    def several(
        self, place: tuple[int, int], name: str, item: Any, end: End, after: Step, given: Multiple
    ) -> None:
        """Each of the items that the stage at *place* gave for *item* goes on."""
        try:
            items = items_of(given)
        except Exception as error:
            self.fail(name, item, error)
            return
        while True:
            try:
                one = next(items, None)
                left = list(items) if one is not None and self.late else ()
            except Exception as error:  # a generator is code of the user, too
                self.fail(name, item, error)
                return
            if one is None:
                return
            after(one)
            if left:
                end.add_child(self._chunk_of(place[0], place[1] + 1, left))
                return

    def _loop(self, place: tuple[int, int], end: End, after: Step, item: Any) -> None:
        frame = self._frame(*place)
        try:
            store = frame.store()
        except Exception as error:
            self.fail(frame.name, item, error)
        else:
            state = State(place, BETWEEN, first=item, store=store)
            Loop(self, frame, state).play(end, after, ())

    # --- what is handed back ---------------------------------------------------------------------

    def _should_spread(self, number: int, count: int) -> bool:
        """Whether so many items are better brought through by several slots."""
        if not self._in_slot or not count:
            return False
        known = self._pace.get(number)
        return self.late or (count > 1 and (known is None or known * count > BUDGET_S))

    def _spread(self, number: int, items: Sequence[Any]) -> list[Chunk]:
        """Chunks of about as many *items* as may be played in one place."""
        known = self._pace.get(number)
        size = max(1, int(BUDGET_S / known)) if known else 1
        size = max(size, -(-len(items) // SPREAD_MAX))
        cuts = range(0, len(items), size)
        return [self._chunk_of(number, 0, items[i : i + size]) for i in cuts]

    def _put_aside(self, place: tuple[int, int], end: End, item: Any) -> None:
        """*item* stands before a stage that is for the other side."""
        if self._groups:
            end.aside.setdefault(place, []).append(item)
        else:
            end.add_child(self._chunk_of(*place, [item]))

    def _hand_back_aside(self, end: End) -> None:
        aside, end.aside = end.aside, {}
        for place, items in aside.items():
            end.add_child(self._chunk_of(*place, items))

    def _chunk_of(self, number: int, stage: int, items: Sequence[Any]) -> Chunk:
        self._children += 1
        stages = self._segments[number].stages
        here = stage < len(stages) and stages[stage].here
        data = pack_items(items)
        return Chunk(number, stage, data, len(items), here)

    def suspended(self, waiting: Waiting, state: State) -> Suspended:
        """*state*, until what it waits for is through."""
        self._children += 1
        now = state._replace(segment=waiting.segment, reduced=waiting.reduced)
        return Suspended(pack_value("A store", list(now)), waiting.children, waiting.here)

    # --- the program -----------------------------------------------------------------------------

    def fail(self, stage: str, item: Any, error: Exception) -> None:
        """*item* is lost. Raises Ended if that ends the stream."""
        self._failures.append(failure_of(stage, item, error))
        if not self._tolerant:
            raise Ended

    def last_of(self, number: int) -> int:
        """The segment that is not followed by another one."""
        while self._segments[number].reduce is not None:
            number = self._segments[number].next
        return number

    def _end_of(self, number: int, reduced: tuple[Any, ...] = ()) -> End:
        reduce = self._segments[number].reduce
        if reduce is None or reduce.here == self._in_slot:
            return Collected()
        return Reduced(self, reduce, reduced)

    def _frame(self, segment: int, stage: int) -> Frame:
        frame = self._segments[segment].stages[stage]
        assert isinstance(frame, Frame)
        return frame


class Loop(End):
    """A frame for one item, turn by turn; the end of its body."""

    def __init__(self, play: Play, frame: Frame, state: State) -> None:
        super().__init__()
        self._play = play
        self._frame = frame
        self._state = state
        self._store = state.store
        self._fed = list(state.fed)

    def add(self, item: Any) -> None:
        assert self._frame.end is not None
        try:
            self._fed += items_of(with_store(self._frame.end, self._store, item))
        except Exception as error:
            self._fail(error)

    def play(self, end: End, after: Step, parts: Iterable[Part]) -> None:
        """Until it is over, which gives *after* what it emits, or suspended, a child of *end*."""
        try:
            waiting = self._waiting(parts)
        except Lost as lost:
            if lost.loop is not self:
                raise
            return
        if waiting is None:
            self._emit(end, after)
        else:
            now = self._state._replace(store=self._store, fed=self._fed)
            here = waiting._replace(here=self._frame.here)
            end.add_child(self._play.suspended(here, now))

    def _waiting(self, parts: Iterable[Part]) -> Waiting | None:
        """Turn after turn; what it has to wait for, or nothing when it is over."""
        number, reduced = self._state.segment, self._state.reduced
        items: Sequence[Any] = ()
        given: Iterable[Part] | None = parts
        while True:
            if number == BETWEEN:
                items, given, number = self._next_turn(), None, self._frame.body
                if not items:
                    return None
            waiting = self._play.through(number, items, self, reduced, given)
            if waiting is not None:
                return waiting
            if self.children:
                return Waiting(self._play.last_of(number), (), tuple(self.children), False)
            if self._play.late:
                return Waiting(BETWEEN, (), (), False)
            number, reduced = BETWEEN, ()

    def _next_turn(self) -> list[Any]:
        """What goes into the loop now; nothing if it is over."""
        items, self._fed = self._fed, []
        if items:
            return items
        try:
            return list(items_of(with_store(self._frame.function, self._store, self._state.first)))
        except Exception as error:
            self._fail(error)

    def _emit(self, end: End, after: Step) -> None:
        try:
            given = self._frame.emit(self._store)
        except Exception as error:
            self._play.fail(self._frame.name, self._state.first, error)
            return
        assert self._state.place is not None
        if isinstance(given, Multiple):
            place, name, first = self._state.place, self._frame.name, self._state.first
            self._play.several(place, name, first, end, after, given)
        elif given is not None:
            after(given)

    def _fail(self, error: Exception) -> NoReturn:
        self._play.fail(self._frame.name, self._state.first, error)
        raise Lost(self)


def with_store(function: Callable[..., Any], store: Any, item: Any) -> Any:
    """What *function* returns for a store and an item."""
    if isinstance(item, Args):
        return function(store, *item.args, **item.kwargs)
    return function(store, item)
