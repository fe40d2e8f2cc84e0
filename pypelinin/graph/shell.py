"""A command as a job."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pypelinin.errors import DefinitionError


class Shell:
    """An argument list to run; made by `shell`."""

    __slots__ = ("command", "name")

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.name: str = command["argv"][0].rsplit("/", 1)[-1] or "shell"

    def __repr__(self) -> str:
        return f"shell({self.command['argv']!r})"


def shell(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: bytes | str = b"",
    files: Mapping[str, bytes | str] | None = None,
    outputs: Sequence[str] = (),
    check: bool = True,
) -> Shell:
    """A command for a Job: `Job(shell(["sort", "in.txt"], files={"in.txt": text}))`.

    *argv* is an argument list, never a shell's line (write ["sh", "-c", line] for that).
    *env* is added to the environment of the node. *files* (name: content) are written into a
    fresh directory in which the command then runs, and *outputs* are the files to bring back
    from there; without both it runs in *cwd*. The result is a dict: code, stdout and stderr
    (bytes), files. An exit code other than 0 fails the job unless *check* is False.

    Raises DefinitionError for what is no such command.
    """
    if not _is_texts(argv) or not argv:
        raise DefinitionError(
            f"A command is a list of text, not {argv!r}.",
            remedy="Write shell(['ls', '-l']); for a shell's line shell(['sh', '-c', 'a | b']).",
        )
    if cwd and (files or outputs):
        raise DefinitionError("A command with files has a directory of its own; leave cwd out.")
    if not _is_texts(outputs):
        raise DefinitionError(f"Outputs are a list of file names, not {outputs!r}.")
    for text in itertools.chain((env or {}), (env or {}).values()):
        _check_text("the environment", text)
    for name in (*(files or ()), *outputs):
        _check_text("the name of a file", name)
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise DefinitionError(f"The file {name!r} is outside of the command's directory.")
    return Shell(
        {
            "argv": list(argv),
            "env": dict(env or {}),
            "cwd": cwd,
            "stdin": stdin.encode() if isinstance(stdin, str) else stdin,
            "files": {n: c.encode() if isinstance(c, str) else c for n, c in (files or {}).items()},
            "outputs": list(outputs),
            "check": check,
        }
    )


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise DefinitionError(f"In {what} of a command stands {value!r}, which is no text.")


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)
