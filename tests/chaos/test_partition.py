"""Networks that stall in one or both directions, or break, while work goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pypelinin import PipelineManager
from tests.chaos.history import KEEP_ROWS, History
from tests.chaos.proxy import Proxy
from tests.chaos.test_kill import all_done, chains, finished
from tests.integration.cluster import RealCluster, until

pytestmark = pytest.mark.chaos

LIMITS = {**KEEP_ROWS, "node_lease_s": 3.0, "pipeliner_lease_s": 3.0, "stall_s": 0.8}
LOAD = 400


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RealCluster]:
    """One Broker and one Pipeliner here, others behind the test's proxy."""
    limits = {**LIMITS, "resident_jobs_max": 0}
    with RealCluster(tmp_path / "c", check=False, limits=limits) as started:
        yield started


def load(cluster: RealCluster) -> PipelineManager:
    manager = cluster.manager()
    manager.start_all(chains(LOAD, "Sleep", {"seconds": 0.005}))
    finished(manager, 20, lambda: None)
    return manager


def silent(cluster: RealCluster) -> set[str]:
    """The roles of those that the Router took for gone."""
    return set(re.findall(r"(\w+) \S+ is gone \(silent\)", cluster.log("router")))


@pytest.mark.parametrize("directions", [("up",), ("down",), ("up", "down")], ids="+".join)
def test_a_network_that_stalls(cluster: RealCluster, directions: tuple[str, ...]) -> None:
    with Proxy(cluster.api) as proxy:
        cluster.start_broker("broker-2", api=proxy.address)
        cluster.start_pipeliner("pipeliner-2", api=proxy.address)
        cluster.joined(2)
        cluster.joined(2, "pipeliner")
        manager = load(cluster)
        proxy.stall(*directions)
        if "up" in directions:  # later than the lease, if the Router was paused meanwhile
            until(lambda: silent(cluster) == {"broker", "pipeliner"}, "the end of their leases")
        else:
            time.sleep(LIMITS["node_lease_s"] + 0.6)  # what is tested is this time's passing
        proxy.stall()
        manager.wait(timeout=60)
        all_done(manager.pipelines)
        cluster.joined(2)
        cluster.joined(2, "pipeliner")
        assert ("broker" in silent(cluster)) == ("up" in directions)
        until(lambda: cluster.log("broker-2").count("Joined") >= 2, "its coming back")
        for name in ("broker-2", "pipeliner-2"):
            assert cluster.stop(name) == 0
    history = finished_history(cluster)
    assert (history.failed, history.again) == ([], [])


def test_connections_that_break_again_and_again(tmp_path: Path) -> None:
    """Too short for a lease: nothing is lost and nothing runs twice."""
    patient = RealCluster(tmp_path / "c", check=False, limits={**KEEP_ROWS, "node_lease_s": 10.0})
    with patient as cluster, Proxy(cluster.api) as proxy:
        cluster.start_broker("broker-2", api=proxy.address)
        cluster.joined(2)
        manager = load(cluster)
        for count in range(40, 240, 20):
            finished(manager, count, proxy.cut)
        manager.wait(timeout=60)
        all_done(manager.pipelines)
        cluster.joined(2)
        assert cluster.stop("broker-2") == 0
    history = finished_history(cluster)
    assert (history.failed, history.again, history.lost) == ([], [], 0)


def test_a_client_behind_a_bad_network(cluster: RealCluster) -> None:
    with Proxy(cluster.api) as proxy, PipelineManager(proxy.address, deadline_s=20) as manager:
        for number in range(5):
            manager.start_all(chains(20))
            proxy.cut()
            manager.start_all(chains(20), keys=[f"{number} {n}" for n in range(20)])
            proxy.stall("up", "down")
            with suppress(TimeoutError):  # it may be done already
                manager.wait(timeout=0.05)
            proxy.stall()
        manager.wait(timeout=30)
        all_done(manager.pipelines)


def finished_history(cluster: RealCluster) -> History:
    """The Router's journal once it has ended."""
    assert "router" not in cluster.processes or cluster.stop("router") == 0
    history = History(cluster.journal)
    history.recorded_once(3 * LOAD)
    return history
