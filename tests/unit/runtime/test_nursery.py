from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from pypelinin.runtime.cgroups import ABOVE_BYTES, Groups, find
from pypelinin.runtime.nursery import Nursery
from pypelinin.runtime.trees import children
from tests.integration.cluster import ROOT, until

WAIT_S = 20
NURSERY = "pypelinin.runtime.nursery"


class Broker:
    """The Broker's end of a real nursery."""

    def __init__(self, *program: str) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, *(program or ("-m", NURSERY)), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        theirs.close()
        self.control.settimeout(WAIT_S)
        self.links: list[socket.socket] = []
        self.tokens: list[int] = []

    def fork(self, slot: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        tokens, give = os.pipe()
        socket.send_fds(self.control, [msgpack.packb(["fork", slot])], [theirs.fileno(), tokens])
        theirs.close()
        os.close(tokens)
        self.tokens.append(give)
        ours.settimeout(WAIT_S)
        self.links.append(ours)
        return ours

    def ask(self, *request: object) -> None:
        self.control.send(msgpack.packb(request))

    def slot(self, keeper: int) -> int:
        """The process of the slot below its keeper."""
        until(lambda: len(children(keeper)) == 1, "the slot below its keeper")
        return children(keeper)[0]

    def set_up(self, link: socket.socket) -> None:
        link.sendall(msgpack.packb(["setup", [], [], "", {}]))
        assert msgpack.unpackb(link.recv(1 << 16))[0] == "started"

    def command(self, link: socket.socket, arguments: list[str]) -> None:
        """Have the slot run a command as its job; a token for it is there."""
        own = [None, b"m" + msgpack.packb({"argv": arguments})]
        os.write(self.tokens[-1], b"\1")
        link.sendall(
            msgpack.packb(
                ["lot", 1, 10, 0, "shell", b"\1\0\0\0", b"\0\0\0\0", msgpack.packb(own),
                 {1: ["run", b"m\xc0"]}, [], b""]
            )
        )  # fmt: skip

    def said(self) -> list[Any]:
        return list(msgpack.unpackb(self.control.recv(65536)))

    def end(self) -> None:
        self.control.close()
        for link in self.links:
            link.close()
        for give in self.tokens:
            os.close(give)
        self.process.wait(WAIT_S)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.end()


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_fork_is_told_and_serves(broker: Broker) -> None:
    link = broker.fork(7)
    kind, slot, pid = broker.said()
    assert (kind, slot) == ("forked", 7)
    assert psutil.Process(pid).ppid() == broker.process.pid
    until(lambda: len(children(pid)) == 1, "the slot below its keeper")
    (slot,) = children(pid)
    until(lambda: os.getpgid(slot) == slot)  # its first act
    link.sendall(msgpack.packb(["setup", [], ["tests.integration.jobs"], "", {}]))
    kind, workers, failed, _ = msgpack.unpackb(link.recv(1 << 16))
    assert (kind, failed) == ("started", None)
    assert "Noop" in workers


def test_each_death_is_told_with_its_status(broker: Broker) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        broker.fork(1)
        pid = broker.said()[2]
        os.kill(broker.slot(pid), number)
        kind, exited, status, cpu_s, peak = broker.said()
        assert (kind, exited) == ("exited", pid)
        assert 0.0 <= cpu_s < 10.0
        assert 2**20 < peak < 2**30
        assert os.WTERMSIG(status) == number
    link = broker.fork(1)
    pid = broker.said()[2]
    link.close()  # its Broker is gone: it ends by itself
    assert broker.said()[:3] == ["exited", pid, 0]


def test_many_deaths_at_once_are_all_told(broker: Broker) -> None:
    pids = []
    for number in range(20):
        broker.fork(number)
        pids.append(broker.said()[2])
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert sorted(broker.said()[1] for _ in pids) == sorted(pids)


def test_a_slot_does_not_hold_the_links_of_others(broker: Broker) -> None:
    """Else a slot would outlive the Broker's closing of its link."""
    first = broker.fork(1)
    pid = broker.said()[2]
    broker.fork(2)
    broker.said()
    first.close()
    assert broker.said()[:2] == ["exited", pid]


DAEMON = """
import os, sys, time
if os.fork():
    sys.exit()
os.setsid()  # a session of its own, and below nobody that we know
os.closerange(0, 3)
if os.fork():
    os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["killed", "ended", "of itself", "keeper killed"])
def test_what_a_slot_leaves_behind_ends_with_it(broker: Broker, how: str, tmp_path: Path) -> None:
    link = broker.fork(1)
    pid = broker.said()[2]
    slot = broker.slot(pid)
    broker.command(link, [sys.executable, "-c", DAEMON, str(tmp_path / "pid")])
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the daemon")
    daemon = int((tmp_path / "pid").read_text())
    assert alive(daemon)
    if how == "killed":
        os.kill(slot, signal.SIGKILL)
    elif how == "ended":
        broker.ask("end", pid, False)
    elif how == "of itself":
        link.close()
    else:
        os.kill(pid, signal.SIGKILL)
    assert broker.said()[:2] == ["exited", pid]
    until(lambda: not alive(daemon), "the daemon's end")  # it was killed, and may still be dying


KILLED = """
import os, sys, time
from tests.unit.runtime.test_nursery import Broker
broker = Broker()
link = broker.fork(1)
broker.slot(broker.said()[2])
program = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
broker.command(link, [sys.executable, "-c", program, sys.argv[1]])
if not os.fork():  # somebody else has its end of the socket open, too
    sys.stdin.read()
    os._exit(0)
time.sleep(60)
"""


def test_what_jobs_began_ends_with_the_broker(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    broker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(told)], stdin=subprocess.PIPE, cwd=ROOT
    )
    try:
        until(lambda: told.exists() and told.read_text(), "the program of a job")
        program = int(told.read_text())
        assert alive(program)
    finally:
        broker.kill()
        broker.wait(WAIT_S)
    until(lambda: not alive(program), "the end of the program")
    assert broker.stdin is not None
    broker.stdin.close()


def test_a_slot_that_is_asked_to_end_may_end_as_it_likes(broker: Broker) -> None:
    broker.fork(1)
    pid = broker.said()[2]
    slot = broker.slot(pid)
    until(lambda: os.getpgid(slot) == slot)
    broker.ask("end", pid, True)
    kind, exited, status, *_ = broker.said()
    assert (kind, exited, os.WTERMSIG(status)) == ("exited", pid, signal.SIGTERM)


def test_what_is_asked_of_a_slot_that_has_ended_is_nothing(broker: Broker) -> None:
    broker.fork(1)
    pid = broker.said()[2]
    os.kill(broker.slot(pid), signal.SIGKILL)
    assert broker.said()[0] == "exited"
    for request in (["end", pid, False], ["end", pid, True], ["limit", pid, 10]):
        broker.ask(*request)
    broker.fork(2)
    assert broker.said()[:2] == ["forked", 2]


ALLOCATE = """
import os, sys, time
how, size = sys.argv[1], int(sys.argv[2])
if how != "itself" and os.fork():
    os.wait()
    time.sleep(60)
if how == "grandchild":
    os.setsid()
    if os.fork():
        os._exit(0)
kept = []
for i in range(size // 2**22):
    kept.append(b"x" * 2**22)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["itself", "child", "grandchild"])
def test_who_uses_too_much_memory_is_ended_and_told(broker: Broker, how: str) -> None:
    link = broker.fork(1)
    pid = broker.said()[2]
    broker.set_up(link)
    broker.ask("limit", pid, 64 * 2**20)
    assert broker.said() == ["limited", pid, 64 * 2**20]
    broker.command(link, [sys.executable, "-c", ALLOCATE, how, str(2**30)])
    kind, keeper, peak = broker.said()
    assert (kind, keeper) == ("memory", pid)
    assert peak > 64 * 2**20
    assert broker.said()[:2] == ["exited", pid]


BLIND = "from pypelinin.runtime import nursery; nursery.resident = lambda _: 0; nursery.main()"
"""A nursery that does not see what processes use: what it tells, it has from the kernel."""


@pytest.mark.cgroups
def test_who_is_faster_than_we_look_is_stopped_by_the_kernel_and_told_as_that() -> None:
    broker = Broker("-c", BLIND)
    link = broker.fork(1)
    pid = broker.said()[2]
    broker.set_up(link)
    broker.ask("limit", pid, 64 * 2**20)
    assert broker.said() == ["limited", pid, 64 * 2**20]
    broker.command(link, [sys.executable, "-c", ALLOCATE, "itself", str(2**30)])
    kind, keeper, peak = broker.said()
    assert (kind, keeper) == ("memory", pid)
    assert 64 * 2**20 < peak <= 64 * 2**20 * 1.15 + ABOVE_BYTES
    assert broker.said()[:2] == ["exited", pid]
    broker.end()


def pids_in(folder: Path) -> str:
    """Of a control group; none if somebody has just removed it."""
    try:
        return (folder / "cgroup.procs").read_text()
    except OSError:
        return ""


@pytest.mark.cgroups
@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_the_group_of_a_slot_is_removed(broker: Broker, how: str) -> None:
    groups = find({}, broker.process.pid)
    assert isinstance(groups, Groups)

    def leaves() -> list[Path]:
        return [p for top in groups.folders for p in top.glob(f"*-{broker.process.pid}-*")]

    for _ in range(2):
        link = broker.fork(1)
        pid = broker.said()[2]
        broker.set_up(link)
        broker.ask("limit", pid, 64 * 2**20)
        assert broker.said()[0] == "limited"
    assert len(leaves()) == 2 * len(groups.folders)
    link.close()
    assert broker.said()[:3] == ["exited", pid, 0]
    until(lambda: len(leaves()) == len(groups.folders), "the removal of the leaf of a slot")
    if how == "ends":
        broker.control.close()
        broker.process.wait(WAIT_S)
    else:
        broker.process.kill()
        broker.process.wait(WAIT_S)
        until(lambda: not any(map(pids_in, leaves())), "the end of what is in it")
        successor = Broker()  # or that of another test, which may have begun meanwhile
        successor.fork(1)
        assert successor.said()[0] == "forked"
        successor.end()
    assert not leaves()


def test_memory_that_forked_children_share_counts_once(broker: Broker) -> None:
    link = broker.fork(1)
    pid = broker.said()[2]
    broker.set_up(link)
    broker.ask("limit", pid, 100 * 2**20)
    assert broker.said()[0] == "limited"
    script = """
import os, sys, time
kept = b"x" * (60 * 2**20)
for _ in range(3):
    if not os.fork():
        time.sleep(0.5)
        os._exit(0)
for _ in range(3):
    os.wait()
"""
    broker.command(link, [sys.executable, "-c", script])
    link.recv(1 << 16)  # its outcome
    broker.ask("limit", pid, 0)
    assert broker.said() == ["limited", pid, 0]
    link.close()
    assert broker.said()[0] == "exited"


def test_slots_end_with_their_nursery(broker: Broker) -> None:
    broker.fork(1)
    pid = broker.said()[2]
    broker.process.kill()
    until(lambda: not alive(pid), "the slot's end", WAIT_S)


def test_the_nursery_ends_with_its_broker(broker: Broker) -> None:
    broker.fork(1)
    pid = broker.said()[2]
    broker.control.close()
    assert broker.process.wait(WAIT_S) == 0
    until(lambda: not alive(pid), "the slot's end", WAIT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_the_terminal_are_the_brokers_business(broker: Broker, number: int) -> None:
    broker.fork(1)
    broker.said()
    broker.process.send_signal(number)
    broker.fork(2)
    assert broker.said()[:2] == ["forked", 2]
    assert broker.process.poll() is None


def test_a_fork_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    broker, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine, passed = socket.socketpair()
    nursery = Nursery(theirs)
    gc.collect()  # else it might close files of other tests meanwhile
    open_before = psutil.Process().num_fds()
    socket.send_fds(broker, [msgpack.packb(["fork", 5])], [passed.fileno(), passed.fileno()])
    assert nursery.request()
    said = msgpack.unpackb(broker.recv(65536))
    assert said == ["not forked", 5, "[Errno 11] Resource temporarily unavailable"]
    assert psutil.Process().num_fds() == open_before
    for end in (broker, theirs, mine, passed, nursery.woken, nursery._wake):
        end.close()
