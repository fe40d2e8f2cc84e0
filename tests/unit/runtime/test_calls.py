"""Inside a slot: calls are opened and made, commands are run."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pypelinin.errors import NotPicklable
from pypelinin.graph.job import Job
from pypelinin.graph.shell import shell
from pypelinin.runtime import calls as module
from pypelinin.runtime.calls import TAIL_CHARACTERS, Calls, CommandFailed, run_command, unpack_call
from pypelinin.runtime.functions import Functions, pack_call
from pypelinin.runtime.values import Piece, pack_value, unpack_value

NOTHING = b"m\xc0"


def value(pieces: Sequence[Piece]) -> Any:
    """What a packed result stands for."""
    return unpack_value(b"".join(pieces)) if pieces else None


def sent(function: Callable[..., Any]) -> tuple[str, bytes]:
    """(digest, header of a run) as they come to a slot."""
    functions = Functions()
    name, packed = functions.function(function)
    return name, functions.header(NOTHING, {name: packed})


def own(*args: Any, **kwargs: Any) -> list[Any]:
    """The payload of a job whose results are no inputs."""
    return [None, packed(args, kwargs)]


def packed(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: Mapping[Job, int] | None = None
) -> bytes:
    return b"".join(pack_call("A call", args, kwargs, place or {}))


def made(calls: Calls, name: str, header: bytes, payload: Sequence[Any]) -> Any:
    """The result of a call whose values are all inline."""
    return value(calls.run(name, header, payload, bytes))


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return made(Calls(), *sent(function), own(*args, **kwargs))


def command(argv: Sequence[str], **options: Any) -> dict[str, Any]:
    """Run it as it comes out of a job's payload."""
    sent = pack_value("a command", shell(argv, **options).command)
    found: dict[str, Any] = value(run_command(unpack_value(sent)))
    return found


def python(code: str, **options: Any) -> dict[str, Any]:
    return command([sys.executable, "-c", code], **options)


# --- functions --------------------------------------------------------------------------------


def test_a_function_gets_its_arguments() -> None:
    assert call(lambda *args, **kwargs: [list(args), kwargs], 1, "x", b=[2]) == [
        [1, "x"],
        {"b": [2]},
    ]
    assert call(lambda *args: args, {1}, (2,)) == ({1}, (2,)), "what msgpack cannot keep"


def test_none_is_packed_as_nothing() -> None:
    assert not Calls().run(*sent(lambda: None), own(), bytes)


