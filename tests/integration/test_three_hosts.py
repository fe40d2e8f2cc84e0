"""A Router on one host and Brokers on two others that come while a pipeline runs."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pypelinin import Job, Pipeline
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import RealCluster, until
from tests.integration.jobs import notes

NETWORK = "198.18.77"
JOBS = 1_500
"""So much work that a Broker which comes late finds some, until they are told to hurry."""


def hurry(log: Path) -> Path:
    """The file that lets the jobs of that log be quick."""
    return log.with_suffix(".hurry")


def pipeline(log: Path) -> Pipeline:
    data = {"log": str(log), "seconds": 0.005, "hurry": str(hurry(log))}
    many = tuple(Job("Host", name=f"job {n}") for n in range(JOBS))
    return Pipeline({Job("Noop"): many, many: Job("Noop", name="last")}, data=data)


class Hosts:
    """Network namespaces a, b and c; a holds the bridge that joins them."""

    def __init__(self) -> None:
        self.names = {host: f"pypelinin-{os.getpid()}-{host}" for host in "abc"}

    def __enter__(self) -> Hosts:
        try:
            for name in self.names.values():
                ip("netns", "add", name)
                self.inside(name, "link", "set", "lo", "up")
            a = self.names["a"]
            self.inside(a, "link", "add", "bridge", "type", "bridge")
            self.inside(a, "link", "set", "bridge", "up")
            self.inside(a, "address", "add", f"{NETWORK}.1/24", "dev", "bridge")
            for number, host in enumerate("bc", 2):
                name = self.names[host]
                peer = ["peer", "name", f"to-{host}", "netns", a]
                self.inside(name, "link", "add", "up0", "type", "veth", *peer)
                self.inside(name, "address", "add", f"{NETWORK}.{number}/24", "dev", "up0")
                self.inside(name, "link", "set", "up0", "up")
                self.inside(a, "link", "set", f"to-{host}", "master", "bridge", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def inside(self, name: str, *command: str) -> None:
        ip("-n", name, *command)

    def __exit__(self, *_: object) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def prefix(self, host: str) -> list[str]:
        """What stands before a command that is to run there."""
        return ["ip", "netns", "exec", self.names[host]]

    def network(self, host: str) -> str:
        """As a process there sees it."""
        command = [*self.prefix(host), "readlink", "/proc/self/ns/net"]
        return subprocess.check_output(command, text=True).strip()

    @contextmanager
    def here(self, host: str) -> Iterator[None]:
        """This thread, and the threads it starts, are there as long as the block lasts."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net") as ours, open(f"/run/netns/{self.names[host]}") as there:
            assert libc.setns(there.fileno(), 0) == 0
            try:
                yield
            finally:
                assert libc.setns(ours.fileno(), 0) == 0

    def plug(self, host: str, state: str) -> None:
        """The cable of *host*: "up" or "down"."""
        self.inside(self.names["a"], "link", "set", f"to-{host}", state)


def ip(*command: str) -> None:
    done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(command)}: {done.stderr}"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts() as made:
        yield made


@contextmanager
def cluster_on(hosts: Hosts, directory: Path) -> Iterator[RealCluster]:
    cluster = RealCluster(
        directory,
        brokers=0,
        pipeliners=0,
        host=f"{NETWORK}.1",
        config={"insecure": True},
        limits=KEEP_ROWS,
        router_prefix=hosts.prefix("a"),
    )
    with cluster:
        with hosts.here("a"):
            cluster.manager().cluster()
        yield cluster


def hosts_of(log: Path) -> set[str]:
    """The networks in which jobs ran."""
    return {line["host"] for line in notes(log)}


@pytest.mark.netns
def test_a_pipeline_across_three_hosts(hosts: Hosts, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with cluster_on(hosts, tmp_path / "c") as cluster:
        manager = cluster._asker()
        manager.start(found := pipeline(log))
        assert manager.describe(str(found.id))[1].status.reason == "no broker connected"
        cluster.start_broker("broker-b", hosts.prefix("b"))
        until(lambda: len(notes(log)) > 20, "work on the first host")
        cluster.start_broker("broker-c", hosts.prefix("c"))
        until(lambda: len(hosts_of(log)) == 2, "work on the second host")
        hurry(log).touch()
        manager.wait(found, timeout=60)
        networks = [line["host"] for line in notes(log)]
        assert len(networks) == JOBS
        assert set(networks) == {hosts.network("b"), hosts.network("c")}
        assert networks[0] == hosts.network("b")
    History(cluster.journal).recorded_once(JOBS + 2)


@pytest.mark.netns
@pytest.mark.chaos
def test_a_host_whose_cable_was_pulled(hosts: Hosts, tmp_path: Path) -> None:
    """For longer than its lease: others do its work, and when it is back it goes on."""
    log = tmp_path / "log"
    with cluster_on(hosts, tmp_path / "c") as cluster:
        manager = cluster._asker()
        for host in "bc":
            cluster.start_broker(f"broker-{host}", hosts.prefix(host))
        cluster.joined(2)
        manager.start(found := pipeline(log))
        until(lambda: len(notes(log)) > 50, "some work")
        hosts.plug("c", "down")
        cluster.logged("router", "broker broker-c is gone (silent)")
        hurry(log).touch()
        manager.wait(found, timeout=60)
        hosts.plug("c", "up")
        cluster.joined(2)
        log = tmp_path / "again"
        manager.start(again := pipeline(log))
        until(lambda: len(hosts_of(log)) == 2, "work on both hosts")
        hurry(log).touch()
        manager.wait(again, timeout=60)
    history = History(cluster.journal)
    history.recorded_once(2 * (JOBS + 2))
    assert history.failed == []


def ran_on(cluster: RealCluster, name: str, log: Path) -> bool:
    """Whether slots of that Broker are among those that left notes."""
    return not {line["pid"] for line in notes(log)}.isdisjoint(cluster.slot_pids(name))


def test_a_pipeline_across_three_loopback_addresses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", brokers=0, pipeliners=0, host="127.0.0.2") as cluster:
        manager = cluster.manager()
        manager.start(found := pipeline(log))
        to_router = cluster.api.removeprefix("tcp://")
        cluster.start_broker("broker-b", api=f"tcp://127.0.0.3:0;{to_router}")
        until(lambda: len(notes(log)) > 20, "work on the first host")
        cluster.start_broker("broker-c", api=f"tcp://127.0.0.4:0;{to_router}")
        for name in ("broker-b", "broker-c"):
            until(lambda name=name: ran_on(cluster, name, log), f"work on {name}")
        hurry(log).touch()
        manager.wait(found, timeout=60)
        assert len(notes(log)) == JOBS
