"""What the document of pypipegraph2 (3.0.6) shows and says, with this package imported instead.

Broken as printed there, and mended here: the example of a dependency says `ppg.` though the import
is `as ppg2`; `DataLoading` and `AttributeLoading` are called `DataLoadingJob` and
`AttributeLoadingJob`; `last_run[job_id].error` holds the exception with its traceback; and
`do_raise = False`, with which `run` returns `last_run`, is an argument of `run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg2
from pypelinin.incremental import start
from pypelinin.incremental.graph import Options


@pytest.fixture(autouse=True)
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ppg2.PyPipeGraph]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield again()
    ppg2.change_global_pipegraph(None)


def again(mode: ppg2.RunMode = ppg2.RunMode.NONINTERACTIVE) -> ppg2.PyPipeGraph:
    """The script is started once more."""
    return ppg2.new(cores=2, run_mode=mode, dir_config=".ppg", log_address=None)


def ran() -> set[str]:
    """What a run executed, without invariants."""
    outcomes = ppg2.run().values()
    return {one.job_id for one in outcomes if one.start_time is not None}


def do_it(output_path: Path) -> None:
    output_path.write_text("Hello world")


def my_other_function() -> int:
    return 1


# --- the simplest example, and what makes it run again ------------------------------------------


def test_the_simplest_example_makes_two_jobs() -> None:
    job = ppg2.FileGeneratingJob("hello.txt", do_it)
    assert ran() == {"hello.txt"}
    assert Path("hello.txt").read_text() == "Hello world"
    kinds = [type(one) for one in job.graph.jobs.values()]
    assert sorted(kind.__name__ for kind in kinds) == ["FileGeneratingJob", "FunctionInvariant"]


def test_a_changed_function_changes_the_output() -> None:
    ppg2.FileGeneratingJob("hello.txt", do_it)
    ppg2.run()

    def changed(output_path: Path) -> None:
        output_path.write_text("Hello world, how are you today")

    changed.__qualname__ = do_it.__qualname__
    again()
    ppg2.FileGeneratingJob("hello.txt", changed)
    assert ran() == {"hello.txt"}
    assert Path("hello.txt").read_text() == "Hello world, how are you today"


def test_deleting_the_output_and_adding_or_removing_a_dependency_rebuild_it() -> None:
    job = ppg2.FileGeneratingJob("hello.txt", do_it)
    assert ran() == {"hello.txt"}
    assert ran() == set()
    Path("hello.txt").unlink()
    assert ran() == {"hello.txt"}
    job.depends_on(ppg2.FunctionInvariant(my_other_function))
    assert ran() == {"hello.txt"}
    assert ran() == set()
    again()
    ppg2.FileGeneratingJob("hello.txt", do_it)
    assert ran() == {"hello.txt"}


@pytest.mark.parametrize(
    "mode", [ppg2.RunMode.NOTEBOOK, ppg2.RunMode.CONSOLE_INTERACTIVE], ids=lambda mode: mode.name
)
def test_interactively_jobs_are_redefined_and_the_same_graph_run_again(mode: Any) -> None:
    again(mode)
    job = ppg2.FileGeneratingJob("hello.txt", do_it)
    reader = ppg2.FileGeneratingJob("read.txt", lambda path: path.write_text("x")).depends_on(job)
    assert ran() == {"hello.txt", "read.txt"}

    def do_it_differently(path: Path) -> None:
        path.write_text("Hello notebook")

    ppg2.FileGeneratingJob("hello.txt", do_it_differently)
    assert ran() == {"hello.txt", "read.txt"}
    assert Path("hello.txt").read_text() == "Hello notebook"
    assert reader.upstreams[-1] is job
    assert ran() == set()
    # and the script, as it is now, finds all of it done
    again(mode)
    ppg2.FileGeneratingJob("hello.txt", do_it_differently)
    assert ran() == set()


def test_what_depends_on_a_failed_job_is_not_evaluated_and_the_rest_is() -> None:
    def fail(path: Path) -> None:
        raise ValueError("failed")

    bad = ppg2.FileGeneratingJob("bad.txt", fail)
    ppg2.FileGeneratingJob("after.txt", do_it).depends_on(bad)
    ppg2.FileGeneratingJob("beside.txt", do_it)
    with pytest.raises(ppg2.JobsFailed):
        ppg2.run(print_failures=False)
    assert not Path("after.txt").exists()
    assert Path("beside.txt").exists()


def test_an_inconsequential_change_stops_where_the_output_is_the_old_one() -> None:
    Path("numbers.txt").write_text("2 1")

    def define() -> None:
        again()
        ordered = ppg2.FileGeneratingJob("ordered.txt", order)
        ordered.depends_on_file("numbers.txt")
        ppg2.FileGeneratingJob("report.txt", report).depends_on(ordered)

    define()
    assert ran() == {"ordered.txt", "report.txt"}
    Path("numbers.txt").write_text("1 2")
    define()
    assert ran() == {"ordered.txt"}
    Path("numbers.txt").write_text("1 3")
    define()
    assert ran() == {"ordered.txt", "report.txt"}


def order(path: Path) -> None:
    path.write_text(" ".join(sorted(Path("numbers.txt").read_text().split())))


def report(path: Path) -> None:
    path.write_text(f"in order: {Path('ordered.txt').read_text()}")


# --- the jobs of its list -----------------------------------------------------------------------


def write_each(paths: Any) -> None:
    for path in paths.values() if isinstance(paths, dict) else paths:
        path.write_text(path.name)


@pytest.mark.parametrize("files", [["a.txt", "b.txt"], {"one": "a.txt", "two": "b.txt"}])
@pytest.mark.parametrize("is_temporary", [False, True])
def test_several_files_are_made_and_temporary_ones_removed(files: Any, is_temporary: bool) -> None:
    kind = ppg2.MultiTempFileGeneratingJob if is_temporary else ppg2.MultiFileGeneratingJob
    job = kind(files, write_each)
    seen: list[str] = []

    def read(path: Path, seen: list[str] = seen) -> None:
        path.write_text(Path("a.txt").read_text() + Path("b.txt").read_text())

    ppg2.FileGeneratingJob("read.txt", read).depends_on(job)
    ppg2.run()
    assert Path("read.txt").read_text() == "a.txtb.txt"
    assert Path("a.txt").exists() is not is_temporary


def test_a_temporary_file_is_removed_as_soon_as_possible() -> None:
    job = ppg2.TempFileGeneratingJob("temp.txt", do_it)
    ppg2.FileGeneratingJob(
        "kept.txt", lambda path: path.write_text(Path("temp.txt").read_text())
    ).depends_on(job)
    ppg2.run()
    assert Path("kept.txt").read_text() == "Hello world"
    assert not Path("temp.txt").exists()


def test_invariants_follow_functions_files_and_parameters() -> None:
    def define(value: bool) -> None:
        again()
        job = ppg2.FileGeneratingJob("a.txt", do_it)
        job.depends_on(
            ppg2.FunctionInvariant("other", my_other_function),
            ppg2.FileInvariant("input.txt"),
            ppg2.ParameterInvariant("a.txt", ("something", {"other": value})),
        )

    Path("input.txt").write_text("1")
    define(True)
    assert ran() == {"a.txt"}
    define(True)
    assert ran() == set()
    define(False)
    assert ran() == {"a.txt"}
    Path("input.txt").write_text("2")
    define(False)
    assert ran() == {"a.txt"}


class Genome:
    """Something that data is loaded into."""


def test_data_is_loaded_into_the_current_process_and_let_go() -> None:
    genome, table = Genome(), {}

    def load() -> str:
        table["data"] = "loaded"
        return "loaded"

    data = ppg2.DataLoadingJob("data", load, allowed_non_locals=["table"])
    attribute = ppg2.AttributeLoadingJob("attribute", genome, "sequence", lambda: "ACGT")

    def use(path: Path) -> None:
        path.write_text(table["data"] + genome.sequence)  # type: ignore[attr-defined]  # loaded

    job = ppg2.FileGeneratingJob("used.txt", use, allowed_non_locals=["table", "genome"])
    job.depends_on(data, attribute)
    ppg2.run()
    assert Path("used.txt").read_text() == "loadedACGT"
    assert not hasattr(genome, "sequence")
    Path("used.txt").unlink()
    ppg2.run()  # it works twice in one process
    assert Path("used.txt").read_text() == "loadedACGT"


def test_more_jobs_are_generated_after_the_upstreams_have_run() -> None:
    names = ppg2.FileGeneratingJob("names.txt", lambda path: path.write_text("x.txt y.txt"))

    def generate() -> None:
        for name in Path("names.txt").read_text().split():
            ppg2.FileGeneratingJob(name, do_it)

    ppg2.JobGeneratingJob("generate", generate).depends_on(names)
    assert ran() == {"names.txt", "generate", "x.txt", "y.txt"}
    assert Path("y.txt").read_text() == "Hello world"
    assert ran() == {"generate"}


# --- the loop variable --------------------------------------------------------------------------


def test_a_loop_variable_must_be_bound_and_is_told_so() -> None:
    for name in ("a", "b"):

        def late(path: Path) -> None:
            path.write_text(name)  # noqa: B023 - that is what is shown

        with pytest.raises(ppg2.FunctionUsesUndeclaredNonLocalsError, match=r"name=name"):
            ppg2.FileGeneratingJob(f"{name}.txt", late)

        def bound(path: Path, name: str = name) -> None:
            path.write_text(name)

        ppg2.FileGeneratingJob(f"{name}.txt", bound)
    ppg2.run()
    assert [Path(f"{name}.txt").read_text() for name in ("a", "b")] == ["a", "b"]


def test_a_changed_default_argument_is_a_change() -> None:
    def define(text: str) -> None:
        again()

        def bound(path: Path, text: str = text) -> None:
            path.write_text(text)

        ppg2.FileGeneratingJob("a.txt", bound)

    define("one")
    assert ran() == {"a.txt"}
    define("two")
    assert ran() == {"a.txt"}
    assert Path("a.txt").read_text() == "two"
    define("two")
    assert ran() == set()


# --- differences to pypipegraph -----------------------------------------------------------------


def test_a_graph_can_be_run_several_times_and_calling_a_job_runs_what_it_needs() -> None:
    a = ppg2.FileGeneratingJob("a.txt", do_it)
    b = ppg2.FileGeneratingJob("b.txt", do_it).depends_on(a)
    ppg2.FileGeneratingJob("c.txt", do_it)
    b()
    assert [Path(f"{name}.txt").exists() for name in "abc"] == [True, True, False]
    assert ran() == {"c.txt"}
    assert ran() == set()


def test_a_function_takes_the_target_first() -> None:
    with pytest.raises(TypeError):
        ppg2.FileGeneratingJob("a.txt", lambda: None)


def test_depending_on_one_file_of_several_follows_that_file_only() -> None:
    def define(text: str) -> None:
        again()

        def write(files: dict[str, Path], text: str = text) -> None:
            files["A"].write_text("always the same")
            files["B"].write_text(text)

        both = ppg2.MultiFileGeneratingJob({"A": "a.txt", "B": "b.txt"}, write)
        ppg2.FileGeneratingJob("of_a.txt", do_it).depends_on(both["A"])
        ppg2.FileGeneratingJob("of_b.txt", do_it).depends_on("b.txt")

    define("one")
    assert ran() == {"a.txt:::b.txt", "of_a.txt", "of_b.txt"}
    define("two")
    assert ran() == {"a.txt:::b.txt", "of_b.txt"}


def test_without_depend_on_function_a_changed_function_is_no_change() -> None:
    def define(text: str) -> None:
        again()

        def write(path: Path, text: str = text) -> None:
            path.write_text(text)

        ppg2.FileGeneratingJob("a.txt", write, depend_on_function=False)

    define("one")
    assert ran() == {"a.txt"}
    define("two")
    assert ran() == set()


def test_what_a_failed_job_raised_is_in_the_last_run(graph: ppg2.PyPipeGraph) -> None:
    def fail(path: Path) -> None:
        raise ValueError("why")

    ppg2.FileGeneratingJob("a.txt", fail)
    found = ppg2.run(print_failures=False, do_raise=False)
    assert found is graph.last_run is ppg2.global_pipegraph.last_run
    error = graph.last_run["a.txt"].error
    assert isinstance(error.exception, ValueError)
    assert "raise ValueError" in error.trace
    assert [str(one.exception) for one in graph.do_raise] == ["why"]


def test_the_names_of_errors_are_those_of_the_document() -> None:
    a = ppg2.FileGeneratingJob("a.txt", do_it)
    b = ppg2.FileGeneratingJob("b.txt", do_it).depends_on(a)
    with pytest.raises(ppg2.NotADag):
        a.depends_on(b)
    with pytest.raises(TypeError):
        ppg2.FunctionInvariant("a", "no function")
    with pytest.raises(ppg2.JobOutputConflict):
        ppg2.MultiFileGeneratingJob(["a.txt", "z.txt"], write_each)
    with pytest.raises(ppg2.JobRedefinitionError):
        ppg2.FileGeneratingJob("a.txt", do_it, empty_ok=True)
    assert issubclass(ppg2.JobsFailed, ppg2.RunFailed)
    assert issubclass(ppg2.JobDied, ppg2.PPGException)


def test_empty_outputs_are_refused_of_one_file_and_fine_of_several() -> None:
    one = ppg2.FileGeneratingJob("one.txt", lambda path: path.touch())
    ppg2.FileGeneratingJob("fine.txt", lambda path: path.touch(), empty_ok=True)
    ppg2.MultiFileGeneratingJob(["two.txt"], lambda paths: paths[0].touch())
    with pytest.raises(ppg2.JobsFailed) as caught:
        ppg2.run(print_failures=False)
    assert len(caught.value.exceptions) == 1
    assert isinstance(one.exception, ppg2.JobContractError)


def test_a_file_that_was_there_before_is_made_once_to_know_it() -> None:
    Path("a.txt").write_text("of somebody else")
    ppg2.FileGeneratingJob("a.txt", do_it)
    assert ran() == {"a.txt"}
    assert Path("a.txt").read_text() == "Hello world"


def test_a_failing_job_leaves_its_output_and_runs_again() -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ValueError

    job = ppg2.FileGeneratingJob("a.txt", fail)
    for _ in range(2):
        with pytest.raises(ppg2.JobsFailed):
            ppg2.run(print_failures=False)
        assert Path("a.txt").read_text() == "half"
        assert job.start_time is not None


def test_adding_and_removing_followed_files_triggers_by_itself() -> None:
    def define(*names: str) -> None:
        again()
        job = ppg2.FileGeneratingJob("out.txt", do_it)
        job.depends_on(ppg2.FileInvariant(name) for name in names)

    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)
    define("a.txt")
    assert ran() == {"out.txt"}
    define("a.txt", "b.txt")
    assert ran() == {"out.txt"}
    define("b.txt")
    assert ran() == {"out.txt"}
    define("b.txt")
    assert ran() == set()


def test_pruned_jobs_and_what_depends_on_them_are_left_out_until_unpruned() -> None:
    a = ppg2.FileGeneratingJob("a.txt", do_it)
    b = ppg2.FileGeneratingJob("b.txt", do_it).depends_on(a)
    ppg2.FileGeneratingJob("c.txt", do_it)
    a.prune()
    assert ran() == {"c.txt"}
    assert ppg2.global_pipegraph.last_run["b.txt"].outcome is ppg2.JobOutcome.Pruned
    assert b.prune_reason == "a.txt"
    a.unprune()
    assert ran() == {"a.txt", "b.txt"}
    assert b.prune_reason is None
