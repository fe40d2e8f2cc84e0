"""`invoke`: run another program, take all it says, and try again what fails only now and then."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import time
from collections.abc import Sequence
from typing import NoReturn

from pypelinin.errors import DefinitionError, ProgramError

PAUSE_S = 1.0
"""Before the second run; before the third twice as long, and so on."""
ALWAYS_TRANSIENT = "No child processes"
NOT_FOR_OTHERS = ("OMPI_", "OPAL_", "PYPELININ_CHECKPOINT")
"""Variables of an MPI that this process runs below: a program of its own MPI must not see them,
nor where this one keeps the state of its stream."""
SHOWN_CHARACTERS = 4000
"""Of each text so much, from its end, stands in the message of an error."""


def invoke(
    progAndArgs: Sequence[str | os.PathLike[str]],
    transientErrors: Sequence[str] = (),
    maxRetries: int = 20,
) -> tuple[str, str]:
    """Run a program to its end; returns what it wrote to standard output and standard error.

    The program, the first of *progAndArgs*, is the path of an executable file: the directories of
    PATH are not searched. It reads nothing, and gets no shell, no `OMPI_*`, `OPAL_*` and
    `PYPELININ_CHECKPOINT`. Both texts are read as UTF-8 while it runs, so it may write as much as
    memory holds.

    If it fails and its standard error contains one of *transientErrors* (or "No child
    processes"), it is run again after 1, 2, 3 ... seconds, *maxRetries* times in all.

    Raises ProgramError, a RuntimeError with `stdout`, `stderr` and the exit `code` (negative for
    a signal; None if it could not be begun), and DefinitionError for arguments that make no sense.
    """
    words = _words(progAndArgs, transientErrors)
    program = _program(words[0])
    signs = (ALWAYS_TRANSIENT, *transientErrors)
    for runs in itertools.count(1):
        done = _run(program, words)
        if done.returncode == 0:
            break
        if runs >= maxRetries or not any(sign in done.stderr for sign in signs):
            _fail(words, done, runs)
        time.sleep(runs * PAUSE_S)
    return done.stdout, done.stderr


def _words(words: Sequence[str | os.PathLike[str]], transient: Sequence[str]) -> list[str]:
    if isinstance(words, (str, bytes, os.PathLike)) or not words:
        raise DefinitionError(
            f"invoke takes a list of a program and its arguments, not {words!r}.",
            remedy="Write invoke(['/bin/echo', 'hello']).",
        )
    if isinstance(transient, str):
        raise DefinitionError(f"transientErrors is a list of texts, not the text {transient!r}.")
    return [os.fspath(word) for word in words]


def _program(name: str) -> str:
    """The absolute path of *name*. Raises ProgramError."""
    try:
        mode = os.stat(name).st_mode
    except OSError:
        mode = 0
    if not stat.S_ISREG(mode):
        raise ProgramError(
            f"Program not found: {name}",
            remedy="Give a path: the directories of PATH are not searched (shutil.which does).",
        )
    if not mode & stat.S_IXUSR:
        raise ProgramError(f"Program specified not executable: {name}", remedy="chmod u+x it.")
    return os.path.abspath(name)


def _run(program: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(NOT_FOR_OTHERS)}
    try:
        return subprocess.run(
            words, executable=program, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise ProgramError(f"{program} cannot be run: {error.strerror}.") from None


def _fail(words: list[str], done: subprocess.CompletedProcess[str], runs: int) -> NoReturn:
    code = done.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    times = f", the last of {runs} runs" if runs > 1 else ""
    error = ProgramError(
        f"{' '.join(words)} {how}{times}.\n\n"
        f"**STDERR**\n{done.stderr[-SHOWN_CHARACTERS:]}\n\n"
        f"**STDOUT**\n{done.stdout[-SHOWN_CHARACTERS:]}"
    )
    error.stdout, error.stderr, error.code = done.stdout, done.stderr, code
    raise error
