"""What all jobs have in common."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
import pypelinin.incremental.v1 as v1

pytestmark = pytest.mark.usefixtures("ppg_here")


def write(path: Path) -> None:
    path.write_text("x")


def write_all(paths: Any) -> None:
    for path in paths.values() if isinstance(paths, dict) else paths:
        path.write_text("x")


def file(name: str = "a.txt") -> Any:
    return ppg.FileGeneratingJob(name, write)


def inputs(job: Any) -> set[str]:
    """What it depends on besides its own function."""
    return set(job.graph.job_inputs[job.job_id]) - {"FIwrite"}


def test_the_id_is_the_sorted_outputs() -> None:
    job = ppg.MultiFileGeneratingJob(["b.txt", "a/../a.txt"], write_all)
    assert job.job_id == "a.txt:::b.txt"
    assert job.outputs == ("b.txt", "a.txt")
    assert file("x//y.txt").job_id == "x/y.txt"


def test_depends_on_takes_jobs_names_iterables_nothing_and_invariants() -> None:
    a, b = file("a.txt"), ppg.MultiFileGeneratingJob({"x": "b.txt", "y": "c.txt"}, write_all)
    parameter = ppg.ParameterInvariant("p", 1)
    job = file("job.txt")
    assert job.depends_on() is job
    assert job.depends_on(None, []) is job
    assert inputs(job) == set()
    job.depends_on(Path("c.txt"), None)
    assert inputs(job) == {"c.txt"}
    job.depends_on(b["x"], [(a,)], (one for one in (parameter,)))
    assert inputs(job) == {"a.txt", "b.txt", "c.txt", "PIp"}


def test_what_is_no_job_is_refused() -> None:
    for wrong in (5, {"a": file()}, object()):
        with pytest.raises(TypeError):
            file("job.txt").depends_on(wrong)
    refused = type("Tuple", (), {"depends_on_refused": "Say which of them."})()
    with pytest.raises(TypeError, match="Say which of them"):
        file("job.txt").depends_on(refused)


def test_invariants_can_be_made_on_the_way() -> None:
    job = file()
    Path("input.txt").write_text("x")
    by_file = job.depends_on_file("input.txt")
    by_value = job.depends_on_params({"a": 1})
    more = job.depends_on_params(2, "_more")
    by_code = job.depends_on_func(write)
    named = job.depends_on_func("name", lambda: 1)
    turned = job.depends_on_func(lambda: 2, "turned")
    assert [one.invariant.job_id for one in (by_file, by_value, more, by_code, named, turned)] == [
        "input.txt", "PIa.txt", "PIa.txt_more", "FIa.txt_write", "FIa.txt_name", "FIa.txt_turned",
    ]  # fmt: skip
    assert by_file.self is job
    assert inputs(job) == {one.invariant.job_id for one in
                           (by_file, by_value, more, by_code, named, turned)}  # fmt: skip
    with pytest.raises(ValueError, match="name"):
        job.depends_on_func(lambda: 3)


def test_jobs_of_several_files_can_have_parameters_and_lambdas() -> None:
    job = ppg.MultiFileGeneratingJob(["a.txt", "b.txt"], lambda paths: write_all(paths))
    job.depends_on_params(1)
    job.depends_on_func(write)
    ppg.run()
    assert inputs(job) == {"PIa.txt:::b.txt", "FIa.txt:::b.txt", "FIa.txt:::b.txt_write"}


def test_a_list_of_jobs_gets_dependencies_together() -> None:
    jobs = ppg.JobList([file("a.txt"), file("b.txt")])
    upstream = file("c.txt")
    assert jobs.depends_on(upstream) is jobs
    assert [inputs(job) for job in jobs] == [{"c.txt"}] * 2


def test_jobs_compare_by_their_id() -> None:
    a, b = file("a.txt"), file("b.txt")
    ppg.new()
    assert a == file("a.txt")
    assert len({a, file("a.txt"), b}) == 2
    assert sorted([b, a]) == [a, b]
    assert list(a) == [a]
    assert str(a) == "FileGeneratingJob: a.txt"
    assert repr(a) == "FileGeneratingJob('a.txt')"


def test_before_a_run_nothing_is_known_of_it() -> None:
    job = file()
    assert job.exception is None
    assert not job.failed
    assert (job.stdout, job.stderr, job.stack_trace) == ("not captured", "not captured", "")
    assert job.start_time is job.stop_time is job.run_time is None


def test_after_a_run_it_knows_how_it_was() -> None:
    def fail(path: Path) -> None:
        print("printed")
        raise ValueError("no")

    job = ppg.FileGeneratingJob("a.txt", fail)
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert job.failed
    assert isinstance(job.exception, ValueError)
    assert (job.stdout, job.stderr) == ("printed\n", "")
    assert "raise ValueError" in job.stack_trace
    assert job.stop_time >= job.start_time
    assert job.upstreams == [job.func_invariant]


def test_resources_can_be_said_later() -> None:
    job = file()
    assert job.use_resources(ppg.Resources.Exclusive) is job
    assert job.resources is ppg.Resources.Exclusive
    with pytest.raises(TypeError):
        job.use_resources(1)


def test_calling_a_job_runs_what_it_needs() -> None:
    job = file("a.txt").depends_on(file("b.txt"))
    file("c.txt")
    assert job() is None
    assert sorted(one.name for one in Path().glob("*.txt")) == ["a.txt", "b.txt"]


def test_classes_show_what_their_jobs_are_made_from() -> None:
    for module in (ppg, v1):
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, type) and issubclass(kind, ppg.Job):
                first = next(iter(inspect.signature(kind).parameters.values()))
                assert first.kind is first.POSITIONAL_OR_KEYWORD, name
    assert str(inspect.signature(ppg.FinalJob)).startswith("(job_id: 'str | Path', callback:")


async def wait(path: Path) -> None:
    path.write_text("x")


def give(path: Path) -> Any:
    yield path


def give_nothing() -> Any:
    yield None


def test_functions_that_do_nothing_when_they_are_called_are_refused() -> None:
    for function, kind in ((wait, "async"), (give, "a generator")):
        with pytest.raises(TypeError, match=f"is {kind}"):
            ppg.FileGeneratingJob("a.txt", function)
    for made in (ppg.DataLoadingJob, ppg.JobGeneratingJob, ppg.FinalJob, v1.FileGeneratingJob):
        with pytest.raises((TypeError, ValueError), match="is a generator"):
            made("name", give_nothing)
    assert ppg.DependencyInjectionJob("name", give_nothing).job_id == "name"


def test_names_that_are_no_text_are_refused() -> None:
    assert file("\u00e4.txt").job_id == "\u00e4.txt"
    with pytest.raises(ValueError, match="bytes in it"):
        file("\udce4.txt")
    assert "\udce4.txt" not in file("b.txt").graph.jobs
