"""Values of any size on a cluster of real processes, with and without a shared file system."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin import Executor, Job, Pipeline, PipelineManager
from pypelinin.errors import ValueLost
from tests.integration.cluster import RealCluster, until

pytestmark = pytest.mark.timeout(120)
MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["shared", "apart"])
def values_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealCluster]:
    """A Router whose value directory the others can read, and one where they cannot."""
    directory = tmp_path_factory.mktemp("values")
    with RealCluster(directory, brokers=0, pipeliners=0) as cluster:
        if request.param == "apart":
            (cluster.journal / "values" / "probe").unlink()
        for name in ("broker-1", "broker-2"):
            cluster.start_broker(name)
        cluster.joined(2, "broker")
        yield cluster


def repeated(seed: int, size: int) -> bytes:
    return seed.to_bytes(4, "big") * (size // 4)


def joined(*parts: bytes) -> bytes:
    return b"".join(parts)


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_large_results_are_read_by_other_jobs(values_cluster: RealCluster) -> None:
    parts = [Job(repeated, args=(i, MIB)) for i in range(8)]
    whole = Job(joined, args=tuple(parts))
    check = Job(checksum, args=(whole,))
    pipeline = Pipeline([check], results=[whole, check])
    manager = values_cluster.manager()
    manager.run(pipeline, timeout=60)
    expected = joined(*(repeated(i, MIB) for i in range(8)))
    assert whole.result() == expected
    assert check.result() == checksum(expected)
    kept = values_cluster.journal / "values" / str(pipeline.id)
    assert len(list(kept.iterdir())) == 1  # what nobody was to read any more is released


def test_large_arguments(values_cluster: RealCluster) -> None:
    data = os.urandom(3 * MIB)
    job = Job(checksum, args=(data,))
    manager = values_cluster.manager()
    manager.run(Pipeline([job]), timeout=60)
    assert job.result() == checksum(data)


def test_an_executor_leaves_nothing(values_cluster: RealCluster) -> None:
    before = set(os.listdir(values_cluster.journal / "values"))
    data = [os.urandom(MIB) for _ in range(20)]
    with Executor(api=values_cluster.api) as executor:
        assert list(executor.map(bytes.swapcase, data)) == [item.swapcase() for item in data]
    until(lambda: set(os.listdir(values_cluster.journal / "values")) == before, "the release")


def test_results_outlive_the_router(tmp_path: Path) -> None:
    with RealCluster(tmp_path) as cluster:
        job = Job(repeated, args=(7, MIB))
        pipeline = Pipeline([job])
        cluster.manager().run(pipeline, timeout=60)
        cluster.kill("router")
        cluster.restart("router")
        attached = PipelineManager(cluster.api)
        (found,) = attached.results(str(pipeline.id)).values()
        assert found == repeated(7, MIB)
        attached.close()


def test_a_value_that_is_gone_is_told_never_made_up(tmp_path: Path) -> None:
    with RealCluster(tmp_path) as cluster:
        made = Job(repeated, args=(7, MIB))
        first = Pipeline([made])
        manager = cluster.manager()
        manager.run(first, timeout=60)
        shutil.rmtree(cluster.journal / "values" / str(first.id))
        with pytest.raises(ValueLost, match="1,048,577 bytes"):
            manager.results(str(first.id))[made]
