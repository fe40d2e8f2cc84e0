"""`up --hosts` over a real sshd: Brokers start, work, are told when they cannot, and end."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.deploy.sshd import Sshd
from tests.integration.cli.commands import FREE, ROOT, Home, gone, until

pytestmark = pytest.mark.sshd

UP = ("up", "--detach", "--workers", "kitchen", "--synchronous", "normal", *FREE)
WHERE = """
import os, time
from pathlib import Path
from pypelinin import Job, run

HERE = Path(__file__).resolve().parent

def where(number):
    (HERE / f"at-{number}").touch()
    until = time.monotonic() + 30
    while not (HERE / f"at-{1 - number}").exists():  # both at once, so on two hosts
        assert time.monotonic() < until
        time.sleep(0.01)
    return os.environ["XDG_RUNTIME_DIR"]

print(sorted(run([Job(where, args=(n,)) for n in (0, 1)], timeout=60)))
"""
LARGE = """
from pypelinin import Job, run

def double(text):
    return text * 2

print(len(run(Job(double, args=("x" * 3_000_000,)), timeout=60)))
"""


def hosts(home: Home, *lines: str) -> tuple[str, ...]:
    """The options for these hosts."""
    return ("--hosts", str(home.write("hosts.txt", "\n".join(lines) + "\n")))


@pytest.fixture
def two(home: Home, sshd: Sshd) -> Home:
    """A cluster on two hosts of one slot each."""
    lines = (f"node-{n} cpus=1 python={sshd.python(f'node-{n}')}" for n in "ab")
    document = home.json(*UP, "--ssh", sshd.command, *hosts(home, "# two", *lines))
    assert sorted(node["name"] for node in document["nodes"]) == ["node-a", "node-b"]
    assert [node["slots"] for node in document["nodes"]] == [1, 1]
    return home


def marks(home: Home) -> dict[str, int]:
    return {role: mark["pid"] for role, mark in home.cluster()["daemons"].items()}


def far(sshd: Sshd) -> list[int]:
    """All processes of "other" hosts: their runtime directory is one of the server's."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_RUNTIME_DIR", "").startswith(f"{sshd.directory}/run-"):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def sockets(pids: dict[str, int]) -> list[Path]:
    """The sockets over there that the ssh processes listen at."""
    words = [
        " ".join(psutil.Process(pid).cmdline()) for role, pid in pids.items() if " on " in role
    ]
    return [Path(path) for line in words for path in re.findall(r"-R (/tmp/\S+?):", line)]


def log(home: Home) -> str:
    return (home.directory / ".pypelinin" / "up.log").read_text()


def joined(home: Home, name: str, epoch: int) -> int:
    """How often a Broker on that host has joined; also one that did not hear of its Router."""
    lines = [line for line in log(home).splitlines() if line.startswith(f"{name}: ")]
    return sum(line.endswith(f"Joined, epoch {epoch}.") for line in lines)


def up_nodes(home: Home) -> list[str]:
    nodes = home.json("status")["nodes"]
    return sorted(n["name"] for n in nodes if n["role"] == "broker" and n["state"] == "up")


# --- it works ---------------------------------------------------------------------------------


def test_jobs_run_on_the_hosts_and_down_ends_all(two: Home, sshd: Sshd) -> None:
    pids = marks(two)
    assert sorted(pids) == ["broker on node-a", "broker on node-b", "pipeliner", "router"]
    two.write("where.py", WHERE)
    out = two.fine("run", "where.py")
    assert f"{sshd.directory}/run-node-a" in out
    assert f"{sshd.directory}/run-node-b" in out
    assert two.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"
    listening = sockets(pids)
    assert len(listening) == 4
    assert all(path.is_socket() and path.stat().st_mode & 0o077 == 0 for path in listening)
    assert two.fine("down").startswith("stopped: ")
    until(lambda: gone(list(pids.values())) and not far(sshd), "the end of all of it")
    until(lambda: not any(path.exists() for path in listening), "the end of the sockets")


