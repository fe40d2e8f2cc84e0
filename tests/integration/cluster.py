"""A cluster of real processes on real sockets, for tests that kill and restart them.

    with RealCluster(tmp_path, brokers=2) as cluster:
        manager = cluster.manager()
        manager.run(Pipeline({Job("Noop"): None}))
        cluster.kill("router")
        cluster.restart("router")

Daemons are named router, pipeliner-1, broker-1 ... Each logs to a file of its own; all logs
are printed when the test fails. On leaving, every daemon is drained, must end well, must
have logged no traceback, and none of its processes may be left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from pypelinin import PipelineManager
from pypelinin.config import Limits
from pypelinin.wire.messages import NodeStatus
from tests.integration.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
DAEMON = Path(__file__).with_name("daemon.py")
JOBS = "tests.integration.jobs"
MARK = "PYPELININ_TEST_CLUSTER"
END_S = 30.0

FAST = {
    "heartbeat_interval_s": 0.3,
    "node_lease_s": 3.0,
    "pipeliner_lease_s": 2.0,
    "kill_grace_s": 5.0,
    "stall_s": 1.0,
    "retry_base_s": 0.05,
}
"""Limits that make silence short."""

T = TypeVar("T")


def until(found: Callable[[], T], what: str = "it", timeout_s: float = 30.0) -> T:
    """Ask *found* until its answer is true; returns the answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.01)
    return answer


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for this signal."""
    found = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def obeys(daemon: subprocess.Popen[bytes]) -> None:
    """Wait until a daemon that has just begun does not die of a SIGTERM any more."""
    until(
        lambda: daemon.poll() is not None or catches(daemon.pid, signal.SIGTERM),
        "its handler of SIGTERM",
    )


class RealCluster:
    """See the module. *config* goes into the Router's, *limits* over `FAST`."""

    def __init__(
        self,
        directory: Path,
        *,
        brokers: int = 1,
        slots: int = 2,
        pipeliners: int = 1,
        workers: str | Iterable[str] = JOBS,
        store: str | None = None,
        config: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        check: bool = True,
        environment: Mapping[str, str] | None = None,
        journal: Path | None = None,
        tracebacks: bool = False,
        router_prefix: Iterable[str] = (),
        access: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.journal = journal or directory / "journal"
        self.limits = {**FAST, **(limits or {})}
        self.api = self.broadcast = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._check = check
        self._tracebacks = tracebacks
        self._router_prefix = list(router_prefix)
        self._access = dict(access or {})
        """Access files by role, "client" for managers, if the Router has keys."""
        self._host = host
        self._config = {"journal": str(self.journal), **(config or {})}
        self._environment = dict(environment or {})
        self._workers = [workers] if isinstance(workers, str) else list(workers)
        self._store = store
        self._slots = slots
        self._options: dict[str, tuple[str, dict[str, Any], list[str]]] = {}
        self._managers: list[PipelineManager] = []
        self._first = (brokers, pipeliners)
        self._unhealthy: set[str] = set()
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}"

    # --- daemons ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start_router(self._router_prefix)
            brokers, pipeliners = self._first
            for number in range(1, pipeliners + 1):
                self.start_pipeliner(f"pipeliner-{number}")
            for number in range(1, brokers + 1):
                self.start_broker(f"broker-{number}")
            for role, count in (("broker", brokers), ("pipeliner", pipeliners)):
                if count:
                    self.joined(count, role)
        except BaseException:
            self.show_logs()
            self._end_all()
            raise
        return self

    def start_router(self, prefix: Iterable[str] = (), **changed: Any) -> None:
        api, broadcast = free_ports(2)  # of its own: nobody gets them while it is restarted
        options = {
            "host": self._host, "api_port": api, "broadcast_port": broadcast,
            "config": self._config,
        }  # fmt: skip
        self._options["router"] = ("router", options | changed, list(prefix))
        self.restart("router")

    def start_pipeliner(
        self, name: str, prefix: Iterable[str] = (), *, api: str | None = None
    ) -> None:
        options = {} if api is None else {"api": api}
        self._options[name] = ("pipeliner", options, list(prefix))
        self.restart(name)

    def start_broker(
        self,
        name: str,
        prefix: Iterable[str] = (),
        *,
        api: str | None = None,
        node: str | None = None,
        runtime: Path | None = None,
        workers: Iterable[str] | None = None,
        slots: int | None = None,
        labels: Mapping[str, str] | None = None,
        store: str | None = None,
    ) -> None:
        options = {
            "name": node or name,
            "runtime": str(runtime or self.directory),
            "workers": list(workers or self._workers),
            "slots": slots or self._slots,
            "labels": dict(labels or {}),
            "store": store or self._store,
        }
        if api is not None:
            options["api"] = api
        self._options[name] = ("broker", options, list(prefix))
        self.restart(name)

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start the daemon *name* (again): same options, ports and journal."""
        role, options, prefix = self._options[name]
        assert name not in self.processes, f"{name} runs"
        ready = self.directory / f"{name}.ready"
        ready.unlink(missing_ok=True)
        options |= {"limits": self.limits, "ready": str(ready)}
        if role != "router":
            options.setdefault("api", self.api)
            options.setdefault("access", self._access.get(role, ""))
        command = [*prefix, sys.executable, "-W", "error", str(DAEMON), role, json.dumps(options)]
        environment = {
            **os.environ,
            **self._environment,
            MARK: self._mark,
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": options.get("runtime", str(self.directory)),
            "PYPELININ_CHECK": "1" if self._check else "",
        }
        with self.log_path(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if role == "router" and wait:
            self._learn_addresses(ready, options)

    def _learn_addresses(self, ready: Path, options: dict[str, Any]) -> None:
        until(lambda: ready.exists() or self.ended("router"), "the Router's start")
        assert ready.exists(), f"the Router ended: {self.log('router')}"
        found = json.loads(ready.read_text())
        self.api, self.broadcast = found["api"], found["broadcast"]
        options["api_port"] = int(self.api.rpartition(":")[2])
        options["broadcast_port"] = int(self.broadcast.rpartition(":")[2])

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def ended(self, name: str) -> bool:
        return self.processes[name].poll() is not None

    def send_signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Signal the daemon and wait for its end; returns its exit code."""
        self.send_signal(name, number)
        return self.wait_end(name)

    def stop(self, name: str) -> int:
        """SIGTERM, and wait for its end; returns its exit code."""
        obeys(self.processes[name])
        return self.kill(name, signal.SIGTERM)

    def wait_end(self, name: str) -> int:
        code = self.processes[name].wait(timeout=END_S)
        del self.processes[name]
        return code

    def own_processes(self) -> list[psutil.Process]:
        """Everything alive that this cluster's daemons started, and they themselves."""
        found = []
        for process in psutil.process_iter():
            try:
                zombie = process.status() == psutil.STATUS_ZOMBIE
                if not zombie and process.environ().get(MARK) == self._mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def nursery(self, name: str) -> psutil.Process:
        """The nursery of the Broker *name*; its children are the slots."""
        return until(psutil.Process(self.pid(name)).children, "a nursery")[0]

    def slot_pids(self, name: str) -> list[int]:
        found: list[int] = []
        for keeper in self.nursery(name).children():
            with suppress(psutil.NoSuchProcess):  # it ends just now
                found += [slot.pid for slot in keeper.children()]
        return found

    # --- clients ------------------------------------------------------------------------------

    def manager(self, **options: Any) -> PipelineManager:
        """A client; closed with the cluster."""
        options.setdefault("limits", Limits(**self.limits))
        options.setdefault("deadline_s", 20.0)
        options.setdefault("access", self._access.get("client", ""))
        manager = PipelineManager(self.api, **options)
        self._managers.append(manager)
        return manager

    def nodes(
        self, role: str = "broker", manager: PipelineManager | None = None
    ) -> list[NodeStatus]:
        found = (manager or self._asker()).cluster().nodes
        return [node for node in found if node.role == role and node.state == "up"]

    def joined(self, count: int, role: str = "broker") -> None:
        """Wait until so many are there."""
        manager = self._asker()

        def there() -> bool:
            dead = [name for name in self.processes if self.ended(name)]
            assert not dead, f"{dead} ended: {self.log(dead[0])}"
            return len(self.nodes(role, manager)) == count

        until(there, f"{count} {role}s joined")

    def _asker(self) -> PipelineManager:
        return self._managers[0] if self._managers else self.manager()

    # --- logs ---------------------------------------------------------------------------------

    def log_path(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def log(self, name: str) -> str:
        path = self.log_path(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def logged(self, name: str, text: str) -> None:
        """Wait until the daemon's log holds *text*."""
        until(lambda: text in self.log(name), f"{text!r} in the log of {name}")

    def show_logs(self) -> None:
        for path in sorted(self.directory.glob("*.log")):
            text = path.read_text(errors="replace")
            print(f"--- {path.name}\n{text[-6000:]}")

    # --- the end ------------------------------------------------------------------------------

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.show_logs()
        codes = self._end_all()
        if kind is not None:
            return
        try:
            assert not any(codes.values()), f"exit codes: {codes}"
            if not self._tracebacks:
                for name in self._options:
                    assert "Traceback" not in self.log(name), f"{name} logged a traceback"
                    assert "Exception ignored" not in self.log(name), name
            until(lambda: not self.own_processes(), "the end of all processes")
        except BaseException:
            self.show_logs()
            raise

    def _end_all(self) -> dict[str, int]:
        for manager in self._managers:
            manager.close()
        codes: dict[str, int] = {}
        for role in ("broker", "pipeliner", "router"):  # members say goodbye to a living Router
            names = [name for name in self.processes if name.startswith(role)]
            for name in names:
                self.processes[name].send_signal(signal.SIGCONT)
                with suppress(AssertionError):
                    obeys(self.processes[name])
                self.processes[name].send_signal(signal.SIGTERM)
            for name in names:
                try:
                    codes[name] = self.wait_end(name)
                except subprocess.TimeoutExpired:
                    self.processes[name].kill()
                    self.wait_end(name)
                    codes[name] = -999
        for process in self.own_processes() if any(codes.values()) else ():
            process.kill()
        return codes
