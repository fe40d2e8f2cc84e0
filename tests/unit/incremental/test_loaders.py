"""Loaded data in the caller: when loaders run, in which order, and when data is let go."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg

HERE = ppg.Resources.RunsHere


class Target:
    def __setattr__(self, name: str, value: Any) -> None:
        note(f"+{name}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        note(f"-{name}")
        super().__delattr__(name)


def note(line: str) -> None:
    with open("notes", "a") as file:
        file.write(f"{line}\n")


def notes() -> list[str]:
    found = Path("notes").read_text().split() if Path("notes").exists() else []
    Path("notes").unlink(missing_ok=True)
    return found


def write(path: Path) -> None:
    note(path.name)
    path.write_text("x")


def loader(target: Target, name: str, value: str = "v") -> Any:
    return ppg.AttributeLoadingJob(name, target, name, lambda value=value: value)


def test_loaders_run_before_their_readers_and_are_let_go_after_the_last(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    target = Target()
    one, two = loader(target, "one"), loader(target, "two")
    two.depends_on(one)
    a = ppg.FileGeneratingJob("a", write, HERE).depends_on(two)
    ppg.FileGeneratingJob("b", write, HERE).depends_on(one, a)
    ppg.run()
    found = notes()
    assert found.index("+one") < found.index("+two") < found.index("a") < found.index("b")
    assert found.index("-two") < found.index("b") < found.index("-one")
    assert len(found) == 6
    ppg.run()
    assert notes() == []


def test_a_loader_works_in_each_run_of_one_process(ppg_here: ppg.PyPipeGraph) -> None:
    target = Target()
    job = ppg.FileGeneratingJob("a", write, HERE).depends_on(loader(target, "one"))
    for _ in range(3):
        ppg.run()
        assert notes() == ["+one", "a", "-one"]
        Path("a").unlink()
    assert job.outcome.outcome is ppg.JobOutcome.Success


def test_data_that_a_failing_job_read_stays_for_the_next_try(ppg_here: ppg.PyPipeGraph) -> None:
    target = Target()

    def fail(path: Path) -> None:
        raise ValueError

    ppg.FileGeneratingJob("a", fail, HERE).depends_on(loader(target, "one"))
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert notes() == ["+one"]
    assert target.one


def test_a_loader_that_loads_something_else_unasked_fails(ppg_here: ppg.PyPipeGraph) -> None:
    value = {"now": "1"}
    job = ppg.DataLoadingJob("data", lambda: value["now"], allowed_non_locals=["value"])
    for name in "ab":
        ppg.FileGeneratingJob(name, write, HERE).depends_on(job)
    ppg.run()
    value["now"] = "2"
    Path("a").unlink()
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert isinstance(job.exception, ppg.JobContractError)
    assert "something else" in str(job.exception)
    ppg.run()  # both, as they read what is loaded now
    assert Path("a").exists()
    assert notes()[-2:] == ["a", "b"]


def test_what_is_loaded_is_no_change_of_the_functions_that_close_over_its_place(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    class Place:
        limit = 0

    table: dict[str, str] = {"threshold": "1"}
    place = Place()

    def define() -> None:
        def use(path: Path) -> None:
            note(path.name)
            path.write_text(f"{table} {vars(place)}")

        ppg.new(run_mode=ppg.RunMode.CONSOLE_INTERACTIVE)  # entries of dicts stay
        entry = ppg.DictEntryLoadingJob("entry", table, "x", lambda: "v")
        attribute = ppg.AttributeLoadingJob("attribute", place, "x", lambda: "w")
        for name in "ab":
            job = ppg.FileGeneratingJob(name, use, HERE, allowed_non_locals=["table", "place"])
            job.depends_on(entry, attribute)

        def make() -> None:
            ppg.FileGeneratingJob("made", use, HERE, allowed_non_locals=["table", "place"])

        ppg.JobGeneratingJob("g", make).depends_on(entry)

    define()
    ppg.run()
    assert table["x"] == "v"
    assert sorted(notes()) == ["a", "b", "made"]
    define()
    ppg.run()
    assert notes() == []
    table["threshold"] = "2"
    define()
    ppg.run()
    assert sorted(notes()) == ["a", "b", "made"]


def test_a_value_may_be_said_to_follow_from_the_inputs(ppg_here: ppg.PyPipeGraph) -> None:
    def define(parameter: int) -> None:
        ppg.new()
        job = ppg.DataLoadingJob("data", lambda: ppg.UseInputHashesForOutput(object()))
        job.depends_on_params(parameter)
        ppg.FileGeneratingJob("a", write, HERE).depends_on(job)

    for parameter, expected in ((1, ["a"]), (1, []), (2, ["a"])):
        define(parameter)
        ppg.run()
        assert notes() == expected


@pytest.mark.parametrize("is_far", [False, True])
def test_a_loader_that_gives_something_else_from_the_same_fails(
    ppg_here: ppg.PyPipeGraph, is_far: bool
) -> None:
    def load() -> str:
        return Path("untracked.txt").read_text()

    loaded = ppg.DataLoadingJob("load", load)
    ppg.FileGeneratingJob("a.txt", write).depends_on(loaded)
    Path("untracked.txt").write_text("before")
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        engine = pool if is_far else None
        ppg_here.run(engine=engine)
        Path("a.txt").unlink()
        Path("untracked.txt").write_text("after")
        with pytest.raises(ppg.JobsFailed) as caught:
            ppg_here.run(engine=engine, print_failures=False)
    assert "loaded something else than the last time" in str(caught.value.exceptions[0])
    assert not Path("a.txt").exists()
