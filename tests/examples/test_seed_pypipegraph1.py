"""The examples of the document of pypipegraph's version 1, as tests.

Where an example cannot run as it is printed it is mended, and a comment says what was. What the
document tells without code is played with the smallest code that shows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental.v1 as pypipegraph
from pypelinin.incremental import state


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every example is a script in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    pypipegraph.new_pipeline(quiet=True, interactive=False)
    yield
    state.change(None)


def write_to_file(filename: str, text: str) -> None:
    """The document names it, and does not show it."""
    with open(filename, "w") as op:
        op.write(text)


def text_of(filename: str) -> str:
    return Path(filename).read_text()


def begin_again() -> None:
    pypipegraph.new_pipeline(quiet=True, interactive=False)


# --- "30 second summary" ------------------------------------------------------------------------


def test_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    # Mended: print is a function, `output_filename` is output_filenameA, text is not written to
    # binary files, the last string has its end. The two functions have one name, as printed.
    pypipegraph.new_pipeline(interactive=False)
    output_filenameA = "sampleA.txt"

    def do_the_work() -> None:
        with open(output_filenameA, "w") as op:
            op.write("hello world")

    jobA = pypipegraph.FileGeneratingJob(output_filenameA, do_the_work)
    output_filenameB = "sampleB.txt"

    def do_the_work() -> None:  # type: ignore[no-redef]  # as it stands there
        with open(output_filenameB, "w") as op, open(output_filenameA) as source:
            op.write(source.read() + ", once again")

    jobB = pypipegraph.FileGeneratingJob(output_filenameB, do_the_work)
    jobB.depends_on(jobA)
    pypipegraph.run()
    print("the pipegraph is done and has returned control to you.")
    assert "has returned control" in capsys.readouterr().out
    assert text_of("sampleA.txt") == "hello world"
    assert text_of("sampleB.txt") == "hello world, once again"


# --- "Python function gotchas" ------------------------------------------------------------------


def test_the_gotcha_three_jobs_write_one_file() -> None:
    # Mended: the job's name is `filename`, where the document says `i`. On one core: else C may be
    # looked at while another job has just emptied it.
    one_core = pypipegraph.resource_coordinators.LocalSystem(1)
    pypipegraph.new_pipeline(one_core, quiet=True, interactive=False)
    jobs = []
    for filename in ("A", "B", "C"):

        def shu() -> None:
            write_to_file(filename=filename, text="hello world")  # noqa: B023 - that is the gotcha

        jobs.append(pypipegraph.FileGeneratingJob(filename, shu))
    with pytest.raises(pypipegraph.RuntimeError) as info:
        pypipegraph.run()
    assert [job.failed for job in jobs] == [True, True, False]
    for error in info.value.exceptions:
        assert isinstance(error, pypipegraph.JobContractError)
        assert "did not create" in str(error)
    assert not Path("A").exists()
    assert text_of("C") == "hello world"


def test_the_magic_line() -> None:
    # Mended: the job's name is `filename`, where the document says `i`.
    for filename in ("A", "B", "C"):

        def shu(filename: str = filename) -> None:  # that's the magic line. Also works for lambdas
            write_to_file(filename=filename, text=f"hello {filename}")

        pypipegraph.FileGeneratingJob(filename, shu)
    pypipegraph.run()
    assert [text_of(name) for name in ("A", "B", "C")] == ["hello A", "hello B", "hello C"]


def test_it_also_works_for_lambdas() -> None:
    for filename in ("A", "B", "C"):
        pypipegraph.FileGeneratingJob(
            filename, lambda filename=filename: write_to_file(filename, f"hello {filename}")
        )
    pypipegraph.run()
    assert [text_of(name) for name in ("A", "B", "C")] == ["hello A", "hello B", "hello C"]


def test_a_rebound_variable_that_changes_runs_only_its_job() -> None:
    def define(words: dict[str, str]) -> list[Any]:
        begin_again()
        jobs = []
        for filename, word in words.items():

            def shu(filename: str = filename, word: str = word) -> None:
                write_to_file(filename, word)

            jobs.append(pypipegraph.FileGeneratingJob(filename, shu))
        pypipegraph.run()
        return [job.was_run for job in jobs]

    assert define({"A": "one", "B": "two"}) == [True, True]
    assert define({"A": "one", "B": "other"}) == [False, True]


# --- "Jobs": invariants -------------------------------------------------------------------------


def runs_with(invariant: Callable[[], Any]) -> bool:
    """Whether a job that depends on it runs, in a new graph."""
    begin_again()
    job = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "out"))
    job.depends_on(invariant())
    pypipegraph.run()
    return job.was_run


def test_if_the_parameters_change_dependend_jobs_are_redone() -> None:
    assert runs_with(lambda: pypipegraph.ParameterInvariant("p", (1, "a")))
    assert not runs_with(lambda: pypipegraph.ParameterInvariant("p", (1, "a")))
    assert runs_with(lambda: pypipegraph.ParameterInvariant("p", (2, "a")))


def test_file_time_and_file_checksum() -> None:
    write_to_file("in.txt", "one")
    assert runs_with(lambda: pypipegraph.FileTimeInvariant("in.txt"))
    os.utime("in.txt", (1000, 1000))
    assert runs_with(lambda: pypipegraph.FileTimeInvariant("in.txt"))
    assert runs_with(lambda: pypipegraph.FileChecksumInvariant("in.txt"))
    os.utime("in.txt", (2000, 2000))
    assert not runs_with(lambda: pypipegraph.FileChecksumInvariant("in.txt"))
    write_to_file("in.txt", "two")
    os.utime("in.txt", (2000, 2000))
    os.utime("in.txt", (3000, 3000))
    assert runs_with(lambda: pypipegraph.FileChecksumInvariant("in.txt"))


def test_the_code_of_arbitrary_functions() -> None:
    assert runs_with(lambda: pypipegraph.FunctionInvariant("f", lambda: 1))
    assert not runs_with(lambda: pypipegraph.FunctionInvariant("f", lambda: 1))
    assert runs_with(lambda: pypipegraph.FunctionInvariant("f", lambda: 2))


class Counter:
    def count(self) -> int:
        return 1


def test_bound_methods_of_two_instances_are_one_function() -> None:
    """The document warns of them: version 1 raised, as it compared instances, and not code."""
    invariants = [
        pypipegraph.FunctionInvariant("count", function)
        for function in (Counter().count, Counter().count, Counter.count)
    ]
    assert invariants[0] is invariants[1] is invariants[2]


# --- "Jobs": output generating ------------------------------------------------------------------


@pytest.mark.parametrize("rename_broken", [False, True])
def test_if_the_job_raises_the_output_so_far_is_removed_or_renamed(rename_broken: bool) -> None:
    def breaks() -> None:
        write_to_file("out", "so far")
        raise ValueError("broken")

    job = pypipegraph.FileGeneratingJob("out", breaks, rename_broken=rename_broken)
    with pytest.raises(pypipegraph.RuntimeError):
        pypipegraph.run()
    assert isinstance(job.exception, ValueError)
    assert not Path("out").exists()
    assert Path("out.broken").exists() is rename_broken


def test_a_file_of_0_byte_is_written_again() -> None:
    def define() -> Any:
        begin_again()
        job = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "text"))
        pypipegraph.run()
        return job.was_run

    assert define()
    assert not define()
    Path("out").write_text("")
    assert define()
    Path("out").unlink()
    assert define()


def test_ignore_code_changes() -> None:
    def define(text: str) -> bool:
        begin_again()
        job = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", text))
        job.ignore_code_changes()
        pypipegraph.run()
        was_run: bool = job.was_run
        return was_run

    assert define("one")
    assert not define("two")


def test_several_files_are_checked_and_produced() -> None:
    def work() -> None:
        write_to_file("one", "1")
        write_to_file("two", "2")

    pypipegraph.MultiFileGeneratingJob(["one", "two"], work)
    pypipegraph.run()
    assert text_of("one") + text_of("two") == "12"


@pytest.mark.parametrize("fails", [False, True])
def test_a_temporary_file_goes_unless_a_dependand_job_dies(fails: bool) -> None:
    def use() -> None:
        assert not fails
        write_to_file("out", text_of("temp"))

    temp = pypipegraph.TempFileGeneratingJob("temp", lambda: write_to_file("temp", "t"))
    pypipegraph.FileGeneratingJob("out", use).depends_on(temp)
    if fails:
        with pytest.raises(pypipegraph.RuntimeError):
            pypipegraph.run()
    else:
        pypipegraph.run()
        assert text_of("out") == "t"
    assert Path("temp").exists() is fails


# --- "Jobs": compute slave modifying ------------------------------------------------------------


class Table:
    rows: list[int]


def test_data_is_loaded_into_an_attribute_only_if_a_job_needs_it() -> None:
    def define(table: Table, needed: bool = True) -> None:
        begin_again()

        def load() -> list[int]:
            with open("loaded", "a") as op:
                op.write("x")
            return [1, 2, 3]

        loading = pypipegraph.AttributeLoadingJob("rows", table, "rows", load)
        if needed:
            out = pypipegraph.FileGeneratingJob(
                "out", lambda: write_to_file("out", str(sum(table.rows)))
            )
            out.depends_on(loading)
        pypipegraph.run()

    define(Table(), needed=False)
    assert not Path("loaded").exists()
    table = Table()
    define(table)
    assert text_of("out") == "6"
    assert not hasattr(table, "rows")
    define(table)
    assert text_of("loaded") == "x"


LOADED: list[str] = []


def test_a_chain_of_loading_jobs_runs_as_a_whole_or_not_at_all() -> None:
    def define() -> list[str]:
        begin_again()
        LOADED.clear()
        first = pypipegraph.DataLoadingJob("first", lambda: LOADED.append("first"))
        second = pypipegraph.DataLoadingJob("second", lambda: LOADED.append("second"))
        out = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", " ".join(LOADED)))
        out.depends_on(second.depends_on(first))
        pypipegraph.run()
        return list(LOADED)

    assert define() == ["first", "second"]
    assert text_of("out") == "first second"
    assert define() == []


# --- "Jobs": job generating ---------------------------------------------------------------------


def test_titles_of_websites_that_are_known_only_after_a_download() -> None:
    """DependencyInjectionJob: A downloads the overview, C injects B1..Bn into Z."""

    def download_overview() -> None:
        write_to_file("overview", "b1 b2 b3")

    def combine_titles() -> None:
        pages = sorted(Path().glob("*.html"))
        write_to_file("titles", ", ".join(page.read_text() for page in pages))

    def define_downloads() -> list[Any]:
        return [
            pypipegraph.FileGeneratingJob(
                f"{name}.html",
                lambda name=name: write_to_file(f"{name}.html", f"title of {name}"),
            )
            for name in text_of("overview").split()
        ]

    A = pypipegraph.FileGeneratingJob("overview", download_overview)
    C = pypipegraph.DependencyInjectionJob("websites", define_downloads).depends_on(A)
    pypipegraph.FileGeneratingJob("titles", combine_titles).depends_on(C)
    pypipegraph.run()
    assert text_of("titles") == "title of b1, title of b2, title of b3"


def test_to_inject_into_no_dependand_is_an_error() -> None:
    def inject() -> None:
        pypipegraph.FileGeneratingJob("stray", lambda: write_to_file("stray", "s"))

    injecting = pypipegraph.DependencyInjectionJob("injecting", inject)
    pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "o")).depends_on(injecting)
    with pytest.raises(pypipegraph.RuntimeError) as info:
        pypipegraph.run()
    assert isinstance(info.value.exceptions[0], pypipegraph.JobContractError)


def test_a_graph_for_each_member_of_the_sales_team() -> None:
    """JobGeneratingJob: who is in the team is known only after a query."""

    def query_and_define() -> None:
        for member in text_of("team").split():
            filename = f"{member}.graph"
            pypipegraph.FileGeneratingJob(
                filename, lambda filename=filename: write_to_file(filename, "figures")
            )

    team = pypipegraph.FileGeneratingJob("team", lambda: write_to_file("team", "ada bob"))
    pypipegraph.JobGeneratingJob("members", query_and_define).depends_on(team)
    pypipegraph.run()
    assert text_of("ada.graph") == text_of("bob.graph") == "figures"


# --- "Compound jobs" ----------------------------------------------------------------------------


def count_and_return(value: int) -> int:
    with open("calculated", "a") as op:
        op.write("x")
    return value


def test_a_cached_job_calculates_once_and_only_for_others() -> None:
    table = Table()

    def define(needed: bool, text: str = "") -> None:
        begin_again()
        cached = pypipegraph.CachedJob("cache.dat", table, "rows", lambda: count_and_return(3))
        if needed:
            out = pypipegraph.FileGeneratingJob(
                "out", lambda: write_to_file("out", f"{table.rows}{text}")
            )
            out.depends_on(cached)
        pypipegraph.run()

    define(needed=False)
    assert not Path("calculated").exists()
    define(needed=True)
    define(needed=True, text=" again")
    assert text_of("out") == "3 again"
    assert text_of("calculated") == "x"


def test_the_plot_can_be_fiddled_with_and_nothing_is_calculated_again() -> None:
    # Mended: pyggplot and pydataframe are no more; a plot is what can render itself.
    class Plot:
        def __init__(self, text: str) -> None:
            self.text = text

        def render(self, filename: str) -> None:
            write_to_file(filename, self.text)

    def define(title: str) -> None:
        begin_again()
        pypipegraph.PlotJob(
            "plot.png", lambda: count_and_return(3), lambda data: Plot(f"{title}: {data}"),
            skip_table=True,
        )  # fmt: skip
        pypipegraph.run()

    define("first")
    define("second")
    assert text_of("plot.png") == "second: 3"
    assert text_of("calculated") == "x"


# --- "Exceptions", "Notes" ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [pypipegraph.RuntimeError, pypipegraph.JobContractError, pypipegraph.CycleError],
)
def test_all_exceptions_descend_from_one(error: type[Exception]) -> None:
    assert issubclass(error, pypipegraph.PyPipelineGraphError)


def test_a_cycle_is_an_error() -> None:
    jobs = [pypipegraph.FileGeneratingJob(name, lambda: None) for name in ("A", "B", "C")]
    for job, other in zip(jobs, jobs[1:] + jobs[:1], strict=True):
        job.depends_on(other)
    with pytest.raises(pypipegraph.CycleError, match="A"):
        pypipegraph.run()


def test_only_the_failed_job_and_everything_downstream_are_affected() -> None:
    names = ("fine", "failing", "downstream")
    _, failing, downstream = (
        pypipegraph.FileGeneratingJob(
            name, lambda name=name: write_to_file(name if name != "failing" else "else", name)
        )
        for name in names
    )
    downstream.depends_on(failing)
    with pytest.raises(pypipegraph.RuntimeError):
        pypipegraph.run()
    assert [Path(name).exists() for name in names] == [True, False, False]
    assert isinstance(failing.exception, pypipegraph.JobContractError)


def test_a_pipegraph_is_run_once_and_others_after_it() -> None:
    pypipegraph.run()
    with pytest.raises(ValueError):
        pypipegraph.run()
    begin_again()
    pypipegraph.run()


def test_it_is_an_error_to_create_jobs_before_the_graph() -> None:
    pypipegraph.util.global_pipegraph = None
    with pytest.raises(ValueError):
        pypipegraph.FileGeneratingJob("out", lambda: None)


def test_jobs_are_singletonized_on_their_id() -> None:
    function = Counter.count
    first = pypipegraph.ParameterInvariant("p", 1)
    assert pypipegraph.ParameterInvariant("p", 1) is first
    second = pypipegraph.FunctionInvariant("f", function)
    assert pypipegraph.FunctionInvariant("f", function) is second
    third = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "o"))
    assert pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "o")) is third


def test_adding_jobs_gives_an_iterable_of_jobs() -> None:
    one, two, three, four = (
        pypipegraph.FileGeneratingJob(name, lambda name=name: write_to_file(name, name))
        for name in ("one", "two", "three", "four")
    )
    pair = one + two
    assert list(pair) == [one, two]
    assert list(one + pair) == [one, two]
    assert list(pair + three) == [one, two, three]
    assert list(pair + (two + three)) == [one, two, three]
    four.depends_on(pair + three)
    assert {one, two, three} <= four.prerequisites


def test_jobs_have_resource_attributes() -> None:
    job = pypipegraph.FileGeneratingJob("out", lambda: write_to_file("out", "o"))
    assert (job.cores_needed, job.memory_needed) == (1, -1)
    job.cores_needed = -1
    job.memory_needed = 200 * 1024 * 1024
    pypipegraph.run()
    assert text_of("out") == "o"
