"""`up` and `down`: one cluster for a journal, kept running, and nothing else stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pypelinin.cli import up
from pypelinin.runtime.places import ProcessMark, RunningCluster
from tests.integration.cli.commands import FREE, UP, Home, Started, gone, role_of, until

FOREGROUND = ("up", "--workers", "kitchen", "--slots", "1", "--synchronous", "normal", *FREE)


def daemons(home: Home) -> dict[str, int]:
    """The pids of all processes of the cluster, by role."""
    cluster = home.cluster()
    marks = {"keeper": cluster["supervisor"], **cluster["daemons"]}
    return {role: mark["pid"] for role, mark in marks.items()}


def replaced(home: Home, role: str, pid: int) -> bool:
    """Whether another daemon has the role and has joined."""
    if daemons(home).get(role, pid) == pid:
        return False
    done = home.run("status", "--json", "--deadline", "1")
    if done.returncode:
        return False
    nodes = json.loads(done.stdout)["nodes"]
    return {"broker", "pipeliner"} <= {node["role"] for node in nodes if node["state"] == "up"}


# --- up and down ------------------------------------------------------------------------------


def test_up_is_safe_to_repeat_and_down_stops_all_of_it(home: Home) -> None:
    first = home.json(*UP)
    assert (first["already"], first["journal"]) == (False, str(home.directory / ".pypelinin"))
    assert [node["slots"] for node in first["nodes"]] == [2]
    pids = daemons(home)
    assert sorted(pids) == ["broker", "keeper", "pipeliner", "router"]
    assert first["pid"] == pids["keeper"]
    for again in (UP, FOREGROUND):
        document = home.json(*again)
        assert (document["already"], document["api"]) == (True, first["api"])
    assert home.fine("up").startswith(f"already up: API {first['api']}, broadcast ")
    assert daemons(home) == pids
    assert home.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"
    assert home.fine("down") == f"stopped: API {first['api']}, journal {first['journal']}\n"
    until(lambda: gone(list(pids.values())))
    assert home.fine("down").startswith("Nothing to stop: no cluster of ")
    log = (home.directory / ".pypelinin" / "up.log").read_text()
    assert " - Router - INFO - Router 1." in log
    assert "Traceback" not in log


def test_what_was_accepted_goes_on_with_the_next_up(home: Home) -> None:
    home.fine(*UP, "--no-broker")
    run = home.fine("submit", "-q", "menu.py:meal").strip()
    assert "it waits: no broker connected" in home.fine("status", run)
    home.fine("down")
    home.fine(*UP)
    assert home.fine("wait", run).startswith(f"{run} done ")


def test_a_program_finds_it_too(home: Home) -> None:
    home.write("ask.py", "import pypelinin\nprint(pypelinin.PipelineManager().api, end='')\n")
    with home.start("ask.py", module=False) as before:
        assert before.ends() == 0, before.err
        assert before.out == "tcp://127.0.0.1:5555"
    home.fine(*UP)
    with home.start("ask.py", module=False) as program:
        assert program.ends() == 0, program.err
        assert program.out == home.cluster()["api"]


def test_two_at_once_make_one_cluster(home: Home) -> None:
    with home.start(*UP, "--json") as one, home.start(*UP, "--json") as other:
        assert (one.ends(), other.ends()) == (0, 0), one.err + other.err
        documents = [json.loads(one.out), json.loads(other.out)]
    assert documents[0]["api"] == documents[1]["api"]
    assert sorted(document["already"] for document in documents) == [False, True]


def test_without_workers_it_runs_functions(home: Home) -> None:
    home.fine("up", "--detach", "--synchronous", "normal", *FREE)
    assert sorted(daemons(home)) == ["broker", "keeper", "pipeliner", "router"]
    script = "import pypelinin; print(pypelinin.run(pypelinin.Job(pow, args=(2, 10)), timeout=30))"
    (home.directory / "function.py").write_text(script)
    assert home.fine("run", "function.py").strip().endswith("1024")


def test_without_a_broker_it_says_so(home: Home) -> None:
    home.fine("up", "--detach", "--no-broker", "--synchronous", "normal", *FREE)
    assert sorted(daemons(home)) == ["keeper", "pipeliner", "router"]
    assert "no Broker: jobs wait until one joins" in home.fine("status")


def test_a_taken_default_port_is_given_up_for_a_free_one(home: Home) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the Router does
        with contextlib.suppress(AssertionError):  # somebody else has it for good
            until(lambda: listens(taken, 5555), "the end of another test's cluster")
        done = home.run("up", "--detach", "--no-broker", "--no-pipeliner")
    assert done.returncode == 0, done.stderr
    assert "tcp://127.0.0.1:5555 is taken; api gets any free port" in done.stderr
    api = home.cluster()["api"]
    assert not api.endswith(":5555")
    assert f"export PYPELININ_API={api}" in done.stdout


def listens(server: socket.socket, port: int) -> bool:
    try:
        server.bind(("127.0.0.1", port))
    except OSError:
        return False
    server.listen()
    return True


def test_a_log_that_grew_long_is_put_aside(home: Home) -> None:
    journal = home.directory / "journal"
    journal.mkdir()
    (journal / "up.log").write_bytes(b"x")
    os.truncate(journal / "up.log", up.LOG_BYTES_MAX + 1)
    assert up.log_file(journal).stat().st_size == 0
    assert (journal / "up.log.1").stat().st_size == up.LOG_BYTES_MAX + 1


# --- in the foreground ------------------------------------------------------------------------


@pytest.fixture
def shown(home: Home) -> Iterator[Started]:
    with home.start(*FOREGROUND) as command:
        command.says("stops\n", "out")
        yield command


def test_ctrl_c_stops_it(home: Home, shown: Started) -> None:
    children = shown.children()
    assert sorted(children) == ["broker", "pipeliner", "router"]
    own = {os.getsid(process.pid) for process in children.values()}
    assert len(own) == 3
    assert os.getsid(shown.process.pid) not in own
    shown.interrupt()
    assert shown.ends() == 0
    assert gone([process.pid for process in children.values()])
    assert "Ctrl-C or `pypelinin down` stops\n" in shown.out
    assert "Stopping: what runs is finished" in shown.err
    assert "Traceback" not in shown.err
    assert home.fine("down").startswith("Nothing to stop")


def test_the_first_ctrl_c_lets_what_runs_finish(home: Home, shown: Started) -> None:
    home.fine("submit", "-q", "menu.py:held")
    until(home.gate_has_begun)
    shown.interrupt()
    shown.says("Broker - INFO - Draining")
    assert shown.process.poll() is None
    home.open_gate()
    assert shown.ends() == 0


def test_the_second_ctrl_c_does_not_wait(home: Home, shown: Started) -> None:
    home.fine("submit", "-q", "menu.py:held")
    until(home.gate_has_begun)
    children = shown.children()
    shown.interrupt()
    shown.says("Broker - INFO - Draining")
    shown.interrupt()
    assert shown.ends() == 0
    assert gone([process.pid for process in children.values()])


def test_down_stops_it_too(home: Home, shown: Started) -> None:
    assert home.fine("down").startswith("stopped: API ")
    assert shown.ends() == 0


# --- deaths -----------------------------------------------------------------------------------


def test_a_daemon_that_was_killed_is_started_again(home: Home) -> None:
    home.fine(*UP)
    first = daemons(home)
    api = home.cluster()["api"]
    run = home.fine("submit", "-q", "menu.py:meal").strip()
    home.fine("wait", run)
    for role in ("router", "broker", "pipeliner"):
        os.kill(first[role], signal.SIGKILL)
        until(partial(replaced, home, role, first[role]), f"a new {role}")
    second = daemons(home)
    for role in ("router", "broker", "pipeliner"):
        os.kill(second[role], signal.SIGKILL)
    for role in ("router", "broker", "pipeliner"):
        until(partial(replaced, home, role, second[role]), f"a new {role}")
    assert home.cluster()["api"] == api
    assert home.json("list")["runs"][0]["id"] == run
    assert home.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"
    log = (home.directory / ".pypelinin" / "up.log").read_text()
    assert "The router ended: killed by signal 9. Starting it again in 0.2 s." in log


def test_nothing_outlives_a_keeper_that_was_killed(home: Home) -> None:
    home.fine(*UP)
    pids = daemons(home)
    os.kill(pids["keeper"], signal.SIGKILL)
    until(lambda: gone(list(pids.values())), "the end of all daemons")
    assert "(the default)" in home.run("list", "--deadline", "0.1").stderr
    assert home.fine("down").startswith("Nothing to stop")
    assert home.json(*UP)["already"] is False


# --- down stops nothing else ------------------------------------------------------------------


def test_down_asks_which_if_there_are_several(home: Home) -> None:
    base = ("up", "--detach", "--no-broker", "--no-pipeliner", *FREE)
    for name in ("a", "b"):
        home.fine(*base, "--journal", name)
    done = home.run("down")
    assert done.returncode == 2
    assert f"Which of your 2 clusters? --journal {home.directory}/" in done.stderr
    assert home.fine("down", "--journal", "c").startswith("Nothing to stop")
    assert home.fine("down", "--journal", "a").endswith(f"journal {home.directory / 'a'}\n")
    assert home.fine("down").endswith(f"journal {home.directory / 'b'}\n")
    for name in ("a", "b"):
        home.fine(*base, "--journal", name)
    assert home.fine("down", "--all").count("stopped: ") == 2


def test_down_leaves_a_process_alone_that_has_the_pid_by_chance(home: Home) -> None:
    home.fine(*UP)
    path = next((home.directory / "run" / "pypelinin" / "clusters").glob("*.json"))
    text = path.read_text()
    home.fine("down")
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    document = json.loads(text)
    for mark in (document["supervisor"], *document["daemons"].values()):
        mark["pid"] = stranger.pid
        mark["create_time"] -= 1000.0
    path.write_text(json.dumps(document))
    try:
        assert home.fine("down").startswith("Nothing to stop")
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


def test_who_does_not_listen_is_killed(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(up, "AT_ONCE_S", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); input()"
    process = subprocess.Popen(
        [sys.executable, "-uc", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    mark = ProcessMark.of(process.pid)
    cluster = RunningCluster(str(tmp_path), "", "", 0.0, "", mark, {"router": mark})
    assert up.end(cluster, 0.1) == "killed"
    assert mark.process() is None
    process.communicate()


# --- what cannot be started -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (None, "The workers module 'odd' cannot be imported: No module named 'odd'"),
        ("import nowhere\n", "The workers module 'odd' cannot be imported: No module named 'nowh"),
        ("def f(:\n", "SyntaxError: The workers module 'odd' cannot be imported"),
        ("x = 1\n", "lacks __all__. List its workers there: __all__ = ['MyWorker']"),
        ("__all__ = ['X']\nX = 1\n", "odd.X stands in __all__ but is no worker"),
        ("__all__ = ['Gone']\n", "odd.Gone stands in __all__ but is no worker"),
    ],
)
def test_workers_that_cannot_be_loaded(home: Home, module: str | None, said: str) -> None:
    if module is not None:
        home.write("odd.py", module)
    refused(home, said, "--workers", "odd")


def test_what_cannot_start_in_the_background_says_the_same(home: Home) -> None:
    refused(home, "The workers module 'odd' cannot be imported", "--workers", "odd", "--detach")


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("odd:Store", "The store odd:Store cannot be loaded: No module named 'odd'"),
        ("kitchen:Store", "has no attribute 'Store'"),
        ("own:Store", "Store() raised: the disk is full"),
        ("pypelinin.stores:FileStore", "missing 1 required positional argument: 'directory'"),
        ("pypelinin.stores", "A store is named 'module:Class', not 'pypelinin.stores'"),
    ],
)
def test_a_store_that_cannot_be_made(home: Home, store: str, said: str) -> None:
    home.write(
        "own.py", "class Store:\n    def __init__(self): raise OSError('the disk is full')\n"
    )
    refused(home, said, "--workers", "kitchen", "--store", store)


def refused(home: Home, said: str, *options: str) -> None:
    """It says so in one message, and leaves nothing."""
    done = home.run("up", *FREE, "--slots", "1", *options)
    assert done.returncode in (4, 6), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("pypelinin up: ")]
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    left = [role_of(process) for process in psutil.process_iter() if mine(process, home)]
    assert not any(left)
    assert home.fine("down").startswith("Nothing to stop")


def mine(process: psutil.Process, home: Home) -> bool:
    try:
        return process.cwd() == str(home.directory)
    except psutil.Error:
        return False


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--slots", "0"), 2, "--slots"),
        (("--slots", "many"), 2, "--slots"),
        (("--api", "127.0.0.1:5555"), 2, "api (flag): '127.0.0.1:5555' is no address"),
        (("--store-option", "directory"), 2, "--store-option takes NAME=VALUE"),
        (("--synchronous", "never"), 2, "--synchronous"),
        (("--api", "tcp://0.0.0.0:0", "--broadcast", "tcp://127.0.0.1:0"), 6, "say --insecure"),
    ],
)
def test_wrong_use(home: Home, options: tuple[str, ...], code: int, said: str) -> None:
    done = home.run("up", "--no-broker", *options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr


def test_a_given_port_that_is_taken_is_not_exchanged(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = home.run("up", "--no-broker", "--api", f"tcp://127.0.0.1:{port}")
    assert done.returncode == 4
    assert f"The address tcp://127.0.0.1:{port} is taken by pid {os.getpid()} (" in done.stderr


def test_an_unknown_setting_in_the_file_is_named(home: Home) -> None:
    home.write("pypelinin.toml", 'worker = ["kitchen"]\n')
    done = home.run("up", "--detach")
    assert done.returncode == 2
    assert "has an unknown setting 'worker'. Did you mean 'workers'?" in done.stderr


def test_settings_of_the_file_are_used(home: Home) -> None:
    home.write(
        "pypelinin.toml",
        'workers = ["kitchen"]\nslots = 3\njournal = "data"\nsynchronous = "normal"\n'
        'store = "pypelinin.stores:FileStore"\n[store_configuration]\ndirectory = "results"\n',
    )
    document = home.json("up", "--detach", *FREE)
    assert document["journal"] == str(home.directory / "data")
    assert [node["slots"] for node in document["nodes"]] == [3]
    run = home.fine("submit", "menu.py:meal", "--wait").split()[0]
    assert (home.directory / "results" / "pipelines" / run / "Cook.json").exists()
