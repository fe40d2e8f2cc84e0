"""Clusters that many tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pypelinin import PipelineManager
from tests.integration.cluster import RealCluster

FILE_STORE = "pypelinin.stores.file:FileStore"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """Two Brokers with two slots each and a FileStore in `cluster.directory / "results"`."""
    directory = tmp_path_factory.mktemp("cluster")
    config = {"store": {"directory": str(directory / "results")}}
    with RealCluster(directory, brokers=2, store=FILE_STORE, config=config) as started:
        yield started


@pytest.fixture
def manager(cluster: RealCluster) -> PipelineManager:
    return cluster.manager()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One Broker without a store: workers get the data itself."""
    with RealCluster(tmp_path_factory.mktemp("bare")) as started:
        yield started
