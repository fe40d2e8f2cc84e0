"""What this process holds of its node, told to all others of this user by a file.

Each participant has a file in `claims/` of the runtime directory and holds a lock on it, as do
all processes that it starts: the claim ends with the last of them, whatever happens, as the
kernel drops the lock. A file whose lock can be had is nobody's any more. To change anything one
takes the lock of the directory, reads what the others hold, and writes what is one's own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pypelinin.cluster.sharing import (
    Claim,
    Indices,
    Share,
    Shared,
    as_plain,
    beside,
    from_plain,
    share,
)
from pypelinin.errors import ClusterError
from pypelinin.runtime.capacity import cores_here
from pypelinin.runtime.places import runtime_directory
from pypelinin.wire.definitions import Capacity

POLL_S = 0.1
IDLE_POLL_S = 0.5
LOCK_S = 1.0
FAILS_MAX_S = 10.0
"""Who could not write down for so long what he holds goes on without sharing."""
GRANTED = "PYPELININ_CORES"
"""Set in the environment of jobs, to the number of their cores."""
BYTES_MAX = 1024 * 1024
PASSING = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EAGAIN))
"""What may be over soon; any other error of the directory is there to stay."""


def claims_of(most: Capacity, devices: Indices) -> Claims | None:
    """The claim of a Broker or an embedded run, unless `PYPELININ_CLAIMS` is off; None in a job,
    which lives on its grant."""
    off = os.environ.get("PYPELININ_CLAIMS", "").lower() in ("0", "off", "no", "false")
    if off or GRANTED in os.environ:
        return None
    try:
        return Claims(most, devices, cores=cores_here(), cpus=_cpus_here())
    except (OSError, ClusterError) as error:
        _warn(error)
        return None


def _cpus_here() -> tuple[int, ...]:
    """The numbers of the processors that this process may run on; none if that is not known."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # not on every system
        return ()


def _warn(error: Exception) -> None:
    """What has to be shared is not worth not to run at all."""
    warnings.warn(f"This node is not shared with other runs: {error}", stacklevel=3)


def cores_granted() -> int | None:
    """How many cores the job has that this process is, if it is one."""
    text = os.environ.get(GRANTED, "")
    return int(text) if text.isdigit() and int(text) else None


