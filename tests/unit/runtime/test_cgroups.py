from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.runtime import cgroups as module
from pypelinin.runtime.cgroups import ABOVE_BYTES, DAEMONS, SWITCH, Groups, Leaf, find
from tests.integration.cluster import until

MIB = 2**20


def hard(most: int) -> int:
    return int(most * 1.15) + ABOVE_BYTES


# --- version 2, on a tree in a directory ------------------------------------------------------


class Kernel:
    """What the kernel does with files of version 2, done to a directory."""

    FILES = (
        "cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "memory.max", "memory.peak",
        "memory.events", "memory.stat", "memory.oom.group", "pids.max",
    )  # fmt: skip

    def __init__(self, root: Path, group: str = "unit") -> None:
        self.root = root
        self.top = root / "sys/fs/cgroup"
        self.unit = self.top / group
        self.unit.mkdir(parents=True)
        self.fill(self.unit)
        (self.unit / "cgroup.controllers").write_text("cpu memory pids\n")
        (root / "proc/self/ns").mkdir(parents=True)
        (root / "proc/self/ns/pid").symlink_to("pid:[77]")
        self.process(os.getpid(), 500)
        (root / "proc/self/cgroup").write_text(f"0::/{group}\n")
        (self.unit / "cgroup.procs").write_text(f"{os.getpid()}\n")

    def process(self, pid: int, start: int) -> None:
        (self.root / f"proc/{pid}").mkdir()
        (self.root / f"proc/{pid}/stat").write_text(f"{pid} (a b) {'0 ' * 19}{start} 0\n")

    def fill(self, folder: Path) -> None:
        for name in self.FILES:
            (folder / name).write_text("")

    def put(self, path: Path, text: str) -> None:
        if path.name == "cgroup.procs":
            for procs in self.top.rglob("cgroup.procs"):
                procs.write_text("".join(f"{p}\n" for p in procs.read_text().split() if p != text))
            path.write_text(path.read_text() + text + "\n")
        elif path.name == "cgroup.subtree_control":
            if (path.parent / "cgroup.procs").read_text():
                raise OSError(errno.EBUSY, "it has processes")
            path.write_text(f"{path.read_text()} {text.lstrip('+')}".strip())
        elif path.name == "cgroup.kill":
            (path.parent / "cgroup.procs").write_text("")
        elif not path.exists():
            raise FileNotFoundError(path)
        else:
            path.write_text(text)

    def rmdir(self, path: Path) -> None:
        if (path / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, "it has processes")
        for file in path.iterdir():
            file.unlink()
        os.removedirs(path)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(tmp_path)
    mkdir, rmdir = Path.mkdir, os.rmdir

    def fake_mkdir(path: Path, *arguments: Any, **more: Any) -> None:
        existed = path.exists()
        mkdir(path, *arguments, **more)
        if not existed:
            made.fill(path)

    def fake_rmdir(path: Path) -> None:
        monkeypatch.setattr(os, "rmdir", rmdir)
        try:
            made.rmdir(Path(path))
        finally:
            monkeypatch.setattr(os, "rmdir", fake_rmdir)

    monkeypatch.setattr(Path, "mkdir", fake_mkdir)
    monkeypatch.setattr(os, "rmdir", fake_rmdir)
    monkeypatch.setattr(module, "_put", made.put)
    return made


def found(kernel: Kernel) -> Groups:
    groups = find({}, os.getpid(), str(kernel.root))
    assert isinstance(groups, Groups)
    return groups


def leaf_of(groups: Groups, keeper: int = 42) -> Leaf:
    leaf = groups.leaf(keeper)
    assert leaf is not None
    return leaf


def test_a_delegated_group_of_version_2_is_used_and_its_processes_make_room(kernel: Kernel) -> None:
    groups = found(kernel)
    assert groups.dialect.version == 2
    assert not list(kernel.unit.glob("pypelinin-*"))  # nothing is changed before it is needed
    leaf_of(groups)
    assert (kernel.unit / "cgroup.procs").read_text() == ""
    assert (kernel.unit / DAEMONS / "cgroup.procs").read_text() == f"{os.getpid()}\n"
    assert (kernel.unit / "cgroup.subtree_control").read_text() == "memory pids"
    assert (kernel.unit / f"pypelinin-77-{os.getpid()}-500-42/memory.oom.group").read_text() == "1"


def test_another_one_in_the_same_group_has_its_leaves_beside_it(kernel: Kernel) -> None:
    leaf_of(found(kernel))
    (kernel.root / "proc/self/cgroup").write_text(f"0::/unit/{DAEMONS}\n")
    again = found(kernel)
    assert again.folders == (kernel.unit,)
    leaf_of(again, 43)
    assert (kernel.unit / f"pypelinin-77-{os.getpid()}-500-43").is_dir()


