"""Control groups: the kernel's own limit for a slot, and its end in one stroke.

Used where this process may: in the part of the tree of version 2 that was delegated to it, or in a
hierarchy of version 1 that it can write to. A slot with a limit gets a leaf of its own below the
group of this process. Its hard limit is somewhat above what was asked, so that whoever looks at
the processes comes first and can tell what they used; the kernel is there for what is faster.
Where nothing can be used, `find` says why, and looking has to do.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypelinin.runtime.trees import descendants

SWITCH = "PYPELININ_CGROUPS"
ABOVE_PART, ABOVE_BYTES = 0.15, 32 * 1024 * 1024
"""The hard limit is so much above what was asked."""
PIDS_MAX = 10_000
"""Processes and threads of a slot with a limit: a node has room for some 30,000."""
DAEMONS = "pypelinin-daemons"
"""Of version 2: the processes of the group move in here, as only leaves may have some."""
PROCESSES = "cgroup.procs"
UNITS = (".service", ".scope", ".slice")
ROUNDS = 20
_UNLIMITED_1, _UNLIMITED_2 = "-1", "max"
_LEAF = re.compile(r"pypelinin-(\d+)-(\d+)-(\d+)-\d+")
"""pypelinin-{process namespace}-{pid and start of the nursery}-{keeper}"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names of the files of one version."""

    version: int
    limit: str
    unlimited: str
    peak: str
    ends: str
    used: tuple[str, str]


FIRST = Dialect(
    1, "memory.limit_in_bytes", _UNLIMITED_1, "memory.max_usage_in_bytes", "memory.oom_control",
    ("total_rss", "total_shmem"),
)  # fmt: skip
SECOND = Dialect(
    2, "memory.max", _UNLIMITED_2, "memory.peak", "memory.events", ("anon", "shmem")
)  # fmt: skip


class Leaf:
    """The group of one slot: a folder for memory, and of version 1 one for processes."""

    def __init__(self, dialect: Dialect, folders: tuple[Path, ...]) -> None:
        self._dialect = dialect
        self._folders = folders
        self._memory = folders[0]
        self._base = self._ends = self._most = 0
        if dialect.version == 2:
            _write(self._memory / "memory.oom.group", "1")  # all of it, not any one of them
            _write(self._memory / "memory.swap.max", "0")
        else:  # who hits the limit waits for us, so that no other process can tell it wrongly
            _write(self._memory / dialect.ends, "1")
            _write(self._memory / "memory.swappiness", "0")

    def adopt(self, pids: Sequence[int]) -> bool:
        """These processes, and all that they will fork, belong here; False if it is refused."""
        return all(_move(pid, folder) for folder in self._folders for pid in pids)

    def limit(self, most: int) -> bool:
        """They may use *most* bytes (0: as they like) more than now, and somewhat above."""
        stat = _fields(self._memory / "memory.stat")
        self._base = sum(stat.get(name, 0) for name in self._dialect.used)
        self._ends = self.ends()
        self._most = self._base + int(most * (1 + ABOVE_PART)) + ABOVE_BYTES if most else 0
        text = str(self._most) if most else self._dialect.unlimited
        if self._dialect.version == 1:
            _write(self._memory / self._dialect.peak, "0")  # begins anew
        _write(self._folders[-1] / "pids.max", str(PIDS_MAX) if most else "max")
        return _write(self._memory / self._dialect.limit, text)

    def ends(self) -> int:
        """How many processes the kernel has ended here for their memory, or holds up."""
        found = _fields(self._memory / self._dialect.ends)
        return found.get("oom_kill", 0) + found.get("under_oom", 0)

    @property
    def is_broken(self) -> bool:
        """Whether the hard limit was hit since it was set."""
        return self._most > 0 and self.ends() > self._ends

    @property
    def peak(self) -> int:
        """The most bytes that were used since the limit was set, as far as it is known."""
        found = _text(self._memory / self._dialect.peak).strip()
        most = int(found) if found.isdigit() else self._most
        return max(0, min(most, self._most) - self._base)

    def pids(self) -> list[int]:
        """All processes here, and in groups that jobs made below."""
        return [pid for folder in _with_below(self._memory) for pid in _pids(folder)]

    def kill(self) -> None:
        """SIGKILL for all; where it is possible, without a chance to fork meanwhile."""
        if _write(self._memory / "cgroup.kill", "1"):
            return
        _write(self._folders[-1] / "pids.max", "0")
        done: set[int] = set()
        for _ in range(ROUNDS):
            fresh = set(self.pids()) - done
            if not fresh:
                return
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            done |= fresh

    def remove(self) -> bool:
        """False while something in it has not ended yet."""
        return all(_removed(folder) for folder in self._folders)