class Claims:
    """The claim of one participant, who may hold *most* at most. `fd` is for its children.

    *cores* are those of the node, if it has more than that, *cpus* those we are bound to.
    """

    def __init__(
        self,
        most: Capacity,
        devices: Indices,
        directory: Path | None = None,
        cores: int = 0,
        cpus: tuple[int, ...] = (),
    ) -> None:
        self.most = most
        self.devices = devices
        self.own = Claim(total=max(most.cores, cores), cpus=cpus)
        self.fd = -1
        self._pid = os.getpid()
        self._given = directory
        self._place = self._path = Path()
        self._seen: dict[str, bytes] | None = None
        self._poll_at = self._again_at = 0.0
        self._failed_at: float | None = None
        self._alone = False
        try:
            with self._locked(wait_s=FAILS_MAX_S):  # who does not begin sharing never will
                self._write(self.own)
        except OSError:
            if self.fd >= 0:
                os.close(self.fd)
            raise

    def update(self, wish: Share) -> Shared:
        """Hold what can be had of what is wished; if it cannot be written down, what is held."""
        if self._alone:
            return self._everything()
        try:
            with self._locked():
                now = time.monotonic()  # one clock for all processes of a machine
                others = self._others()
                known = [beside(self.own, other) for other in _claims(others)]
                claim, shared = share(self.most, self.devices, self.own, known, wish, now)
                if claim != self.own:
                    self._write(claim)
                    self.own = claim
                self._seen = others  # before anybody else can change something
        except (OSError, ClusterError) as error:
            return self._not_written(error)
        self._failed_at = None
        return shared

    def _not_written(self, error: OSError | ClusterError) -> Shared:
        """It is tried again soon if that may help."""
        now = time.monotonic()
        self._failed_at = now if self._failed_at is None else self._failed_at
        late = now - self._failed_at >= FAILS_MAX_S
        if late or not isinstance(error, OSError) or error.errno not in PASSING:
            self._alone = True
            _warn(error)
            return self._everything()
        own = self.own = replace(self.own, wants=max(1, self.own.wants))
        counts = {name: len(indices) for name, indices in own.devices.items()}
        held = Capacity(own.cores, own.memory, counts)
        return Shared(held, own.devices, held, own.cores, contended=False)

    def _everything(self) -> Shared:
        self.own = replace(self.own, wants=0, waits=0.0)
        return Shared(self.most, self.devices, self.most, self.most.cores, contended=False)

    def changed(self, now: float) -> bool:
        """Whether somebody else has changed something, or may have died: that changes no file.

        Looks at most every 100 ms.
        """
        if now < self._poll_at:
            return False
        waits = bool(self.own.wants or self.own.waits)
        self._poll_at = now + (POLL_S if self.own.cores or waits else IDLE_POLL_S)
        if self._alone:
            return False
        try:
            state = self._state()
        except OSError:  # `update` will say what to make of it
            state = None
        if not (waits or state != self._seen or (state and now >= self._again_at)):
            return False
        self._again_at = now + IDLE_POLL_S
        return True

    def deadline(self) -> float:
        return float("inf") if self._alone else self._poll_at

    def close(self) -> None:
        """Give all up, also if a child of this process still has the file open."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            if os.getpid() == self._pid:  # a fork's end is not ours
                self._write(Claim())
        os.close(self.fd)
        self.fd = -1
        with contextlib.suppress(OSError, ClusterError), self._locked(joined=False):
            self._is_dead(self._path)

    # --- files -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self, joined: bool = True, wait_s: float = 0.0) -> Iterator[None]:
        """Nobody else changes anything meanwhile; it never takes long.

        If the directory is gone (a logout cleans it up) it is made anew. Who is *joined* has a
        file of its own there.
        """
        lock = self._lock(max(wait_s, LOCK_S))
        try:
            if joined and not _is_at(self.fd, self._path):
                self._join()
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child that was forked meanwhile has it, too
            os.close(lock)

    def _lock(self, wait_s: float) -> int:
        for _ in range(100):
            self._place = self._given or runtime_directory() / "claims"
            self._place.mkdir(mode=0o700, exist_ok=True)
            path = self._place / "lock"
            with contextlib.suppress(FileNotFoundError):  # removed just now
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    _flock(lock, wait_s)
                    if _is_at(lock, path):
                        return lock
                except BaseException:
                    os.close(lock)
                    raise
                os.close(lock)
        raise ClusterError(f"The directory {self._place} is removed again and again.")

    def _join(self) -> None:
        """A file of our own. Processes that run already go on to hold the one before."""
        for number in range(1, 1_000_000):
            self._path = self._place / f"{os.getpid()}-{number}"
            with contextlib.suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                made = os.open(self._path, flags, 0o600)
                break
        try:
            fcntl.flock(made, fcntl.LOCK_EX)
            if self.fd < 0:
                self.fd = made
                return
            os.dup2(made, self.fd, inheritable=False)  # who is to inherit it knows its number
            self._write(self.own)
        except OSError:
            self._path.unlink(missing_ok=True)
            if self.fd != made:
                os.close(made)
            raise
        os.close(made)

    def _others(self) -> dict[str, bytes]:
        """The files of all others that live."""
        return {
            name: data
            for name, data in self._state().items()
            if not self._is_dead(self._place / name)
        }

    def _is_dead(self, path: Path) -> bool:
        """Whether nobody holds that file any more; then it is removed."""
        try:
            found = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
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

    def _state(self) -> dict[str, bytes]:
        """What stands in others' files; empty if there are none."""
        found: dict[str, bytes] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(os.scandir(self._place), key=lambda entry: entry.name):
                if entry.name not in ("lock", self._path.name):
                    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                        found[entry.name] = Path(entry).read_bytes()[:BYTES_MAX]
        return found


def _claims(files: dict[str, bytes]) -> Iterator[Claim]:
    for data in files.values():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            yield from_plain(json.loads(data))


def _flock(lock: int, wait_s: float) -> None:
    """Lock it; raises BlockingIOError if somebody has it for long, so if he was stopped."""
    until = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.001)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether that open file still has this name."""
    if descriptor < 0:
        return False
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
