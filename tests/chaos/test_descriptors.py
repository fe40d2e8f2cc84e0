"""Few open files: a clear refusal at the start, or steady service; no crash, no spin, no hang."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.errors import Unreachable
from tests.integration.cluster import ROOT, RealCluster, until

pytestmark = pytest.mark.chaos

FEW = ("prlimit", "--nofile=64:64")
SHUT = "Too many open files: no more connections are taken."
OPENED = "There are files to open again: connections are taken."
SOME = ("prlimit", "--nofile=256:256")
PATIENT = {"heartbeat_interval_s": 3.0, "node_lease_s": 30.0, "pipeliner_lease_s": 30.0}
"""Who connects anew because the machine was busy would find the gate shut."""


def started(*arguments: str, limit: tuple[str, ...] = FEW) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*limit, sys.executable, *arguments], capture_output=True, text=True, timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def is_one_line(text: str) -> bool:
    return "Traceback" not in text and len(text.strip().splitlines()) == 1


def test_a_router_that_may_open_64_files_says_what_it_needs(tmp_path: Path) -> None:
    ended = started("-m", "pypelinin", "router", "--journal", str(tmp_path / "journal"),
                    "--api", "tcp://127.0.0.1:0", "--broadcast", "tcp://127.0.0.1:0")  # fmt: skip
    assert ended.returncode == 4, ended.stderr
    assert is_one_line(ended.stderr), ended.stderr
    assert "needs at least 256 open files, this one may have 64" in ended.stderr
    assert "ulimit -n" in ended.stderr


def test_a_broker_says_how_many_slots_it_can_have() -> None:
    command = ("-m", "pypelinin", "broker", "--router", "tcp://127.0.0.1:1", "--slots", "100")
    ended = started(*command, limit=("prlimit", "--nofile=96:96"))
    assert ended.returncode == 4, ended.stderr
    assert "100 slots needs 564 open files, this one may have 96: there can be 6" in ended.stderr
    assert "--slots 6" in ended.stderr


def test_a_broker_raises_a_soft_limit_by_itself(tmp_path: Path) -> None:
    with RealCluster(tmp_path, brokers=0, pipeliners=0) as cluster:
        cluster.start_broker("broker-1", ("prlimit", "--nofile=64:4096"), slots=40)
        cluster.joined(1)
        manager = cluster.manager()
        jobs = [Job("Sleep", {"seconds": 0.3}, name=str(n)) for n in range(120)]
        manager.run(Pipeline([*jobs]), timeout=30)
        assert psutil.Process(cluster.pid("broker-1")).num_fds() > 64


CLIENT = """
import os, sys
from pypelinin import PipelineManager
from pypelinin.errors import ClusterError
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(int(sys.argv[2])):
    os.close(held.pop())
try:
    PipelineManager(sys.argv[1], deadline_s=0.3)
except ClusterError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4, 5, 8, 12])
def test_a_client_without_files_gets_an_error_and_lives(spare: int) -> None:
    """ZeroMQ would end its process at some of these numbers."""
    ended = started("-c", CLIENT, "tcp://127.0.0.1:1", str(spare))
    assert ended.returncode == 0, ended.stderr
    assert "ClusterError Too many open files" in ended.stdout
    assert "ulimit -n" in ended.stdout


@contextmanager
def crowd(address: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing; those that are not let in go on trying."""
    parts = urlsplit(address)
    sockets = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((parts.hostname, parts.port))
        sockets.append(one)
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def test_a_router_with_too_many_peers_serves_those_it_has(tmp_path: Path) -> None:
    with RealCluster(tmp_path, router_prefix=SOME, limits=PATIENT) as cluster:
        manager = cluster.manager()
        manager.run(Pipeline({Job("Noop"): None}), timeout=20)
        router = psutil.Process(cluster.pid("router"))
        for round in range(2):
            with crowd(cluster.api, 300):
                until(lambda r=round: cluster.log("router").count(SHUT) == r + 1, "a shut gate")
                until(lambda: is_calm(router), "calm at the gate")
                for _ in range(3):
                    manager.run(Pipeline({Job("Noop"): Job("Noop", name="then")}), timeout=20)
                assert len(cluster.nodes()) == round + 1
                late = PipelineManager(cluster.api, deadline_s=0.5)
                with late, pytest.raises(Unreachable):
                    late.cluster()
            until(lambda r=round: cluster.log("router").count(OPENED) == r + 1, "an open gate")
            cluster.start_broker(f"broker-{round + 2}")
            cluster.joined(round + 2)
        assert router.is_running()


def is_calm(process: psutil.Process) -> bool:
    """Whether it uses little of a processor for half a second."""
    return process.cpu_percent(interval=0.5) < 40
