"""Jobs, reducers and frames as classes, called as a Work calls functions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import cloudpickle
import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import common
from pypelinin.streams.common import (
    Frame,
    Job,
    Kept,
    Reducer,
    frame_functions,
    job_function,
    reduce_functions,
)
from pypelinin.streams.inside.words import Multiple, Object


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    common._instances.clear()
    Steps.made.clear()
    yield
    common._instances.clear()


def outputs(found: Multiple | None) -> list[Any]:
    return [] if found is None else list(found.workList)


class Steps(Job):
    """Emits its numbers up to the work, and notes how often it is made."""

    made: ClassVar[list[Any]] = []

    def postSetup(self) -> None:
        self.first = self.config.get("first", 0)
        self.made.append(self)

    def handleWork(self, work: int, step: int = 1) -> None:
        for number in range(self.first, work, step):
            self.emit(number)
        self.emit(None)


class Sum(Reducer):
    """What is odd goes round again as the next number; 100 is told before the end."""

    def handleInit(self, store: Object) -> None:
        store.total = 0

    def handleAdd(self, store: Object, work: int) -> None:
        if work % 2:
            self.recur(work + 1)
        else:
            store.total += work
        if work == 100:
            self.emit("a hundred")

    def handleJoin(self, store: Object, other: Object) -> None:
        store.total += other.total

    def handleDone(self, store: Object) -> None:
        self.emit(store.total)


class Halve(Frame):
    """Recurs each half until all are below 2, then once more from its end."""

    def handleFirst(self, store: Object, work: int) -> None:
        store.seen, store.rounds = [], 0
        if work:
            self.recur(work)

    def handleNext(self, store: Object, work: int) -> None:
        store.seen.append(work)
        if work > 1:
            self.recur(work // 2)
            self.recur(work - work // 2)

    def handleDone(self, store: Object) -> None:
        store.rounds += 1
        if store.rounds == 1:
            self.recur(1)
        else:
            self.emit(store.seen)
            self.emit("end")


# --- jobs ---------------------------------------------------------------------------------


def test_a_job_emits_any_number() -> None:
    f = job_function(Steps)
    assert outputs(f(3)) == [0, 1, 2]
    assert f(0) is None
    assert outputs(f(5, step=2)) == [0, 2, 4]


def test_there_is_one_instance_a_stage_set_up_once() -> None:
    one, other = job_function(Steps, {"first": 2}), job_function(Steps)
    assert Steps.made == []
    assert outputs(one(3)) == outputs(one(3)) == [2]
    assert outputs(other(3)) == [0, 1, 2]
    assert len(Steps.made) == 2


def test_a_copy_is_the_same_stage() -> None:
    f = job_function(Steps)
    copies = [cloudpickle.loads(cloudpickle.dumps(f)) for _ in range(2)]
    assert [outputs(copy(1)) for copy in (f, *copies)] == [[0]] * 3
    assert len(Steps.made) == 1


def test_a_forked_process_makes_an_instance_of_its_own() -> None:
    f = job_function(Steps)
    f(1)
    pid = os.fork()
    if not pid:
        f(1)
        f(1)
        os._exit(len(Steps.made))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2


def test_the_class_travels_to_another_process() -> None:
    class Local(Job):
        """Known to nobody else."""

        def postSetup(self) -> None:
            print("set up", self.config["name"])

        def handleWork(self, work: int) -> None:
            self.emit(work * 2)

    sent = cloudpickle.dumps(job_function(Local, {"name": "far"}))
    code = (
        "import cloudpickle, sys\ndata = sys.stdin.buffer.read()\n"
        "print([cloudpickle.loads(data)(n).workList for n in (1, 2)])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["set up far", "[[2], [4]]"]


def test_instances_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "INSTANCES_MAX", 2)
    one, two, three = (job_function(Steps) for _ in range(3))
    for f in (one, two, one, three, one):
        f(1)
    assert len(Steps.made) == 3
    two(1)  # the one unused for longest was forgotten
    assert len(Steps.made) == 4


def test_a_job_can_call_another_as_its_own_part() -> None:
    class Outer(Job):
        def handleWork(self, work: int) -> None:
            self.emit("before")
            Steps.handleWork(inner, work)
            self.emit("after")

    inner = Steps()
    inner.first = 0
    assert outputs(job_function(Outer)(2)) == ["before", 0, 1, "after"]


# --- reducers -----------------------------------------------------------------------------


def test_a_reducer_adds_recurs_joins_and_ends() -> None:
    f, store, emit = reduce_functions(Sum)
    one, other = store(), store()
    assert outputs(f(one, [2, 3], [])) == [4]
    assert f(one, [4], []) is None
    assert f(other, [100], []) is None
    assert f(one, [], [other]) is None
    assert outputs(emit(one)) == ["a hundred", 106]


def test_nothing_to_add_is_a_reduction_too() -> None:
    _, store, emit = reduce_functions(Sum)
    assert outputs(emit(store())) == [0]


def test_a_store_travels() -> None:
    f, store, emit = reduce_functions(Sum)
    kept = store()
    f(kept, [2], [])
    copy = cloudpickle.loads(cloudpickle.dumps(kept))
    assert isinstance(copy, Kept)
    assert outputs(emit(copy)) == [2]


def test_what_a_reducer_recurs_from_its_start_is_not_lost() -> None:
    class Eager(Sum):
        def handleInit(self, store: Object) -> None:
            super().handleInit(store)
            self.recur(10)

    f, store, _ = reduce_functions(Eager)
    one, other = store(), store()
    assert outputs(f(one, [], [other])) == [10, 10]
    assert f(one, [], []) is None


def test_a_reduction_that_ends_cannot_recur() -> None:
    class Endless(Sum):
        def handleDone(self, store: Object) -> None:
            self.recur(1)

    _, store, emit = reduce_functions(Endless)
    with pytest.raises(DefinitionError, match="recur has nowhere to go here"):
        emit(store())


# --- frames -------------------------------------------------------------------------------


def through(kind: type[Frame], first: object) -> list[Any]:
    """What leaves a frame with nothing inside."""
    f, store, emit, end = frame_functions(kind)
    kept = store()
    while inside := outputs(f(kept, first)):
        while inside:
            inside += outputs(end(kept, inside.pop(0)))
    return outputs(emit(kept))


def test_a_frame_goes_on_until_nothing_recurs() -> None:
    assert through(Halve, 4) == [[4, 2, 2, 1, 1, 1, 1, 1], "end"]


def test_a_frame_that_begins_with_nothing_is_asked_at_once() -> None:
    assert through(Halve, 0) == [[1], "end"]


def test_a_frame_that_emits_nothing() -> None:
    class Silent(Halve):
        def handleDone(self, store: Object) -> None:
            pass

    assert through(Silent, 3) == []


# --- what is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("makes", "kind", "wanted"),
    [
        (job_function, Sum, "Job"),
        (reduce_functions, Steps, "Reducer"),
        (frame_functions, Sum, "Frame"),
        (job_function, len, "Job"),
        (job_function, Steps(), "Job"),
    ],
)
def test_each_takes_its_own_kind(makes: Callable[[Any], Any], kind: Any, wanted: str) -> None:
    with pytest.raises(DefinitionError, match=f"is no subclass of {wanted}"):
        makes(kind)


def test_a_job_without_its_method_is_told() -> None:
    with pytest.raises(NotImplementedError, match=r"Job has no handleWork\."):
        job_function(Job)(1)


def test_work_is_emitted_while_a_method_runs() -> None:
    with pytest.raises(DefinitionError, match="emit has nowhere to go here"):
        Steps().emit(1)
    with pytest.raises(DefinitionError, match="nowhere"):
        Sum().recur(1)


def test_a_failure_leaves_nothing_for_the_next_call() -> None:
    class Fails(Job):
        def handleWork(self, work: int) -> None:
            self.emit(work)
            if work:
                raise ValueError(work)

    f = job_function(Fails)
    with pytest.raises(ValueError, match="1"):
        f(1)
    assert outputs(f(0)) == [0]
    with pytest.raises(DefinitionError, match="nowhere"):
        Fails().emit(1)


def test_there_is_only_one_way_on() -> None:
    class Labelled(Job):
        def handleWork(self, work: int) -> None:
            self.emit(work, "left")

    with pytest.raises(DefinitionError, match="emit was given the target 'left'"):
        job_function(Labelled)(1)
