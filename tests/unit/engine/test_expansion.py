"""What a finished job may bring, and what is refused."""

from __future__ import annotations

import pytest

from pypelinin.engine import entry, expansion
from pypelinin.engine.run import Run
from pypelinin.graph.declared import (
    ALWAYS,
    CACHED,
    EPHEMERAL,
    OUTPUT,
    TOKEN,
    Declared,
    Expansion,
    Policy,
)
from tests.unit.engine.scene import Job, Scene


def refused(scene: Scene, name: str) -> str:
    job = scene.run.jobs[scene.numbers[name]]
    assert job.why == entry.EXPANSION, scene.states
    return str(job.cause)


def test_new_jobs_run_and_old_ones_wait_for_them() -> None:
    scene = Scene(Job("G"), Job("end", ALWAYS, ["G"]))
    scene.expand("G", [Job("N1"), Job("N2", ALWAYS, ["N1", "G"])], [("end", "N2")])
    assert scene.ran == ["G", "N1"]
    assert scene.done("N1", "N2").ran[-1] == "end"
    assert scene.done("end").run.over


def test_descendants_are_those_that_cannot_be_decided_yet() -> None:
    """Rule 7: G -> D, F -> D, X after D even if failed: F fails, X runs, then G expands into X."""
    scene = Scene(
        Job("G"), Job("F"), Job("D", ALWAYS, ["G", "F"]), Job("X", ALWAYS, after=[("D", True)])
    )
    scene.failed("F")
    assert scene.states["X"] == "READY"
    scene.expand("G", [Job("N")], [("X", "N")])
    assert "does not depend" in refused(scene, "G")


def test_a_blocked_descendant_keeps_what_it_gains() -> None:
    scene = Scene(Job("G"), Job("F"), Job("D", ALWAYS, ["G", "F"])).failed("F")
    scene.expand("G", [Job("N", TOKEN)], [("D", "N")])
    assert scene.states["D"] == "BLOCKED"
    scene.done("N")
    assert scene.released == [], "a retry of D needs it"


def test_two_expansions_that_are_a_cycle_together() -> None:
    """Rule 8b: G1 -> A,B; G2 -> A,B; G1 adds A -> n -> B, G2 adds B -> m -> A."""
    scene = Scene(
        Job("G1"), Job("G2"), Job("A", ALWAYS, ["G1", "G2"]), Job("B", ALWAYS, ["G1", "G2"])
    )
    scene.expand("G1", [Job("n", ALWAYS, ["A"])], [("B", "n")])
    assert scene.states["G1"] == "DONE"
    scene.expand("G2", [Job("m", ALWAYS, ["B"])], [("A", "m")])
    assert "cycle" in refused(scene, "G2")
    assert scene.states["A"] == "BLOCKED"


def test_the_second_job_of_a_name_is_refused() -> None:
    scene = Scene(Job("G1"), Job("G2")).expand("G1", [Job("n")]).expand("G2", [Job("n")])
    assert scene.states["G1"] == "DONE"
    assert "name" in refused(scene, "G2")


@pytest.mark.parametrize(
    ("policy", "good"),
    [(OUTPUT, True), (EPHEMERAL, True), (CACHED, True), (ALWAYS, True), (TOKEN, False)],
)
def test_what_may_be_gone_cannot_be_named(policy: Policy, good: bool) -> None:
    """Rule 8a: judged by declaration, not by what is still there."""
    scene = Scene(Job("T", policy), Job("C", ALWAYS, ["T"]), Job("G"))
    scene.expand("G", [Job("N", ALWAYS, ["T"])])
    assert scene.states["G"] == ("DONE" if good else "FAILED")


def test_what_depends_on_a_token_cannot_be_repeated() -> None:
    """Rule 8a: TOKEN t -> EPHEMERAL e -> old, a new job reads e."""
    scene = Scene(Job("t", TOKEN), Job("e", EPHEMERAL, ["t"]), Job("old", OUTPUT, ["e"]), Job("G"))
    scene.expand("G", [Job("N", ALWAYS, ["e"])])
    assert "gone" in refused(scene, "G")


def test_a_released_job_that_can_be_repeated_is_made_again() -> None:
    scene = Scene(Job("e", EPHEMERAL), Job("old", OUTPUT, ["e"]), Job("G")).done("e").done("old")
    assert scene.released == [("e", ("",))]
    scene.expand("G", [Job("N", ALWAYS, ["e"])])
    assert scene.ran[-1] == "e"
    assert scene.done("e").ran[-1] == "N"


def test_a_decided_job_gains_nothing() -> None:
    jobs = Job("G"), Job("C", OUTPUT, ["G"]), Job("D", ALWAYS, ["C"])
    scene = Scene(*jobs).done("G").done("C")
    scene.expand("D", [Job("N")], [("C", "N")])
    assert "does not depend" in refused(scene, "D")


@pytest.mark.parametrize(
    ("job", "said"), [(Job("G", OUTPUT), "always runs"), (Job("G", ALWAYS, final=True), "final")]
)
def test_who_cannot_expand(job: Job, said: str) -> None:
    scene = Scene(job).expand("G", [Job("N")])
    assert said in refused(scene, "G")


def test_a_job_that_does_not_exist_or_comes_later() -> None:
    from pypelinin.graph.declared import Input

    for upstream, said in ((99, "does not exist"), (-2, "before it"), (-9, "before it")):
        run = Run([Declared(name="G")])
        run.take()
        run.done(0, None, Expansion([Declared(inputs=[Input(upstream)], name="N"), Declared()]))
        assert said in str(run.jobs[0].cause)
        assert len(run.jobs) == 1


def test_the_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    assert expansion.JOBS_MAX == 10_000
    monkeypatch.setattr(expansion, "JOBS_MAX", 3)
    for count, good in ((3, True), (4, False)):
        run = Run([Declared()])
        run.take()
        run.done(0, None, Expansion([Declared() for _ in range(count)]))
        assert (run.next_number == 1 + count) is good


def test_jobs_added_from_outside_are_checked_before_anything_is_taken() -> None:
    from pypelinin.graph.declared import Input

    run = Run([Declared(name="a")], closed=False)
    with pytest.raises(expansion.Refused, match="name exists"):
        expansion.check_new(run, [Declared(name="b"), Declared(name="a")])
    with pytest.raises(expansion.Refused, match="does not exist"):
        expansion.check_new(run, [Declared(inputs=[Input(5)])])
    expansion.check_new(run, [Declared(inputs=[Input(0)], name="b")])
    assert len(run.jobs) == 1
