from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgpack
import psutil
import pytest

from pypelinin.runtime.nursery import Nursery
from tests.integration.cluster import ROOT, until

WAIT_S = 20


class Broker:
    """The Broker's end of a real nursery."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pypelinin.runtime.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        theirs.close()
        self.control.settimeout(WAIT_S)
        self.links: list[socket.socket] = []

    def fork(self, slot: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        tokens, give = os.pipe()
        socket.send_fds(self.control, [msgpack.packb(["fork", slot])], [theirs.fileno(), tokens])
        theirs.close()
        os.close(tokens)
        os.close(give)
        ours.settimeout(WAIT_S)
        self.links.append(ours)
        return ours

    def said(self) -> list[Any]:
        return list(msgpack.unpackb(self.control.recv(65536)))

    def end(self) -> None:
        self.control.close()
        for link in self.links:
            link.close()
        self.process.wait(WAIT_S)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.end()


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_fork_is_told_and_serves(broker: Broker) -> None:
    link = broker.fork(7)
    kind, slot, pid = broker.said()
    assert (kind, slot) == ("forked", 7)
    assert psutil.Process(pid).ppid() == broker.process.pid
    until(lambda: os.getpgid(pid) == pid)  # the slot's first act
    link.sendall(msgpack.packb(["setup", [], ["tests.integration.jobs"], "", {}]))
    kind, workers, failed = msgpack.unpackb(link.recv(1 << 16))
    assert (kind, failed) == ("started", None)
    assert "Noop" in workers


def test_each_death_is_told_with_its_status(broker: Broker) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        broker.fork(1)
        pid = broker.said()[2]
        os.kill(pid, number)
        kind, exited, status = broker.said()
        assert (kind, exited) == ("exited", pid)
        assert os.WTERMSIG(status) == number
    link = broker.fork(1)
    pid = broker.said()[2]
    link.close()  # its Broker is gone: it ends by itself
    assert broker.said() == ["exited", pid, 0]


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


def test_what_a_slot_leaves_behind_ends_with_it(broker: Broker) -> None:
    link = broker.fork(1)
    pid = broker.said()[2]
    link.sendall(msgpack.packb(["setup", [], ["tests.integration.jobs"], "", {}]))
    link.recv(1 << 16)
    script = "import os, sys; os.setpgid(0, int(sys.argv[1])); print(flush=True); sys.stdin.read()"
    helper = subprocess.Popen(  # as a child of a job: in the slot's group
        [sys.executable, "-c", script, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert helper.stdout
    assert helper.stdin
    helper.stdout.readline()
    os.kill(pid, signal.SIGKILL)
    assert broker.said()[:2] == ["exited", pid]
    assert helper.wait(WAIT_S) == -signal.SIGKILL
    helper.stdout.close()
    helper.stdin.close()


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
    open_before = psutil.Process().num_fds()
    socket.send_fds(broker, [msgpack.packb(["fork", 5])], [passed.fileno(), passed.fileno()])
    assert nursery.request()
    said = msgpack.unpackb(broker.recv(65536))
    assert said == ["not forked", 5, "[Errno 11] Resource temporarily unavailable"]
    assert psutil.Process().num_fds() == open_before
    for end in (broker, theirs, mine, passed, nursery.woken, nursery._wake):
        end.close()
