"""Slots on several brokers save into one pipeline at once, and some are killed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pypelinin import stores
from tests.integration.savers import (
    FORKS,
    RACE_OF_ATTEMPTS,
    SAVE_FOR_EVER,
    SAVE_MANY,
    nothing_was_lost,
    saving,
)

PROCESSES = 6
KEYS = 20

STORES = [
    "FileStore",
    pytest.param(
        "SQLStore",
        marks=pytest.mark.skipif(
            find_spec("sqlalchemy") is None, reason="SQLAlchemy is not installed: 'pypelinin[sql]'"
        ),
    ),
]


def place(kind: str, directory: Path) -> dict[str, Any]:
    if kind == "FileStore":
        return {"directory": str(directory / "results")}
    return {"url": f"sqlite:///{directory}/results.db"}


@pytest.mark.parametrize("kind", STORES)
def test_jobs_of_one_pipeline_that_save_at_once_lose_nothing(kind: str, tmp_path: Path) -> None:
    configuration = place(kind, tmp_path)
    with saving(SAVE_MANY, kind, configuration, processes=PROCESSES, count=KEYS) as savers:
        savers.go()
        assert savers.finished()
        with getattr(stores, kind)(**configuration) as store:
            nothing_was_lost(store, savers.jobs, KEYS)


@pytest.mark.parametrize("kind", STORES)
def test_of_attempts_that_save_at_once_the_newest_stays(kind: str, tmp_path: Path) -> None:
    configuration = place(kind, tmp_path)
    with saving(RACE_OF_ATTEMPTS, kind, configuration, processes=4, count=KEYS) as savers:
        savers.go()
        assert savers.finished()
    with getattr(stores, kind)(**configuration) as store:
        results = store.load("p1")
    assert results["x"] == 3
    assert results["only-3"] == KEYS - 1


@pytest.mark.chaos
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("saves_before", [1, 2, 5])
def test_a_saver_killed_in_the_middle_leaves_a_whole_value(
    kind: str, saves_before: int, tmp_path: Path
) -> None:
    configuration = place(kind, tmp_path)
    with saving(SAVE_FOR_EVER, kind, configuration) as savers:
        savers.go()
        output = savers.processes[0].stdout
        assert output
        for _ in range(saves_before):
            saved = int(output.readline())
    with getattr(stores, kind)(**configuration) as store:
        value = store.load("p1")["x"]
        assert value == [value[0]] * 200_000
        assert value[0] >= saved
        job = "job-0"
        store.save({"pipeline": "p1", "job": job, "fence": 1 << 40, "worker_result": {"x": 0}})
        assert store.load("p1") == {"x": 0}


@pytest.mark.parametrize("kind", STORES)
def test_a_store_may_be_made_before_a_fork(kind: str, tmp_path: Path) -> None:
    configuration = place(kind, tmp_path)
    with saving(FORKS, kind, configuration, count=5) as savers:
        assert savers.finished()
    with getattr(stores, kind)(**configuration) as store:
        assert len(store.load("p1")) == 11
