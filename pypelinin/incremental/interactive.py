"""Commands that people type while a run goes on, as `help` lists them.

They are read between two events of the run, without a thread: standard input must be a terminal,
and this process the one that it belongs to at that moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pypelinin.incremental.commands import Commands
from pypelinin.incremental.progress import Progress
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

READ_BYTES = 4096
LINE_BYTES_MAX = 4096
PROMPT = "  > "


class Interactive(Watcher):
    """*descriptor* is where commands come from; None: standard input."""

    beat_s = 0.1

    def __init__(self, progress: Progress, descriptor: int | None = None) -> None:
        self._progress = progress
        self._given = descriptor
        self._descriptor: int | None = None
        self._typed = b""
        self._commands: Commands | None = None

    @property
    def is_reading(self) -> bool:
        return self._descriptor is not None

    def began(self, running: Running) -> None:
        self._descriptor = self._given if self._given is not None else _standard_input()
        is_main = threading.current_thread() is threading.main_thread()
        wanted = is_main and running.graph.run_mode.is_interactive()
        if not wanted or not _is_terminal(self._descriptor):
            self._descriptor = None
            return
        self._typed = b""
        self._commands = Commands(running, self._progress)
        self._progress.prompt = PROMPT

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        if self._commands is not None:
            self._commands.ended(job, outcome)

    def beat(self) -> None:
        if self._descriptor is None or self._commands is None:
            return
        for line in self._lines(0.0):
            self.obey(line)
        self._commands.beat()

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        commands, self._commands = self._commands, None
        if commands is not None:
            with contextlib.suppress(KeyboardInterrupt):
                self._stay(commands)
            commands.close()
        self._descriptor = None
        self._progress.prompt = ""

    def _stay(self, commands: Commands) -> None:
        """Go on with commands after the run, if that was asked for, until `next`."""
        if commands.shall_stay:
            self._progress.say("The run is over. Type 'next' to go on with the script.")
        while commands.shall_stay and self._descriptor is not None:
            for line in self._lines(1.0):
                self._obey(commands, line)

    # --- reading ---------------------------------------------------------------------------------

    def _lines(self, timeout_s: float) -> list[str]:
        """What was typed and ended with Enter."""
        if self._descriptor is None or not _is_ours(self._descriptor):
            if timeout_s:
                select.select([], [], [], timeout_s)
            return []
        while select.select([self._descriptor], [], [], timeout_s)[0]:
            timeout_s = 0.0
            if not (data := self._read(self._descriptor)):
                break
            self._typed += data
        *lines, self._typed = self._typed.split(b"\n")
        self._typed = self._typed[-LINE_BYTES_MAX:]
        if lines:
            self._progress.line_ended()
        return [line.decode(errors="replace").strip() for line in lines]

    def _read(self, descriptor: int) -> bytes:
        """One line, as a terminal gives them; nothing for Ctrl-D, or if it is gone."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:
            data = b""
        if not data and not _is_terminal(descriptor):
            self._descriptor = None
        return data

    def obey(self, line: str) -> None:
        """Do what the line says, and say what came of it. Never raises."""
        if self._commands is not None:
            self._obey(self._commands, line)

    def _obey(self, commands: Commands, line: str) -> None:
        name, _, argument = line.partition(" ")
        method = commands.by_name().get(name.lower() or "status")
        if method is None:
            close = get_close_matches(name, commands.by_name(), n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            self._progress.say(f"There is no command {name!r}. {hint}'help' lists all of them.")
            return
        try:
            answer = method(argument.strip())
        except Exception as error:  # a command must not end a run
            answer = f"{name} failed: {type(error).__name__}: {error}"
        if answer:
            self._progress.say(answer)


def _standard_input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, ValueError, OSError):  # none, closed, or replaced
        return None


def _is_terminal(descriptor: int | None) -> bool:
    try:
        return descriptor is not None and os.isatty(descriptor)
    except OSError:
        return False


def _is_ours(descriptor: int) -> bool:
    """Whether we may read: who does so in the background is stopped by the system."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True  # not the terminal that we were begun from


__all__ = ["Interactive"]
