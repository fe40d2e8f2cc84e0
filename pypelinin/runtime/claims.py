"""What this process holds of its node, told to all others of this user by a file.

Each participant has a file in `claims/` of the runtime directory and holds a lock on it, as do
all processes that it starts: the claim ends with the last of them, whatever happens, as the
kernel drops the lock. A file whose lock can be had is nobody's any more. To change anything one
takes the lock of the directory, reads what the others hold, and writes what is one's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pypelinin.cluster.sharing import Claim, Indices, Share, Shared, as_plain, from_plain, share
from pypelinin.errors import ClusterError
from pypelinin.runtime.places import runtime_directory
from pypelinin.wire.definitions import Capacity

POLL_S = 0.1
IDLE_POLL_S = 0.5
GRANTED = "PYPELININ_CORES"
"""Set in the environment of jobs, to the number of their cores."""
BYTES_MAX = 1024 * 1024


def claims_of(most: Capacity, devices: Indices) -> Claims | None:
    """The claim of a Broker or an embedded run, if `PYPELININ_CLAIMS` is on; None in a job, which
    lives on its grant."""
    on = os.environ.get("PYPELININ_CLAIMS", "").lower() in ("1", "on", "yes", "true")
    if not on or GRANTED in os.environ:
        return None
    try:
        return Claims(most, devices)
    except (OSError, ClusterError) as error:  # what has to be shared is not worth not to run at all
        warnings.warn(f"This node is not shared with other runs: {error}", stacklevel=2)
        return None


def cores_granted() -> int | None:
    """How many cores the job has that this process is, if it is one."""
    text = os.environ.get(GRANTED, "")
    return int(text) if text.isdigit() and int(text) else None


class Claims:
    """The claim of one participant, who may hold *most* at most. `fd` is for its children."""

    def __init__(self, most: Capacity, devices: Indices, directory: Path | None = None) -> None:
        self.most = most
        self.devices = devices
        self.own = Claim(total=most.cores)
        self._place = directory or runtime_directory() / "claims"
        self._place.mkdir(mode=0o700, exist_ok=True)
        self._seen: list[tuple[str, int, int]] | None = None
        self._poll_at = self._again_at = 0.0
        with self._locked():
            for number in range(1, 1_000_000):
                self._path = self._place / f"{os.getpid()}-{number}"
                with contextlib.suppress(FileExistsError):
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    self.fd = os.open(self._path, flags, 0o600)
                    break
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            self._write(self.own)

    def update(self, wish: Share) -> Shared:
        """Hold what can be had of what is wished; if it cannot be written down, what is held."""
        try:
            with self._locked():
                now = time.monotonic()  # one clock for all processes of a machine
                claim, shared = share(
                    self.most, self.devices, self.own, list(self._others()), wish, now
                )
                if claim != self.own:
                    self._write(claim)
                    self.own = claim
        except OSError:  # no room on the disk, too many open files
            own = self.own = replace(self.own, wants=max(1, self.own.wants))  # it is asked again
            counts = {name: len(indices) for name, indices in own.devices.items()}
            held = Capacity(own.cores, own.memory, counts)
            return Shared(held, own.devices, held, own.cores, contended=False)
        self._seen = self._state()
        return shared

    def changed(self, now: float) -> bool:
        """Whether somebody else has changed something, or may have died: that changes no file.

        Looks at most every 100 ms.
        """
        if now < self._poll_at:
            return False
        self._poll_at = now + (POLL_S if self.own.cores or self.own.wants else IDLE_POLL_S)
        state = self._state()
        if not (self.own.wants or state != self._seen or (state and now >= self._again_at)):
            return False
        self._again_at = now + IDLE_POLL_S
        return True

    def deadline(self) -> float:
        return self._poll_at

    def close(self) -> None:
        """Give all up, unless a child of this process still holds it."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        with contextlib.suppress(OSError), self._locked():
            self._is_dead(self._path)

    # --- files -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile; it never takes long."""
        lock = os.open(self._place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _others(self) -> Iterator[Claim]:
        for path in sorted(self._place.iterdir()):
            if path.name == "lock" or path == self._path or self._is_dead(path):
                continue
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                yield from_plain(json.loads(path.read_bytes()[:BYTES_MAX]))

    def _is_dead(self, path: Path) -> bool:
        """Whether nobody holds that file any more; then it is removed."""
        try:
            found = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(found)

    def _write(self, claim: Claim) -> None:
        data = json.dumps(as_plain(claim)).encode()
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))

    def _state(self) -> list[tuple[str, int, int]]:
        """Changes with every change of others' files; empty if there are none."""
        found: list[tuple[str, int, int]] = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._place):
                if entry.name != "lock" and entry.name != self._path.name:
                    with contextlib.suppress(OSError):
                        found.append((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size))
        return sorted(found)
