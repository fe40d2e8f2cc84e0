"""`invoke` with real programs: what they say, how they fail, and when they are run again."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.errors import DefinitionError, ProgramError
from pypelinin.streams import invoke, invoking

SHELL = "/bin/sh"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between runs, which take no time here."""
    found: list[float] = []
    monkeypatch.setattr(invoking.time, "sleep", found.append)
    return found


def failing(directory: Path, times: int, said: str) -> list[str]:
    """A program that fails so many times, then says how often it was run."""
    count = directory / "count"
    script = (
        f"echo x >> {count}; n=$(wc -l < {count}); "
        f'test $n -gt {times} && echo $n && exit; echo "{said}" >&2; exit 7'
    )
    return [SHELL, "-c", script]


def runs(directory: Path) -> int:
    return len((directory / "count").read_text().splitlines())


def test_both_texts_come_back() -> None:
    assert invoke([SHELL, "-c", "echo $0 $1; echo err >&2", "a b", "c"]) == ("a b c\n", "err\n")


def test_what_is_no_utf_8_is_no_error() -> None:
    assert invoke([SHELL, "-c", r"printf '\377ok'"]) == ("\ufffdok", "")


def test_much_output_on_both_at_once_does_not_hang() -> None:
    code = "import sys\nfor i in range(200):\n sys.stderr.write('e' * 9999); print('o' * 9999)"
    out, err = invoke([sys.executable, "-c", code])
    assert (out.count("o"), err.count("e")) == (200 * 9999, 200 * 9999)


def test_a_program_has_nothing_to_read() -> None:
    assert invoke([SHELL, "-c", "cat; echo end"]) == ("end\n", "")


def test_variables_of_an_mpi_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the stream that calls it keeps its state."""
    set_here = {"OMPI_RANK", "OPAL_X", "XOMPI_", "PLAIN", "PYPELININ_CHECKPOINT"}
    for name in set_here:
        monkeypatch.setenv(name, "1")
    out, _ = invoke([SHELL, "-c", "env"])
    names = {line.partition("=")[0] for line in out.splitlines()}
    assert names & set_here == {
        "XOMPI_",
        "PLAIN",
    }
    assert os.environ["OMPI_RANK"] == "1"


# --- which program ------------------------------------------------------------------------


def test_path_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProgramError, match="Program not found: sh") as error:
        invoke(["sh", "-c", "true"])
    assert isinstance(error.value, RuntimeError)
    assert error.value.code is None
    program = tmp_path / "sh"
    program.write_text("#!/bin/sh\necho mine $1\n")
    program.chmod(0o755)
    assert invoke(["sh", "1"]) == ("mine 1\n", "")
    assert invoke([program, "2"]) == ("mine 2\n", "")


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_file_is_no_program(name: str) -> None:
    with pytest.raises(ProgramError, match="Program not found"):
        invoke([name])


def test_its_owner_may_execute_it(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IRUSR | stat.S_IXGRP)
    with pytest.raises(ProgramError, match=r"Program specified not executable: .*program"):
        invoke([str(program)])


def test_what_the_system_cannot_run_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(ProgramError, match="cannot be run: No such file"):
        invoke([str(program)])


@pytest.mark.parametrize("words", [[], "/bin/true", b"/bin/true", Path("/bin/true")])
def test_a_program_and_its_arguments_are_a_list(words: list[str]) -> None:
    with pytest.raises(DefinitionError, match="takes a list"):
        invoke(words)


def test_transient_errors_are_a_list() -> None:
    with pytest.raises(DefinitionError, match="is a list of texts, not the text 'busy'"):
        invoke([SHELL], transientErrors="busy")


# --- failures -----------------------------------------------------------------------------


def test_a_failure_carries_both_texts_and_the_code() -> None:
    with pytest.raises(ProgramError) as caught:
        invoke([SHELL, "-c", "echo said; echo complained >&2; exit 3"])
    error = caught.value
    assert (error.stdout, error.stderr, error.code) == ("said\n", "complained\n", 3)
    assert "ended with exit code 3." in str(error)
    assert "**STDERR**\ncomplained\n" in str(error)
    assert "**STDOUT**\nsaid" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.stdout, copy.stderr, copy.code) == ("said\n", "complained\n", 3)
    assert str(copy) == str(error)


def test_a_signal_is_told() -> None:
    with pytest.raises(ProgramError, match=r"was killed by signal 9\.") as error:
        invoke([SHELL, "-c", "kill -9 $$"])
    assert error.value.code == -9


def test_a_message_has_only_the_end_of_a_long_text() -> None:
    with pytest.raises(ProgramError) as error:
        invoke([SHELL, "-c", f"yes | head -n {invoking.SHOWN_CHARACTERS}; echo end; exit 1"])
    assert len(error.value.stdout) == 2 * invoking.SHOWN_CHARACTERS + len("end\n")
    assert len(str(error.value)) < invoking.SHOWN_CHARACTERS + 500
    assert str(error.value).endswith("y\nend\n".strip())


# --- runs again ---------------------------------------------------------------------------


def test_a_transient_error_is_run_again_after_longer_and_longer(
    tmp_path: Path, pauses: list[float]
) -> None:
    program = failing(tmp_path, 3, "the licence server is busy now")
    assert invoke(program, ["other", "is busy"]) == ("4\n", "")
    assert pauses == [1, 2, 3]


def test_a_lost_child_is_always_transient(tmp_path: Path, pauses: list[float]) -> None:
    assert invoke(failing(tmp_path, 1, "wait: No child processes")) == ("2\n", "")
    assert pauses == [1]


def test_it_is_run_at_most_so_often(tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(ProgramError, match=r"exit code 7, the last of 4 runs\."):
        invoke(failing(tmp_path, 9, "busy"), ["busy"], maxRetries=4)
    assert (runs(tmp_path), pauses) == (4, [1, 2, 3])


@pytest.mark.parametrize("most", [0, 1])
def test_it_is_run_once_at_least(tmp_path: Path, pauses: list[float], most: int) -> None:
    with pytest.raises(ProgramError, match=r"exit code 7\."):
        invoke(failing(tmp_path, 9, "busy"), ["busy"], maxRetries=most)
    assert (runs(tmp_path), pauses) == (1, [])


def test_another_error_is_told_at_once(tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(ProgramError):
        invoke(failing(tmp_path, 1, "no such licence"), ["busy"])
    assert (runs(tmp_path), pauses) == (1, [])


def test_what_is_transient_stands_in_standard_error(tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(ProgramError):
        invoke([SHELL, "-c", "echo busy; exit 1"], ["busy"])
    assert pauses == []


def test_it_needs_neither_a_run_nor_the_rest_of_streams() -> None:
    code = (
        "import sys; from pypelinin.streams import invoke; invoke(['/bin/true'])\n"
        "print(sorted(name for name in sys.modules if name.startswith('pypelinin.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(
        ["pypelinin.errors", "pypelinin.streams", "pypelinin.streams.invoking"]
    )
