"""Events: looks, what vanished, recipes that fail, cancel, open runs."""

from __future__ import annotations

from pypelinin.engine.run import Run
from pypelinin.engine.table import NAMES, TRANSITIONS
from pypelinin.graph.declared import ALWAYS, CACHED, EPHEMERAL, OUTPUT, RECIPE, Declared
from tests.unit.engine.scene import Job, Scene, tags


def test_outcomes_that_nobody_waits_for_change_nothing() -> None:
    scene = Scene(Job("A"), Job("B", ALWAYS, ["A"])).done("A")
    before = scene.states
    for number in (0, 99):
        scene.run.done(number, tags("other"))
        scene.run.failed(number)
        scene.run.killed(number)
        scene.run.vanished(number, [(0, ("",))])
        scene.run.recipe_failed(number, 0)
        scene.run.found(number, ("",))
    assert scene.states == before
    assert not scene.run.take()


def test_a_look_counts_only_for_who_waits_for_it() -> None:
    """Rule 16: B is blocked with its look outstanding; the answer is dropped."""
    scene = Scene(Job("A"), Job("B", OUTPUT, ["A"]), answer=False).failed("A")
    assert scene.states["B"] == "BLOCKED"
    scene.run.found(1, ("",))
    assert scene.run.jobs[1].there == 0


def test_what_vanished_is_made_again() -> None:
    """Rule 13: L(lazy) -> C; C says that L is gone."""
    scene = Scene(Job("L", EPHEMERAL), Job("C", ALWAYS, ["L"])).done("L").vanished("C", "L")
    assert scene.states == {"L": "READY", "C": "WANTED"}
    assert scene.done("L").done("C").run.over
    assert scene.ran == ["L", "C", "L", "C"]


def test_what_vanishes_too_often_is_lost() -> None:
    scene = Scene(Job("L", EPHEMERAL), Job("C", ALWAYS, ["L"])).done("L")
    for _ in range(2):
        scene.vanished("C", "L").done("L")
    scene.vanished("C", "L")
    assert scene.states == {"L": "DONE", "C": "BLOCKED"}


def test_what_cannot_be_made_again_is_lost_and_keeps_its_verdict() -> None:
    """Rule 13: A(always) -> C, X after A: who reads A is blocked, even if it tolerates failure."""
    scene = Scene(
        Job("A"), Job("C", ALWAYS, ["A"]), Job("D", ALWAYS, [("A", "", True)]),
        Job("X", ALWAYS, after=["A"]),
    ).done("A").vanished("C", "A")  # fmt: skip
    assert scene.states["A"] == "DONE"
    assert scene.states["C"] == "BLOCKED"
    scene.vanished("D", "A").done("X")
    assert scene.states["D"] == "BLOCKED"


def test_a_target_that_vanished_is_made_again_though_nobody_reads_it_any_more() -> None:
    scene = Scene(Job("O", OUTPUT), Job("C", ALWAYS, ["O"]), Job("B", ALWAYS, ["C"])).done("O")
    scene.vanished("C", "O")
    assert scene.states["O"] == "READY"


def test_a_recipe_that_fails_where_it_is_read() -> None:
    """Rule 12d: nobody ran user code; readers elsewhere go on; its record is forgotten."""
    scene = Scene(
        Job("R", RECIPE), Job("C", ALWAYS, ["R"]), Job("D", ALWAYS, ["R"]),
        Job("E", ALWAYS, [("R", "", True)]),
    ).done("R")  # fmt: skip
    scene.recipe_failed("C", "R")
    assert scene.states == {"R": "FAILED", "C": "BLOCKED", "D": "READY", "E": "READY"}
    assert "R" not in scene.records
    assert scene.done("D", "E").run.over


def test_cancel_of_a_run() -> None:
    """WAITING and WANTED end at once, READY is killed or may still succeed."""
    scene = Scene(Job("A"), Job("B"), Job("C", ALWAYS, ["A"])).cancel()
    assert scene.killed == ["A", "B"]
    assert scene.states == {"A": "READY", "B": "READY", "C": "CANCELLED"}
    scene.done("A")
    scene.run.killed(1)
    assert scene.states == {"A": "DONE", "B": "CANCELLED", "C": "CANCELLED"}
    assert scene.run.over


def test_cancel_of_single_jobs_blocks_who_needs_them() -> None:
    scene = Scene(Job("A"), Job("B", ALWAYS, ["A"]), Job("C", ALWAYS, ["B"])).cancel("B")
    assert scene.states == {"A": "READY", "B": "CANCELLED", "C": "BLOCKED"}


def test_an_open_run_takes_jobs_until_it_is_closed() -> None:
    scene = Scene(Job("A"), closed=False).done("A")
    assert not scene.run.over
    scene.run.add(scene.declared([Job("B", ALWAYS, ["A"])]))
    scene.obey()
    assert scene.ran == ["A", "B"]
    scene.run.close()
    assert not scene.run.over
    assert scene.done("B").run.over


def test_an_empty_run_is_over() -> None:
    assert Run([]).over


def test_a_refreshed_record_that_is_forgotten_at_once_does_not_stand() -> None:
    """A(always, same content under another view) -> L(lazy, absent) -> C(always)."""
    jobs = Job("A"), Job("L", EPHEMERAL, ["A"]), Job("C", ALWAYS, ["L"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={})
    prints = ((("a newer view", b"?"), *tags("A")[0]),)
    second.run.done(0, prints)
    commands = second.run.take()
    assert commands.run == [1]
    assert commands.forget == [1]
    assert 1 not in commands.remember


def test_early_cutoff() -> None:
    """A(always) -> B -> C: A writes the same again, so nothing else runs."""
    jobs = Job("A"), Job("B", OUTPUT, ["A"]), Job("C", OUTPUT, ["B"])
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"B": ("",), "C": ("",)}).done("A")
    assert second.states == {"A": "DONE", "B": "KEPT", "C": "KEPT"}


def test_a_keyed_job_is_looked_for_when_its_key_is_known() -> None:
    scene = Scene(Job("A"), Job("K", CACHED, ["A"], keyed=True), Job("C", ALWAYS, ["K"]))
    assert scene.looked == []
    scene.there["K"] = ("",)
    scene.done("A")
    assert scene.looked == ["K"]
    assert scene.states["K"] == "KEPT"


def test_given_jobs_enter_as_settled() -> None:
    given = Declared(given=tags("v"), invariant=True, name="p")
    run = Run([given, Declared(OUTPUT, name="o", there=())])
    assert NAMES[run.jobs[0].state] == "KEPT"
    assert run.take().run == [1]


def test_every_transition_is_between_states_that_exist() -> None:
    assert all(0 <= a < len(NAMES) and 0 <= b < len(NAMES) for a, b in TRANSITIONS)