class Groups:
    """Where leaves can be made: below these folders (version 1: for memory, for processes)."""

    def __init__(self, dialect: Dialect, folders: tuple[Path, ...], root: str = "/") -> None:
        self.dialect = dialect
        self.folders = folders
        self._root = root
        self._prefix = f"pypelinin-{_namespace(root)}-{os.getpid()}-{_start(root, os.getpid())}"
        self._prepared = dialect.version == 1
        self._refused = False
        self._left: list[Leaf] = []

    def leaf(self, keeper: int) -> Leaf | None:
        """A new one for the slot below *keeper*; None if it is refused after all."""
        if self._refused or not (self._prepared or self._prepare()):
            self._refused = True
            return None
        folders = tuple(folder / f"{self._prefix}-{keeper}" for folder in self.folders)
        try:
            for folder in folders:
                folder.mkdir()
        except OSError:
            for folder in folders:
                _removed(folder)
            self._refused = True
            return None
        return Leaf(self.dialect, folders)

    def _prepare(self) -> bool:
        """Of version 2: who has leaves has no processes, and says what it limits there."""
        (folder,) = self.folders
        control = folder / "cgroup.subtree_control"
        if "memory" not in _text(control).split():
            daemons = folder / DAEMONS
            with contextlib.suppress(OSError):
                daemons.mkdir(exist_ok=True)
            for _ in range(ROUNDS):
                pids = _pids(folder)
                if not pids or not all(_move(pid, daemons) for pid in pids):
                    break
            if not _write(control, "+memory"):
                return False
            _write(control, "+pids")
        self._prepared = True
        return True

    def discard(self, leaf: Leaf) -> None:
        """Its slot has ended: so does all that is left in it, and it is removed."""
        leaf.kill()
        self._left.append(leaf)
        self.tidy()

    def tidy(self) -> bool:
        """Remove what could not be removed before; False if there is still something."""
        self._left = [leaf for leaf in self._left if not leaf.remove()]
        return not self._left

    def close(self, deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        while not self.tidy() and time.monotonic() < until:
            time.sleep(0.001)

    def sweep(self) -> None:
        """End and remove what nurseries that are gone have left."""
        for folder in self.folders:
            for found in _below(folder):
                if self._is_left(found.name):
                    leaf = Leaf(self.dialect, (found,))
                    leaf.kill()
                    leaf.remove()

    def _is_left(self, name: str) -> bool:
        known = _LEAF.fullmatch(name)
        if known is None or known[1] != _namespace(self._root):
            return False  # not ours, or of processes that we cannot see
        start = _start(self._root, int(known[2]))
        if not start:  # nobody is there, or too many files are open to read it
            return not Path(self._root, "proc", known[2]).exists()
        return start != known[3]


def find(environ: Mapping[str, str], daemon: int, root: str = "/") -> Groups | str:
    """What the process *daemon* and those below it can use, or why nothing. Changes nothing."""
    if environ.get(SWITCH, "").lower() in ("0", "off", "no", "false"):
        return f"switched off by {SWITCH}"
    top = Path(root, "sys/fs/cgroup")
    memory = _own(root, "memory", top / "memory")
    if memory is not None:
        if not _is_writable(memory):
            return f"version 1, but {memory} cannot be written to"
        processes = _own(root, "pids", top / "pids")
        if processes is None or not _is_writable(processes):
            return Groups(FIRST, (memory,), root)
        return Groups(FIRST, (memory, processes), root)
    unified = _own(root, "", top)
    if unified is None:
        return "there are none here"
    if unified.name == DAEMONS:
        unified = unified.parent
    return _why_not(unified, daemon) or Groups(SECOND, (unified,), root)


def _why_not(folder: Path, daemon: int) -> str:
    """What stands against leaves below this group of version 2; nothing: an empty text."""
    if "memory" not in _text(folder / "cgroup.controllers").split():
        return f"version 2, but {folder} does not control memory"
    if not all(map(_is_writable, (folder, folder / PROCESSES, folder / "cgroup.subtree_control"))):
        return f"version 2, but {folder} is not delegated to this user"
    if _is_delegated(folder):
        return ""
    if folder.suffix in UNITS:
        return f"version 2, but {folder} is a unit of systemd without Delegate=yes"
    if set(_pids(folder)) - set(descendants([daemon])):
        return f"version 2, but {folder} has processes of others"
    return ""


def _is_delegated(folder: Path) -> bool:
    """Whether systemd says so (`Delegate=yes`)."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError, AttributeError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _own(root: str, controller: str, top: Path) -> Path | None:
    """The folder of our group of that controller (none: version 2); it must list us."""
    for line in _text(Path(root, "proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller not in names.split(","):
            continue
        for folder in (top / path.strip("/"), top):  # in a container its top may be our group
            if os.getpid() in _pids(folder):
                return folder
    return None


def _namespace(root: str) -> str:
    """Which numbers of processes are meant."""
    try:
        return re.sub(r"\D", "", os.readlink(Path(root, "proc/self/ns/pid"))) or "0"
    except OSError:
        return "0"


def _start(root: str, pid: int) -> str:
    """When that process started, in ticks; empty if there is none."""
    words = _text(Path(root, f"proc/{pid}/stat")).rpartition(")")[2].split()
    return words[19] if len(words) > 19 else ""


def _below(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _with_below(folder: Path) -> Iterator[Path]:
    """The folder and all below, the deepest first."""
    for inner in _below(folder):
        yield from _with_below(inner)
    yield folder


def _removed(folder: Path) -> bool:
    for inner in _with_below(folder):
        try:
            os.rmdir(inner)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _pids(folder: Path) -> list[int]:
    return [int(word) for word in _text(folder / PROCESSES).split() if word.isdigit()]


def _move(pid: int, folder: Path) -> bool:
    """Into that group; who has ended meanwhile need not."""
    try:
        _put(folder / PROCESSES, str(pid))
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    lines = (line.split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def _is_writable(path: Path) -> bool:
    try:
        return os.access(path, os.W_OK) and not os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return False


def _write(path: Path, text: str) -> bool:
    try:
        _put(path, text)
    except OSError:
        return False
    return True


def _put(path: Path, text: str) -> None:
    """In one piece; the files are the kernel's, none is made."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


__all__ = ["Dialect", "FIRST", "Groups", "Leaf", "SECOND", "find"]