def test_the_hard_limit_is_above_what_is_there_and_what_was_asked(kernel: Kernel) -> None:
    leaf = leaf_of(found(kernel))
    folder = next(kernel.unit.glob("pypelinin-77-*"))
    (folder / "memory.stat").write_text(f"anon {5 * MIB}\nfile 999999999\nshmem {MIB}\n")
    (folder / "memory.events").write_text("oom 3\noom_kill 1\n")
    assert leaf.limit(100 * MIB)
    assert (folder / "memory.max").read_text() == str(6 * MIB + hard(100 * MIB))
    assert not leaf.is_broken  # what it did before does not count
    (folder / "memory.events").write_text("oom 4\noom_kill 2\n")
    (folder / "memory.peak").write_text(f"{130 * MIB}\n")
    assert leaf.is_broken
    assert leaf.peak == 124 * MIB
    (folder / "memory.peak").unlink()  # an older kernel: it was the limit
    assert leaf.peak == hard(100 * MIB)
    assert leaf.limit(0)
    assert (folder / "memory.max").read_text() == "max"
    assert not leaf.is_broken


def test_a_leaf_ends_in_one_stroke_and_is_removed(kernel: Kernel) -> None:
    groups = found(kernel)
    leaf = leaf_of(groups)
    folder = next(kernel.unit.glob("pypelinin-77-*"))
    assert leaf.adopt([987654, 987655])
    assert leaf.pids() == [987654, 987655]
    groups.discard(leaf)
    assert groups.tidy()
    assert not folder.exists()


def test_what_nurseries_that_are_gone_left_is_removed_and_nothing_else(kernel: Kernel) -> None:
    kernel.process(1234, 9)
    (kernel.root / "proc/77/stat").mkdir(parents=True)  # cannot be read: too many open files
    dead = ["pypelinin-77-1234-8-5", "pypelinin-77-4321-8-5"]
    kept = [
        "pypelinin-77-1234-9-5", "pypelinin-77-77-9-5", "pypelinin-78-4321-8-5", "pypelinin-77-x",
        "session", DAEMONS,
    ]  # fmt: skip
    for name in (*dead, *kept):
        (kernel.unit / name).mkdir()
    (kernel.unit / dead[0] / "cgroup.procs").write_text("987654\n")
    found(kernel).sweep()
    assert sorted(path.name for path in kernel.unit.iterdir() if path.is_dir()) == sorted(kept)


@pytest.mark.parametrize("others", ["", "1\n"])
@pytest.mark.parametrize("mark", [None, "user.delegate", "trusted.delegate"])
def test_a_unit_of_systemd_is_used_if_it_is_marked_as_delegated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str | None, others: str
) -> None:
    kernel = Kernel(tmp_path, "system.slice/pypelinin.service")
    (kernel.unit / "cgroup.procs").write_text(f"{os.getpid()}\n{others}")

    def getxattr(path: Path, name: str) -> bytes:
        if path == kernel.unit and name == mark:
            return b"1"
        raise OSError(errno.ENODATA, "No data available")

    monkeypatch.setattr(os, "getxattr", getxattr)
    if mark:
        assert found(kernel).folders == (kernel.unit,)
    else:
        said = str(find({}, os.getpid(), str(kernel.root)))
        assert "is a unit of systemd without Delegate=yes" in said


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("sys/fs/cgroup/unit/cgroup.controllers", "cpu\n", "does not control memory"),
        ("sys/fs/cgroup/unit/cgroup.procs", "ME\n1\n", "processes of others"),
        ("proc/self/cgroup", "3:cpu:/\n", "there are none"),
        ("proc/self/cgroup", "0::/elsewhere\n", "there are none"),
    ],
)
def test_it_is_said_why_nothing_is_used(kernel: Kernel, file: str, text: str, why: str) -> None:
    (kernel.root / file).write_text(text.replace("ME", str(os.getpid())))
    assert why in str(find({}, os.getpid(), str(kernel.root)))


