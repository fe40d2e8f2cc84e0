"""Jobs that only say whether something is still as it was."""

from __future__ import annotations

import builtins
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import JobOutcome, RunMode, ValuePlusHash, history, state
from pypelinin.incremental.jobs.invariants import cells_of, first_parameters

Define = Callable[[], Any]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = state.graph
    new()
    yield tmp_path
    state.change(before)


def new(run_mode: RunMode = RunMode.NONINTERACTIVE, **options: Any) -> None:
    ppg.new(cores=1, run_mode=run_mode, dir_config=".ppg", allow_short_filenames=False, **options)


def write(path: Path) -> None:
    path.write_text("content")


def runs(define: Define) -> bool:
    """Whether a job runs that depends on what *define* gives, in a new graph."""
    new()
    job = ppg.FileGeneratingJob("out.txt", write, resources=ppg.Resources.RunsHere)
    job.depends_on(define())
    return ppg.run(print_failures=False)[job.job_id].outcome is JobOutcome.Success


def reruns(first: Define, second: Define) -> bool:
    """Whether the second graph runs it again, after the first has. A third one never does."""
    assert runs(first)
    found = runs(second)
    assert not runs(second)
    return found


def failure_of(define: Define) -> Exception:
    new()
    invariant = define()
    job = ppg.FileGeneratingJob("out.txt", write).depends_on(invariant)
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert job.outcome.outcome is JobOutcome.UpstreamFailed
    found: Exception = invariant.exception
    return found


# --- all of them ------------------------------------------------------------------------------


