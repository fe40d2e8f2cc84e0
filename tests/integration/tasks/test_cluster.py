"""Tasks on a cluster of two Brokers: the same results, and what is killed costs what ran."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pypelinin.tasks import Pipeline, PipelineResult, RunFailed, Runner, Task, run, task
from pypelinin.tasks.exceptions import DataPathNotShared
from tests.integration.cluster import ROOT, RealCluster, until

pytestmark = pytest.mark.timeout(100)
WAIT_S = 60


@task("Numbers", receives_input=False)
def numbers(n: int) -> list[int]:
    print(f"{n} numbers")
    return list(range(n))


class Scaled(Task[list[int], list[int]]):
    def scale(self, value: int) -> int:
        return value * 2

    @run
    def run(self, data: Any, plus: int = 0) -> list[int]:
        return [self.scale(value) + plus for one in data for value in one]


@task("Large")
def large(data: Any, size: int) -> bytes:
    return b"x" * size + bytes(str(sum(map(len, data))), "ascii")


@task("Fails")
def fails(data: Any) -> None:
    raise ValueError("on purpose")


def branches() -> Pipeline:
    first = numbers(n=1000)
    doubled = [Scaled(str(i), plus=i)(first) for i in range(6)]
    big = large(size=3_000_000)(doubled)
    Scaled("all")([*doubled])
    large("last", size=10)([big, first])
    fails()(doubled[0])
    return Pipeline("branches", [first])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with RealCluster(tmp_path_factory.mktemp("cluster"), brokers=2, slots=1) as started:
        yield started


def outcome(runner: Runner, pipeline: Pipeline) -> dict[str, Any]:
    """The results and statuses of a run."""
    runner.run(pipeline)
    results = runner.results()
    return {
        one.name: results[one.name] if one.status is Task.Status.SUCCESS else one.status.name
        for one in pipeline.tasks
    }


def test_the_same_results_as_embedded(cluster: RealCluster, tmp_path: Path) -> None:
    here = Runner(tmp_path / "here", tmp_path / "log", 2)
    there = Runner(tmp_path / "there", tmp_path / "log", on=cluster.api)
    found = outcome(there, branches())
    assert found == outcome(here, branches())
    assert found["Large(last)"] == b"x" * 10 + b"3001004"
    assert found["Fails()"] == "FAILURE"
    (failed,) = there.tasks_error
    assert failed.result is not None
    assert isinstance(failed.result.exception, ValueError)
    assert "on purpose" in (Path(there.run_path) / "exception.log").read_text()
    assert "1000 numbers" in (Path(there.run_path) / "pipeline.log").read_text()
    there.run(branches())
    assert [one.name for one in there.tasks_run] == ["Fails()"]
    assert dict_without_failed(there.results()) == dict_without_failed(here.results())


def dict_without_failed(results: PipelineResult) -> dict[str, Any]:
    return {name: results[name] for name in results if name != "Fails()"}


def test_what_tasks_print_is_also_kept_by_the_cluster(cluster: RealCluster, tmp_path: Path) -> None:
    runner = Runner(tmp_path / "data", tmp_path / "log", on=cluster.api)
    runner.run(Pipeline("p", [numbers(n=7)]))
    manager = cluster.manager()
    newest = manager.list_runs(limit=1)[0].run

    def printed() -> bytes:
        return b"".join(part.data for part in manager.logs(newest))

    until(lambda: b"7 numbers" in printed(), "what was printed")


def test_a_node_that_does_not_see_the_data_path(
    cluster: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypelinin.tasks import holding

    runner = Runner(tmp_path / "data", tmp_path / "log", on=cluster.api)
    real = holding.Hold.place

    def elsewhere(hold: holding.Hold, echo: bool) -> Any:
        return real(hold, echo)._replace(directory=str(tmp_path / "not" / "mounted"))

    monkeypatch.setattr(holding.Hold, "place", elsewhere)
    one = numbers(n=3)
    runner.run(Pipeline("p", [one]))
    assert one.result is not None
    assert isinstance(one.result.exception, DataPathNotShared)
    assert "All nodes need the same data path" in str(one.result.exception)


def test_a_run_that_is_cancelled_elsewhere_is_told_so(cluster: RealCluster, tmp_path: Path) -> None:
    @task("Long")
    def long(data: Any, notes: str) -> None:
        Path(notes).write_text("begun")
        time.sleep(60)

    runner = Runner(tmp_path / "data", tmp_path / "log", on=cluster.api)
    one = long(notes=str(tmp_path / "notes"))
    below = large(size=1)(one)
    manager = cluster.manager()

    def cancel() -> None:
        until((tmp_path / "notes").exists, "its begin")
        manager.cancel(manager.list_runs(limit=1)[0].run, running=True)

    with ThreadPoolExecutor(1) as other:
        other.submit(cancel)
        with pytest.raises(RunFailed, match=r"0 .* failed \(none\), 2 were cancelled"):
            runner.run(Pipeline("p", [one]), raise_on_failure=True)
    assert set(runner.tasks_error) == {one, below}
    log = Path(runner.run_path, "pipeline.log").read_text()
    assert 'Task "Long()" was cancelled' in log
    assert "a task before it failed" not in log


SCRIPT = """
import os, sys, time
from pathlib import Path
from pypelinin.tasks import Pipeline, Runner, task

