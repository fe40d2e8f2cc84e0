"""What runs, rests or stands, and when a job may start."""

from __future__ import annotations

import pytest

from pypelinin.engine import entry
from pypelinin.graph.declared import ALWAYS, CACHED, EPHEMERAL, OUTPUT, RECIPE
from tests.unit.engine.scene import Job, Scene

PARTS = {"outputs": ("a", "b"), "keep": (True, False)}


def test_a_job_is_not_repeated_while_somebody_reads_it() -> None:
    """Rule 1: u has a (kept, there) and b (temp, absent); u.a -> C1, u.b -> C2."""
    jobs = (
        Job("u", CACHED, **PARTS),
        Job("C1", ALWAYS, [("u", "a")]),
        Job("C2", ALWAYS, [("u", "b")]),
    )
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"u": ("a",)})
    assert second.ran == ["C1"]
    assert second.states["u"] == "WANTED"
    second.done("C1")
    assert second.ran == ["C1", "u"]
    assert second.done("u").ran == ["C1", "u", "C2"]


def test_a_job_is_not_repeated_under_the_reader_of_a_recipe() -> None:
    """Rule 1: u.a -> R(recipe) -> C1, u.b -> C2."""
    jobs = (
        Job("u", CACHED, **PARTS),
        Job("R", RECIPE, [("u", "a")]),
        Job("B"),
        Job("C1", ALWAYS, ["R"]),
        Job("C2", ALWAYS, [("u", "b"), "B"]),
    )
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"u": ("a",)})
    assert second.ran == ["B", "C1"]
    second.done("B")
    assert second.states["u"] == "WANTED"
    assert second.done("C1").ran == ["B", "C1", "u"]


def test_a_resting_job_is_woken_only_for_what_is_absent() -> None:
    """Rule 2: u has a (kept, there) and b (temp, absent); only u.a -> C."""
    jobs = Job("u", CACHED, **PARTS), Job("C", ALWAYS, [("u", "a")])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"u": ("a",)}).all()
    assert second.ran == ["C"]
    assert second.states["u"] == "KEPT"


def test_an_eager_job_that_lacks_its_output_announces_nothing() -> None:
    """Rule 15: u(OUTPUT, absent) -> c: the new value of u is no broken promise."""
    jobs = Job("u", OUTPUT), Job("c", OUTPUT, ["u"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"c": ("",)})
    assert second.states == {"u": "READY", "c": "WAITING"}
    second.done("u", content="something new")
    assert second.ran == ["u", "c"]


def test_what_is_woken_must_be_what_was_announced() -> None:
    """Rule 15: L(lazy, absent) -> kept, L -> changed: L's word stands for kept."""
    jobs = Job("L", EPHEMERAL), Job("kept", OUTPUT, ["L"]), Job("changed", ALWAYS, ["L"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"kept": ("",)})
    assert second.ran == ["L"]
    second.done("L", content="something else")
    assert second.states == {"L": "FAILED", "kept": "KEPT", "changed": "BLOCKED"}
    assert second.run.jobs[0].why == entry.IMPURE


def test_order_only_edges_do_not_depend_on_when_a_lazy_job_fails() -> None:
    """Rule 9: X after L(lazy), L -> C."""
    beside = Scene(Job("L", CACHED), Job("X", ALWAYS, after=["L"]), Job("C", ALWAYS, ["L"]))
    beside.failed("L")
    assert beside.states == {"L": "FAILED", "X": "READY", "C": "BLOCKED"}


def test_the_failure_of_an_eager_job_blocks_who_comes_after() -> None:
    scene = Scene(Job("E"), Job("X", ALWAYS, after=["E"]), Job("Y", ALWAYS, after=[("E", True)]))
    scene.failed("E")
    assert scene.states == {"E": "FAILED", "X": "BLOCKED", "Y": "READY"}


def test_a_failure_behind_a_known_fingerprint_blocks_only_who_needs_the_data() -> None:
    """Rule 10: L(DORMANT) -> C, B -> C; W wakes L and L fails while C still waits for B."""
    jobs = Job("L", EPHEMERAL), Job("B"), Job("C", OUTPUT, ["L", "B"]), Job("W", ALWAYS, ["L"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"C": ("",)}).failed("L")
    assert second.states == {"L": "FAILED", "B": "READY", "C": "WAITING", "W": "BLOCKED"}
    second.done("B")
    assert second.states["C"] == "KEPT"


