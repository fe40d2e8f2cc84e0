"""Draining, retrying and stopping with real daemons and real slots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.errors import DefinitionError, NotFound
from tests.integration.cluster import RealCluster, until
from tests.integration.jobs import notes

pytestmark = pytest.mark.timeout(120)


def add_or_fail(path: str, one: int, two: int) -> int:
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    return one + two


def big(size: int) -> bytes:
    return b"x" * size


def length_or_fail(path: str, data: bytes) -> int:
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    return len(data)


def by_name(manager: PipelineManager, pipeline: Pipeline) -> dict[str, Any]:
    results = manager.results(pipeline)
    return {job.name: results[job] for job in pipeline.jobs}


def test_a_retry_reads_what_the_first_run_made(bare: RealCluster, tmp_path: Path) -> None:
    """Small results and those that are files, which stay as long as the new run needs them."""
    manager = bare.manager()
    there = str(tmp_path / "there")
    made = Job(big, args=(3_000_000,), name="made")
    read = Job(length_or_fail, args=(there, made), name="read")
    manager.run(first := Pipeline({made: None, read: None}), raise_on_failure=False)
    assert first.state == "failed"
    Path(there).touch()
    again = manager.retry(first, failed=True)
    manager.wait(again)
    status = manager.status(again)
    assert (status.state, status.done, status.retry_of) == ("done", 2, first.id)
    results = by_name(manager, again)
    assert results["read"] == 3_000_000
    assert len(results["made"]) == 3_000_000


def test_a_retry_survives_kill_9_of_the_router(bare: RealCluster, tmp_path: Path) -> None:
    manager = bare.manager()
    there = str(tmp_path / "there")
    jobs = [Job(add_or_fail, args=(there, i, i), name=f"j{i}") for i in range(20)]
    manager.run(first := Pipeline({tuple(jobs): None}), raise_on_failure=False)
    manager.cluster()
    Path(there).touch()
    again = manager.retry(first)
    bare.kill("router")
    bare.restart("router")
    manager.wait(again, timeout=60)
    results = by_name(manager, again)
    assert [results[f"j{i}"] for i in range(20)] == [2 * i for i in range(20)]


def test_jobs_of_a_drained_broker_go_elsewhere(bare: RealCluster, tmp_path: Path) -> None:
    manager = bare.manager()
    bare.start_broker("broker-2")
    bare.joined(2)
    first, second = (node.name for node in bare.nodes("broker"))
    manager.drain(first, "to be mended")
    data = {"log": str(tmp_path / "log"), "seconds": 0.01}
    jobs = tuple(Job("Sleep", data, name=f"h{i}") for i in range(30))
    manager.run(Pipeline({jobs: None}))
    assert len(notes(tmp_path / "log")) == 30
    nodes = {node.name: node for node in manager.cluster().nodes}
    assert (nodes[first].state, nodes[first].why) == ("draining", "to be mended")
    bare.kill("router")
    bare.restart("router")
    known = lambda: {node.name: node.why for node in manager.cluster().nodes}  # noqa: E731 - short
    until(lambda: known().get(first) == "to be mended", "the Broker tells the new Router")
    manager.undrain([first])
    bare.joined(2)  # both are there again, and take jobs
    with pytest.raises(NotFound, match="no node 'nobody'"):
        manager.drain([second, "nobody"])
    assert len(bare.nodes("broker")) == 2, "one takes no jobs"


def test_on_failure_stop_ends_the_run(bare: RealCluster, tmp_path: Path) -> None:
    manager = bare.manager()
    bad = Job("Fail")
    after = tuple(Job("Noop", name=f"n{i}") for i in range(2000))
    gate = Job("Gate", {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate")})
    manager.start(pipeline := Pipeline({bad: None, gate: after}, on_failure="stop"))
    until(lambda: manager.status(pipeline).failed == 1, "the failure")
    (tmp_path / "gate").touch()
    manager.wait(pipeline, raise_on_failure=False)
    status = manager.status(pipeline)
    assert (status.state, status.failed) == ("failed", 1)
    assert status.cancelled >= 2000
    with pytest.raises(DefinitionError, match="on_failure is 'continue' or 'stop', not 'halt'"):
        Pipeline({bad: None}, on_failure="halt")


def test_explain_and_pause_from_python(bare: RealCluster) -> None:
    manager = bare.manager()
    manager.run(pipeline := Pipeline({Job("Fail"): None}), raise_on_failure=False)
    found = manager.explain(pipeline, "Fail")
    assert found.state == "failed"
    assert any("pypelinin retry" in line for line in found.lines)
    with pytest.raises(NotFound, match="no job 'x'"):
        manager.explain(pipeline, "x")
    with pytest.raises(NotFound):
        manager.pause("0" * 32)


def test_what_the_class_of_a_worker_says_counts(bare: RealCluster, tmp_path: Path) -> None:
    """The class has two cores and two retries; a job's own word goes first."""
    log = str(tmp_path / "log")
    manager = bare.manager()
    manager.run(Pipeline({Job("Demanding", {"log": log}, name="as the class says"): None}))
    tries = notes(Path(log))
    assert [line["cores"] for line in tries] == [2, 2, 2]
    assert {line["mode"] for line in tries} == {"demanding"}
    manager.run(Pipeline({Job("Demanding", {"log": log}, cores=-2, retries=1): None}))
    assert notes(Path(log))[-1]["cores"] == 2  # the node has two
