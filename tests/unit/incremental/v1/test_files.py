"""Jobs of version 1 that write files: what their functions get, and what a failure leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.incremental.v1.files import count_wanted


def no_argument() -> None: ...
def one_argument(name: str) -> None: ...
def default_only(name: str = "a") -> None: ...
def one_and_default(name: str, other: int = 1) -> None: ...
def any_number(*args: str, **kwargs: str) -> None: ...
def two(name: str, other: str) -> None: ...
def by_name(*, name: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "count"),
    [(no_argument, 0), (one_argument, 1), (default_only, 0), (one_and_default, 1),
     (any_number, 0), (print, 0), (Path.cwd, 0)],
)  # fmt: skip
def test_only_parameters_without_a_default_are_given(function: Any, count: int) -> None:
    assert count_wanted(function, 1, "job") == count


@pytest.mark.parametrize("function", [two, by_name])
def test_a_function_that_wants_more_is_refused(ppg: ModuleType, function: Any) -> None:
    with pytest.raises(ValueError, match="Give the others a default"):
        ppg.FileGeneratingJob("aaa", function)


@pytest.mark.parametrize("function", [3, None, "aaa"])
def test_what_is_no_function_is_refused(ppg: ModuleType, function: Any) -> None:
    with pytest.raises(ValueError):
        ppg.FileGeneratingJob("aaa", function)


def test_a_function_gets_the_name_as_it_was_given(ppg: ModuleType) -> None:
    ppg.FileGeneratingJob("aaa", lambda name: Path(name).write_text(repr(name)))
    ppg.FileGeneratingJob(Path("bbb"), lambda name="bound": Path("bbb").write_text(name))
    ppg.MultiFileGeneratingJob(
        ["ddd", "ccc"], lambda names: [Path(one).write_text(repr(names)) for one in names]
    )
    ppg.run_pipegraph()
    assert Path("aaa").read_text() == "'aaa'"
    assert Path("bbb").read_text() == "bound"
    assert Path("ccc").read_text() == "['ddd', 'ccc']"


def test_a_name_with_the_whole_path_is_taken_below_the_directory(ppg: ModuleType) -> None:
    made = ppg.FileGeneratingJob(Path.cwd() / "aaa", lambda name: Path(name).write_text("a"))
    assert made.job_id == "aaa"
    assert made.filenames == ["aaa"]


def broken(name: str) -> None:
    Path(name).write_text("half")
    raise ValueError("so far")


def killed(name: str) -> None:
    Path(name).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("function", [broken, killed])
@pytest.mark.parametrize("kind", ["FileGeneratingJob", "TempFileGeneratingJob"])
@pytest.mark.parametrize("rename", [False, True])
def test_what_a_failed_job_wrote_goes(
    ppg: ModuleType, function: Any, kind: str, rename: bool
) -> None:
    made = getattr(ppg, kind)("aaa", function, rename_broken=rename)
    ppg.FileGeneratingJob("bbb", lambda: None).depends_on(made)
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    assert made.failed
    assert not Path("aaa").exists()
    assert Path("aaa.broken").exists() is rename
    assert not rename or Path("aaa.broken").read_text() == "half"


def test_files_of_a_broken_contract_go_too(ppg: ModuleType) -> None:
    made = ppg.MultiFileGeneratingJob(["aaa", "bbb"], lambda: Path("aaa").write_text("a"))
    empty = ppg.FileGeneratingJob("ccc", lambda: Path("ccc").touch())
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    assert isinstance(made.exception, ppg.JobContractError)
    assert isinstance(empty.exception, ppg.JobContractError)
    assert not Path("aaa").exists()
    assert not Path("ccc").exists()


def test_an_empty_file_is_fine_if_that_was_said(ppg: ModuleType) -> None:
    ppg.FileGeneratingJob("aaa", lambda: Path("aaa").touch(), empty_ok=True)
    ppg.MultiFileGeneratingJob(["bbb"], lambda: Path("bbb").touch(), empty_ok=True)
    ppg.run_pipegraph()
    assert Path("aaa").exists()


def test_an_emptied_file_is_written_again(ppg: ModuleType, again: Any) -> None:
    def define() -> None:
        ppg.FileGeneratingJob("aaa", lambda: Path("aaa").write_text("a"))

    assert again(define) == ["aaa"]
    Path("aaa").write_text("")
    assert again(define) == ["aaa"]


def test_several_files_are_not_named_by_one_string(ppg: ModuleType) -> None:
    with pytest.raises(ValueError):
        ppg.MultiFileGeneratingJob("aaa", no_argument)
    with pytest.raises(ValueError):
        ppg.MultiTempFileGeneratingJob(3, no_argument)


def test_several_files_have_one_definition(ppg: ModuleType) -> None:
    first = ppg.MultiFileGeneratingJob(["aaa", "bbb"], no_argument)
    assert ppg.MultiFileGeneratingJob(["aaa", "bbb"], no_argument) is first
    with pytest.raises(ValueError):
        ppg.MultiFileGeneratingJob(["aaa", "bbb"], default_only)
    with pytest.raises(ValueError, match="two jobs"):
        ppg.FileGeneratingJob("bbb", no_argument)


# --- temporary ones ---------------------------------------------------------------------------


def temporary(ppg: ModuleType, always: bool = False) -> Any:
    def define() -> None:
        made = ppg.TempFileGeneratingJob("temp", lambda name: Path(name).write_text("t"))
        made.do_cleanup_if_was_never_run = always
        out = ppg.FileGeneratingJob("out", lambda: Path("out").write_text(Path("temp").read_text()))
        out.depends_on(made)

    return define


def test_a_temporary_file_goes_when_it_was_read(ppg: ModuleType, again: Any) -> None:
    assert again(temporary(ppg)) == ["out", "temp"]
    assert not Path("temp").exists()
    assert again(temporary(ppg)) == []


@pytest.mark.parametrize("always", [False, True])
def test_what_lies_there_goes_only_if_that_was_said(
    ppg: ModuleType, again: Any, always: bool
) -> None:
    again(temporary(ppg))
    Path("temp").write_text("t")
    assert again(temporary(ppg, always=always)) == []
    assert Path("temp").exists() is not always


def test_what_lies_there_goes_when_it_was_read(ppg: ModuleType, again: Any) -> None:
    again(temporary(ppg))
    Path("temp").write_text("t")
    Path("out").unlink()
    assert "out" in again(temporary(ppg))
    assert not Path("temp").exists()


def test_several_temporary_files_go(ppg: ModuleType) -> None:
    made = ppg.MultiTempFileGeneratingJob(
        ["t1", "t2"], lambda names: [Path(one).write_text(one) for one in names]
    )
    out = ppg.FileGeneratingJob("out", lambda: Path("out").write_text(Path("t2").read_text()))
    out.depends_on(made)
    ppg.run_pipegraph()
    assert Path("out").read_text() == "t2"
    assert not Path("t1").exists()
    assert not Path("t2").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_the_log_beside_a_temporary_file_stays(ppg: ModuleType, fails: bool) -> None:
    def write(temp: str, log: str) -> None:
        Path(temp).write_text("t")
        Path(log).write_text("log")
        assert not fails

    made = ppg.TempFilePlusGeneratingJob("temp", "temp.log", write)
    ppg.FileGeneratingJob("out", lambda: Path("out").write_text("o")).depends_on(made)
    if fails:
        with pytest.raises(ppg.RuntimeError):
            ppg.run_pipegraph()
    else:
        ppg.run_pipegraph()
    assert Path("temp.log").read_text() == "log"
    assert not Path("temp").exists()


def test_a_temporary_file_stays_if_its_reader_fails(ppg: ModuleType) -> None:
    made = ppg.TempFileGeneratingJob("temp", lambda name: Path(name).write_text("t"))
    ppg.FileGeneratingJob("out", broken).depends_on(made)
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    assert Path("temp").exists()
    assert not Path("out").exists()
