"""`run FILE`: a script with a cluster at hand."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.cli.commands import UP, Home, gone, until

SCRIPT = """
import sys

from pypelinin import Job, Pipeline, PipelineManager

with PipelineManager() as manager:
    (pipeline,) = manager.run(Pipeline({Job(sys.argv[1]): None}))
    print(pipeline.state, manager.api, sys.argv[2:])
sys.exit(int((sys.argv + ["0"])[2]))
"""


@pytest.fixture
def home(home: Home) -> Iterator[Home]:
    home.write("script.py", SCRIPT)
    yield home
    assert home.scratch() == []


def test_it_starts_a_cluster_for_the_script_and_stops_it(home: Home) -> None:
    done = home.run("run", "--workers", "kitchen", "--slots", "1", "script.py", "Cook", "3", "--x")
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("done tcp://127.0.0.1:")
    assert done.stdout.endswith("['3', '--x']\n")
    assert done.stderr == ""


def test_workers_are_found_beside_the_script_and_what_they_print_is_shown(home: Home) -> None:
    inner = home.directory / "inner"
    inner.mkdir()
    for name in ("kitchen.py", "script.py"):
        (home.directory / name).rename(inner / name)
    done = home.run("run", "--workers", "kitchen", "inner/script.py", "Loud")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "hello from the slot\n"


def test_a_failed_job_shows_its_remote_traceback(home: Home) -> None:
    done = home.run("run", "--workers", "kitchen", "script.py", "Burn")
    assert done.returncode == 1
    assert "ValueError: it is black" in done.stderr
    assert "kitchen.py" in done.stderr


def test_a_running_cluster_is_used(home: Home) -> None:
    home.fine(*UP)
    api = home.cluster()["api"]
    done = home.run("run", "script.py", "Cook")
    assert done.stdout == f"done {api} []\n", done.stderr
    assert f"cluster {api} (your running cluster" in done.stderr
    done = home.run("run", "--slots", "1", "script.py", "Cook")
    assert "its own workers, store and slots are used" in done.stderr
    done = home.run("run", "--local", "--workers", "kitchen", "--slots", "1", "script.py", "Cook")
    assert done.returncode == 0, done.stderr
    assert api not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere.py",), 2, "'nowhere.py' does not exist"),
        (("--workers", "nowhere", "script.py"), 4, "workers module 'nowhere' cannot be imported"),
        (("--workers", "kitchen", "--store", "x", "script.py"), 6, "A store is named 'module:Cl"),
        (("--workers", "kitchen", "--slots", "0", "script.py"), 2, "--slots"),
        (
            ("--api", "tcp://127.0.0.1:1", "--deadline", "0.2", "script.py"),
            3,
            "No Router answered at tcp://127.0.0.1:1",
        ),
        (("--hosts", "missing.txt", "script.py"), 2, "missing.txt cannot be read"),
        (("--hosts", "script.py", "script.py"), 6, "script.py, line 2: 'import sys'"),
        (("--host", "a,a", "script.py"), 6, "--host: 'a': a was named before"),
        (("--host", "a", "--hosts", "b", "script.py"), 2, "--hosts and --host exclude each other"),
        (("--host", "a", "--api", "tcp://h:1", "script.py"), 2, "Hosts are for a cluster of its"),
        (("--host", "a", "--ssh", "/no/such/ssh", "script.py"), 4, "'/no/such/ssh' cannot be run"),
        (("--checkpoint", "no/place", "script.py"), 2, "/no is no directory"),
        (("--checkpoint", ".", "script.py"), 2, " is a directory"),
    ],
)
def test_wrong_use(home: Home, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = home.run("run", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


HOLD = """
from menu import GATE

from pypelinin import Job, Pipeline, PipelineManager

try:
    with PipelineManager() as manager:
        manager.run(Pipeline({Job("Gate"): None}, data=GATE))
except KeyboardInterrupt:
    print("the script was interrupted", flush=True)
    raise SystemExit(7)
"""


def test_ctrl_c_is_the_scripts_and_the_cluster_ends_with_it(home: Home) -> None:
    home.write("hold.py", HOLD)
    with home.start("run", "--workers", "kitchen", "--slots", "1", "hold.py") as command:
        until(home.gate_has_begun)
        pids = [p.pid for p in psutil.Process(command.process.pid).children(recursive=True)]
        assert len(pids) >= 4
        command.interrupt()
        assert command.ends() == 7
        assert command.out == "the script was interrupted\n"
        assert command.err == ""
    until(lambda: gone(pids), "the end of what hung on them")


def test_sigterm_goes_to_the_script_and_the_cluster_ends_with_it(home: Home) -> None:
    home.write("hold.py", HOLD)
    with home.start("run", "--workers", "kitchen", "--slots", "1", "hold.py") as command:
        until(home.gate_has_begun)
        pids = [p.pid for p in psutil.Process(command.process.pid).children(recursive=True)]
        command.signal(signal.SIGTERM)
        assert command.ends() == 128 + signal.SIGTERM
    until(lambda: gone(pids), "the end of what hung on them")


def test_a_checkpoint_is_named_to_the_script(home: Home) -> None:
    home.write("env.py", "import os; print(os.environ.get('PYPELININ_CHECKPOINT'))\n")
    command = ("run", "--slots", "1")
    assert home.fine(*command, "--checkpoint", "state", "env.py") == f"{home.directory}/state\n"
    assert home.fine(*command, "env.py") == "None\n"
    done = home.run(*command, "env.py", env={"PYPELININ_CHECKPOINT": "/a/b"})
    assert done.stdout == "/a/b\n"


def test_this_machine_can_be_the_only_host(home: Home) -> None:
    done = home.run(
        "run", "--host", "localhost cpus=3", "--workers", "kitchen", "script.py", "Cook"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("done tcp://127.0.0.1:")
    assert re.fullmatch(r"jobs run on \S+ \(3 slots\)\n", done.stderr)


def test_ctrl_c_while_a_host_does_not_answer_leaves_nothing(home: Home) -> None:
    ssh = home.write("ssh", f"#!/bin/sh\ntouch {home.directory}/begun\nexec sleep 100\n")
    ssh.chmod(0o755)
    with home.start("run", "--ssh", str(ssh), "--host", "silent", "script.py", "Cook") as command:
        until(home.gate_has_begun)
        pids = [p.pid for p in psutil.Process(command.process.pid).children(recursive=True)]
        command.interrupt()
        assert command.ends() == 130
        assert (command.out, command.err) == ("", "pypelinin run: interrupted\n")
    until(lambda: gone(pids), "the end of what hung on them")
