"""Jobs that change the graph, and jobs that run last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.jobs.growing import JobsOf

HERE = ppg.Resources.RunsHere
pytestmark = pytest.mark.usefixtures("ppg_here")


def note(path: Path) -> None:
    with open("notes", "a") as notes:
        notes.write(f"{path}\n")
    path.write_text("x")


def file(name: str) -> Any:
    return ppg.FileGeneratingJob(name, note, HERE)


def notes() -> list[str]:
    found = Path("notes").read_text().split() if Path("notes").exists() else []
    Path("notes").unlink(missing_ok=True)
    return found


def test_a_generator_runs_after_what_it_reads_and_its_jobs_after_it() -> None:
    a = file("a")

    def make() -> None:
        note(Path("made"))
        for line in Path("a").read_text():
            file(f"of_{line}").depends_on(a)

    generator = ppg.JobGeneratingJob("g", make).depends_on(a)
    file("reader").depends_on(generator)
    ppg.run()
    found = notes()
    assert found.index("a") < found.index("made") < found.index("of_x")
    assert found.index("made") < found.index("reader")


def test_injected_jobs_are_inputs_of_all_that_depend_on_the_injector() -> None:
    def inject() -> Any:
        return [file("x"), None, (file("y"),)]

    injector = ppg.DependencyInjectionJob("d", inject)
    file("a").depends_on(injector)
    file("b").depends_on(injector)
    file("c")
    ppg.run()
    found = notes()
    for name in "ab":
        assert found.index("x") < found.index(name)
        assert found.index("y") < found.index(name)
    assert sorted(found) == ["a", "b", "c", "x", "y"]
    ppg.run()
    assert notes() == []


def test_an_injector_may_make_what_is_needed_by_what_it_returns() -> None:
    def inject() -> Any:
        return file("x").depends_on(file("needed"))

    file("a").depends_on(ppg.DependencyInjectionJob("d", inject))
    ppg.run()
    assert notes() == ["needed", "x", "a"]


def test_stray_jobs_are_fine_if_that_is_said() -> None:
    def inject() -> None:
        file("stray")

    file("a").depends_on(
        ppg.DependencyInjectionJob("d", inject, check_for_dependency_injections=False)
    )
    ppg.run()
    assert sorted(notes()) == ["a", "stray"]


@pytest.mark.parametrize("found", [5, object()])
def test_an_injector_returns_jobs_only(found: Any) -> None:
    with pytest.raises(ppg.JobContractError, match="returns jobs"):
        JobsOf(found)
    with pytest.raises(ppg.JobContractError):
        JobsOf([file("a"), [found]])
    assert JobsOf(None).jobs == []


def test_a_final_job_runs_last_and_every_time() -> None:
    def last() -> None:
        note(Path("last"))

    ppg.FinalJob("final", last)
    file("b").depends_on(file("a"))
    ppg.run()
    assert notes() == ["a", "b", "last"]
    ppg.run()
    assert notes() == ["last"]


def test_a_final_job_does_not_run_after_a_failure_or_in_a_run_for_some() -> None:
    def last() -> None:
        note(Path("last"))

    def fail(path: Path) -> None:
        raise ValueError

    final = ppg.FinalJob("final", last)
    ppg.FileGeneratingJob("bad", fail, HERE)
    a = file("a")
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert notes() == ["a"]
    assert final.outcome.outcome is ppg.JobOutcome.UpstreamFailed
    Path("a").unlink()
    a()
    assert notes() == ["a"]


def test_a_final_job_runs_beside_pruned_ones() -> None:
    ppg.FinalJob("final", lambda: note(Path("last")))
    file("a").prune()
    ppg.run()
    assert notes() == ["last"]


@pytest.mark.parametrize("kind", [ppg.JobGeneratingJob, ppg.DependencyInjectionJob, ppg.FinalJob])
def test_what_they_call_is_a_function_and_the_same_when_defined_again(kind: Any) -> None:
    with pytest.raises(TypeError, match="is a function"):
        kind("job", 5)
    job = kind("job", notes)
    assert kind("job", notes) is job
    with pytest.raises(ppg.JobRedefinitionError):
        kind("job", lambda: None)
