"""Samples of the host and of the Broker's processes, for the user's store and for the Router."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import psutil

from pypelinin.wire.evidence import NodeSample


def sample(node: str) -> dict[str, Any]:
    """One sample: times in seconds since 1970, sizes in bytes, CPU in percent of one core
    since the last call (0.0 in the first)."""
    memory = psutil.virtual_memory()
    disk = _disk()
    network: Any = psutil.net_io_counters()  # None where there are no interfaces
    host = {
        "cpu": {"cpu percent": psutil.cpu_percent(), "number of cpus": psutil.cpu_count()},
        "memory": {"total": memory.total, "free": memory.available, "percent": memory.percent},
        "storage": {"total": disk.total, "free": disk.free},
        "network": {
            "bytes sent": network.bytes_sent if network else 0,
            "bytes received": network.bytes_recv if network else 0,
        },
        "load": list(psutil.getloadavg()),
        "uptime": time.time() - psutil.boot_time(),
    }
    return {"node": node, "timestamp": time.time(), "host": host, "processes": _processes()}


def node_sample() -> NodeSample | None:
    """How this host is now; CPU since the last call. None if the system does not tell."""
    try:
        memory = psutil.virtual_memory()
        load = psutil.getloadavg()[0]
        used = memory.total - memory.available
        return NodeSample(float(psutil.cpu_percent()), used, memory.total, float(load))
    except (OSError, psutil.Error):
        return None


def _disk() -> Any:
    """The disk of the working directory, or of the root if that directory is gone."""
    try:
        return psutil.disk_usage(os.getcwd())
    except OSError:
        return psutil.disk_usage("/")


_known: dict[int, psutil.Process] = {}


def _processes() -> list[dict[str, Any]]:
    """This process and all below it."""
    me = psutil.Process()
    found = []
    for process in [me, *me.children(recursive=True)]:
        if _known.get(process.pid) != process:  # or its pid was given again
            _known[process.pid] = process
        process = _known[process.pid]
        with contextlib.suppress(psutil.Error), process.oneshot():
            found.append(
                {
                    "pid": process.pid,
                    "name": process.name(),
                    "started": process.create_time(),
                    "cpu percent": process.cpu_percent(),
                    "resident memory": process.memory_info().rss,
                }
            )
    for pid in _known.keys() - {entry["pid"] for entry in found}:
        del _known[pid]
    return found
