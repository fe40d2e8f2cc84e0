"""Brings kept values to the disk, some seconds after they were written.

Most are gone by then: synced at once, each would cost more than the job it is of. A file that
is on the disk is sealed (see `value_files`), so that it counts after a restart of the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from pypelinin.runtime.value_files import is_sealed, seal, sync_directories

EVERY_S = 5.0


class Sealer:
    """Looks through a value directory every few seconds, on a thread of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sealed: dict[str, int] = {}
        """When each directory changed last in which there was nothing left to do."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(EVERY_S):
            self.seal(EVERY_S)

    def seal(self, older_s: float = 0.0) -> None:
        """Seal what was written at least so long ago."""
        until, changed = time.time() - older_s, {}
        with contextlib.suppress(OSError), os.scandir(self._root) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        changed[entry.name] = entry.stat().st_mtime_ns
        self._sealed = {n: at for n, at in self._sealed.items() if changed.get(n) == at}
        for name, at in changed.items():
            if name in self._sealed:
                continue
            with contextlib.suppress(OSError):  # dropped meanwhile, or the disk is in trouble
                left = self._seal_all(self._root / name, until)
                if not left and at < until * 1e9:
                    self._sealed[name] = at

    def _seal_all(self, directory: Path, until: float) -> bool:
        """Returns whether something is left to do there."""
        left = new = False
        with os.scandir(directory) as found:
            entries = [(entry.path, entry.stat()) for entry in list(found)]
        for path, status in entries:
            if is_sealed(status):
                continue
            if status.st_mtime <= until and status.st_size and not path.endswith(".part"):
                new = _sealed(path) or new
            left = True  # until it is seen sealed
        if new:
            sync_directories(directory, self._root)
        return left

    def close(self) -> None:
        """Seal what is there."""
        self._over.set()
        self._thread.join()
        self.seal()


def _sealed(path: str) -> bool:
    """Whether nobody writes it any more, and it is sealed now."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seal(file)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
