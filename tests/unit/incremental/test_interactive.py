"""Commands that are typed at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pypelinin.incremental import interactive as module
from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.interactive import Interactive


class FakeProgress:
    prompt = ""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ends = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def line_ended(self) -> None:
        self.ends += 1


class FakeCommands:
    made: Any = None

    def __init__(self, *_: Any) -> None:
        self.shall_stay = False
        self.done: list[str] = []
        self.is_closed = False
        type(self).made = self

    def by_name(self) -> dict[str, Any]:
        return {
            "status": lambda text: self.do("status", text),
            "kill": lambda text: self.do("kill", text),
            "next": self.next,
            "broken": lambda _: 1 // 0,
        }

    def do(self, name: str, text: str) -> str:
        self.done.append(f"{name} {text}".strip())
        return f"did {name}"

    def next(self, _: str) -> str:
        self.shall_stay = False
        return ""

    def beat(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True


class Typing:
    def __init__(self, mode: RunMode = RunMode.CONSOLE) -> None:
        self.keyboard, self.terminal = os.openpty()
        self.progress: Any = FakeProgress()
        self.console = Interactive(self.progress, self.terminal)
        graph = type("Graph", (), {"run_mode": mode})()
        running: Any = type("Running", (), {"graph": graph})()
        self.console.began(running)
        self.commands: Any = FakeCommands.made

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())
        self.console.beat()

    def close(self) -> None:
        os.close(self.keyboard)
        os.close(self.terminal)


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typing]:
    monkeypatch.setattr(module, "Commands", FakeCommands)
    made = Typing()
    yield made
    made.close()


def test_enter_alone_asks_for_the_table(typing: Typing) -> None:
    typing.type("\n")
    assert typing.commands.done == ["status"]
    assert typing.progress.said == ["did status"]
    assert typing.progress.ends == 1


def test_a_command_has_an_argument(typing: Typing) -> None:
    typing.type("KILL  12 \n")
    assert typing.commands.done == ["kill 12"]


def test_several_lines_are_several_commands(typing: Typing) -> None:
    typing.type("kill 1\nkill 2\nki")
    assert typing.commands.done == ["kill 1", "kill 2"]


def test_a_wrong_word_gets_a_hint(typing: Typing) -> None:
    typing.type("kil\n")
    assert typing.progress.said == [
        "There is no command 'kil'. Did you mean 'kill'? 'help' lists all of them."
    ]


def test_a_command_that_breaks_does_not_end_the_run(typing: Typing) -> None:
    typing.type("broken\n")
    assert typing.progress.said[0].startswith("broken failed: ZeroDivisionError")


def test_ctrl_d_is_not_the_end_of_commands(typing: Typing) -> None:
    typing.type("\x04")
    assert typing.console.is_reading
    typing.type("\n")
    assert typing.commands.done == ["status"]


def test_a_terminal_that_is_gone_is_not_read_any_more(typing: Typing) -> None:
    os.close(typing.keyboard)
    typing.console.beat()
    assert not typing.console.is_reading
    typing.console.beat()
    typing.keyboard = os.open(os.devnull, os.O_RDONLY)


def test_who_asked_to_stay_reads_on_after_the_run(typing: Typing) -> None:
    typing.commands.shall_stay = True
    os.write(typing.keyboard, b"\nnext\n")
    typing.console.over({})
    assert typing.commands.done == ["status"]
    assert typing.commands.is_closed
    assert not typing.console.is_reading
    assert typing.progress.prompt == ""


@pytest.mark.parametrize("mode", [RunMode.NOTEBOOK, RunMode.NONINTERACTIVE])
def test_no_commands_are_read_in_other_modes(
    mode: RunMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Commands", FakeCommands)
    typing = Typing(mode)
    assert not typing.console.is_reading
    typing.type("\n")
    typing.console.over({})
    typing.close()


def test_no_commands_are_read_from_a_file_or_from_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running: Any = type("R", (), {"graph": type("G", (), {"run_mode": RunMode.CONSOLE})()})()
    progress: Any = FakeProgress()
    with open(os.devnull) as null:
        console = Interactive(progress, null.fileno())
        console.began(running)
        assert not console.is_reading
    monkeypatch.setattr(sys, "stdin", None)
    console = Interactive(progress)
    console.began(running)
    assert not console.is_reading


def test_in_the_background_the_terminal_is_left_alone(
    typing: Typing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _fd: os.getpgrp() + 1)
    typing.type("\n")
    assert typing.commands.done == []
