"""Where this user's files of this machine live: node names, running clusters."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from pathlib import Path

from pypelinin.errors import ClusterError

NAMES_MAX = 1000


def runtime_directory() -> Path:
    """`$XDG_RUNTIME_DIR/pypelinin`, else one below /tmp; only this user may enter it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base, "pypelinin") if base else Path(f"/tmp/pypelinin-{os.getuid()}")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise ClusterError(
            f"{path} is not a directory of yours that only you can enter.",
            remedy="Remove it, or set XDG_RUNTIME_DIR.",
        )
    return path


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
