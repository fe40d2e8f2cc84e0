"""The process behind `pypelinin up`: keeps a cluster and tells this user's commands of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from pypelinin.cli.addresses import host_port
from pypelinin.cli.supervision import described
from pypelinin.cli.supervisor import ROLES, FarRoles, KeptDaemon, Supervisor
from pypelinin.errors import ClusterError, PypelininError
from pypelinin.runtime.places import ClusterFile, ProcessMark, RunningCluster, running_clusters

STARTING_S = 40.0
"""How long another `up` of the same journal may take until it has said what it runs."""
LOOK_S = 0.05


def running(journal: str) -> RunningCluster | None:
    """The cluster that `up` keeps running for *journal*, if there is one."""
    return next((one for one in running_clusters() if one.journal == journal), None)


def taken(journal: str) -> ClusterFile | RunningCluster:
    """The right to keep the cluster of *journal*, or the cluster if it runs already."""
    file = ClusterFile(Path(journal))
    until = time.monotonic() + STARTING_S
    while not file.take():
        if (found := running(journal)) is not None:
            return found
        if time.monotonic() > until:
            raise ClusterError(f"Another `pypelinin up` of {journal} does not get ready.")
        time.sleep(LOOK_S)
    return file


def with_free_ports(values: Mapping[str, Any]) -> dict[str, Any]:
    """*values* with any free port in place of one that is taken."""
    return {**values, **{n: _free(values[n]) for n in ("api", "broadcast")}}


def _free(address: str) -> str:
    host, port = host_port(address, "the default")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return f"tcp://{host}:0"
    return address


class Keeper:
    """One cluster from start to end.

    *tell* gets a document once it runs: the fields of `RunningCluster`, and nodes (name, slots,
    workers). *log* is the file this process logs to, if it does.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        file: ClusterFile,
        tell: Callable[[dict[str, Any]], None],
        log: str = "",
    ) -> None:
        roles = [role for role in ROLES if role in values["roles"]]
        self._supervisor = Supervisor(
            values, roles, output=sys.stderr, say=self._say, changed=self._rewrite,
            far=far_brokers(values, self._tell_line),
        )  # fmt: skip
        self._every = bool(values.get("all_hosts"))
        self._journal = str(values["journal"])
        self._file = file
        self._tell = tell
        self._log = log
        self._started_at = time.time()
        self._signals = 0

    def run(self) -> None:
        """Until SIGTERM or SIGINT; raises what keeps the cluster from starting."""
        supervisor = self._supervisor
        try:
            supervisor.start()
            nodes = []
            if any(role.startswith("broker") for role in supervisor.daemons):
                from pypelinin.cli.readiness import brokers

                nodes = [
                    {"name": n.name, "slots": n.slots, "workers": list(n.workers)}
                    for n in brokers(supervisor, self._every)
                ]
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's & want it
                    signal.signal(number, self._asked)
            self._write()  # now others know whom to ask
            self._tell({**asdict(self._entry()), "nodes": nodes})
            supervisor.watch()
        finally:
            supervisor.close()
            self._file.close()

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._say("Stopping: what runs is finished. Ask again to stop at once.")
        self._supervisor.ask_stop()

    def _entry(self) -> RunningCluster:
        supervisor = self._supervisor
        marks = {}
        for role, daemon in supervisor.daemons.items():
            with contextlib.suppress(psutil.NoSuchProcess):  # dead, to be started again soon
                marks[role] = ProcessMark.of(daemon.process.pid)
        return RunningCluster(
            self._journal, supervisor.api, supervisor.broadcast, self._started_at, self._log,
            ProcessMark.of(os.getpid()), marks, supervisor.access,
        )  # fmt: skip

    def _write(self) -> None:
        self._file.write(self._entry())

    def _rewrite(self) -> None:
        """A cluster goes on if its file cannot be written; only others do not find it."""
        try:
            self._write()
        except OSError as error:
            self._say(f"The file that tells of this cluster cannot be written: {error}.")

    def _say(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self._tell_line(f"{stamp} - up - {line}")

    def _tell_line(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, a closed terminal
            print(line, file=sys.stderr, flush=True)


def far_brokers(values: Mapping[str, Any], tell: Callable[[str], object]) -> FarRoles:
    """What starts the Brokers of `values["hosts"]`, by role."""
    if not values.get("hosts"):
        return {}
    from pypelinin.cli.host_daemon import HostDaemon
    from pypelinin.cli.hosts import Host

    def starts(host: Host) -> Callable[[str], KeptDaemon]:
        return lambda api: HostDaemon(host, values["ssh"], api, values["journal"], tell)

    hosts = [Host(**document) for document in values["hosts"]]
    return {f"broker on {host.name}": starts(host) for host in hosts}


def detached(values: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> int:
    """Keep a cluster in the background; *answer* gets {"ready": ...} or {"error": ...}."""
    try:
        file = taken(values["journal"])
        if isinstance(file, RunningCluster):
            answer({"ready": {**asdict(file), "already": True}})
            return 0
        Keeper(values, file, lambda document: answer({"ready": document}), values["log"]).run()
    except PypelininError as error:
        answer({"error": described(error)})
        return 1
    return 0
