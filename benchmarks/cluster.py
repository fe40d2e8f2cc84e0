"""The cluster that is measured: a Router, a separate Pipeliner, a Broker with two slots."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import psutil

from pypelinin import Job, Pipeline, PipelineManager

ROOT = Path(__file__).resolve().parents[1]
SLOTS = 2
JOIN_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
WAIT_TIMEOUT_S = 300.0
WARM_UP_JOBS = 200


class ClusterFailedError(Exception):
    """A daemon ended by itself, was not there in time, or did not end well; with its log."""


class Cluster:
    """Three daemons on free ports of 127.0.0.1, gone with the `with` block.

    Entering starts the processes and does not wait for them: `wait_until_joined` does.
    """

    def __init__(self, directory: Path, synchronous: str) -> None:
        self.api = ""
        self._directory = directory
        self._synchronous = synchronous
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = contextlib.ExitStack()
        self._log = Path()

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(scratch_directory(self._directory))
            self._log = scratch / "log"
            stack.callback(self._stop)
            api, broadcast = free_ports(2)
            self.api = f"tcp://127.0.0.1:{api}"
            config = {"journal": str(scratch / "journal"), "synchronous": self._synchronous}
            self._start(
                "router",
                api_host_port=("127.0.0.1", api),
                broadcast_host_port=("127.0.0.1", broadcast),
                config=config,
            )
            self._start(
                "broker", api=self.api, workers="benchmarks.workers", number_of_workers=SLOTS
            )
            self._start("pipeliner", api=self.api)
            self._stack = stack.pop_all()
        return self

    def _start(self, role: str, **arguments: object) -> None:
        command = [sys.executable, "-m", "benchmarks.daemon", role, json.dumps(arguments)]
        with open(self._log, "ab") as log:
            self._daemons[role] = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _stop(self) -> None:
        """The Broker first: what it has done, the Router still takes."""
        codes = {}
        for role in ("broker", "pipeliner", "router"):
            if role in self._daemons:
                codes[role] = ended(self._daemons[role])
        if any(codes.values()):
            raise ClusterFailedError(f"Exit codes {codes}: {self._log.read_text()}")

    def wait_until_joined(self, manager: PipelineManager) -> None:
        """Until Pipeliner and Broker are there; raises ClusterFailedError."""
        until = time.monotonic() + JOIN_TIMEOUT_S
        while not {"broker", "pipeliner"} <= {node.role for node in manager.cluster().nodes}:
            ended = any(daemon.poll() is not None for daemon in self._daemons.values())
            if ended or time.monotonic() > until:
                raise ClusterFailedError(f"The cluster is not complete: {self._log.read_text()}")
            time.sleep(0.01)

    def pss_bytes(self) -> int:
        """Memory of all daemons, the nursery and the slots; Linux only."""
        found = [psutil.Process(daemon.pid) for daemon in self._daemons.values()]
        return pss_bytes(p.pid for d in found for p in (d, *d.children(recursive=True)))


def ended(daemon: subprocess.Popen[bytes]) -> int:
    """Its exit code; it is asked to stop, then killed."""
    daemon.terminate()
    try:
        return daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return daemon.wait()
    finally:
        assert daemon.stdin is not None
        daemon.stdin.close()


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: a page that several processes share is counted once in all."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        total += 1024 * int(line.split()[1])
    return total


def warm_up(manager: PipelineManager) -> None:
    """Both slots have imported everything, and the workers' pace is known."""
    jobs = [Job("Noop", name=str(number)) for number in range(WARM_UP_JOBS)]
    run(manager, [Pipeline([(job, None) for job in jobs])])
    chain = jobs[: WARM_UP_JOBS // 10]
    run(manager, [Pipeline(list(pairwise(chain)))])


def run(manager: PipelineManager, pipelines: Sequence[Pipeline]) -> None:
    """Submit all, wait for all; the failure of any is raised."""
    manager.run(pipelines, timeout=WAIT_TIMEOUT_S)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in found]


@contextlib.contextmanager
def scratch_directory(directory: Path) -> Iterator[Path]:
    """A new one in *directory*, removed at the end."""
    scratch = tempfile.mkdtemp(prefix=".benchmark-", dir=directory)
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def in_memory(directory: Path) -> bool:
    """Whether *directory* is on no disk, so that fdatasync costs nothing."""
    here = os.path.realpath(directory)
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if here == mount.mountpoint or here.startswith(mount.mountpoint.rstrip("/") + "/")
    ]
    longest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return longest is not None and longest.fstype in ("tmpfs", "ramfs")
