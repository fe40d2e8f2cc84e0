"""SIGTERM under load: what runs is finished, nothing is lost or left; twice ends at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pypelinin import Job, Pipeline, PipelineManager
from tests.chaos.history import KEEP_ROWS, History
from tests.chaos.test_kill import PATIENT, all_done, chains, finished, stop_and_restart
from tests.integration.cli.commands import gone
from tests.integration.cluster import JOBS, ROOT, RealCluster, until
from tests.integration.jobs import notes
from tests.integration.ports import free_ports

pytestmark = pytest.mark.chaos


def test_pipeliners_that_are_drained_under_load(tmp_path: Path) -> None:
    log = tmp_path / "log"
    limits = {**PATIENT, "resident_jobs_max": 0}
    with RealCluster(tmp_path / "c", pipeliners=2, check=False, limits=limits) as cluster:
        manager = cluster.manager()

        def drain() -> None:
            cluster.joined(2, "pipeliner")
            stop_and_restart(cluster, "pipeliner-1")

        data = {"log": str(log), "seconds": 0.002}
        manager.start_all(pipelines := chains(300, "Sleep", data))
        for count in (50, 120, 190):
            finished(manager, count, drain)
        manager.wait(timeout=60)
        all_done(pipelines)
        cluster.joined(2, "pipeliner")
    history = History(cluster.journal)
    history.recorded_once(900)
    assert (history.failed, history.again, history.lost) == ([], [], 0)
    assert len(notes(log)) == 900


def test_a_second_sigterm_ends_every_daemon_at_once(tmp_path: Path) -> None:
    """In the middle of a long job; it is run again by who comes next, and counts as no crash."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    limits = {**KEEP_ROWS, "kill_grace_s": 60.0}
    with RealCluster(tmp_path / "c", limits=limits) as cluster:
        manager = cluster.manager()
        data = {"log": str(log), "gate": str(gate)}
        manager.start(pipeline := Pipeline({Job("Gate"): Job("Noop")}, data=data))
        until(lambda: len(notes(log)) == 1, "its begin")
        slots = cluster.slot_pids("broker-1")
        cluster.send_signal("broker-1", signal.SIGTERM)
        cluster.logged("broker-1", "Draining")
        assert not cluster.ended("broker-1")
        for name in ("broker-1", "pipeliner-1", "router"):
            began = time.monotonic()
            if name != "broker-1":
                cluster.send_signal(name, signal.SIGTERM)
            cluster.kill(name, signal.SIGTERM)
            assert time.monotonic() - began < 20.0
        until(lambda: gone(slots), "the end of the slots")
        for name in ("router", "pipeliner-1", "broker-1"):
            cluster.restart(name)
        until(lambda: len(notes(log)) == 2, "its second begin")
        gate.touch()
        manager.wait(pipeline, timeout=30)
    history = History(cluster.journal)
    history.recorded_once(2)
    assert (history.failed, history.again) == ([], [])


class Up:
    """`pypelinin up` in the foreground, with a journal and a runtime directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runtime = directory / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.api = f"tcp://127.0.0.1:{free_ports(1)[0]}"

    def start(self) -> None:
        """Return when its daemons have joined; the same address each time."""
        command = [sys.executable, "-m", "pypelinin", "up", "--slots", "2", "--workers", JOBS]
        command += ["--api", self.api, "--broadcast", "tcp://127.0.0.1:0"]
        with (self.directory / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(self.runtime),
                     "TMPDIR": str(self.temporary)},
            )  # fmt: skip
        self.api = until(self._address, "the file about the cluster")

    def _address(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        for path in self.runtime.glob("pypelinin/clusters/*.json"):
            found = json.loads(path.read_text())
            if found["supervisor"]["pid"] == self.process.pid and len(found["daemons"]) == 3:
                return str(found["api"])
        return ""

    def stop(self, twice: bool = False) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            if twice:
                until(lambda: "Draining" in self.log(), "the begin of its end")
                self.process.send_signal(signal.SIGTERM)
            return self.process.wait(timeout=30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def log(self) -> str:
        return (self.directory / "up.log").read_text(errors="replace")

    def left(self) -> list[str]:
        """Whatever of it is still there: processes, temporary files, what others may look at."""
        return self.processes() or self.files()  # which they remove at their end

    def processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                own = process.environ().get("XDG_RUNTIME_DIR") == str(self.runtime)
                if own and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid}: {process.cmdline()}")
            except (psutil.Error, OSError):
                continue
        return found

    def files(self) -> list[str]:
        everything = [*self.temporary.rglob("*"), *self.directory.rglob("*")]
        sockets = [str(path) for path in everything if path.is_socket()]
        clusters = [str(path) for path in self.runtime.glob("pypelinin/clusters/*.json")]
        return sockets + clusters + [str(path) for path in self.temporary.iterdir()]


def test_up_that_is_stopped_under_load_three_times(tmp_path: Path) -> None:
    """0 jobs lost, 0 run twice, 0 processes, sockets or temporary files left each time."""
    cluster, log = Up(tmp_path), tmp_path / "log"
    cluster.start()
    try:
        with PipelineManager(cluster.api, deadline_s=30.0) as manager:
            data = {"log": str(log), "seconds": 0.002}
            manager.start_all(pipelines := chains(300, "Sleep", data))
            for count in (50, 120, 190):
                finished(manager, count, lambda: None)
                assert cluster.stop() == 0, cluster.log()
                until(lambda: not cluster.left(), "the end of all of it")
                cluster.start()
            manager.wait(timeout=60)
            all_done(pipelines)
    finally:
        code = cluster.stop()
    assert code == 0
    until(lambda: not cluster.left(), "the end of all of it")
    assert "Traceback" not in cluster.log()
    assert len(notes(log)) == 900
    history = History(tmp_path / ".pypelinin")
    history.recorded_once(900)
    assert (history.failed, history.again, history.lost) == ([], [], 0)


def test_up_that_is_asked_twice_ends_at_once(tmp_path: Path) -> None:
    cluster, log = Up(tmp_path), tmp_path / "log"
    cluster.start()
    try:
        with PipelineManager(cluster.api, deadline_s=30.0) as manager:
            data = {"log": str(log), "gate": str(tmp_path / "never")}
            manager.start(Pipeline({Job("Gate"): None}, data=data))
            until(lambda: notes(log), "its begin")
    finally:
        began = time.monotonic()
        code = cluster.stop(twice=True)
    assert code == 0, cluster.log()
    assert time.monotonic() - began < 20.0  # the job would wait for two minutes
    until(lambda: not cluster.left(), "the end of all of it")
