"""Inside a slot: functions and commands that are jobs.

A function comes once with its run's header and is kept by content, so the same function of
many runs is opened once in a slot.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack

from pypelinin.runtime.values import Piece, opened_pickle, pack_result, unpack_value

Opener = Callable[[bytes], bytes | memoryview]
FUNCTIONS_MAX = 256
TAIL_CHARACTERS = 2000


class CommandFailed(Exception):
    """A command ended with another exit code than 0."""


class Calls:
    """Functions by digest; the least recently used ones are dropped."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}

    def run(self, digest: str, header: bytes, own: Sequence[Any], opened: Opener) -> list[Piece]:
        """Call the function with the arguments of one job; returns its packed result."""
        function = self._functions.pop(digest, None) or unpack_function(header, digest)
        self._functions[digest] = function
        if len(self._functions) > FUNCTIONS_MAX:
            del self._functions[next(iter(self._functions))]
        args, kwargs = unpack_call(opened(own[1]), own[2] if len(own) > 2 else (), opened)
        return pack_result(function, function(*args, **kwargs))


def call_each(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """A chunk of an executor's `map`."""
    return [function(*args) for args in calls]


def call(function: Callable[[], Any]) -> Any:
    """One function for all calls of others that differ, so that it is sent once."""
    return function()


def unpack_function(header: bytes, name: str) -> Callable[..., Any]:
    """One function of a run's payload, by its digest."""
    functions = msgpack.unpackb(memoryview(header)[1:])[1]
    function: Callable[..., Any] = pickle.loads(functions[name])
    return function


class _Inputs(pickle.Unpickler):
    """Puts results where the call names jobs."""

    def __init__(
        self,
        data: memoryview,
        buffers: Sequence[memoryview],
        inputs: Sequence[bytes],
        opened: Opener,
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=iter(buffers))
        self._buffers = buffers
        self._inputs = inputs
        self._opened = opened

    def persistent_load(self, index: int) -> Any:
        if index < 0:  # large bytes stand behind the pickle's own buffers, the first one last
            return bytes(self._buffers[index])
        packed = self._inputs[index]
        return unpack_value(self._opened(packed)) if packed else None


def unpack_call(
    data: bytes | memoryview, inputs: Sequence[bytes], opened: Opener = bytes
) -> tuple[Sequence[Any], dict[str, Any]]:
    """(args, kwargs) of a call; *inputs* are the packed results it names by their place.

    *opened* gives a packed value for what may be the name of one. Raises what it raises.
    """
    if data[:1] == b"m":
        args, kwargs = msgpack.unpackb(memoryview(data)[1:], raw=False, strict_map_key=False)
        return args, kwargs
    kind, body, buffers = opened_pickle(data)
    if kind == b"r":
        args, kwargs = _Inputs(body, buffers, inputs, opened).load()
    else:
        args, kwargs = pickle.loads(body, buffers=buffers)
    return args, kwargs


def run_command(command: dict[str, Any]) -> list[Piece]:
    """Run an argument list; returns {"code", "stdout", "stderr", "files"}, packed.

    Raises CommandFailed for an exit code other than 0 if *check* is set. With files (in or
    out) it runs in a directory of its own, which is gone afterwards.
    """
    files, outputs = command.get("files") or {}, command.get("outputs") or ()
    environment = {**os.environ, **(command.get("env") or {})}
    if not files and not outputs:
        return _run(command, environment, command.get("cwd"), ())
    with tempfile.TemporaryDirectory(prefix="pypelinin-") as place:
        for name, content in files.items():
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return _run(command, environment, place, outputs)


def _run(
    command: dict[str, Any], env: dict[str, str], cwd: str | None, outputs: Sequence[str]
) -> list[Piece]:
    argv = command["argv"]
    try:
        ended = subprocess.run(argv, env=env, cwd=cwd, input=command.get("stdin") or b"",
                               capture_output=True, check=False)  # fmt: skip
    except OSError as error:
        raise CommandFailed(f"{argv[0]!r} cannot be started: {error}") from None
    if ended.returncode and command.get("check", True):
        tail = ended.stderr.decode(errors="replace")[-TAIL_CHARACTERS:].strip()
        raise CommandFailed(f"{' '.join(argv)} ended with exit code {ended.returncode}: {tail}")
    found = {}
    for name in outputs:
        try:
            found[name] = Path(cwd or ".", name).read_bytes()
        except OSError as error:
            if not ended.returncode:
                raise CommandFailed(f"{argv[0]!r} left no file {name!r}: {error}") from None
    return pack_result(
        run_command,
        {"code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr, "files": found},
    )
