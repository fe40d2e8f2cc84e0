"""Jobs that run a program, and keep what it was, what it printed and how it ended."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.incremental.enums import Resources
from pypelinin.incremental.jobs.base import checked_callable
from pypelinin.incremental.jobs.files import MultiFileGeneratingJob, checked_file
from pypelinin.incremental.jobs.shared import SharedMultiFileGeneratingJob

KEPT = ("stdout", "stderr", "cmd", "return_code")
"""What is always kept, each in a file `<std_prefix><name>.txt`."""
ONE_LINE_MAX = 80
TOLD_MAX = 2000
"""Bytes of what it printed last that an error repeats."""
SCRIPT_NAME = "script.sh"


class ExternalOutputPath:
    """In a command: the directory of the job's files. `ExternalOutputPath() / "x"` is one there.

    It becomes an absolute path where the program is started.
    """

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __truediv__(self, other: str | Path) -> ExternalOutputPath:
        return ExternalOutputPath(*self.parts, str(other))

    def below(self, directory: Path) -> Path:
        return directory.joinpath(*self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExternalOutputPath) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return " / ".join(["ExternalOutputPath()", *map(repr, self.parts)])


class _Owner:
    """The job that a program is run for, as its function knows it."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.job: Any = None


def ExternalJob(
    output_path: str | Path,
    additional_created_files: Mapping[str, str | Path],
    cmd_or_cmd_func: Sequence[Any] | Callable[[], Sequence[Any]],
    allowed_return_codes: Sequence[int] = (0,),
    call_before: Callable[[Any], Any] | None = None,
    call_after: Callable[[Any], Any] | None = None,
    job_cls: type[Any] = MultiFileGeneratingJob,
    resources: Resources = Resources.SingleCore,
    cwd: str | Path | ExternalOutputPath | None = None,
    start_new_session: bool = False,
    std_prefix: str = "",
    env: Mapping[str, Any] | None = None,
) -> Any:
    """A job of the class *job_cls* that runs a program, which writes files below *output_path*.

    *additional_created_files*: key -> name relative to *output_path*. Beside them there are always
    stdout.txt, stderr.txt, cmd.txt and return_code.txt, under the keys stdout, stderr, cmd and
    return_code. *cmd_or_cmd_func*: program and arguments, or a function of no arguments that gives
    them where the job runs; `ExternalOutputPath()` stands for the directory. It is started in
    *cwd* (usual: *output_path*), with the variables *env* beside those of this process.
    *call_before* and *call_after* get the job, before the program is started and after it ended
    well. A return code that is not allowed fails the job with ValueError.

    The job depends on the command, *env*, *cwd* and the allowed codes, and on the code of the
    functions. Raises TypeError, ValueError, and KeyError for a key that is taken.
    """
    return _external(
        output_path, additional_created_files, cmd_or_cmd_func, allowed_return_codes,
        call_before, call_after, job_cls, resources, cwd, start_new_session, std_prefix, env, None,
    )  # fmt: skip


def ShellJob(
    output_path: str | Path,
    additional_created_files: Mapping[str, str | Path],
    script: str | Callable[[Any], str],
    **options: Any,
) -> Any:
    """An ExternalJob that runs a script: a text that begins with `#!`, or `f(job)` giving it.

    The script is written to `script.sh` in *output_path*, after the std_prefix if there is one.
    The job depends on the whole text, or on the code of the function. *options* are those of
    ExternalJob.
    """
    if isinstance(script, str):
        _check_script(script, "The script of a ShellJob")
    elif not callable(script):
        raise TypeError(f"A script is a text or a function that gives it, not {script!r}.")
    command = [ExternalOutputPath() / f"{options.get('std_prefix', '')}{SCRIPT_NAME}"]
    named = {
        "allowed_return_codes": (0,), "call_before": None, "call_after": None,
        "job_cls": MultiFileGeneratingJob, "resources": Resources.SingleCore, "cwd": None,
        "start_new_session": False, "std_prefix": "", "env": None,
    }  # fmt: skip
    unknown = [name for name in options if name not in named]
    if unknown:
        raise TypeError(f"ShellJob has no argument {unknown[0]!r}.")
    return _external(
        output_path, additional_created_files, command, script=script, **(named | options)
    )


def _external(
    output_path: str | Path,
    additional_created_files: Mapping[str, str | Path],
    command: Any,
    allowed_return_codes: Sequence[int],
    call_before: Any,
    call_after: Any,
    job_cls: type[Any],
    resources: Resources,
    cwd: Any,
    start_new_session: bool,
    std_prefix: str,
    env: Mapping[str, Any] | None,
    script: str | Callable[[Any], str] | None,
) -> Any:
    directory = Path(os.path.normpath(checked_file(output_path)))
    names = _names(additional_created_files, std_prefix)
    if not callable(command):
        command = checked_command(command)
    codes = tuple(allowed_return_codes)
    variables = {str(name): _argument(value) for name, value in (env or {}).items()}
    place = None if cwd is None else _argument(cwd)
    for function, what in ((call_before, "call_before"), (call_after, "call_after")):
        if function is not None:
            checked_callable(function, what)
    owner = _Owner(f"program of {directory}")
    is_shared = issubclass(job_cls, SharedMultiFileGeneratingJob)

    def run_program(_files: Any, target: Any = None) -> None:
        here = Path(directory if target is None else target).absolute()
        here.mkdir(parents=True, exist_ok=True)
        if script is not None:
            _write_script(here / command[0].parts[0], script, owner.job)
        if call_before is not None:
            call_before(owner.job)
        asked = checked_command(command()) if callable(command) else command
        program = Program(asked, here, place, variables, start_new_session, std_prefix)
        program.run(codes)
        if call_after is not None:
            call_after(owner.job)

    if is_shared:
        job = job_cls(directory, names, run_program, resources, depend_on_function=False)
    else:
        files = {key: directory / name for key, name in names.items()}
        job = job_cls(files, run_program, resources, depend_on_function=False)
    owner.job = job
    job.output_path = directory
    _track(job, command, script, call_before, call_after, (variables, place, codes))
    return job