def test_what_cannot_be_written_to_is_not_used(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_is_writable", lambda path: path.name != "cgroup.subtree_control")
    assert "is not delegated to this user" in str(find({}, os.getpid(), str(kernel.root)))


def test_the_switch_turns_it_off(kernel: Kernel) -> None:
    assert SWITCH in str(find({SWITCH: "off"}, os.getpid(), str(kernel.root)))


def test_a_group_that_refuses_after_all_is_not_asked_again(kernel: Kernel) -> None:
    groups = found(kernel)
    stranger = 4_000_000  # came meanwhile and cannot be moved

    def refuse(path: Path, text: str) -> None:
        if text == str(stranger):
            raise PermissionError
        Kernel.put(kernel, path, text)

    (kernel.unit / "cgroup.procs").write_text(f"{stranger}\n")
    module._put = refuse  # the fixture puts it back
    assert groups.leaf(1) is None
    (kernel.unit / "cgroup.procs").write_text("")
    assert groups.leaf(2) is None


# --- what this machine has --------------------------------------------------------------------


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = find({}, os.getpid())
    assert isinstance(made, Groups)
    yield made
    made.close(30.0)
    for folder in made.folders:
        assert not list(folder.glob(f"pypelinin-*-{os.getpid()}-*"))


class Child:
    """A process that waits for a word, and then does something."""

    def __init__(self, act: Callable[[], object]) -> None:
        read, self.write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.read(read, 1)
                act()
            finally:
                os._exit(0)
        os.close(read)

    def go(self) -> None:
        os.write(self.write, b"x")

    def end(self) -> int:
        os.close(self.write)
        status = os.waitpid(self.pid, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def take(size: int) -> None:
    kept = [b"x" * MIB for _ in range(size // MIB)]
    assert len(kept) == size // MIB


@pytest.mark.cgroups
def test_nobody_gets_above_the_hard_limit(groups: Groups) -> None:
    child = Child(lambda: take(300 * MIB))
    leaf = leaf_of(groups)
    assert leaf.adopt([child.pid])
    assert leaf.limit(64 * MIB)
    assert not leaf.is_broken
    child.go()
    until(lambda: leaf.is_broken, "that the limit is hit")
    assert 64 * MIB < leaf.peak <= hard(64 * MIB)
    groups.discard(leaf)
    assert child.end() == signal.SIGKILL


@pytest.mark.cgroups
def test_who_stays_below_the_hard_limit_is_left_alone(groups: Groups) -> None:
    child = Child(lambda: take(30 * MIB))
    leaf = leaf_of(groups)
    assert leaf.adopt([child.pid])
    assert leaf.limit(64 * MIB)
    child.go()
    assert child.end() == 0
    assert not leaf.is_broken
    groups.discard(leaf)


def fork_on(told: int) -> None:
    """As often as it is possible, but not very often."""
    try:
        for _ in range(100):
            if not os.fork():
                time.sleep(20)
            os.write(told, b".")
    except BlockingIOError:
        os.write(told, b"!")


@pytest.mark.cgroups
def test_forks_beyond_a_bound_fail(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    if groups.dialect.version == 1 and len(groups.folders) < 2:
        pytest.skip("cgroups: version 1, but without a hierarchy for processes")
    monkeypatch.setattr(module, "PIDS_MAX", 20)
    read, write = os.pipe()
    child = Child(lambda: fork_on(write))
    leaf = leaf_of(groups)
    assert leaf.adopt([child.pid])
    leaf.limit(64 * MIB)
    child.go()
    os.close(write)
    told = b""
    while b"!" not in told:
        more = os.read(read, 200)
        assert more, "all forks went through"
        told += more
    assert told == b"." * 19 + b"!"
    os.close(read)
    groups.discard(leaf)
    child.end()


def rabbit(pids: int) -> None:
    """Fork and end, so that it is always another process; not for ever."""
    for _ in range(3000):
        os.write(pids, b".")
        if os.fork():
            os._exit(0)
    time.sleep(20)


@pytest.mark.cgroups
def test_who_always_is_another_process_is_ended_with_its_group(groups: Groups) -> None:
    read, write = os.pipe()
    child = Child(lambda: rabbit(write))
    leaf = leaf_of(groups)
    assert leaf.adopt([child.pid])
    child.go()
    os.close(write)
    assert len(os.read(read, 20)) > 0
    child.end()
    leaf.kill()
    until(lambda: not leaf.pids(), "the end of all of them")
    os.set_blocking(read, False)
    while os.read(read, 65536):  # and nobody has the other end any more
        pass
    os.close(read)
    groups.discard(leaf)


@pytest.mark.cgroups
def test_groups_that_a_job_made_in_its_own_are_removed_with_it(groups: Groups) -> None:
    child = Child(lambda: time.sleep(20))
    leaf = leaf_of(groups)
    assert leaf.adopt([child.pid])
    inner = leaf._memory / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(child.pid))
    assert leaf.pids() == [child.pid]
    child.go()
    groups.discard(leaf)
    assert child.end() == signal.SIGKILL
    groups.close(30.0)
    assert not inner.exists()