@task("Step")
def step(data, notes, name, seconds):
    with open(notes, "a") as file:
        file.write(f"begin {name} {os.getpid()}\\n")
    time.sleep(seconds)
    while name.startswith("middle") and os.path.exists(notes + ".hold"):
        time.sleep(0.01)
    with open(notes, "a") as file:
        file.write(f"end {name} {os.getpid()}\\n")
    return [name, *data]

def made(name, *parents):
    return step(name, notes=os.path.abspath("notes"), name=name, seconds=SECONDS)(list(parents))

SECONDS = 0.3
first = made("first")
middle = [made(f"middle-{i}", first) for i in range(6)]
last = made("last", *middle)
runner = Runner("data", "log", 2, on=sys.argv[1] or None)
runner.run(Pipeline("steps", [first]))
print(last.status.name, len(last.output or ()), len(runner.tasks_run))
"""


class Project:
    """A directory with the script, and what its tasks noted."""

    def __init__(self, path: Path, api: str) -> None:
        self.path, self.api = path, api
        (path / "steps.py").write_text(SCRIPT)

    def start(self) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "steps.py", self.api]
        return subprocess.Popen(
            command, cwd=self.path, env=environ, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def end(self, client: subprocess.Popen[str]) -> list[str]:
        told, _ = client.communicate(timeout=WAIT_S)
        assert client.returncode == 0
        return told.split()

    def notes(self, what: str) -> Counter[str]:
        path = self.path / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(f"{what} "))

    def pid_of_one_that_runs(self) -> int:
        """The process of a middle one, 0 if none runs."""
        open_: dict[str, int] = {}
        path = self.path / "notes"
        for line in path.read_text().splitlines() if path.exists() else ():
            what, name, pid = line.split()
            if what == "begin" and name.startswith("middle"):
                open_[name] = int(pid)
            else:
                open_.pop(name, None)
        return next(iter(open_.values()), 0)

    def stored(self) -> set[str]:
        """Tasks whose results are complete."""
        return {path.parts[-3][5:-1] for path in self.path.glob("data/Step(*)/*/result.dump.gz")}


@pytest.fixture(params=["embedded", "cluster"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    embedded = request.param == "embedded"
    return Project(tmp_path, "" if embedded else request.getfixturevalue("cluster").api)


def test_a_slot_that_is_killed(project: Project) -> None:
    hold = project.path / "notes.hold"
    hold.touch()
    client = project.start()
    os.kill(until(project.pid_of_one_that_runs, "a middle one"), signal.SIGKILL)
    hold.unlink()
    told = project.end(client)
    before = project.notes("end")
    assert set(before.values()) == {1}
    if project.api:
        assert told == ["SUCCESS", "7", "8"], "the cluster tried it again"
    else:
        assert told == ["CANT_RUN", "0", "8"]
        assert project.end(project.start()) == ["SUCCESS", "7", "2"]
    assert set(project.notes("end").values()) == {1}


def test_a_client_that_is_killed(project: Project) -> None:
    client = project.start()
    until(lambda: project.notes("end").total() >= 4, "four that ended")
    client.kill()
    client.wait()
    assert client.stdout is not None
    client.stdout.close()
    finished = project.stored()
    assert len(finished) >= 2
    begun = project.notes("begin")
    told = project.end(project.start())
    assert told[0] in ("SUCCESS", "SKIPPED"), "a cluster may have gone on to the end meanwhile"
    assert told[1] == "7"
    again = project.notes("begin") - begun
    assert not finished & set(again), "nothing that was finished is repeated"
    assert json.dumps(sorted(project.stored())).count("middle") == 6