def _track(
    job: Any, command: Any, script: Any, call_before: Any, call_after: Any, rest: tuple[Any, ...]
) -> None:
    """Let the job depend on all that says what is run."""
    params: dict[str, Any] = dict(
        zip(("env", "cwd", "allowed_return_codes"), rest, strict=True)
    )  # fmt: skip
    functions = {"cmd": command, "script": script, "call_before": call_before,
                 "call_after": call_after}  # fmt: skip
    for name, value in functions.items():
        if callable(value):
            job.depends_on_func(value, name)
        elif value is not None:
            params[name] = value
    job.depends_on_params(params, "_cmd")


def _names(additional: Any, std_prefix: str) -> dict[str, Path]:
    """By key, all files that there will be. Raises TypeError, ValueError, KeyError."""
    if not isinstance(additional, Mapping):
        raise TypeError(
            f"additional_created_files is a dict of key -> file name, not {additional!r}."
        )
    names = {}
    for key, name in additional.items():
        if key in KEPT:
            raise KeyError(f"{key!r} is the key of a file that each ExternalJob has.")
        if isinstance(name, ExternalOutputPath):
            name = str(name.below(Path()))
        path = os.path.normpath(checked_file(name))
        if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
            raise ValueError(f"{path!r} ({key!r}) is not relative to the job's output_path.")
        names[key] = Path(path)
    return names | {key: Path(f"{std_prefix}{key}.txt") for key in KEPT}


def checked_command(command: Any) -> list[Any]:
    """Program and arguments, each a str or an ExternalOutputPath. Raises TypeError, ValueError."""
    if isinstance(command, (str, bytes)) or not isinstance(command, (list, tuple)):
        raise TypeError(
            f"A command is a list of a program and its arguments, not {command!r}. For a line of "
            "shell use ShellJob."
        )
    if not command:
        raise ValueError("A command has at least the name of a program.")
    return [_argument(one) for one in command]


def _argument(value: Any) -> str | ExternalOutputPath:
    if isinstance(value, ExternalOutputPath):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, Path, int, float)):
        raise TypeError(f"Part of a command are texts, paths and numbers, not {value!r}.")
    return str(value)


def _check_script(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {text!r}.")
    if not text.startswith("#!"):
        raise ValueError(
            f"{what} begins with a line that names its interpreter, as #!/bin/bash; it begins "
            f"with {text[:40]!r}."
        )


def _write_script(path: Path, script: Any, job: Any) -> None:
    if callable(script):
        script = script(job)
        _check_script(script, f"What the script function of {job!r} gave")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.write_text(script)
    path.chmod(0o755)


class Program:
    """A command where it is run: in *directory* are its files, *cwd* is where it is started."""

    def __init__(
        self,
        command: Sequence[Any],
        directory: Path,
        cwd: Any,
        env: Mapping[str, Any],
        start_new_session: bool,
        std_prefix: str,
    ) -> None:
        self.directory = directory
        self.command = [self._resolved(one) for one in command]
        self.cwd = directory if cwd is None else Path(self._resolved(cwd)).absolute()
        self.env = {name: self._resolved(value) for name, value in env.items()}
        self.start_new_session = start_new_session
        self.files = {key: directory / f"{std_prefix}{key}.txt" for key in KEPT}

    def _resolved(self, value: Any) -> str:
        if isinstance(value, ExternalOutputPath):
            return str(value.below(self.directory))
        return str(value)

    def run(self, allowed: Sequence[int]) -> None:
        """Raises ValueError for another return code, OSError if it cannot be started."""
        self.files["cmd"].write_text(pretty(self.command) + "\n")
        with open(self.files["stdout"], "wb") as out, open(self.files["stderr"], "wb") as err:
            process = self._start(out, err)
            try:
                code = process.wait()
            except BaseException:
                self._kill(process)
                raise
        self.files["return_code"].write_text(str(code))
        if code not in allowed:
            raise ValueError(self._told(code, allowed))

    def _start(self, out: Any, err: Any) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.cwd,
                env={**os.environ, **self.env}, start_new_session=self.start_new_session,
            )  # fmt: skip
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise FileNotFoundError(f"{self.cwd}, to run a program in, is not there.") from None
            raise FileNotFoundError(
                f"{error.filename!r} cannot be started: there is no such program, or not the "
                "interpreter that its first line names."
            ) from None

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.start_new_session:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()

    def _told(self, code: int, allowed: Sequence[int]) -> str:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with return code {code}"
        wanted = ", ".join(map(str, allowed)) or "none"
        return (
            f"{shlex.join(self.command)} {how} (allowed: {wanted}). It printed to "
            f"{self.files['stdout']} and {self.files['stderr']}, at last:\n"
            f"{_end_of(self.files['stderr']) or _end_of(self.files['stdout'])}"
        )


def _end_of(path: Path) -> str:
    data = path.read_bytes()[-TOLD_MAX:]
    return data.decode(errors="replace").strip()


def pretty(command: Sequence[str]) -> str:
    """The command as one may type it; a long one with a line for each argument."""
    line = shlex.join(command)
    if len(line) <= ONE_LINE_MAX:
        return line
    return " \\\n    ".join(map(shlex.quote, command))


__all__ = ["ExternalJob", "ExternalOutputPath", "ShellJob"]
