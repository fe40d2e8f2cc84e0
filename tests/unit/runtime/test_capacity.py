"""What is found of a machine: affinity, control groups of both versions, devices."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from pypelinin.runtime.capacity import capacity_of, cores_here, devices_here, memory_here
from pypelinin.wire.definitions import Capacity


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_without_control_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert cores_here(str(tmp_path)) == len(os.sched_getaffinity(0))
    assert memory_here(str(tmp_path)) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", None), ("150000 100000", 1), ("10 100", 1)]
)
def test_a_quota_of_version_2(tmp_path: Path, quota: str, cores: int | None) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/jobs/mine\n",
            "sys/fs/cgroup/jobs/cpu.max": quota,
            "sys/fs/cgroup/jobs/mine/cpu.max": "max 100000",
            "sys/fs/cgroup/jobs/memory.max": "max",
            "sys/fs/cgroup/jobs/mine/memory.max": "123456789",
        },
    )
    assert cores_here(root) == (cores or len(os.sched_getaffinity(0)))
    assert memory_here(root) == 123456789


def test_limits_of_version_1(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/\nnonsense\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": str(2**63 - 4096),
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "500000000",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        },
    )
    assert cores_here(root) == 1
    assert memory_here(root) == 500000000


def test_no_quota_of_version_1(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert cores_here(root) == len(os.sched_getaffinity(0))


def test_gpus_are_those_that_are_visible(tmp_path: Path) -> None:
    root = tree(tmp_path, {f"proc/driver/nvidia/gpus/{n}/x": "" for n in ("a", "b", "c")})
    assert devices_here({}, root) == {"gpu": (0, 1, 2)}
    assert devices_here({"CUDA_VISIBLE_DEVICES": "2, 5"}, root) == {"gpu": (2, 5)}
    assert devices_here({"CUDA_VISIBLE_DEVICES": ""}, root) == {}
    assert devices_here({"CUDA_VISIBLE_DEVICES": "GPU-8f1a"}, root) == {"gpu": (0, 1, 2)}
    assert devices_here({}, str(tmp_path / "none")) == {}


def test_capacity_counts_the_devices() -> None:
    assert capacity_of(2, 10, {"gpu": (3, 4)}) == Capacity(2, 10, {"gpu": 2})
