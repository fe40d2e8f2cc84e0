from __future__ import annotations

import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from pypelinin.runtime import checkup
from pypelinin.runtime.cgroups import FIRST, Groups
from pypelinin.runtime.checkup import FAILED, OK, SKIPPED, WARNING, Finding

GB = 10**9
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/kiwi/my\\040disk xfs rw 0 0
overlay / overlay rw 0 0
"""


def judged(finding: Finding) -> tuple[str, str]:
    """State and text; what is not fine says what to do, what is fine has nothing to say."""
    if finding.state in (WARNING, FAILED):
        assert finding.remedy, finding
    else:
        assert not finding.remedy, finding
    return finding.state, finding.what


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 9), FAILED), ((3, 11, 0), OK), ((3, 13, 9), OK), ((3, 14, 0), WARNING)],
)
def test_python(version: tuple[int, ...], state: str) -> None:
    assert judged(checkup.python(version))[0] == state


@pytest.mark.parametrize(
    ("version", "curve", "state"),
    [((4, 3, 5), True, OK), ((4, 3, 5), False, WARNING), ((4, 2, 9), True, FAILED)],
)
def test_libzmq(version: tuple[int, ...], curve: bool, state: str) -> None:
    assert judged(checkup.libzmq(version, curve))[0] == state


def test_open_files() -> None:
    assert judged(checkup.open_files(20_000, 20_000)) == (OK, "20,000")
    assert judged(checkup.open_files(resource.RLIM_INFINITY, -1)) == (OK, "unlimited")
    assert judged(checkup.open_files(128, 4096))[0] == FAILED
    found = checkup.open_files(1024, 1_048_576)
    assert judged(found) == (WARNING, "1,024; a slot takes 5, a connection 1")
    assert found.remedy == "ulimit -n 1048576"


def test_processes() -> None:
    assert judged(checkup.processes(100, is_root=True))[0] == OK
    assert judged(checkup.processes(100, is_root=False))[0] == WARNING
    assert judged(checkup.processes(100_000, is_root=False)) == (OK, "100,000")


@pytest.mark.parametrize(
    ("kind", "writable", "free", "state", "what"),
    [
        ("ext4", True, 50 * GB, OK, "50.0 GB free"),
        ("", True, 50 * GB, OK, "an unknown file system"),
        ("ext4", False, 50 * GB, FAILED, "cannot be written to"),
        ("nfs4", True, 50 * GB, FAILED, "not safe over a network"),
        ("lustre", True, 50 * GB, FAILED, "not safe over a network"),
        ("tmpfs", True, 50 * GB, WARNING, "gone when the machine restarts"),
        ("ext4", True, GB // 2, WARNING, "500 MB free"),
        ("ext4", True, GB // 100, FAILED, "10.0 MB free"),
    ],
)
def test_the_journals_place(kind: str, writable: bool, free: int, state: str, what: str) -> None:
    found = judged(checkup.journal(Path("/somewhere"), kind, writable, free))
    assert found[0] == state
    assert what in found[1]


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    def kind(path: str) -> str:
        return checkup.file_system_of(Path(path), MOUNTS)

    assert kind("/var/lib") == "overlay"  # the last one mounted there
    assert kind("/tmp/x") == "tmpfs"
    assert kind("/tmpfiles") == "overlay"
    assert kind("/home/kiwi") == "nfs4"
    assert kind("/home/kiwi/my disk/journal") == "xfs"
    assert checkup.file_system_of(Path("/x"), "") == ""


def test_a_journal_that_is_not_there_yet_is_judged_by_its_place(tmp_path: Path) -> None:
    found = checkup.journal_here(tmp_path / "not" / "there")
    assert found.state in (OK, WARNING)
    (tmp_path / "file").touch()
    assert checkup.journal_here(tmp_path / "file" / "journal").state == FAILED


def test_shared_memory() -> None:
    assert judged(checkup.shared_memory(GB))[0] == OK
    assert judged(checkup.shared_memory(64 * 1024**2))[0] == WARNING
    assert judged(checkup.shared_memory(None))[0] == SKIPPED


def test_control_groups() -> None:
    usable = Groups(FIRST, (Path("/sys/fs/cgroup/memory/unit"),))
    assert judged(checkup.control_groups(usable)) == (
        OK, "version 1, usable: /sys/fs/cgroup/memory/unit",
    )  # fmt: skip
    assert judged(checkup.control_groups("version 2, but no"))[0] == WARNING
    assert judged(checkup.control_groups("switched off by PYPELININ_CGROUPS"))[0] == SKIPPED


def test_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert judged(checkup.claims("nobody may write"))[0] == WARNING
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert judged(checkup.claims_here())[0] == OK
    (tmp_path / "pypelinin").chmod(0o755)
    state, what = judged(checkup.claims_here())
    assert state == WARNING
    assert "only you can enter" in what


def test_keys_are_closed_to_others(tmp_path: Path) -> None:
    assert judged(checkup.keys_here([tmp_path / "nothing"]))[0] == SKIPPED
    place = tmp_path / "keys"
    place.mkdir(mode=0o700)
    (place / "router.secret").touch(mode=0o600)
    (place / "router.pub").touch(mode=0o644)
    assert judged(checkup.keys_here([place])) == (
        OK, "3 files and directories, closed to others",
    )  # fmt: skip
    (place / "router.secret").chmod(0o640)
    state, what = judged(checkup.keys_here([place]))
    assert (state, "router.secret" in what, "router.pub" in what) == (FAILED, True, False)
    (place / "router.secret").chmod(0o600)
    (place / "router.pub").chmod(0o666)
    assert judged(checkup.keys_here([place]))[0] == FAILED
    assert judged(checkup.keys({"/keys": stat.S_IFDIR | 0o755}))[0] == FAILED


def test_ports() -> None:
    address = "tcp://127.0.0.1:5555"
    assert judged(checkup.port("api", address, None, False)) == (OK, f"{address} is free")
    assert judged(checkup.port("api", address, "python, pid 1", True))[0] == OK
    assert judged(checkup.port("api", address, "python, pid 1", False))[0] == FAILED


def test_who_has_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        found = checkup.port_here("api", f"tcp://127.0.0.1:{number}", answers=False)
        assert found.state == FAILED
        assert f"pid {os.getpid()}" in found.what
    assert checkup.port_here("api", f"tcp://127.0.0.1:{number}", answers=False).state == OK
    for address in ("ipc:///tmp/x", "tcp://127.0.0.1:0", "tcp://192.0.2.1:5555"):
        assert checkup.port_here("api", address, answers=False).state == SKIPPED


def test_the_clock() -> None:
    assert judged(checkup.clock(-0.3)) == (OK, "-0.3 s against the Router's")
    assert judged(checkup.clock(61.0))[0] == WARNING
    assert judged(checkup.clock(-61.0))[0] == WARNING


def test_versions() -> None:
    assert judged(checkup.versions("1.0", "1.0", {"a": "1.0", "b": "1.0"})) == (
        OK, "1.0, the Router and 2 nodes",
    )  # fmt: skip
    state, what = judged(checkup.versions("1.0", "1.1", {"a": "1.0", "b": ""}))
    assert (state, what) == (WARNING, "1.0 here, but the Router 1.1, b of before")


def test_a_cluster_that_is_not_there_is_a_failure_only_if_it_was_named() -> None:
    assert judged(checkup.unreachable("tcp://x:1", "No answer.", is_expected=False))[0] == SKIPPED
    assert judged(checkup.unreachable("tcp://x:1", "No answer.", is_expected=True))[0] == FAILED


def test_this_machine_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    found = list(checkup.of_this_machine(tmp_path, []))
    assert len({finding.name for finding in found}) == len(found) == 9
    assert all(finding.what for finding in found)
    assert next(f for f in found if f.name == "python").state in (OK, WARNING)
