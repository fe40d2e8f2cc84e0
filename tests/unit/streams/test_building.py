"""A program is put together in the order of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams.building import Builder, check_arguments, check_callable, name_of
from pypelinin.streams.inside.program import Frame, Reduce, Stage


def anything(*_: Any) -> None: ...


def job(name: str, here: bool = False) -> Stage:
    return Stage(anything, name, here)


def shape(builder: Builder) -> list[tuple[list[str], str | None, int, str | None]]:
    """By segment: stages, reduce, next, the frame that ends there."""
    return [
        (
            [stage.name for stage in segment.stages],
            segment.reduce and segment.reduce.name,
            segment.next,
            segment.frame and segment.frame.name,
        )
        for segment in builder.finished().segments
    ]


def test_stages_up_to_a_reduce_are_one_segment() -> None:
    builder = Builder()
    builder.job(job("a"))
    builder.job(job("b"))
    builder.reduce(Reduce(anything, "r"))
    builder.job(job("c"))
    assert shape(builder) == [(["a", "b"], "r", 1, None), (["c"], None, -1, None)]


def test_a_frame_is_a_stage_with_segments_of_its_own() -> None:
    builder = Builder()
    frame = Frame(anything, "f")
    builder.frame(frame)
    builder.job(job("in"))
    builder.frame_end(anything)
    builder.job(job("behind"))
    assert shape(builder) == [(["f", "behind"], None, -1, None), (["in"], None, -1, "f")]
    assert (frame.body, frame.end) == (1, anything)


def test_a_reduce_in_a_frame_leaves_the_frame_open() -> None:
    builder = Builder()
    builder.frame(Frame(anything, "f"))
    builder.reduce(Reduce(anything, "r"))
    builder.job(job("behind r"))
    builder.frame_end(anything)
    assert shape(builder) == [
        (["f"], None, -1, None),
        ([], "r", 2, None),
        (["behind r"], None, -1, "f"),
    ]


def test_the_innermost_frame_is_closed_first() -> None:
    builder = Builder()
    for name in ("outer", "inner"):
        builder.frame(Frame(anything, name))
    builder.frame_end(anything)
    builder.job(job("between"))
    builder.frame_end(anything)
    assert shape(builder) == [
        (["outer"], None, -1, None),
        (["inner", "between"], None, -1, "outer"),
        ([], None, -1, "inner"),
    ]


def test_an_end_without_a_frame_says_so() -> None:
    builder = Builder()
    with pytest.raises(DefinitionError, match="frameEnd call does not match up with frame!"):
        builder.frame_end(anything)
    builder.frame(Frame(anything, "f"))
    builder.frame_end(anything)
    with pytest.raises(DefinitionError, match="does not match up"):
        builder.frame_end(anything)


def test_a_frame_that_is_not_closed_is_named() -> None:
    builder = Builder()
    builder.frame(Frame(anything, "outer"))
    builder.frame(Frame(anything, "inner"))
    with pytest.raises(DefinitionError, match="The frame inner is never closed"):
        builder.finished()
    builder.frame_end(anything)
    with pytest.raises(DefinitionError, match="The frame outer is never closed"):
        builder.finished()
    builder.frame_end(anything)
    assert builder.finished() is builder.program


@pytest.mark.parametrize("which", ["frame", "first", "second", "none"])
def test_a_loop_and_its_reduces_are_in_one_process(which: str) -> None:
    builder = Builder()
    frame = Frame(anything, "frame", which == "frame")
    reduces = [Reduce(anything, name, which == name) for name in ("first", "second")]
    builder.frame(frame)
    inner = job("inner", here=False)
    builder.job(inner)
    for reduce in reduces:
        builder.reduce(reduce)
    builder.frame_end(anything)
    builder.finished()
    assert {frame.here, *(reduce.here for reduce in reduces)} == {which != "none"}
    assert not inner.here


@pytest.mark.parametrize("kind", [Frame, Reduce])
@pytest.mark.parametrize("what", ["store", "emit"])
def test_what_makes_a_store_can_be_called(kind: type[Frame | Reduce], what: str) -> None:
    stage = kind(anything, "mine", **{what: 3})  # type: ignore[arg-type]  # the error to be seen
    add: Callable[[Any], None] = Builder().frame if kind is Frame else Builder().reduce
    with pytest.raises(DefinitionError, match=rf"{what} of mine is 3 \(int\)"):
        add(stage)


class Callme:
    def __call__(self, store: object, item: object) -> None: ...

    def method(self, store: object, works: list[int], others: list[int]) -> None: ...

    @classmethod
    def of_class(cls, item: object) -> None: ...


def annotated(store: dict[str, int], works: list[int], others: list[Any]) -> int | None: ...
def named_only(item: object, *, scale: int = 1) -> None: ...
def must_be_named(item: object, *, scale: int) -> None: ...
def several(*items: object) -> None: ...
def words(**named: object) -> None: ...
def defaults(store: object, works: object, others: object, more: int = 3) -> None: ...
def positional(store: object, item: object, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "count", "at_least"),
    [
        (annotated, 3, False),
        (defaults, 3, False),
        (defaults, 4, False),
        (Callme().method, 3, False),
        (several, 3, False),
        (lambda: None, 0, False),
        (defaults, 2, True),
        (named_only, 1, True),
        (named_only, 1, False),
        (must_be_named, 1, True),  # Args may name it
        (several, 1, True),
        (several, 2, True),
        (words, 1, True),
        (positional, 2, True),
        (Callme(), 2, True),
        (Callme.of_class, 1, True),
        (partial(annotated, {}), 2, False),
        (partial(named_only, scale=2), 1, True),
        (len, 1, True),
        (print, 1, True),
        (max, 1, True),  # of the interpreter's own: nobody can say
    ],
)
def test_functions_that_fit(function: Callable[..., Any], count: int, at_least: bool) -> None:
    check_arguments("stage", function, count, at_least)


@pytest.mark.parametrize(
    ("function", "count", "at_least", "listed"),
    [
        (annotated, 2, False, "store, works, others"),
        (annotated, 4, False, "store, works, others"),
        (annotated, 4, True, "store, works, others"),
        (defaults, 2, False, "store, works, others, more"),
        (lambda: None, 1, True, "none"),
        (lambda x: None, 0, False, "x"),
        (lambda x: None, 2, True, "x"),
        (words, 1, False, "named"),
        (must_be_named, 1, False, "item, scale"),
        (Callme().method, 4, False, "store, works, others"),
        (partial(annotated, {}), 3, False, "works, others"),
        (len, 2, True, "obj"),
    ],
)
def test_functions_that_do_not_fit(
    function: Callable[..., Any], count: int, at_least: bool, listed: str
) -> None:
    wanted = f"{'at least' if at_least else 'exactly'} {count} argument"
    with pytest.raises(ValueError, match=wanted) as caught:
        check_arguments("stage", function, count, at_least)
    assert str(caught.value).endswith(f"it takes: {listed}.")
    assert f"stage {name_of(function)} " in str(caught.value)


@pytest.mark.parametrize("no", [5, "len", [len], object()])
def test_what_is_no_function_is_refused(no: object) -> None:
    with pytest.raises(DefinitionError, match="cannot be called"):
        check_callable("job", no)
    with pytest.raises(DefinitionError, match="cannot be called"):
        check_arguments("job", no, 1)  # type: ignore[arg-type]  # the error to be seen


async def later(item: object) -> None: ...


def yields(item: object) -> Iterator[object]:
    yield item


@pytest.mark.parametrize(
    ("function", "said"), [(later, "later is async"), (yields, "yields yields")]
)
def test_what_is_no_ordinary_function_is_refused(function: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=rf"job {said}; .*Multiple\(\[...\]\)"):
        check_arguments("job", function, 1)


def test_names() -> None:
    assert name_of(annotated) == "annotated"
    assert name_of(lambda: 0) == "<lambda>"
    assert name_of(Callme()) == "Callme"
    assert name_of(Callme().method) == "method"
    assert name_of(partial(partial(annotated, {}), [])) == "annotated"
    assert name_of(partial(Callme(), 1)) == "Callme"
