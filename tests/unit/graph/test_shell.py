"""A command is checked where it is written, not on the node."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import Job
from pypelinin.graph.shell import shell


def test_a_command_is_plain_data() -> None:
    made = shell(
        ["sort", "in"], env={"LANG": "C"}, files={"in": "ü", "raw": b"\0"}, outputs=("out",),
        stdin="é", check=False,
    )  # fmt: skip
    assert made.command == {
        "argv": ["sort", "in"],
        "env": {"LANG": "C"},
        "cwd": None,
        "stdin": "é".encode(),
        "files": {"in": "ü".encode(), "raw": b"\0"},
        "outputs": ["out"],
        "check": False,
    }


def test_what_is_not_given_is_empty() -> None:
    assert shell(("true",)).command == {
        "argv": ["true"], "env": {}, "cwd": None, "stdin": b"", "files": {}, "outputs": [],
        "check": True,
    }  # fmt: skip


def test_later_changes_do_not_reach_the_command() -> None:
    argv, env, files, outputs = ["ls"], {"A": "1"}, {"in": "x"}, ["out"]
    made = shell(argv, env=env, files=files, outputs=outputs)
    argv.append("-l")
    env["A"] = "2"
    files["in"] = "y"
    outputs.append("more")
    assert made.command["argv"] == ["ls"]
    assert made.command["env"] == {"A": "1"}
    assert made.command["files"] == {"in": b"x"}
    assert made.command["outputs"] == ["out"]


@pytest.mark.parametrize(
    ("program", "name"),
    [("ls", "ls"), ("/usr/bin/env", "env"), ("./run.sh", "run.sh"), ("a/", "shell")],
)
def test_a_job_has_the_name_of_its_program(program: str, name: str) -> None:
    assert Job(shell([program, "x"])).name == name


def test_the_repr_is_what_one_would_write() -> None:
    made = shell(["echo", "it's me"])
    assert repr(made) == """shell(['echo', "it's me"])"""
    assert eval(repr(made)).command == made.command


@pytest.mark.parametrize("argv", ["ls -l", "", [], (), None, b"ls", ["ls", 1], [b"ls"], [None]])
def test_what_is_no_list_of_text_is_refused(argv: Any) -> None:
    with pytest.raises(DefinitionError, match="A command is a list of text") as caught:
        shell(argv)
    assert "sh', '-c'" in caught.value.remedy


@pytest.mark.parametrize("name", ["/etc/passwd", "..", "../out", "a/../../out", "a/.."])
def test_a_file_outside_of_the_directory_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="outside") as caught:
        shell(["ls"], files={name: "x"})
    assert repr(name) in str(caught.value)
    with pytest.raises(DefinitionError, match="outside"):
        shell(["ls"], outputs=[name])


def test_dots_within_a_name_are_no_way_out() -> None:
    made = shell(["ls"], files={"a..b/..c": "x"}, outputs=["...", "d/e"])
    assert list(made.command["files"]) == ["a..b/..c"]
    assert made.command["outputs"] == ["...", "d/e"]


@pytest.mark.parametrize("more", [{"files": {"in": "x"}}, {"outputs": ["out"]}])
def test_a_directory_and_files_at_once_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="leave cwd out"):
        shell(["ls"], cwd="/tmp", **more)
    assert shell(["ls"], cwd="/tmp").command["cwd"] == "/tmp"


@pytest.mark.parametrize("more", [{"args": ("-l",)}, {"kwargs": {"env": {}}}, {"data": {"x": 1}}])
def test_a_job_of_a_command_takes_nothing_else(more: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"for (functions|named workers)"):
        Job(shell(["ls"]), **more)