def all_kinds() -> list[ppg.Job]:
    return [
        ppg.FileInvariant("in.txt"),
        ppg.ParameterInvariant("a", 1),
        ppg.FunctionInvariant("a", write),
        ppg.NotebookInvariant("book.ipynb"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_an_invariant_depends_on_nothing(number: int) -> None:
    with pytest.raises(ppg.JobContractError, match="depends on nothing"):
        all_kinds()[number].depends_on(ppg.FileGeneratingJob("a.txt", write))


def test_to_add_one_or_to_take_one_away_is_a_change() -> None:
    one = partial(ppg.ParameterInvariant, "a", 1)
    two = lambda: [one(), ppg.ParameterInvariant("b", 1)]  # noqa: E731 - shorter than a def
    assert reruns(one, two)
    assert runs(one)
    assert not runs(one)


def test_another_name_is_a_change() -> None:
    assert reruns(lambda: ppg.ParameterInvariant("a", 1), lambda: ppg.ParameterInvariant("b", 1))


def test_the_short_ways_give_both_jobs() -> None:
    Path("in.txt").write_text("1")
    job = ppg.FileGeneratingJob("out.txt", write)
    ids = [
        made.invariant.job_id
        for made in (
            job.depends_on_file("in.txt"),
            job.depends_on_params(1),
            job.depends_on_params(2, "_more"),
            job.depends_on_func(write),
            job.depends_on_func("name", write),
            job.depends_on_func(lambda: 3, "other"),
        )
    ]
    assert ids == ["in.txt", "PIout.txt", "PIout.txt_more", "FIout.txt_write", "FIout.txt_name",
                   "FIout.txt_other"]  # fmt: skip
    assert job.depends_on_file("in.txt").self is job
    assert {up.job_id for up in job.upstreams} >= set(ids)
    with pytest.raises(ValueError, match="Give a name"):
        job.depends_on_func(lambda: 3)


def test_a_job_of_several_files_has_invariants_of_its_own() -> None:
    bound = 3

    def write_all(files: list[Path], bound: int = bound) -> None:
        for file in files:
            file.write_text(str(bound))

    job = ppg.MultiFileGeneratingJob(["a.txt", "b.txt"], write_all)
    job.depends_on_params(1)
    job.depends_on_func(write)
    ppg.run()
    assert Path("b.txt").read_text() == "3"


# --- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "is_change"),
    [
        (1, 1, False),
        (1, 2, True),
        (1, True, True),
        (1, 1.0, True),
        (1, "1", True),
        ("a", b"a", True),
        ("a", "a", False),
        (None, 0, True),
        ((1, 2), (2, 1), True),
        ((1, 2), (1, 1, 2), True),
        ((1, 2), [1, 2], True),
        ([1, [2]], [[1], 2], True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": 1}, {"a": 2}, True),
        ({3, 1, 2}, {2, 3, 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ((Path("a"),), ("a",), True),
        (ValuePlusHash(1, "aa"), ValuePlusHash(2, "aa"), False),
        (ValuePlusHash(1, "aa"), ValuePlusHash(1, "ab"), True),
        (float("nan"), float("nan"), False),
        (0.0, -0.0, True),
    ],
)  # fmt: skip
def test_a_parameter_counts_exactly(old: Any, new: Any, is_change: bool) -> None:
    first, second = (lambda v=v: ppg.ParameterInvariant("a", v) for v in (old, new))
    assert reruns(first, second) is is_change


def test_a_parameter_is_looked_at_when_it_is_given() -> None:
    values = [1]
    invariant = ppg.ParameterInvariant("a", values)
    before = invariant.given()
    values.append(2)
    assert invariant.given() == before


def test_parameters_have_a_prefix_once() -> None:
    assert ppg.ParameterInvariant("a", 1).job_id == "PIa"
    assert ppg.ParameterInvariant("PIb", 1).job_id == "PIb"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (write, "parameter is <function write"),
        ({"a": [1, write]}, r"parameter\['a'\]\[1\]"),
        (os, "parameter is <module"),
        (object(), "no lasting content"),
    ],
)
def test_what_has_no_content_is_named(value: Any, part: str) -> None:
    with pytest.raises(TypeError, match=part):
        ppg.ParameterInvariant("a", value)


def test_an_open_file_is_no_parameter() -> None:
    with open("a.txt", "w") as file, pytest.raises(TypeError, match="ParameterInvariant 'a'"):
        ppg.ParameterInvariant("a", {"file": file})


def test_tables_are_refused() -> None:
    kind = type("DataFrame", (), {"__module__": "pandas.core.frame"})
    with pytest.raises(TypeError, match="ValuePlusHash"):
        ppg.ParameterInvariant("a", [kind()])


def test_another_value_under_the_same_name() -> None:
    first = ppg.ParameterInvariant("a", 1)
    assert ppg.ParameterInvariant("a", 1) is first
    with pytest.raises(ppg.JobRedefinitionError, match=r"test_invariants\.py"):
        ppg.ParameterInvariant("a", 2)
    new(RunMode.NOTEBOOK)
    first = ppg.ParameterInvariant("a", 1)
    before = first.given()
    assert ppg.ParameterInvariant("a", 2) is first
    assert first.given() != before


@pytest.mark.parametrize("name", [3, None, b"a"])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(TypeError):
        ppg.ParameterInvariant(name, 1)


# --- functions --------------------------------------------------------------------------------


def function_of(source: str, **names: Any) -> Any:
    """The function f of this source, which is where a function's source is looked for, too."""
    path = Path(f"source{len(list(Path().glob('source*')))}.py")
    path.write_text(source)
    space = {"__name__": "project", **names}
    exec(compile(source, str(path.absolute()), "exec"), space)
    return space["f"]


@pytest.mark.parametrize(
    ("old", "new", "is_change"),
    [
        ("def f(): return 1", "def f(): return 1", False),
        ("def f(): return 1", "def f(): return 2", True),
        ("def f(): return 1", "def f(): return 1.0", True),
        ("def f(): return 1", "def f(): return True", True),
        ("def f(): return 1", "\n\n# comment\ndef f():\n    # comment\n    return 1", False),
        ("def f():\n    'doc'\n    return 1", "def f():\n    'other'\n    return 1", False),
        ("def f(): return (1, 2)", "def f(): return (2, 1)", True),
        ("def f(x): return x in {1, 2}", "def f(x): return x in {2, 1}", False),
        ("def f(a): return a", "def f(b): return b", True),
        ("def f(a=1): return a", "def f(a=2): return a", True),
        ("def f(*, a=1): return a", "def f(*, a=2): return a", True),
        ("def f(a=[1]): return a", "def f(a=[1, 1]): return a", True),
        ("def f():\n def g(): return 1\n return g",
         "def f():\n def g(): return 2\n return g", True),
        ("def f(): return [x + 1 for x in y()]", "def f(): return [x + 2 for x in y()]", True),
        ("def f(): return lambda: 1", "def f(): return lambda: 2", True),
        ("def f(): return a.b", "def f(): return a.c", True),
        ("def outer(x):\n def f(): return x\n return f\nf = outer(1)",
         "def outer(x):\n def f(): return x\n return f\nf = outer(2)", True),
        ("def outer(x):\n def f(): return x\n return f\nf = outer([1, 2])",
         "def outer(x):\n def f(): return x\n return f\nf = outer([2, 1])", True),
        ("def outer(x):\n def f(): return x\n return f\nf = outer({1: 1, 2: 2})",
         "def outer(x):\n def f(): return x\n return f\nf = outer({2: 2, 1: 1})", False),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()", False),
    ],
)  # fmt: skip
def test_a_function_is_what_it_does(old: str, new: str, is_change: bool) -> None:
    functions = [function_of(source) for source in (old, new)]
    first, second = (
        lambda f=f: ppg.FunctionInvariant("a", f, check_non_locals=False) for f in functions
    )
    assert reruns(first, second) is is_change


def test_what_it_calls_can_be_followed() -> None:
    functions = [
        function_of(f"def g(): return {number}\ndef f(): return g()") for number in (1, 1, 2)
    ]
    same, again, other = (lambda f=f: ppg.FunctionInvariant("a", f, follow=True) for f in functions)
    assert not reruns(same, again)
    assert runs(other)


def test_a_function_under_its_own_name() -> None:
    assert ppg.FunctionInvariant(write).job_id == "FIwrite"
    assert ppg.FunctionInvariant("name", write).job_id == "FIname"
    assert ppg.FunctionInvariant(write, "other").job_id == "FIother"
    assert ppg.FunctionInvariant("FIthird", write).job_id == "FIthird"


@pytest.mark.parametrize("function", [3, "text", None, [write]])
def test_what_is_no_function(function: Any) -> None:
    with pytest.raises(TypeError):
        ppg.FunctionInvariant("name", function)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(TypeError, match="no name of its own"):
        ppg.FunctionInvariant(lambda: 3)
    with pytest.raises(TypeError, match="no name of its own"):
        ppg.FunctionInvariant(None, lambda: 3)
    assert ppg.FunctionInvariant("name", lambda: 3).job_id == "FIname"


@pytest.mark.parametrize(
    "function",
    [len, builtins.dict, str.upper, functools.partial(write, Path("a")), Path("a").write_text],
    ids=["builtin", "class", "method of a builtin", "partial", "bound method"],
)
def test_all_that_can_be_called_can_be_followed(function: Any) -> None:
    assert not reruns(
        lambda: ppg.FunctionInvariant("a", function), lambda: ppg.FunctionInvariant("a", function)
    )


def test_a_partial_is_its_function_and_its_arguments() -> None:
    assert reruns(
        lambda: ppg.FunctionInvariant("a", functools.partial(write, 1)),
        lambda: ppg.FunctionInvariant("a", functools.partial(write, 2)),
    )


def test_another_function_under_the_same_name() -> None:
    first = ppg.FunctionInvariant("a", write)
    assert ppg.FunctionInvariant("a", write) is first
    with pytest.raises(ppg.JobRedefinitionError):
        ppg.FunctionInvariant("a", runs)


def test_outer_variables_are_named() -> None:
    function = function_of("def f(): return number + other", number=1, other=2)
    with pytest.raises(ppg.FunctionUsesUndeclaredNonLocalsError, match="number, other"):
        ppg.FunctionInvariant("a", function)
    with pytest.raises(ppg.FunctionUsesUndeclaredNonLocalsError, match=": other"):
        ppg.FunctionInvariant("a", function, allowed_non_locals=["number"])
    ppg.FunctionInvariant("a", function, allowed_non_locals=["number", "other"])
    ppg.FunctionInvariant("b", function, check_non_locals=False)


def test_modules_functions_classes_and_jobs_are_no_variables() -> None:
    job = ppg.ParameterInvariant("a", 1)
    ppg.FunctionInvariant(
        "a", function_of("def f(): return os, write, Path, job", os=os, write=write, Path=Path,
                         job=job)
    )  # fmt: skip


def test_jobs_with_one_function_share_its_invariant() -> None:
    jobs = [ppg.FileGeneratingJob(f"{name}.txt", write) for name in "ab"]
    assert jobs[0].func_invariant is jobs[1].func_invariant
    assert jobs[0].func_invariant.job_id == "FIwrite"
    bound = [
        ppg.FileGeneratingJob(f"{name}.txt", lambda path, name=name: path.write_text(name))
        for name in "cd"
    ]
    assert [job.func_invariant.job_id for job in bound] == ["FIc.txt", "FId.txt"]


def test_two_functions_of_one_name_have_two_invariants() -> None:
    one, other = function_of("def f(path): return 1"), function_of("def f(path): return 2")
    first, second = ppg.FileGeneratingJob("a.txt", one), ppg.FileGeneratingJob("b.txt", other)
    assert first.func_invariant.job_id == "FIf"
    assert second.func_invariant.job_id == "FIb.txt"


def test_what_a_wrapped_function_is_called_with_counts() -> None:
    def invariant(*args: Any) -> Any:
        return ppg.FunctionInvariant("a", ppg.util.wrap_for_function_invariant(write, *args))

    assert not reruns(lambda: invariant(1), lambda: invariant(1))
    assert runs(lambda: invariant(2))
    function = function_of("def f(): return number", number=1)
    with pytest.raises(ppg.FunctionUsesUndeclaredNonLocalsError, match="number"):
        ppg.FunctionInvariant("b", ppg.util.wrap_for_function_invariant(function))


def test_parameters_that_are_given_by_place() -> None:
    assert [one.name for one in first_parameters(lambda a, /, b, *c, d, **e: 0)] == ["a", "b", "c"]
    assert first_parameters(3) == []  # type: ignore[arg-type]  # wrong on purpose


# --- files ------------------------------------------------------------------------------------


def followed() -> ppg.Job:
    return ppg.FileInvariant("in.txt")


def put(text: str, name: str = "in.txt", at_s: int = 1_000_000_000) -> None:
    Path(name).write_text(text)
    os.utime(name, (at_s, at_s))


def put_side(text: str, at_s: int = 1_000_000_000) -> None:
    put(hashlib.sha256(text.encode()).hexdigest(), "in.txt.sha256", at_s)


def test_a_changed_file_is_a_change() -> None:
    put("1")
    assert runs(followed)
    assert not runs(followed)
    put("12")
    assert runs(followed)


def test_the_same_content_at_another_time_is_no_change() -> None:
    put("1")
    runs(followed)
    put("1", at_s=1_000_000_005)
    assert not runs(followed)


def test_a_file_of_the_same_size_and_time_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    put("1")
    runs(followed)
    monkeypatch.setattr(history, "hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert not runs(followed)
    put("2")  # same size, same time: nobody can know
    assert not runs(followed)


def test_a_file_that_changes_back_was_still_changed() -> None:
    put("1")
    runs(followed)
    put("22")
    assert runs(followed)
    put("1")
    assert runs(followed)


def test_a_renamed_file_is_a_change() -> None:
    put("1")
    runs(followed)
    os.rename("in.txt", "new.txt")
    assert runs(lambda: ppg.FileInvariant("new.txt"))


def test_a_file_that_is_missing_fails_what_needs_it() -> None:
    error = failure_of(followed)
    assert isinstance(error, FileNotFoundError)
    assert "'in.txt' did not exist" in str(error)


def test_a_file_may_be_followed_twice_and_in_two_spellings() -> None:
    assert followed() is ppg.FileInvariant(Path("./in.txt"))
    assert ppg.FileInvariant("/dev/null").files == [Path("/dev/null")]


@pytest.mark.parametrize(
    ("name", "error"),
    [(3, TypeError), (None, TypeError), (b"in.txt", TypeError), ("a", ValueError)],
)
def test_what_is_no_name_of_a_file(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ppg.FileInvariant(name)


def test_short_names_can_be_allowed() -> None:
    ppg.new(cores=1, run_mode=RunMode.NONINTERACTIVE, dir_config=".ppg", allow_short_filenames=True)
    assert ppg.FileInvariant("a").job_id == "a"


def test_a_file_that_a_job_makes_now_is_the_same_file() -> None:
    """Whoever depends on it rests when a job takes over what was given before."""
    put("content")
    assert runs(followed)
    assert not runs(lambda: ppg.FileGeneratingJob("in.txt", write))
    assert not runs(followed)


# --- side files -------------------------------------------------------------------------------


def test_a_side_file_is_taken_for_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "hash_file", lambda path: pytest.fail(f"{path} was read")
                        if path == "in.txt" else bytes(16))  # fmt: skip
    put("1")
    put_side("1")
    assert runs(followed)
    assert not runs(followed)
    put("2", at_s=1_000_000_005)
    put_side("1", at_s=1_000_000_005)
    assert not runs(followed)
    put_side("2", at_s=1_000_000_009)
    assert runs(followed)


def test_a_side_file_that_appears_is_no_change() -> None:
    put("1")
    assert runs(followed)
    put_side("1")
    assert not runs(followed)
    put("1", at_s=1_000_000_005)
    put_side("1", at_s=1_000_000_005)
    assert not runs(followed)


def test_a_side_file_that_vanishes_is_no_change() -> None:
    put("1")
    put_side("1")
    assert runs(followed)
    os.unlink("in.txt.sha256")
    assert not runs(followed)
    put("1", at_s=1_000_000_005)
    assert not runs(followed)


def test_a_side_file_and_the_content_change_together() -> None:
    put("1")
    runs(followed)
    put_side("1")
    runs(followed)
    put("22")
    put_side("22")
    assert runs(followed)
    os.unlink("in.txt.sha256")
    assert not runs(followed)
    put("333")
    assert runs(followed)


def test_a_file_that_changed_when_its_side_file_went_is_changed() -> None:
    put("1")
    put_side("1")
    runs(followed)
    os.unlink("in.txt.sha256")
    put("22")
    assert runs(followed)


def test_a_side_file_may_be_followed_itself() -> None:
    put("1")
    put_side("1")
    both = lambda: [followed(), ppg.FileInvariant("in.txt.sha256")]  # noqa: E731 - a line
    assert runs(both)
    assert not runs(both)


@pytest.mark.parametrize(
    ("text", "at_s", "message"),
    [
        ("0" * 64, 999_999_999, "is older than 'in.txt'"),
        ("0" * 63, 1_000_000_000, "not 64 hexadecimal digits"),
        ("g" * 64, 1_000_000_000, "not 64 hexadecimal digits"),
        (f"{'0' * 64}  in.txt", 1_000_000_000, "not 64 hexadecimal digits"),
        ("", 1_000_000_000, "not 64 hexadecimal digits"),
    ],
)
def test_a_side_file_that_tells_nothing(text: str, at_s: int, message: str) -> None:
    put("1")
    put(text, "in.txt.sha256", at_s)
    error = failure_of(followed)
    assert isinstance(error, ppg.JobContractError)
    assert message in str(error)


def test_a_side_file_without_its_file() -> None:
    put_side("1")
    assert isinstance(failure_of(followed), FileNotFoundError)


# --- notebooks --------------------------------------------------------------------------------


def cell(text: Any, kind: str = "code", **rest: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": text, "metadata": {}, **rest}


def put_book(*cells: dict[str, Any], **rest: Any) -> None:
    Path("book.ipynb").write_text(json.dumps({"cells": list(cells), "nbformat": 4, **rest}))


@pytest.mark.parametrize(
    ("cells", "is_change"),
    [
        ([cell(["a = 1\n", "b"])], False),
        ([cell("a = 1\nb")], False),
        ([cell("a = 1\nb", outputs=[{"data": "1"}], execution_count=3)], False),
        ([cell("a = 1\nb", metadata={"tags": ["x"]})], False),
        ([cell("a = 1\nb"), cell("raw", "raw")], False),
        ([cell("a = 2\nb")], True),
        ([cell("a = 1\nb"), cell("more")], True),
        ([cell("a = 1\nb", "markdown")], True),
        ([cell("a = 1\n"), cell("b")], True),
        ([cell("ä = 1\nb")], True),
    ],
)
def test_a_notebook_is_its_code_and_its_text(cells: list[Any], is_change: bool) -> None:
    def book() -> ppg.Job:
        return ppg.NotebookInvariant("book.ipynb")

    put_book(cell(["a = 1\n", "b"]))
    runs(book)
    put_book(*cells, metadata={"changed": True})
    assert runs(book) is is_change


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": [1]}', '{"cells": [{}]}', "\xff"])
def test_what_is_no_notebook(text: str) -> None:
    Path("book.ipynb").write_text(text, encoding="latin-1")
    error = failure_of(lambda: ppg.NotebookInvariant("book.ipynb"))
    assert isinstance(error, ppg.JobContractError)
    assert "'book.ipynb' is no Jupyter notebook" in str(error)
    with pytest.raises(ppg.JobContractError):
        cells_of("book.ipynb")


def test_a_notebook_that_is_missing() -> None:
    assert isinstance(failure_of(lambda: ppg.NotebookInvariant("book.ipynb")), FileNotFoundError)
