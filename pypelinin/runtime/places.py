"""Where this user's files of this machine live: node names, running clusters."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from pypelinin.config import DEFAULTS
from pypelinin.errors import ClusterError

NAMES_MAX = 1000
SAME_START_S = 2.0
"""Two readings of one process's start differ by less: the clock may have been set since."""


def runtime_directory() -> Path:
    """`$XDG_RUNTIME_DIR/pypelinin`, else one below /tmp; only this user may enter it."""
    path = _runtime_path()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ClusterError(
            f"The directory {path} cannot be used: {error.strerror}.",
            remedy="Set XDG_RUNTIME_DIR to a directory of yours.",
        ) from None
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise ClusterError(
            f"{path} is not a directory of yours that only you can enter.",
            remedy="Remove it, or set XDG_RUNTIME_DIR.",
        )
    return path


def _runtime_path() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base, "pypelinin") if base else Path(f"/tmp/pypelinin-{os.getuid()}")


class NodeName:
    """A name for this node's Broker: the host's, with a number if that is in use.

    Held by an flock until the process ends, so a Broker that is started again after a
    crash has the same name and its Router knows at once what became of its jobs.
    """

    def __init__(self, base: str) -> None:
        directory = runtime_directory() / "nodes"
        directory.mkdir(mode=0o700, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", base)[:100] or "node"
        for number in range(1, NAMES_MAX):
            name = safe if number == 1 else f"{safe}-{number}"
            descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            self.name = name
            self._descriptor = descriptor
            return
        raise ClusterError(f"{NAMES_MAX} Brokers run on {base} already.")

    def close(self) -> None:
        os.close(self._descriptor)


# --- clusters that `pypelinin up` started ----------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process by pid and start: a pid alone may long be somebody else's."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """The mark of a living process; raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it is still the same one and alive."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.create_time) < SAME_START_S
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """What `pypelinin up` tells everybody of its user; times in seconds since 1970."""

    journal: str
    api: str
    broadcast: str
    started_at: float
    log: str
    supervisor: ProcessMark
    daemons: dict[str, ProcessMark]
    access: str = ""
    """The access file of its user, if it has keys."""


class ClusterFile:
    """The file about the cluster of one journal, and the lock of whoever keeps it running.

    The lock ends with its process, so a file without one is of a cluster that died.
    """

    def __init__(self, journal: Path) -> None:
        directory = runtime_directory() / "clusters"
        directory.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(os.fsencode(journal)).hexdigest()[:16]
        self._path = directory / f"{name}.json"
        self._lock_path = directory / f"{name}.lock"
        self._lock: int | None = None

    def take(self) -> bool:
        """Become the one who keeps this cluster; False if somebody else does."""
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def write(self, cluster: RunningCluster) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(asdict(cluster), indent=2), encoding="utf-8")
        os.replace(new, self._path)

    def close(self) -> None:
        """The cluster has ended."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def running_clusters() -> list[RunningCluster]:
    """This user's clusters that `up` keeps running now, the newest first."""
    found = (cluster for cluster, alive in known_clusters() if alive)
    return sorted(found, key=lambda cluster: -cluster.started_at)


def nearest_cluster(directory: Path) -> RunningCluster | None:
    """The running cluster that is meant in *directory*: its own journal's, else the newest."""
    running = running_clusters()
    own = str(directory / DEFAULTS["journal"])
    return next((one for one in running if one.journal == own), running[0] if running else None)


def known_clusters() -> Iterator[tuple[RunningCluster, bool]]:
    """All clusters with a file, and whether somebody keeps them running.

    A file that cannot be read is left out: it is another version's.
    """
    for path in sorted((_runtime_path() / "clusters").glob("*.json")):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            supervisor = ProcessMark(**table.pop("supervisor"))
            daemons = {role: ProcessMark(**mark) for role, mark in table.pop("daemons").items()}
            cluster = RunningCluster(**table, supervisor=supervisor, daemons=daemons)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        yield cluster, _is_locked(path.with_suffix(".lock"))


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