def test_this_machine_can_be_one_of_them(home: Home, sshd: Sshd) -> None:
    lines = ("localhost cpus=3", f"node-a cpus=1 python={sshd.python('node-a')}")
    document = home.json(*UP, "--ssh", sshd.command, *hosts(home, *lines))
    assert sorted(node["slots"] for node in document["nodes"]) == [1, 3]
    assert sorted(marks(home)) == ["broker", "broker on node-a", "pipeliner", "router"]
    home.fine("down")
    until(lambda: not far(sshd), "the end of the far Broker")


@pytest.mark.netns
def test_large_values_cross_where_the_routers_files_are_not(home: Home, sshd: Sshd) -> None:
    hidden = home.directory / ".pypelinin"
    hide = f"unshare --mount sh -c 'mount -t tmpfs none {hidden} && exec \"$@\"' sh"
    python = sshd.python("node-a", before=hide)
    home.fine(*UP, "--ssh", sshd.command, *hosts(home, f"node-a cpus=1 python={python}"))
    home.write("large.py", LARGE)
    assert home.fine("run", "large.py").strip().endswith("6000000")
    home.fine("down")
    until(lambda: not far(sshd), "the end of the far Broker")


def test_a_router_that_comes_back_has_them_at_once(two: Home) -> None:
    pids = marks(two)
    psutil.Process(pids["router"]).kill()
    until(lambda: marks(two).get("router", pids["router"]) != pids["router"], "another Router")
    until(lambda: joined(two, "node-a", 2) and joined(two, "node-b", 2), "both hosts")
    assert two.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"
    assert {role for role, pid in marks(two).items() if pid != pids[role]} == {"router"}


def test_down_lets_them_finish_what_runs(two: Home, sshd: Sshd) -> None:
    run = two.fine("submit", "-q", "menu.py:held").strip()
    until(two.gate_has_begun, "the job")
    (two.directory / "begun").unlink()
    with two.start("down", "--grace", "60") as down:
        until(lambda: "Stopping: what runs is finished." in log(two), "the order to stop")
        two.open_gate()
        assert down.ends() == 0
    until(lambda: not far(sshd), "the end of the far Brokers")
    two.fine(*UP)
    assert two.fine("wait", run).startswith(f"{run} done ")
    assert not two.gate_has_begun(), "it ran twice"


# --- nothing outlives -------------------------------------------------------------------------


def test_they_end_with_a_keeper_that_is_killed(two: Home, sshd: Sshd) -> None:
    pids, keeper = marks(two), two.cluster()["supervisor"]["pid"]
    listening = sockets(pids)
    psutil.Process(keeper).kill()
    until(lambda: gone(list(pids.values())) and not far(sshd), "the end of all of it")
    until(lambda: not any(path.exists() for path in listening), "the end of the sockets")


def test_a_connection_that_breaks_is_made_again(two: Home, sshd: Sshd) -> None:
    before, times = far(sshd), joined(two, "node-a", 1)
    pid = marks(two)["broker on node-a"]
    psutil.Process(pid).kill()
    until(lambda: marks(two).get("broker on node-a", pid) != pid, "another ssh")
    until(lambda: set(far(sshd)) - set(before), "another Broker")
    until(lambda: joined(two, "node-a", 1) > times, "its joining")
    until(lambda: up_nodes(two) == ["node-a", "node-b"], "both hosts")
    assert "The broker on node-a ended: its ssh was killed by signal 9." in log(two)
    assert two.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"


def test_down_ends_what_a_killed_keeper_could_not(two: Home, sshd: Sshd) -> None:
    """ssh stopped in mid-air: the keeper's death does not reach the other side, `down` does."""
    pids, keeper = marks(two), two.cluster()["supervisor"]["pid"]
    for role, pid in pids.items():
        if " on " in role:
            psutil.Process(pid).suspend()
    psutil.Process(keeper).kill()
    assert two.fine("down", "--all").startswith("stopped: ")
    until(lambda: gone(list(pids.values())) and not far(sshd), "the end of all of it")


# --- `run` with hosts of its own --------------------------------------------------------------

