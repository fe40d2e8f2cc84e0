from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pypelinin.runtime import monitor
from pypelinin.runtime.monitor import node_sample, sample


def test_a_sample_is_plain_and_has_all_figures() -> None:
    found = sample("node-1")
    assert json.loads(json.dumps(found)) == found
    assert found["node"] == "node-1"
    assert abs(found["timestamp"] - time.time()) < 60
    host = found["host"]
    assert set(host) == {"cpu", "memory", "storage", "network", "load", "uptime"}
    assert host["cpu"]["number of cpus"] >= 1
    assert 0 < host["memory"]["free"] <= host["memory"]["total"]
    assert 0 < host["storage"]["free"] <= host["storage"]["total"]
    assert len(host["load"]) == 3


def test_this_process_and_its_children_are_told() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        pids = [process["pid"] for process in sample("n")["processes"]]
        assert os.getpid() in pids
        assert child.pid in pids
    finally:
        child.kill()
        child.wait()
    assert child.pid not in [process["pid"] for process in sample("n")["processes"]]
    assert child.pid not in monitor._known


def test_cpu_is_counted_from_sample_to_sample() -> None:
    sample("n")
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    (me,) = (p for p in sample("n")["processes"] if p["pid"] == os.getpid())
    assert me["cpu percent"] > 0
    assert me["resident memory"] > 1_000_000


def test_a_pid_that_was_given_again_is_another_process() -> None:
    class Other(psutil.Process):
        def __eq__(self, other: object) -> bool:
            return self is other

        __hash__ = None  # type: ignore[assignment]  # nobody's key

    monitor._known[os.getpid()] = stranger = Other()
    sample("n")
    assert monitor._known[os.getpid()] is not stranger


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pypelinin.runtime.monitor import node_sample, sample\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "assert sample('n')['host']['storage']['total'] > 0"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(monitor.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


def test_a_host_without_network_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    assert sample("n")["host"]["network"] == {"bytes sent": 0, "bytes received": 0}


def test_a_node_sample_has_plausible_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    found = node_sample()
    assert found is not None
    assert 0.0 <= found.cpu_percent <= 100.0
    assert 0 < found.memory_used < found.memory_total
    assert found.load >= 0.0

    def hidden() -> float:
        raise OSError("not here")

    monkeypatch.setattr(psutil, "virtual_memory", hidden)
    assert node_sample() is None
