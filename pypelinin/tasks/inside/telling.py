"""What tasks tell while they run: lines in a file of each slot, in the run's own directory.

Each line is a JSON list [time, level, process, task, text, status]. The client reads them
(`pypelinin.tasks.hearing`). What a task prints is told line by line; other threads of the slot,
and other tasks in threads of an engine, print where they did.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LINE_MAX = 64 * 1024
"""Characters of a line that are told; a longer one is told in parts."""
_switches: dict[str, _Switch] = {}
"""By name of the stream, the last one: a handler of `logging` may have kept it."""
_files: dict[tuple[int, int], tuple[str, int]] = {}
"""By process and thread, where it tells: (directory, descriptor)."""


class Teller:
    """Tells of one task. Raises OSError if the directory is gone."""

    def __init__(self, directory: str, task: str) -> None:
        self.task = task
        self.process = f"Slot-{os.getpid()}"
        self._fd = _opened(directory)

    def tell(self, text: str, level: int = logging.INFO, status: str = "") -> None:
        """*status*: that of the task from now on."""
        line = json.dumps([time.time(), level, self.process, self.task, text, status])
        os.write(self._fd, line.encode() + b"\n")


def _opened(directory: str) -> int:
    key = os.getpid(), threading.get_ident()
    known = _files.get(key)
    if known is not None and known[0] == directory:
        return known[1]
    name = f"told-{os.uname().nodename}-{key[0]}-{key[1]}.jsonl"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fd = os.open(os.path.join(directory, name), flags, 0o666)
    for other in [other for other in _files if other == key or other[0] != key[0]]:
        before = _files.pop(other)
        if other == key:
            os.close(before[1])
    _files[key] = (directory, fd)
    return fd


class _Open:
    """Stays open whoever closes it, or forgets it: what is under it is not its own."""

    def close(self) -> None:
        pass


class _Lines(_Open, io.TextIOBase):
    """A stream that tells each line; with *echo* it is also printed where it was."""

    def __init__(self, teller: Teller, level: int, echo: TextIO | None) -> None:
        self._teller, self._level, self._echo = teller, level, echo
        self._rest = ""
        self.buffer = _Bytes(self)

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it writable
        return "utf-8"

    def reconfigure(self, **options: object) -> None:
        """Lines are told whatever is said here."""

    def write(self, text: str) -> int:
        if self._echo is not None:
            self._echo.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        if len(self._rest) >= LINE_MAX:
            self.end()
        return len(text)

    def flush(self) -> None:
        if self._echo is not None:
            self._echo.flush()

    def end(self) -> None:
        rest, self._rest = self._rest, ""
        self._tell(rest)

    def _tell(self, line: str) -> None:
        line = line.rstrip()
        for begin in range(0, len(line), LINE_MAX):
            self._teller.tell(line[begin : begin + LINE_MAX], self._level)


class _Bytes(_Open, io.BufferedIOBase):
    """What is under a stream, for bytes."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        self._lines.write(self._decoder.decode(bytes(view)))
        return len(view)

    def flush(self) -> None:
        self._lines.flush()


class _Switch(_Open, io.TextIOBase):
    """Stands for a stream of the process; each thread may have one of its own."""

    def __init__(self, usual: TextIO) -> None:
        self.usual = usual
        self.own: dict[int, _Lines] = {}

    @property
    def _stream(self) -> TextIO | _Lines:
        return self.own.get(threading.get_ident(), self.usual)

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it writable
        return self.usual.encoding

    @property
    def buffer(self) -> BinaryIO | _Bytes:
        return self._stream.buffer

    def reconfigure(self, **options: Any) -> None:
        stream: Any = self._stream
        stream.reconfigure(**options)

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self.usual.fileno()

    def isatty(self) -> bool:
        return False


def _switch(name: str, usual: TextIO) -> _Switch:
    known = _switches.get(name)
    if known is None or known.usual is not usual:
        known = _switches[name] = _Switch(usual)
    return known


_lock = threading.Lock()


@contextmanager
def printing(teller: Teller, echo: bool) -> Iterator[None]:
    """What this thread prints is told: stdout as INFO, stderr as ERROR."""
    switches: list[tuple[str, _Switch, _Lines]] = []
    with _lock:
        for name, level in (("stdout", logging.INFO), ("stderr", logging.ERROR)):
            stream = getattr(sys, name)
            switch = stream if isinstance(stream, _Switch) else _switch(name, stream)
            lines = _Lines(teller, level, switch.usual if echo else None)
            switch.own[threading.get_ident()] = lines
            setattr(sys, name, switch)
            switches.append((name, switch, lines))
    try:
        yield
    finally:
        for _, _, lines in switches:
            lines.end()
        with _lock:
            for name, switch, _ in switches:
                del switch.own[threading.get_ident()]
                if not switch.own and getattr(sys, name) is switch:
                    setattr(sys, name, switch.usual)


__all__ = ["Teller", "printing"]