HELD = """
import os, sys
from pathlib import Path
from pypelinin import Job, run

HERE = Path(__file__).resolve().parent

def held():
    import time
    (HERE / "begun").touch()
    until = time.monotonic() + 50
    while not (HERE / "gate").exists():
        assert time.monotonic() < until
        time.sleep(0.01)

try:
    run(Job(held), timeout=60)
except KeyboardInterrupt:
    print("the script was interrupted", flush=True)
    sys.exit(7)
"""


def run_on(sshd: Sshd, *names: str) -> tuple[str, ...]:
    listed = ", ".join(f"{name} cpus=1 python={sshd.python(name)}" for name in names)
    return ("run", "--ssh", sshd.command, "--host", listed)


def test_a_script_runs_on_hosts_of_its_own(home: Home, sshd: Sshd) -> None:
    home.write("where.py", WHERE + "print('to me', flush=True)\nraise SystemExit(3)\n")
    done = home.run(*run_on(sshd, "node-a", "node-b"), "where.py")
    assert done.returncode == 3, done.stderr
    assert f"{sshd.directory}/run-node-a" in done.stdout
    assert f"{sshd.directory}/run-node-b" in done.stdout
    said = done.stderr.splitlines()
    assert said[0].startswith("jobs run on node-")
    assert "node-a (1 slots)" in said[0]
    assert "node-b (1 slots)" in said[0]
    until(lambda: not far(sshd), "the end of the far Brokers")
    assert home.scratch() == []


def test_a_sweep_runs_on_hosts_of_its_own(home: Home, sshd: Sshd) -> None:
    home.write(
        "swept.py",
        "import os\nfrom pypelinin.streams import sweep\n"
        "with sweep({'a': [1, 2]}, 3, 'out.csv') as w:\n"
        "    w.job(lambda id, trial, a: {'v': a, 'far': 'run-node' in os.environ['TMPDIR']})\n",
    )
    done = home.run(*run_on(sshd, "node-a", "node-b"), "swept.py")
    assert done.returncode == 0, done.stderr
    table = (home.directory / "out.csv").read_text().splitlines()
    assert table[1:] == ["0,3,1,1.0,0.0,0.0,1.0,0.0,0.0", "1,3,2,1.0,0.0,0.0,2.0,0.0,0.0"]
    assert done.stdout.split()[:4] == ["trials", "a", "far", "far_dev"]
    assert "\nStarting 2 of 2 with 3 trials\n" in done.stderr  # told here, not by a host
    until(lambda: not far(sshd), "the end of the far Brokers")


def test_a_file_of_hosts_has_one_bad_one(home: Home, sshd: Sshd) -> None:
    home.write("loud.py", "from pypelinin import Job, run\nrun(Job(print, args=('hello',)))\n")
    lines = ("closed  # not there", f"node-a cpus=1 python={sshd.python('node-a')}")
    options = ("run", "--ssh", sshd.command, *hosts(home, *lines))
    done = home.run(*options, "loud.py")
    assert done.returncode == 0, done.stderr
    assert "closed cannot be reached by ssh" in done.stderr
    assert "jobs run on node-a (1 slots)\n" in done.stderr
    assert "node-a: hello\n" in done.stderr, done.stderr
    done = home.run(*options, "--all-hosts", "loud.py")
    assert done.returncode == 4
    assert "`ssh closed` should work without a question." in done.stderr
    until(lambda: not far(sshd), "the end of the far Brokers")
    assert home.scratch() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_of_the_script_is_the_end_of_all(
    home: Home, sshd: Sshd, number: signal.Signals
) -> None:
    home.write("held.py", HELD)
    with home.start(*run_on(sshd, "node-a"), "held.py") as command:
        until(home.gate_has_begun)
        pids = [p.pid for p in psutil.Process(command.process.pid).children(recursive=True)]
        assert far(sshd)
        if number == signal.SIGINT:
            command.interrupt()
            assert command.ends() == 7
            assert command.out == "the script was interrupted\n"
        else:
            command.signal(number)
            assert command.ends() == 128 + number
    until(lambda: gone(pids) and not far(sshd), "the end of all of it")
    assert home.scratch() == []


