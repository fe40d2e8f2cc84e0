"""What this machine lets us use: cores, memory and devices.

The smallest of what the machine has, what this process may run on (affinity) and what its
control groups allow, of version 1 and 2. *root* is "/" but in tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from pypelinin.wire.definitions import Capacity

CORES_MAX = 10_000
_UNLIMITED = 2**60
"""Version 1 says a number near 2**63 for no limit."""


def cores_here(root: str = "/") -> int:
    """Cores that this process may use, at least 1; a quota of 2.5 is 2."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    for folder in _folders(root, "cpu"):
        quota = _quota(folder)
        if quota is not None:
            cores = min(cores, int(quota))
    return max(1, cores)


def memory_here(root: str = "/") -> int:
    """Bytes of memory that this process and its children may use."""
    memory = psutil.virtual_memory().total
    for folder in _folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and 0 < limit < _UNLIMITED:
                memory = min(memory, limit)
    return memory


def devices_here(environ: Mapping[str, str], root: str = "/") -> dict[str, tuple[int, ...]]:
    """Indices of the GPUs: those of CUDA_VISIBLE_DEVICES if it is set, else all NVIDIA ones."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [part.strip() for part in visible.split(",") if part.strip()]
        if all(part.isdigit() for part in named):
            return {"gpu": tuple(map(int, named))} if named else {}
    try:
        cards = sorted(os.listdir(os.path.join(root, "proc/driver/nvidia/gpus")))
    except OSError:
        return {}
    return {"gpu": tuple(range(len(cards)))} if cards else {}


def capacity_of(cores: int, memory: int, devices: Mapping[str, tuple[int, ...]]) -> Capacity:
    return Capacity(cores, memory, {name: len(found) for name, found in devices.items()})


def _folders(root: str, controller: str) -> Iterator[Path]:
    """Our control group's folder for *controller*, and all above it: each may limit."""
    for line in _text(Path(root, "proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            tops = [Path(root, "sys/fs/cgroup"), Path(root, "sys/fs/cgroup/unified")]
        elif controller in controllers.split(","):
            tops = [Path(root, "sys/fs/cgroup", controllers)]
            tops.append(Path(root, "sys/fs/cgroup", controller))
        else:
            continue
        for top in tops:
            folder = top.joinpath(path.lstrip("/"))
            while folder != top:
                yield folder
                folder = folder.parent
            yield top


def _quota(folder: Path) -> float | None:
    """Cores that the group may use, by its quota of CPU time."""
    words = _text(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]) / max(1, int(words[1]))
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and quota > 0 and period else None


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:  # "max", or nothing
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


__all__ = ["capacity_of", "cores_here", "devices_here", "memory_here"]
