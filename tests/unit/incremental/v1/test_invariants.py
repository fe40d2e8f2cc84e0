"""Invariants of version 1: what counts as a change."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.incremental.v1.invariants import checksum_file


def copy(source: str = "in.txt") -> None:
    Path("out.txt").write_text(Path(source).read_text())


def reading(ppg: ModuleType, invariant: Any) -> Any:
    """A graph with one job that depends on what *invariant* gives."""

    def define() -> None:
        made = ppg.FileGeneratingJob("out.txt", lambda: Path("out.txt").write_text("out"))
        made.depends_on(invariant())

    return define


def set_time(name: str, seconds: int) -> None:
    os.utime(name, (seconds, seconds))


def test_the_time_of_a_file_really_counts(ppg: ModuleType, again: Any) -> None:
    Path("in.txt").write_text("one")
    set_time("in.txt", 1000)
    define = reading(ppg, lambda: ppg.FileTimeInvariant("in.txt"))
    assert again(define) == ["out.txt"]
    assert again(define) == []
    set_time("in.txt", 2000)
    assert again(define) == ["out.txt"]
    Path("in.txt").write_text("two")
    set_time("in.txt", 2000)
    assert again(define) == []


@pytest.mark.parametrize(
    "name", ["FileInvariant", "FileChecksumInvariant", "RobustFileChecksumInvariant"]
)
def test_the_content_of_a_file_counts_and_not_its_time(
    ppg: ModuleType, again: Any, name: str
) -> None:
    Path("in.txt").write_text("one")
    define = reading(ppg, lambda: getattr(ppg, name)("in.txt"))
    assert again(define) == ["out.txt"]
    set_time("in.txt", 1000)
    assert again(define) == []
    Path("in.txt").write_text("two")
    assert again(define) == ["out.txt"]


@pytest.mark.parametrize("name", ["FileTimeInvariant", "FileChecksumInvariant"])
def test_a_file_that_is_not_there_fails_the_run(ppg: ModuleType, name: str) -> None:
    reading(ppg, lambda: getattr(ppg, name)("in.txt"))()
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    assert isinstance(info.value.exceptions[0], FileNotFoundError)


def test_a_very_short_name_is_refused(ppg: ModuleType) -> None:
    with pytest.raises(ValueError, match="short"):
        ppg.FileInvariant("a")


def test_time_and_content_of_one_file_are_not_followed_at_once(ppg: ModuleType) -> None:
    ppg.FileTimeInvariant("in.txt")
    with pytest.raises(ppg.JobContractError):
        ppg.FileChecksumInvariant("in.txt")


def test_a_file_that_has_moved_is_the_same(ppg: ModuleType, again: Any) -> None:
    Path("in.txt").write_text("one")
    assert again(reading(ppg, lambda: ppg.FileInvariant("in.txt"))) == ["out.txt"]
    Path("below").mkdir()
    Path("in.txt").rename("below/in.txt")
    assert again(reading(ppg, lambda: ppg.FileInvariant("below/in.txt"))) == []
    Path("below/in.txt").write_text("two")
    assert again(reading(ppg, lambda: ppg.FileInvariant("below/in.txt"))) == ["out.txt"]


def test_a_file_that_got_another_name_is_another(ppg: ModuleType, again: Any) -> None:
    Path("in.txt").write_text("one")
    assert again(reading(ppg, lambda: ppg.FileInvariant("in.txt"))) == ["out.txt"]
    Path("in.txt").rename("other.txt")
    assert again(reading(ppg, lambda: ppg.FileInvariant("other.txt"))) == ["out.txt"]


def test_a_side_file_of_the_same_time_is_trusted(ppg: ModuleType, again: Any) -> None:
    Path("in.txt").write_text("one")
    Path("in.txt.md5sum").write_text("what it says")
    set_time("in.txt", 1000)
    set_time("in.txt.md5sum", 1000)
    define = reading(ppg, lambda: ppg.FileInvariant("in.txt"))
    assert again(define) == ["out.txt"]
    Path("in.txt").write_text("two")
    set_time("in.txt", 1000)
    assert again(define) == []
    Path("in.txt.md5sum").write_text("another thing")
    set_time("in.txt.md5sum", 1000)
    assert again(define) == ["out.txt"]


def test_an_old_side_file_is_written_anew(ppg: ModuleType, again: Any) -> None:
    Path("in.txt").write_text("one")
    define = reading(ppg, lambda: ppg.FileInvariant("in.txt"))
    assert again(define) == ["out.txt"]
    Path("in.txt.md5sum").write_text("old")
    set_time("in.txt.md5sum", 1000)
    assert again(define) == []
    assert Path("in.txt.md5sum").read_text() == checksum_file("in.txt")
    assert os.stat("in.txt.md5sum").st_mtime_ns == os.stat("in.txt").st_mtime_ns
    assert checksum_file("in.txt") == "f97c5d29941bfb1b2fdab0874906ab82"


def test_several_files_count_as_one(ppg: ModuleType, again: Any) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        Path(name).write_text(name)

    def define(*names: str) -> Any:
        return reading(ppg, lambda: ppg.MultiFileInvariant(names))

    assert again(define("a.txt", "b.txt")) == ["out.txt"]
    assert again(define("b.txt", "a.txt")) == []
    Path("b.txt").write_text("changed")
    assert again(define("a.txt", "b.txt")) == ["out.txt"]
    assert again(define("a.txt", "b.txt", "c.txt")) == ["out.txt"]
    assert again(define("a.txt", "c.txt")) == ["out.txt"]
    assert again(define("a.txt", "b.txt")) == ["out.txt"]


def test_several_files_that_have_all_moved_are_the_same(ppg: ModuleType, again: Any) -> None:
    Path("there").mkdir()
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)
    assert again(reading(ppg, lambda: ppg.MultiFileInvariant(["a.txt", "b.txt"]))) == ["out.txt"]
    for name in ("a.txt", "b.txt"):
        Path(name).rename(f"there/{name}")
    moved = reading(ppg, lambda: ppg.MultiFileInvariant(["there/a.txt", "there/b.txt"]))
    assert again(moved) == []


@pytest.mark.parametrize("names", ["in.txt", [], ["in.txt", "no.txt"], ["in.txt", "in.txt"]])
def test_files_that_cannot_be_are_refused(ppg: ModuleType, names: Any) -> None:
    Path("in.txt").touch()
    with pytest.raises(ValueError):
        ppg.MultiFileInvariant(names)


# --- parameters -------------------------------------------------------------------------------


def test_a_changed_parameter_runs_it_again(ppg: ModuleType, again: Any) -> None:
    def define(value: object) -> Any:
        return reading(ppg, lambda: ppg.ParameterInvariant("p", value))

    assert again(define((1, 2))) == ["out.txt"]
    assert again(define((1, 2))) == []
    assert again(define((2, 1))) == ["out.txt"]


def test_a_parameter_that_means_the_same_is_adopted(ppg: ModuleType, again: Any) -> None:
    asked: list[object] = []

    def define(value: object, verdict: bool) -> Any:
        def accept(old: object) -> bool:
            asked.append(old)
            return verdict

        return reading(ppg, lambda: ppg.ParameterInvariant("p", value, accept))

    assert again(define((1, 2), False)) == ["out.txt"]
    assert again(define((1, 2, "new"), True)) == []
    assert again(define((1, 2, "new"), False)) == []
    assert again(define((1, 2, "newer"), True)) == []
    assert asked == [(1, 2), (1, 2, "new")]
    assert again(define((1, 3), False)) == ["out.txt"]
    assert asked[2:] == [(1, 2, "newer")]


def test_the_old_value_is_known_without_a_function_before(ppg: ModuleType, again: Any) -> None:
    assert again(reading(ppg, lambda: ppg.ParameterInvariant("p", 1))) == ["out.txt"]
    accepting = reading(ppg, lambda: ppg.ParameterInvariant("p", 2, lambda old: old == 1))
    assert again(accepting) == []


def test_an_accepted_value_does_not_hide_that_a_job_has_not_seen_the_one_before(
    ppg: ModuleType, again: Any
) -> None:
    def define(value: int, is_fine: bool = True, accepts: bool = False) -> Any:
        def write() -> None:
            assert is_fine
            Path("out.txt").write_text("out")

        def inner() -> None:
            made = ppg.FileGeneratingJob("out.txt", write)
            made.ignore_code_changes()
            made.depends_on(ppg.ParameterInvariant("p", value, lambda _: accepts))

        return inner

    assert again(define(1)) == ["out.txt"]
    with pytest.raises(ppg.RuntimeError):
        again(define(2, is_fine=False))
    assert again(define(3, accepts=True)) == ["out.txt"]


def test_a_parameter_is_defined_once(ppg: ModuleType) -> None:
    first = ppg.ParameterInvariant("p", 1)
    assert ppg.ParameterInvariant("p", 1) is first
    with pytest.raises(ValueError, match="PIp"):
        ppg.ParameterInvariant("p", 2)
    with pytest.raises(ValueError, match="accept_as_unchanged_func"):
        ppg.ParameterInvariant("q", 2, 3)


# --- functions --------------------------------------------------------------------------------


def test_a_function_is_followed_and_none_never_changes(ppg: ModuleType, again: Any) -> None:
    first = reading(ppg, lambda: ppg.FunctionInvariant("f", lambda: 1))
    assert again(first) == ["out.txt"]
    assert again(reading(ppg, lambda: ppg.FunctionInvariant("f", lambda: 2))) == ["out.txt"]
    nothing = reading(ppg, lambda: ppg.FunctionInvariant("f", None))
    assert again(nothing) == ["out.txt"]
    assert again(nothing) == []


def test_two_functions_under_one_id_are_refused(ppg: ModuleType) -> None:
    ppg.FunctionInvariant("f", lambda: 1)
    with pytest.raises(ppg.JobContractError):
        ppg.FunctionInvariant("f", lambda: 2)
    with pytest.raises(ValueError, match="function or None"):
        ppg.FunctionInvariant("g", 3)


def test_an_invariant_depends_on_nothing(ppg: ModuleType) -> None:
    with pytest.raises(ppg.JobContractError):
        ppg.ParameterInvariant("p", 1).depends_on(ppg.ParameterInvariant("q", 1))


def test_jobs_make_their_invariants_themselves(ppg: ModuleType) -> None:
    Path("in.txt").write_text("one")
    made = ppg.FileGeneratingJob("out.txt", copy)
    by_file = made.depends_on_file("in.txt")
    by_value = made.depends_on_params({"a": 1})
    by_function = made.depends_on_func("copying", copy)
    assert isinstance(by_file, ppg.FileInvariant)
    assert by_value.job_id == "PIout.txt"
    assert by_function.job_id == "FIout.txt_copying"
    assert made.depends_on_func(copy).job_id == "FIout.txt_copy"
    assert {by_file, by_value, by_function} <= made.prerequisites
