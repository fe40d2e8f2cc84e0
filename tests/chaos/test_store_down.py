"""A store that is down or slow: a job is done when its result is saved, not before."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Job, Pipeline
from pypelinin.errors import Failed, Timeout
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import RealCluster, until
from tests.integration.jobs import note, notes

pytestmark = pytest.mark.chaos


class DownStore:
    """Raises while the file `down` is there, blocks while `blocked` is; notes each save.

    While `returning` is there it raises twice for each job, then blocks.
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    def retrieve(self, info: Any) -> Any:
        return info["data"]

    def save(self, info: Any) -> None:
        where = [info["pipeline"], info["job"]]
        note(str(self.directory / "tries"), fence=info["fence"], job=where)
        tries = sum(line["job"] == where for line in notes(self.directory / "tries"))
        is_returning = (self.directory / "returning").exists()
        if (self.directory / "down").exists() or (is_returning and tries < 3):
            raise ConnectionError("the database is down")
        while any((self.directory / name).exists() for name in ("blocked", "returning")):
            time.sleep(0.01)
        note(str(self.directory / "saved"), fence=info["fence"], job=where)


DOWN = "tests.chaos.test_store_down:DownStore"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RealCluster]:
    config = {"store": {"directory": str(tmp_path)}}
    with RealCluster(
        tmp_path / "c", slots=4, store=DOWN, config=config, limits=KEEP_ROWS
    ) as started:
        yield started


def test_a_store_that_comes_back_gets_each_result_with_the_same_fence(
    cluster: RealCluster, tmp_path: Path
) -> None:
    manager = cluster.manager()
    (tmp_path / "returning").touch()
    log = tmp_path / "log"
    pipelines = [
        Pipeline({Job("Note"): Job("Note", name="then")}, data={"log": str(log)}) for _ in range(4)
    ]
    manager.start_all(pipelines)
    tries = partial(notes, tmp_path / "tries")
    until(lambda: len(tries()) == 12, "the third try of each")
    assert [manager.status(pipeline).done for pipeline in pipelines] == [0] * 4
    (tmp_path / "returning").unlink()
    manager.wait(timeout=30)
    assert len(notes(log)) == 8  # nothing was computed twice
    saved = Counter(tuple(line["job"]) for line in notes(tmp_path / "saved"))
    assert set(saved.values()) == {1}
    assert len(saved) == 8
    fences: dict[tuple[str, ...], set[int]] = {}
    for line in tries():
        fences.setdefault(tuple(line["job"]), set()).add(line["fence"])
    assert {len(found) for found in fences.values()} == {1}


def test_a_store_that_stays_down_is_a_store_error(cluster: RealCluster, tmp_path: Path) -> None:
    manager = cluster.manager()
    (tmp_path / "down").touch()
    manager.start(pipeline := Pipeline({Job("Noop"): Job("Noop", name="then")}))
    manager.wait(pipeline, timeout=30, raise_on_failure=False)
    error = manager.error(pipeline)
    assert isinstance(error, Failed)
    assert "DownStore.save() raised: the database is down" in str(error)
    (tmp_path / "down").unlink()
    assert len(notes(tmp_path / "tries")) == 5
    assert not (tmp_path / "saved").exists()
    manager.run(Pipeline({Job("Noop"): None}), timeout=20)


def test_a_store_that_blocks_holds_up_only_its_own_slots(
    cluster: RealCluster, tmp_path: Path
) -> None:
    """Its job is not done; it ends with its timeout, or when the store goes on."""
    manager = cluster.manager()
    (tmp_path / "blocked").touch()
    manager.start(patient := Pipeline({Job("Noop"): None}))
    until(lambda: notes(tmp_path / "tries"), "its save")
    manager.start(hasty := Pipeline({Job("Noop", timeout=0.5): None}))
    manager.wait(hasty, timeout=30, raise_on_failure=False)
    assert isinstance(manager.error(hasty), Timeout)
    assert manager.status(patient).state == "running"
    assert [node.state for node in cluster.nodes()] == ["up"]
    manager.start(unwanted := Pipeline({Job("Noop"): None}))
    until(lambda: manager.status(unwanted).running == 1, "its begin")
    manager.cancel(unwanted, running=True)
    manager.wait(unwanted, timeout=20, raise_on_failure=False)
    assert unwanted.state == "cancelled"
    (tmp_path / "blocked").unlink()
    manager.wait(patient, timeout=20)
    assert [line["fence"] for line in notes(tmp_path / "saved")] == [
        line["fence"] for line in notes(tmp_path / "tries")[:1]
    ]


@pytest.mark.postgres
def test_a_database_killed_and_started_under_load_loses_no_result(tmp_path: Path) -> None:
    from pypelinin.stores import SQLStore
    from tests.integration.postgres import PostgresServer

    server = PostgresServer()
    try:
        server.start()
        config = {"store": {"url": server.url}}
        with RealCluster(
            tmp_path / "c",
            slots=2,
            store="pypelinin.stores.sql:SQLStore",
            config=config,
            limits=KEEP_ROWS,
            workers=["tests.integration.jobs"],
        ) as cluster:
            manager = cluster.manager()
            pipelines = [
                # again if the database was away for longer than a store is waited for
                Pipeline({Job("Number", retries=1): Job("Left", retries=1)}, data={"number": n})
                for n in range(150)
            ]
            manager.start_all(pipelines)
            for count in (20, 60):
                until(lambda count=count: finished(manager, count), f"{count} finished")
                server.kill()
                server.start()
            manager.wait(timeout=60)
            with SQLStore(server.url) as store:
                for n, pipeline in enumerate(pipelines):
                    assert store.load(str(pipeline.id))["left sum"] == n + 1
        History(cluster.journal).recorded_once(300)
    finally:
        server.remove()


def finished(manager: Any, count: int) -> bool:
    manager.update(0.02)
    return bool(manager.finished_pipelines >= count)