def test_a_recipe_rests_after_its_own_dispatch() -> None:
    """Rule 12a: it settles when its last consumer has."""
    scene = Scene(Job("R", RECIPE), Job("C", OUTPUT, ["R"])).done("R")
    assert scene.states == {"R": "DORMANT", "C": "READY"}
    assert scene.done("C").states == {"R": "DONE", "C": "DONE"}


def test_a_recipe_is_not_run_for_itself_if_its_fingerprint_is_known() -> None:
    jobs = Job("R", RECIPE), Job("C", ALWAYS, ["R"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={}).all()
    assert second.ran == ["C"]
    assert second.states["R"] == "DONE"


def test_what_holds_a_recipe_holds_its_readers() -> None:
    """Rule 12b: R(recipe) after u; u is woken again, so R's reader may not start."""
    jobs = (
        Job("u", EPHEMERAL),
        Job("R", RECIPE, after=["u"]),
        Job("B"),
        Job("C", ALWAYS, ["R", "B"]),
        Job("W", ALWAYS, ["u"]),
    )
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={})
    assert second.ran == ["B", "u"]
    second.done("B")
    assert second.states["C"] == "WANTED"
    assert sorted(second.done("u").ran) == ["B", "C", "W", "u"]


def test_a_recipe_with_a_broken_input_is_blocked() -> None:
    """Rule 12c: u(lazy, absent) -> R(recipe) -> C even if failed: C does not hang on R."""
    jobs = Job("u", EPHEMERAL), Job("R", RECIPE, ["u"]), Job("C", ALWAYS, [("R", "", True)])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={}).failed("u")
    assert second.states == {"u": "FAILED", "R": "BLOCKED", "C": "READY"}


def test_lazy_and_dormant_is_no_deadlock() -> None:
    """L(lazy, DORMANT), X after L, Y reads L and X."""
    jobs = Job("L", EPHEMERAL), Job("X", OUTPUT, after=["L"]), Job("Y", ALWAYS, ["L", "X"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"X": ("",)}).all()
    assert second.run.over
    assert second.ran == ["L", "Y"]


def test_a_settled_job_stays_as_it_was_if_its_repeat_is_blocked() -> None:
    """The known weakness: E(eager) has a (kept, there) and b (temp, absent); X(lazy) -> E fails."""
    jobs = (
        Job("X", EPHEMERAL),
        Job("E", OUTPUT, ["X"], **PARTS),
        Job("C", ALWAYS, [("E", "b")]),
    )
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"E": ("a",)}).failed("X")
    assert second.states == {"X": "FAILED", "E": "KEPT", "C": "BLOCKED"}
    assert second.run.jobs[2].why == entry.LOST


@pytest.mark.parametrize("size", [20_000])
@pytest.mark.parametrize("policy", [ALWAYS, OUTPUT, CACHED, EPHEMERAL, RECIPE])
def test_long_chains_need_no_stack(size: int, policy: object) -> None:
    from pypelinin.engine.run import Run
    from pypelinin.graph.declared import Declared, Input, Policy

    assert isinstance(policy, Policy)
    run = Run(
        Declared(
            policy=policy if i < size - 1 else ALWAYS,
            inputs=[Input(i - 1)] if i else (),
            name=str(i),
            there=(),
        )
        for i in range(size)
    )
    run.failed(run.take().run[0])
    assert run.over


def test_a_reader_of_a_recipe_waits_for_what_the_recipe_comes_after() -> None:
    """L is known and at rest when R is dispatched for itself, and runs when R is to be read."""
    jobs = (
        Job("L", CACHED),
        Job("B"),
        Job("S", OUTPUT),
        Job("R", RECIPE, ["S"], after=["L"]),
        Job("C", ALWAYS, ["L", "B"]),
        Job("D", ALWAYS, ["R"]),
    )
    first = Scene(*jobs).all()
    records = {name: record for name, record in first.records.items() if name != "R"}
    second = Scene(*jobs, records=records, there={"S": ("",)})
    assert "R" in second.ran
    second.done("B")
    assert second.ran[-1] == "L"
    second.done("R")
    assert second.ran[-1] == "L", "D reads R, and R comes after L"
    second.done("L")
    assert "D" in second.ran
