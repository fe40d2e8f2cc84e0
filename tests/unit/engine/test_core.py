"""Who is released, marked, forgotten; final jobs; the order of the work lists."""

from __future__ import annotations

from pypelinin.graph.declared import ALWAYS, CACHED, EPHEMERAL, OUTPUT, TOKEN
from tests.unit.engine.scene import Job, Scene


def test_final_jobs_wait_for_all_others_but_not_for_what_rests() -> None:
    """Rule 3: T(lazy) -> F(final), T unchanged and absent."""
    jobs = Job("T", EPHEMERAL), Job("A"), Job("F", OUTPUT, ["T"], final=True)
    first = Scene(*jobs)
    assert first.ran == ["A", "T"]
    first.done("T")
    assert "F" not in first.ran
    first.done("A").done("F")
    assert first.run.over
    second = first.again(*jobs, there={"F": ("",)})
    assert second.states["T"] == "DORMANT"
    second.done("A")
    assert second.run.over
    assert second.states == {"T": "KEPT", "A": "DONE", "F": "KEPT"}


def test_two_final_jobs_do_not_wait_for_each_other() -> None:
    """Rule 3: F1(final), F2(final)."""
    scene = Scene(Job("F1", final=True), Job("F2", final=True), Job("A"))
    assert scene.ran == ["A"]
    assert scene.done("A").ran == ["A", "F1", "F2"]


def test_a_final_job_is_blocked_if_anything_failed() -> None:
    scene = Scene(Job("A"), Job("F", final=True)).failed("A")
    assert scene.states == {"A": "FAILED", "F": "BLOCKED"}
    assert scene.run.over


def test_a_job_nobody_asked_for_does_not_hold_the_end() -> None:
    scene = Scene(Job("L", CACHED), Job("A"), Job("F", final=True)).done("A").done("F")
    assert scene.run.over
    assert scene.states["L"] == "UNUSED"


def test_nothing_is_released_for_a_consumer_that_was_blocked() -> None:
    """Rule 4: X fails, T(TOKEN) -> C, X -> C."""
    scene = Scene(Job("X"), Job("T", TOKEN), Job("C", ALWAYS, ["X", "T"])).done("T").failed("X")
    assert scene.released == []
    assert scene.states["T"] == "DONE"


def test_the_mark_goes_through_jobs_without_data() -> None:
    """Rule 4: T(TOKEN) -> L(lazy) -> C, C is blocked by X: L ends UNUSED, T stays."""
    scene = Scene(
        Job("X"), Job("T", TOKEN), Job("L", EPHEMERAL, ["T"]), Job("C", ALWAYS, ["L", "X"])
    )
    scene.failed("X").done("T")
    assert scene.states["L"] == "UNUSED"
    assert scene.released == []


def test_after_a_cancel_nothing_is_released() -> None:
    scene = Scene(Job("T", TOKEN), Job("C", ALWAYS, ["T"]), Job("D", ALWAYS, ["C"])).done("T")
    scene.cancel().done("C")
    assert scene.released == []
    assert scene.states == {"T": "DONE", "C": "DONE", "D": "CANCELLED"}


def test_a_token_is_released_once_and_forgotten() -> None:
    scene = Scene(Job("T", TOKEN), Job("C", ALWAYS, ["T"]), Job("D", ALWAYS, ["T"])).done("T", "C")
    assert scene.released == []
    scene.done("D")
    assert scene.released == [("T", ("",))]
    assert "T" not in scene.states


def test_a_failed_token_is_forgotten_when_all_can_do_without_it() -> None:
    """Rules 5 and 6: item -> join with skip; the items that succeeded stay until then."""
    scene = Scene(
        Job("bad", TOKEN), Job("good", TOKEN),
        Job("join", TOKEN, [("bad", "", True), ("good", "", True)]),
    )  # fmt: skip
    scene.failed("bad").done("good")
    assert scene.ran[-1] == "join"
    assert scene.released == []
    scene.done("join")
    assert [name for name, _ in scene.released] == ["good", "join"]
    assert scene.states == {}


def test_what_a_failed_token_read_stays_until_the_join_has_settled() -> None:
    """T -> bad(TOKEN, fails) -> join even if failed: T may go only when the join went well."""
    scene = Scene(
        Job("T", TOKEN), Job("bad", TOKEN, ["T"]), Job("join", TOKEN, [("bad", "", True)])
    )
    scene.done("T").failed("bad")
    assert scene.released == []
    scene.done("join")
    assert [name for name, _ in scene.released] == ["join", "T"]


def test_a_consumer_nobody_asked_for_holds_what_cannot_be_repeated() -> None:
    """Rule 8c: T -> L(lazy, not asked), T -> C; G's expansion brings a job that reads L."""
    scene = Scene(Job("T", TOKEN), Job("G"), Job("L", CACHED, ["T", "G"]), Job("C", ALWAYS, ["T"]))
    scene.done("T", "C")
    assert scene.released == []
    scene.expand("G", [Job("N", ALWAYS, ["L"])])
    assert scene.ran[-1] == "L"
    scene.done("L").done("N")
    assert scene.released == [("T", ("",))]


def test_settling_of_what_was_not_needed() -> None:
    """Rule 17: DONE if it ran, KEPT if its kept outputs are there, else UNUSED."""
    jobs = Job("X"), Job("L", CACHED), Job("C", OUTPUT, ["L", "X"])
    first = Scene(*jobs).done("L", "X").done("C")
    absent = first.again(*jobs, there={"C": ("",)}).done("X", content="X")
    assert absent.states == {"X": "DONE", "L": "UNUSED", "C": "KEPT"}
    there = first.again(*jobs, there={"C": ("",), "L": ("",)}).done("X", content="X")
    assert there.states["L"] == "KEPT"
    ran = first.again(*jobs, there={}).failed("X")
    assert ran.states["C"] == "BLOCKED"


def test_requests_come_before_decisions() -> None:
    """Rule 11: X after L, L -> C: X may not be decided before C's request has reached L."""
    scene = Scene(Job("L", EPHEMERAL), Job("X", ALWAYS, after=["L"]), Job("C", ALWAYS, ["L"]))
    assert scene.ran == ["L"]
    assert sorted(scene.done("L").ran) == ["C", "L", "X"]
