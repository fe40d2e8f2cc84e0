"""`router`, `pipeliner` and `broker` in the foreground, each in a terminal of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pypelinin.runtime.journal import FORMAT
from tests.integration.cli.commands import FREE, Home, Started, until

ROUTER = ("router", "--synchronous", "normal", *FREE)


@contextmanager
def router(home: Home, *options: str) -> Iterator[tuple[Started, str]]:
    """A Router that serves, and its address."""
    with home.start(*ROUTER, *options) as command:
        command.says("journal ")
        found = re.search(r"API (tcp://[\d.]+:\d+)", command.err)
        assert found
        yield command, found[1]


@contextmanager
def broker(home: Home, api: str, *options: str) -> Iterator[Started]:
    given = ("--router", api, "--workers", "kitchen", "--slots", "1", *options)
    with home.start("broker", *given) as command:
        command.says("Joined")
        yield command


def test_three_terminals_make_a_cluster(home: Home) -> None:
    with (
        router(home, "--store-option", "directory=results") as (desk, api),
        broker(home, api, "--store", "pypelinin.stores:FileStore", "--label", "disk=ssd") as node,
        home.start("pipeliner", "--router", api) as planner,
    ):
        planner.says("Joined")
        done = home.run("submit", "--api", api, "menu.py:meal", "--wait")
        assert done.returncode == 0, done.stderr
        run = done.stdout.split()[0]
        assert (home.directory / "results" / "pipelines" / run / "Cook.json").exists()
        nodes = home.json("status", "--api", api)["nodes"]
        assert {"disk": "ssd"} in [one["labels"] for one in nodes]
        for command, name in ((planner, "Pipeliner"), (node, "Broker"), (desk, "Router")):
            command.signal(signal.SIGTERM)
            assert command.ends() == 0, command.err
            assert re.search(rf"^[-\d]+ [:,\d]+ - {name} - INFO - ", command.err, re.MULTILINE)
            assert "Traceback" not in command.err


def test_json_logs(home: Home) -> None:
    with home.start(*ROUTER, "--log-format", "json") as command:
        command.says('"message": "Router ')
        command.signal(signal.SIGTERM)
        assert command.ends() == 0
    lines = [json.loads(line) for line in command.err.splitlines()]
    assert {line["name"] for line in lines} == {"Router"}
    assert lines[-1]["message"] == "Stopped"


def test_a_quiet_daemon(home: Home) -> None:
    with home.start("pipeliner", "-h") as command:
        assert command.ends() == 0
    with (
        router(home) as (_, api),
        home.start("pipeliner", "--router", api, "--log-level", "error") as planner,
    ):
        until(lambda: "pipeliner" in home.fine("status", "--api", api))
        planner.signal(signal.SIGINT)
        assert planner.ends() == 0
        assert planner.err == ""


def test_a_broker_finishes_what_runs_and_a_second_signal_stops_it(home: Home) -> None:
    with router(home) as (_, api):
        for last in (False, True):
            (home.directory / "begun").unlink(missing_ok=True)
            with broker(home, api) as node:
                home.fine("submit", "--api", api, "menu.py:held")
                until(home.gate_has_begun)
                node.signal(signal.SIGTERM)
                node.says("Draining: finishing what runs.")
                assert node.process.poll() is None
                if last:
                    node.signal(signal.SIGTERM)
                else:
                    home.open_gate()
                assert node.ends() == 0, node.err
                (home.directory / "gate").unlink(missing_ok=True)
        home.open_gate()


def test_a_broker_says_which_router_it_takes(home: Home) -> None:
    with router(home) as (_, api):
        home.write("pypelinin.toml", f'api = "{api}"\nworkers = ["kitchen"]\nslots = 1\n')
        with home.start("broker") as node:
            node.says("Joined")
            assert f"cluster {api} (api in {home.directory / 'pypelinin.toml'})" in node.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("router", "--api", "5555"), 2, "api (flag): '5555' is no address. Write tcp://HOST:PORT"),
        (("router", "--api", "tcp://0.0.0.0:0"), 6, "bind 127.0.0.1, or say --insecure"),
        (("router", "--api", "tcp://10.255.255.1:9", "--insecure"), 4, "Cannot bind"),
        (("pipeliner", "--router", "here"), 2, "--api: 'here' is no address"),
        (("broker", "--slots", "0"), 2, "--slots"),
        (("broker", "--workers", "kitchen", "--label", "ssd"), 2, "--label takes NAME=VALUE"),
    ],
)
def test_wrong_use(home: Home, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = home.run(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_beyond_loopback_with_the_flag(home: Home) -> None:
    with router(home, "--api", "tcp://0.0.0.0:0", "--insecure") as (_, api):
        assert "0.0.0.0" in api
        home.fine("status", "--api", api.replace("0.0.0.0", "127.0.0.1"))


def test_a_taken_port_says_by_whom(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = home.run("router", "--api", address)
    assert done.returncode == 4
    assert f"The address {address} is taken by pid {os.getpid()} (" in done.stderr
    assert "Stop that process, or choose another port." in done.stderr


# --- journals ---------------------------------------------------------------------------------


def test_a_second_router_on_the_same_journal(home: Home) -> None:
    with router(home) as (first, api):
        done = home.run(*ROUTER)
        assert done.returncode == 4
        assert f"Another Router has the journal {home.directory / '.pypelinin'}" in done.stderr
        assert f"pid {first.process.pid} on " in done.stderr
        assert api in done.stderr
        home.fine("status", "--api", api)


def test_a_journal_of_a_newer_version(home: Home) -> None:
    with router(home) as (first, _):
        first.signal(signal.SIGTERM)
        assert first.ends() == 0
    database = sqlite3.connect(home.directory / ".pypelinin" / "journal.sqlite")
    database.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT + 1,))
    database.commit()
    database.close()
    done = home.run(*ROUTER)
    assert done.returncode == 4
    assert f"has format {FORMAT + 1}; this version reads " in done.stderr
    assert "Traceback" not in done.stderr


AS_NOBODY = """
import importlib, os, pkgutil, sys
import pypelinin.cli, pypelinin.cluster, pypelinin.runtime, pypelinin.wire
# all of it now: a checkout below root's home cannot be read later
for package in (pypelinin.cli, pypelinin.cluster, pypelinin.runtime, pypelinin.wire):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
main = pypelinin.cli.main
os.setgid(65534)
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_a_journal_directory_that_cannot_be_written(home: Home) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        arguments = [*ROUTER, "--journal", f"{name}/journal"]
        command = ["-m", "pypelinin"]
        if os.geteuid() == 0:  # root may write anywhere: somebody else must try
            command = ["-c", AS_NOBODY]
        done = subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=name,
            env=home.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        Path(name).chmod(0o700)
    assert done.returncode == 4, done.stderr
    assert f"The journal directory {name}/journal cannot be written: Permission" in done.stderr
    assert "Give another one with --journal DIR." in done.stderr
