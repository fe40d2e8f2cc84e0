"""The same graph on a cluster: two Brokers, one directory, and a client that may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.test_three_hosts import Hosts, cluster_on

WAIT_S = 60

PROJECT = """
import json, os, sys, time
import pypelinin.incremental as ppg

JOBS, SECONDS = 12, float(sys.argv[2])

def note(what, job):
    with open("notes", "a") as file:
        net = os.readlink("/proc/self/ns/net")
        line = {"what": what, "job": job, "pid": os.getpid(), "net": net}
        file.write(json.dumps(line) + "\\n")

class Held:
    pass

held = Held()
graph = ppg.new(run_mode=ppg.RunMode.NONINTERACTIVE)

def words(path):
    note("end", str(path))
    path.write_text("some words to count")

def load():
    note("load", "held")
    return open("words.txt").read().split()

source = ppg.FileGeneratingJob("words.txt", words)
loader = ppg.AttributeLoadingJob("held", held, "words", load).depends_on(source)
for i in range(JOBS):
    def count(path, i=i, held=held, seconds=SECONDS):
        note("begin", str(path))
        held.words.append(str(i))  # nobody else sees that
        time.sleep(seconds)
        while i >= 6 and os.path.exists("hold"):
            time.sleep(0.01)
        path.write_text(" ".join(held.words))
        note("end", str(path))
    ppg.FileGeneratingJob(f"counted-{i}.txt", count).depends_on(loader)

def more():
    for i in range(3):
        def copy(path, i=i):
            path.write_text(open(f"counted-{i}.txt").read().upper())
            note("end", str(path))
        ppg.FileGeneratingJob(f"upper-{i}.txt", copy).depends_on(f"counted-{i}.txt")

ppg.JobGeneratingJob("more", more).depends_on("counted-0.txt", "counted-1.txt", "counted-2.txt")
outcomes = graph.run(on=sys.argv[1])
print(json.dumps({name: one.outcome.name for name, one in outcomes.items()}))
"""


class Project:
    """A directory with the script, and what its jobs noted."""

    def __init__(self, path: Path, api: str, prefix: list[str]) -> None:
        path.mkdir()
        self.path = path
        (path / "project.py").write_text(PROJECT)
        self.api = api
        self.prefix = prefix

    def start(self, seconds: float = 0.05) -> subprocess.Popen[str]:
        command = [*self.prefix, sys.executable, "project.py", self.api, str(seconds)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command, cwd=self.path, env=environment, text=True, stdout=subprocess.PIPE
        )

    def run(self, seconds: float = 0.05) -> dict[str, str]:
        with self.start(seconds) as client:
            told, _ = client.communicate(timeout=WAIT_S)
        assert client.returncode == 0
        found: dict[str, str] = json.loads(told.splitlines()[-1])
        return found

    def notes(self, what: str) -> list[dict[str, str]]:
        path = self.path / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def holds(self) -> bool:
        """Whether a job waits for the file `hold` to go."""
        held = {f"counted-{i}.txt" for i in range(6, 12)}
        return not held.isdisjoint(note["job"] for note in self.notes("begin"))

    def check_files(self) -> None:
        for i in range(12):
            assert (self.path / f"counted-{i}.txt").read_text() == f"some words to count {i}"
        assert (self.path / "upper-1.txt").read_text() == "SOME WORDS TO COUNT 1"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with RealCluster(tmp_path / "c", brokers=2, slots=1) as cluster:
        yield Project(tmp_path / "project", cluster.api, [])


def test_loaders_run_once_on_each_node_and_nothing_runs_again(project: Project) -> None:
    outcomes = project.run()
    project.check_files()
    assert set(outcomes.values()) == {"Success"}
    loads = [note["pid"] for note in project.notes("load")]
    assert len(loads) == len(set(loads)) <= 2
    assert Counter(note["job"] for note in project.notes("end")).most_common(1)[0][1] == 1
    before = len(project.notes("end"))
    again = project.run()
    assert len(project.notes("end")) == before
    assert again["counted-3.txt"] == again["held"] == again["upper-2.txt"] == "Skipped"


def test_a_killed_client_costs_only_what_ran(project: Project) -> None:
    """What nodes finish after its death counts, too."""
    hold = project.path / "hold"
    hold.touch()
    client = project.start()
    until(lambda: len(project.notes("end")) >= 4 and project.holds(), "some jobs", WAIT_S)
    client.send_signal(signal.SIGKILL)
    client.communicate(timeout=WAIT_S)
    seen = len(project.notes("end"))
    hold.unlink()
    until(lambda: len(project.notes("end")) > seen, "a job that ended without a client", WAIT_S)
    finished = {note["job"] for note in project.notes("end")}
    outcomes = project.run()
    project.check_files()
    ends = Counter(note["job"] for note in project.notes("end"))
    assert [job for job in finished if ends[job] > 1] == []
    assert set(outcomes.values()) <= {"Success", "Skipped"}


@pytest.mark.netns
def test_across_hosts(tmp_path: Path) -> None:
    with Hosts() as hosts, cluster_on(hosts, tmp_path / "c") as cluster:
        for host in "bc":
            cluster.start_broker(f"broker-{host}", hosts.prefix(host), slots=1)
        with hosts.here("a"):
            cluster.joined(2)
        project = Project(tmp_path / "project", cluster.api, hosts.prefix("a"))
        project.run(0.5)
        project.check_files()
        loads = [note["net"] for note in project.notes("load")]
        assert sorted(loads) == sorted({hosts.network("b"), hosts.network("c")})
        assert {note["net"] for note in project.notes("end")} == set(loads)
