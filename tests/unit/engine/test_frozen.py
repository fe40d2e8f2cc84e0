"""A Run as bytes and back, and as another try."""

from __future__ import annotations

import pytest

from pypelinin.engine import frozen
from pypelinin.engine.run import Run
from pypelinin.engine.table import NAMES
from pypelinin.graph.declared import ALWAYS, EPHEMERAL, OUTPUT, TOKEN, Declared, Input
from tests.unit.engine.scene import Job, Scene, tags

JOBS = (
    Job("T", TOKEN),
    Job("L", EPHEMERAL, ["T"]),
    Job("O", OUTPUT, ["L"]),
    Job("X", ALWAYS, ["O"]),
    Job("F", ALWAYS, final=True),
)


def test_frozen_and_thawed_it_goes_on_the_same() -> None:
    scene = Scene(*JOBS)
    for name in ("T", "L", "O", "X", "F"):
        again = frozen.thaw(frozen.freeze(scene.run))
        assert frozen.freeze(again) == frozen.freeze(scene.run)
        assert again.take().run == [scene.numbers[scene.ran[-1]]], "what was out is asked again"
        again.check()
        number = scene.numbers[name]
        again.done(number, tags(name))
        again.take()
        scene.done(name)
        assert frozen.freeze(again) == frozen.freeze(scene.run)
    assert scene.run.over


def test_looks_are_asked_again() -> None:
    run = Run([Declared(OUTPUT, name="o")])
    assert run.take().look == [0]
    assert frozen.thaw(frozen.freeze(run)).take().look == [0]


def test_any_number_of_outputs() -> None:
    outputs = tuple(map(str, range(200)))
    run = Run([Declared(outputs=outputs, name="u"), Declared(inputs=[Input(0, outputs[150:])])])
    run.done(0, ((),) * 200)
    again = frozen.thaw(frozen.freeze(run))
    assert again.jobs[0].there == (1 << 200) - 1
    assert again.jobs[1].inputs[0][1] == run.jobs[1].inputs[0][1]


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = frozen.freeze(Run([]))
    monkeypatch.setattr(frozen, "VERSION", 3)
    with pytest.raises(ValueError, match="version 2 of the engine, not 3"):
        frozen.thaw(data)


def retried(scene: Scene) -> tuple[Run, dict[str, int]]:
    declared = frozen.retry(scene.run)
    return Run(declared), {job.name: i for i, job in enumerate(declared)}


def test_a_retry_runs_what_failed_and_what_it_blocked() -> None:
    scene = Scene(Job("A"), Job("B", ALWAYS, ["A"]), Job("C", ALWAYS, ["B"]), Job("D"))
    scene.done("A", "D").failed("B")
    run, numbers = retried(scene)
    assert run.take().run == [numbers["B"]]
    run.done(numbers["B"], tags("B"))
    assert run.take().run == [numbers["C"]]


def test_a_retry_makes_again_what_is_absent_and_can_be_repeated() -> None:
    """Rule 5a: L rested and was not needed; now C needs it."""
    jobs = Job("L", EPHEMERAL), Job("X"), Job("C", ALWAYS, ["L", "X"])
    scene = Scene(*jobs).all()
    again = scene.again(*jobs, there={})
    assert again.states["L"] == "DORMANT"
    again.failed("X")
    run, numbers = retried(again)
    run.take()
    run.done(numbers["X"], tags("X"))
    commands = run.take()
    assert commands.run == [numbers["L"]]


def test_reload_is_carried_by_those_that_had_not_succeeded() -> None:
    """Rule 5c: A is reloaded and done, B blocked by X: the retry runs B."""
    jobs = (
        Job("A", OUTPUT, reload=True), Job("X"), Job("B", OUTPUT, ["A", "X"], reload=True),
    )  # fmt: skip
    first = Scene(*jobs).all()
    second = first.again(*jobs, there={"A": ("",), "B": ("",)}).done("A", content="A").failed("X")
    declared = {job.name: job for job in frozen.retry(second.run)}
    assert declared["B"].reload
    assert not declared["A"].reload
    assert declared["A"].given is not None


def test_forgotten_tokens_are_gone_but_do_not_stand_in_the_way() -> None:
    """Rule 5b: T was forgotten when all its readers had ended well."""
    scene = (
        Scene(Job("T", TOKEN), Job("C", ALWAYS, ["T"]), Job("X")).done("T").done("C").failed("X")
    )
    run, numbers = retried(scene)
    assert run.take().run == [numbers["X"]]
    run.done(numbers["X"], None)
    assert run.over


def test_a_success_whose_data_was_lost_is_repeated_if_it_is_needed() -> None:
    scene = Scene(Job("A"), Job("C", ALWAYS, ["A"])).done("A").vanished("C", "A")
    assert scene.states["C"] == "BLOCKED"
    run, numbers = retried(scene)
    assert run.take().run == [numbers["A"]]


def test_jobs_with_younger_inputs_are_put_behind_them() -> None:
    scene = Scene(Job("G"), Job("end", ALWAYS, ["G"]))
    scene.expand("G", [Job("N")], [("end", "N")]).failed("N")
    run, numbers = retried(scene)
    assert run.take().run == [numbers["N"]]
    run.done(numbers["N"], tags("N"))
    assert run.take().run == [numbers["end"]]
    assert NAMES[run.jobs[numbers["G"]].state] == "KEPT"


def test_what_was_not_taken_is_not_lost() -> None:
    scene = Scene(Job("T", TOKEN), Job("C", OUTPUT, ["T"]))
    scene.run.done(scene.numbers["T"], tags("T"))
    scene.run.done(scene.numbers["C"], tags("C"))
    again = frozen.thaw(frozen.freeze(scene.run))
    taken, kept = again.take(), scene.run.take()
    assert (taken.forget, taken.remember, taken.release) == (
        kept.forget, kept.remember, kept.release,
    )  # fmt: skip
    assert kept.release
    assert kept.remember
