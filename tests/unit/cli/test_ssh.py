"""What ssh is told, and what its failures mean. `tests/deploy/test_ssh.py` has a real one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.cli.hosts import Host
from pypelinin.cli.ssh import broken, by_hand, command, failure
from pypelinin.config import VERSION

PORTS = ("127.0.0.1:5555", "127.0.0.1:6001")


def test_the_command_line() -> None:
    host = Host("node", user="me", port=2222)
    words = command(["ssh", "-F", "file"], host, "/tmp/x.api", PORTS, "/here/python")
    assert words[:3] == ["ssh", "-F", "file"]
    assert {"BatchMode=yes", "ForwardAgent=no", "PermitLocalCommand=no"} <= set(words)
    assert words[-8:-1] == [
        "/tmp/x.api:127.0.0.1:5555", "-R", "/tmp/x.api.values:127.0.0.1:6001",
        "-p", "2222", "--", "me@node",
    ]  # fmt: skip


def run_there(tmp_path: Path, host: Host, here: str) -> subprocess.CompletedProcess[str]:
    """The remote part of the command line, as the shell over there runs it."""
    script = command(["ssh"], host, str(tmp_path / "x.api"), PORTS, here)[-1]
    for name in ("x.api", "x.api.values"):
        (tmp_path / name).touch()
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=30,
    )  # fmt: skip


def interpreter(path: Path, says: str, code: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {says} "$@"\nexit {code}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("given", ["my python/bin", "~/my python/bin"])
def test_the_interpreter_that_was_named_is_used(tmp_path: Path, given: str) -> None:
    interpreter(tmp_path / "my python" / "bin", "named", 5)
    done = run_there(tmp_path, Host("node", python=given), sys.executable)
    assert (done.returncode, done.stdout) == (5, "named -P -m pypelinin.cli.hosted\n")
    assert not list(tmp_path.glob("x.api*"))


def test_else_the_same_path_as_here_else_python3(tmp_path: Path) -> None:
    here = interpreter(tmp_path / "here", "here")
    interpreter(tmp_path / "python3", "found")
    assert run_there(tmp_path, Host("node"), str(here)).stdout.startswith("here -P")
    assert run_there(tmp_path, Host("node"), "/no/such/python").stdout.startswith("found -P")


def test_a_shell_that_is_none_of_posix_is_told_to_start_one() -> None:
    last = command(["ssh"], Host("node"), "/tmp/x.api", PORTS, "/here/python")[-1]
    assert shlex.split(last)[:3] == ["exec", "sh", "-c"]


@pytest.mark.parametrize(
    ("code", "said", "what", "remedy"),
    [
        (255, "Host key verification failed.", "the key of node is not known", "`ssh -p 22 node`"),
        (255, "node: Permission denied (publickey).", "without a password", "`ssh-copy-id node`"),
        (255, "ssh: Could not resolve hostname node: x", "not the name of a host", "~/.ssh/config"),
        (255, "Error: remote port forwarding failed for listen path /x", "refuses the tunnel",
         "AllowStreamLocalForwarding"),
        (255, "ssh: connect to host node port 22: No route to host", "cannot be reached",
         "should work without a question"),
        (1, "/usr/bin/python3: No module named pypelinin.cli.hosted", "is not installed",
         f"pip install pypelinin=={VERSION}"),
        (1, "Error while finding module: (ModuleNotFoundError: No module named 'pypelinin')",
         "is not installed", "python=PATH"),
        (2, "Unknown option: -P", "is older than 3.11", "python=PATH"),
        (127, "sh: 1: python3: not found", "has no Python at 'python3'", "python=PATH"),
        (126, "sh: 1: x: Permission denied", "without a password", ""),
        (1, "", "node: exit code 1 (no word)", ""),
    ],
)  # fmt: skip
def test_what_a_failure_means(code: int, said: str, what: str, remedy: str) -> None:
    error = failure(Host("node", port=22), code, ["Warning: something else", said] if said else [])
    assert what in error.what
    assert remedy in error.remedy
    assert said in error.what


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (255, "its connection broke (Permission denied)"),
        (3, "exit code 3 (Permission denied)"),
        (-9, "its ssh was killed by signal 9"),
    ],
)
def test_what_jobs_have_said_explains_no_end(code: int, how: str) -> None:
    assert broken(code, ["Permission denied", ""]) == how


def test_how_to_try_by_hand() -> None:
    assert by_hand(Host("node", user="me")) == "ssh me@node"