def test_nothing_outlives_a_run_that_was_killed(home: Home, sshd: Sshd) -> None:
    home.write("held.py", HELD)
    with home.start(*run_on(sshd, "node-a"), "held.py") as command:
        until(home.gate_has_begun)
        children = psutil.Process(command.process.pid).children(recursive=True)
        (script,) = (child for child in children if "held.py" in child.cmdline())
        pids = [child.pid for child in children if child != script]
        command.signal(signal.SIGKILL)
        until(lambda: gone(pids) and not far(sshd), "the end of all of it")
        script.kill()  # nobody told it


# --- what can be wrong ------------------------------------------------------------------------


def bad_lines(sshd: Sshd) -> dict[str, str]:
    """A line of the hosts file, and what is told of it."""
    older = sshd.directory / "older"
    older.mkdir(exist_ok=True)
    patch = "import pypelinin.config\npypelinin.config.VERSION = '0.9'\n"
    (older / "sitecustomize.py").write_text(patch)
    versions = sshd.python("older", PYTHONPATH=f"{older}:{ROOT}")
    return {
        "stranger": "the key of stranger is not known here",
        "locked": "locked does not let us in without a password",
        "closed": "closed cannot be reached by ssh",
        "walled": "the sshd of walled refuses the tunnel to the Router",
        f"bare python={sshd.python('bare', '-I', '-S')}": "is not installed for the Python of bare",
        "snake python=/no/such/python": "snake has no Python at '/no/such/python'",
        f"older python={versions}": "older: pypelinin 0.9 is installed here, but",
    }


def test_bad_hosts_are_told_and_the_good_one_works(home: Home, sshd: Sshd) -> None:
    bad = bad_lines(sshd)
    lines = (*bad, f"node-a cpus=1 python={sshd.python('node-a')}")
    document = home.json(*UP, "--ssh", sshd.command, *hosts(home, *lines))
    assert [node["name"] for node in document["nodes"]] == ["node-a"]
    said = log(home)
    for what in bad.values():
        assert what in said
    assert home.fine("submit", "menu.py:meal", "--wait").split()[2] == "done"
    home.fine("down")
    until(lambda: not far(sshd), "the end of the far Broker")


def test_one_bad_host_is_enough_if_all_are_wanted(home: Home, sshd: Sshd) -> None:
    lines = ("closed", f"node-a cpus=1 python={sshd.python('node-a')}")
    done = home.run(*UP, "--all-hosts", "--ssh", sshd.command, *hosts(home, *lines))
    assert done.returncode == 4
    assert "closed cannot be reached by ssh" in done.stderr
    assert "`ssh closed` should work without a question." in done.stderr
    until(lambda: not far(sshd), "the end of the far Broker")


def test_without_any_host_there_is_no_cluster(home: Home, sshd: Sshd) -> None:
    done = home.run(*UP, "--ssh", sshd.command, *hosts(home, "closed", "locked"))
    assert done.returncode == 4
    assert "closed cannot be reached" in done.stderr
    assert "locked does not let us in" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (("--hosts", "missing.txt"), 2, "missing.txt cannot be read"),
        (("--hosts", "empty.txt"), 6, "empty.txt names no host"),
        (("--hosts", "one.txt", "--ssh", "/no/such/ssh"), 4, "'/no/such/ssh' cannot be run"),
    ],
)
def test_what_cannot_even_begin_is_told(
    home: Home, options: tuple[str, ...], code: int, what: str
) -> None:
    home.write("empty.txt", "# nothing\n")
    home.write("one.txt", "node-a\n")
    done = home.run(*UP, *options)
    assert (done.returncode, what in done.stderr) == (code, True), done.stderr


def test_the_server_of_these_tests_is_real(sshd: Sshd) -> None:
    done = subprocess.run(
        [*sshd.command.split(), "-o", "BatchMode=yes", "node-b", "echo $SSH_CONNECTION"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.split()[2] == "127.0.0.2"