def test_an_exception_goes_on_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        call(lambda x: 1 // x, 0)
    with pytest.raises(TypeError, match="missing 1 required"):
        call(lambda x: x)


def test_a_result_that_cannot_be_sent_names_its_function() -> None:
    def lock_of(key: str) -> dict[str, Any]:
        return {key: threading.Lock()}

    with pytest.raises(NotPicklable, match=r"The result of lock_of\(\) .*lock"):
        call(lock_of, "x")


def test_a_function_is_opened_once_for_many_runs() -> None:
    calls = Calls()
    name, header = sent(lambda x: x + 1)
    assert made(calls, name, header, own(1)) == 2
    assert made(calls, name, b"another run's, not looked at", own(2)) == 3


def test_functions_are_dropped_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FUNCTIONS_MAX", 2)
    calls = Calls()
    first, second, third = sent(lambda: 1), sent(lambda: 2), sent(lambda: 3)
    for name, header in (first, second, third):
        made(calls, name, header, own())
    assert [made(calls, name, b"", own()) for name, _ in (second, third)] == [2, 3]
    with pytest.raises(ValueError, match="incomplete"):
        made(calls, first[0], b"", own())
    assert made(calls, *first, own()) == 1, "it is opened again"


def test_a_function_that_is_not_in_the_header_is_no_other_one() -> None:
    _, header = sent(lambda: 1)
    with pytest.raises(KeyError, match="0123"):
        made(Calls(), "0123", header, own())


@pytest.mark.parametrize(
    ("function", "kind"),
    [(b"junk", pickle.UnpicklingError), (b"", EOFError), (b"cno_such_module\nf\n.", ImportError)],
)
def test_a_function_that_cannot_be_opened_is_an_error(
    function: bytes, kind: type[Exception]
) -> None:
    header = Functions().header(NOTHING, {"broken": function})
    with pytest.raises(kind):
        made(Calls(), "broken", header, own())


# --- arguments --------------------------------------------------------------------------------


def test_results_stand_where_the_call_names_jobs() -> None:
    one, two = Job(len), Job(len)
    data = packed((two, [one, 7]), {"k": {"one": one}}, {one: 0, two: 1})
    args, kwargs = unpack_call(data, [pack_value("one", (1,)), b""])
    assert list(args) == [None, [(1,), 7]]
    assert kwargs == {"k": {"one": (1,)}}


def test_a_result_that_is_missing_is_an_error() -> None:
    job = Job(len)
    data = packed((job,), {}, {job: 0})
    with pytest.raises(IndexError):
        unpack_call(data, [])


@pytest.mark.parametrize("data", [b"m\xc1", b"mjunk", b"pjunk", b"rjunk", b"", b"p"])
def test_broken_arguments_are_an_error(data: bytes) -> None:
    with pytest.raises(
        (ValueError, TypeError, EOFError, pickle.UnpicklingError, msgpack.UnpackException)
    ):
        unpack_call(data, ())


# --- commands ---------------------------------------------------------------------------------


def test_what_a_command_writes_is_its_result() -> None:
    code = "import sys; print('out'); sys.stderr.buffer.write(b'\\xff\\0'); print(sys.argv[1:])"
    found = command([sys.executable, "-c", code, "a b", "*", "$HOME"])
    assert found == {
        "code": 0,
        "stdout": b"out\n['a b', '*', '$HOME']\n",
        "stderr": b"\xff\0",
        "files": {},
    }


def test_a_command_reads_its_input_and_no_other() -> None:
    assert command(["cat"], stdin=b"\0in")["stdout"] == b"\0in"
    assert command(["cat"])["stdout"] == b""


def test_env_is_added_to_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_NODE", "stays")
    monkeypatch.setenv("OF_BOTH", "theirs")
    code = "import os; print(os.environ['OF_THE_NODE'], os.environ['OF_BOTH'])"
    assert python(code, env={"OF_BOTH": "ours"})["stdout"] == b"stays ours\n"
    assert os.environ["OF_BOTH"] == "theirs"


def test_a_command_runs_in_its_directory(tmp_path: Path) -> None:
    assert os.fsdecode(command(["pwd"], cwd=str(tmp_path))["stdout"].strip()) == str(tmp_path)


def test_files_go_there_and_come_back_and_nothing_stays() -> None:
    code = "import os; os.rename('in/a', 'b'); print(os.getcwd())"
    found = python(code, files={"in/a": b"\xff", "c": "kept"}, outputs=["b", "c"])
    assert found["files"] == {"b": b"\xff", "c": b"kept"}
    assert not Path(os.fsdecode(found["stdout"].strip())).exists()


def test_an_output_that_was_not_written_is_named() -> None:
    with pytest.raises(CommandFailed, match="left no file 'no_such_output'"):
        command(["true"], outputs=["no_such_output"])


def test_the_directory_goes_when_the_command_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(CommandFailed):
        command(["false"], files={"in": "x"})
    assert list(tmp_path.iterdir()) == []


def test_an_exit_code_fails_the_job_and_tells_the_end_of_stderr() -> None:
    code = "import sys; sys.stderr.write('x' * 100_000 + 'the end\\n'); sys.exit(3)"
    with pytest.raises(CommandFailed, match=r"ended with exit code 3: x+the end$") as caught:
        python(code)
    assert len(str(caught.value)) < TAIL_CHARACTERS + 500


def test_an_exit_code_may_be_a_result() -> None:
    assert python("raise SystemExit(3)", check=False)["code"] == 3
    killed = python(f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})", check=False)
    assert killed["code"] == -signal.SIGTERM


@pytest.mark.parametrize("check", [True, False])
def test_a_program_that_is_missing_is_named(check: bool) -> None:
    with pytest.raises(CommandFailed, match=r"'no-such-program' cannot be started: .*No such file"):
        command(["no-such-program"], check=check)


def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"cannot be started: .*Permission denied"):
        command([str(tmp_path)])


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no_such_directory"):
        command(["true"], cwd=str(tmp_path / "no_such_directory"))
