"""The keeper's side of a Broker behind ssh, with a program in its place that says what we like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypelinin.cli.host_daemon import HostDaemon
from pypelinin.cli.hosts import Host
from pypelinin.config import DEFAULTS, VERSION
from pypelinin.errors import ClusterError
from tests.integration.cli.commands import until

Start = Callable[[str], HostDaemon]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def start(tmp_path: Path, lines: list[str]) -> Iterator[Start]:
    """Start a daemon whose "ssh" is this shell script."""
    (tmp_path / "values").mkdir()
    (tmp_path / "values" / "port").write_text("6001")
    started = []

    def starts(script: str) -> HostDaemon:
        words = ["/bin/sh", "-c", script, "ssh"]
        daemon = HostDaemon(
            Host("node", cpus=3), words, "tcp://0.0.0.0:5555", str(tmp_path), lines.append
        )
        started.append(daemon)
        return daemon

    yield starts
    for daemon in started:
        daemon.close()
        assert daemon.process.returncode is not None


def read_all(daemon: HostDaemon) -> None:
    while daemon.read():
        pass


def test_it_gets_its_settings_and_no_others(start: Start, tmp_path: Path) -> None:
    daemon = start('echo "welcome"; for n in 1 2; do read -r line; echo "$line"; done')
    daemon.configure({**DEFAULTS, "workers": ["kitchen"], "journal": "/secret"})
    daemon.ask_end()
    read_all(daemon)
    assert daemon.answer.pop("stop") is True
    assert daemon.answer.pop("api").startswith("ipc:///tmp/pypelinin-")
    assert daemon.answer["workers"] == ["kitchen"]
    assert (daemon.answer["slots"], daemon.answer["version"]) == (3, VERSION)
    assert "journal" not in daemon.answer


def test_an_access_file_travels_by_its_text(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broker.toml").write_text("secret")
    daemon = start('read -r line; echo "$line"')
    daemon.configure({**DEFAULTS, "access": str(tmp_path / "broker.toml")})
    read_all(daemon)
    assert daemon.answer["access_text"] == "secret"
    assert "access" not in daemon.answer


def test_the_tunnel_leads_to_loopback(start: Start) -> None:
    daemon = start('echo "$@" >&2')
    assert daemon.ended()
    (line,) = list(daemon._said)
    assert ".api:127.0.0.1:5555 -R " in line
    assert ".api.values:127.0.0.1:6001 -- node exec sh -c" in line


def test_what_is_said_there_is_told_here_with_its_host(start: Start, lines: list[str]) -> None:
    daemon = start("echo one >&2; echo two >&2; exit 255")
    read_all(daemon)
    assert daemon.ended() == (
        "node cannot be reached by ssh (two). `ssh node` should work without a question."
    )
    assert lines == ["node: one", "node: two"]
    assert daemon.answer["error"]["kind"] == "ClusterError"


def test_an_error_from_there_names_its_host_once(start: Start) -> None:
    error = json.dumps({"error": {"kind": "Refused", "what": "No.", "remedy": "Ask."}})
    daemon = start(f"echo '{error}'; exit 1")
    read_all(daemon)
    assert [daemon.ended(), daemon.ended()] == ["node: No. Ask."] * 2
    assert daemon.answer["error"]["what"] == "node: No."


def test_closing_it_ends_ssh(start: Start) -> None:
    daemon = start("exec cat")
    daemon.configure(DEFAULTS)
    until(lambda: daemon.read() and "slots" in daemon.answer)
    daemon.close()
    assert daemon.process.returncode == -9


def test_without_an_ssh(tmp_path: Path) -> None:
    (tmp_path / "values").mkdir()
    (tmp_path / "values" / "port").write_text("6001")
    with pytest.raises(ClusterError, match="'/no/such/ssh' cannot be run: No such file") as error:
        HostDaemon(Host("a"), ["/no/such/ssh"], "tcp://127.0.0.1:1", str(tmp_path), print)
    assert "--ssh" in error.value.remedy


def test_an_answer_that_is_none_of_ours_is_no_error_of_ours(start: Start) -> None:
    daemon = start("""echo '{"error": {"kind": "os"}}'; echo '[]'; echo 7; exit 9""")
    read_all(daemon)
    assert daemon.ended() == "node: exit code 9 (7)."


def test_how_one_that_had_worked_ended(start: Start) -> None:
    daemon = start("""echo '{"ready": {}}'; echo "Host key verification failed" >&2; exit 255""")
    read_all(daemon)
    assert daemon.ended() == "its connection broke (Host key verification failed)"
