"""Brokers and embedded runs of one user on one node: together they stay inside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pypelinin import Job, Pipeline, context, run
from pypelinin.local import LocalRunner
from pypelinin.runtime.capacity import cores_here
from tests.integration.cluster import RealCluster, until

WAIT_S = 60.0
RUN = """
import sys
from pypelinin import Job, Pipeline
from pypelinin.local import LocalRunner
from tests.integration.test_node_shared import work
with LocalRunner() as runner:
    jobs = [Job(work, args=(sys.argv[1], 0.1)) for _ in range(int(sys.argv[2]))]
    runner.start(Pipeline(jobs))
    for job in jobs:
        job.result(60)
"""


def work(log: str, seconds: float) -> int:
    """Notes when it ran; one clock for all processes."""
    begin = time.monotonic()
    time.sleep(seconds)
    line = json.dumps([os.getpid(), begin, time.monotonic()]) + "\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)
    return os.getpid()


def most_at_once(log: Path) -> int:
    events = []
    for line in log.read_text().splitlines():
        _, begin, end = json.loads(line)
        events += [(begin, 1), (end, -1)]
    now = most = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of processes that share a node of their own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("PYPELININ_CLAIMS", "on")
    return dict(os.environ)


def embedded(log: Path, jobs: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(log), str(jobs)], env=env)


def test_two_embedded_runs_and_a_broker_never_use_more_than_the_node_has(
    tmp_path: Path, node: dict[str, str]
) -> None:
    """Each asks for all cores; none of them waits for ever."""
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", pipeliners=0, slots=cores_here()) as cluster:
        manager = cluster.manager()
        jobs = [Job(work, args=(str(log), 0.1)) for _ in range(30)]
        manager.start(pipeline := Pipeline(jobs))
        until(lambda: log.exists(), "the first job", WAIT_S)
        there = {**node, "XDG_RUNTIME_DIR": str(cluster.directory)}
        runs = [embedded(log, 30, there) for _ in range(2)]
        assert [process.wait(WAIT_S) for process in runs] == [0, 0]
        manager.wait(pipeline, timeout=WAIT_S)
    assert len(log.read_text().splitlines()) == 90
    assert most_at_once(log) <= cores_here()


def test_what_a_killed_run_held_is_free_again(tmp_path: Path, node: dict[str, str]) -> None:
    log = tmp_path / "log"
    first = embedded(log, 500, node)
    until(lambda: log.exists(), "the first job", WAIT_S)
    first.kill()
    first.wait()
    with LocalRunner() as runner:
        jobs = [Job(work, args=(str(tmp_path / "other"), 0.0)) for _ in range(5)]
        runner.start(Pipeline(jobs))
        assert all(job.result(WAIT_S) for job in jobs)


def inner(log: str) -> tuple[int, int]:
    """A job that itself runs jobs: on what it was granted."""
    jobs = [Job(work, args=(log, 0.2)) for _ in range(4)]
    found = run(Pipeline(jobs))
    return context.cores, len({found[job] for job in jobs})


def test_a_run_inside_of_a_job_lives_on_its_grant(tmp_path: Path, node: dict[str, str]) -> None:
    log = tmp_path / "log"
    with LocalRunner(slots=2) as runner:
        whole = Job(inner, args=(str(log),), cores=2)
        runner.start(Pipeline([whole]))
        assert whole.result(WAIT_S)[0] == 2
    assert most_at_once(log) == 2
    log.unlink()
    with LocalRunner(slots=2) as runner:
        single = Job(inner, args=(str(log),))
        runner.start(Pipeline([single]))
        assert single.result(WAIT_S) == (1, 1)
    assert most_at_once(log) == 1
