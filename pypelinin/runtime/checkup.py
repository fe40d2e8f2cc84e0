"""What can be wrong with a machine, found before it hurts: the checks of `pypelinin doctor`.

Each check is in two halves: one looks at this machine, the other judges what was found and can be
asked with anything. A finding says what is, and what to do if it is not as it should be.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import zmq

from pypelinin.errors import ClusterError
from pypelinin.runtime.cgroups import SWITCH, Groups, find
from pypelinin.runtime.places import runtime_directory
from pypelinin.units import format_bytes

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
PYTHON_FROM, PYTHON_UP_TO = (3, 11), (3, 13)
LIBZMQ_FROM = (4, 3)
FILES_MIN, FILES_ENOUGH = 256, 4096
PROCESSES_ENOUGH = 1024
FREE_MIN, FREE_ENOUGH = 64 * 1024**2, 1024**3
SHARED_MEMORY_ENOUGH = 256 * 1024**2
CLOCK_OFF_S = 5.0
NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs lustre gpfs beegfs ceph glusterfs afs 9p pvfs2 panfs "
    "fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs".split()
)
VOLATILE = frozenset(("tmpfs", "ramfs"))
OTHERS, OTHERS_WRITE = 0o077, 0o022


@dataclass(frozen=True, slots=True)
class Finding:
    """*state* is ok, warning, failed or skipped."""

    name: str
    state: str
    what: str
    remedy: str = ""


# --- Python, libzmq, limits -------------------------------------------------------------------


def python(version: Sequence[int]) -> Finding:
    text = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < PYTHON_FROM:
        return Finding("python", FAILED, text, "Use Python 3.11 or newer.")
    if tuple(version[:2]) > PYTHON_UP_TO:
        what = f"{text}; tested are 3.11 to 3.13"
        return Finding("python", WARNING, what, "Should anything be odd, try it with 3.13.")
    return Finding("python", OK, text)


def libzmq(version: Sequence[int], has_curve: bool) -> Finding:
    text = ".".join(map(str, version))
    if tuple(version[:2]) < LIBZMQ_FROM:
        return Finding("libzmq", FAILED, text, "Install a pyzmq with libzmq 4.3 or newer.")
    if not has_curve:
        what = f"{text} without CURVE: no connection can be encrypted"
        return Finding("libzmq", WARNING, what, "Install pyzmq from its wheel (pip install pyzmq).")
    return Finding("libzmq", OK, f"{text} with CURVE")


def open_files(soft: int, hard: int) -> Finding:
    """*soft* and *hard* as of RLIMIT_NOFILE."""
    if soft == resource.RLIM_INFINITY or soft >= FILES_ENOUGH:
        return Finding("open files", OK, _count(soft))
    state = FAILED if soft < FILES_MIN else WARNING
    what = f"{soft:,}; a slot takes 5, a connection 1"
    return Finding("open files", state, what, f"ulimit -n {_count(hard).replace(',', '')}")


def processes(soft: int, is_root: bool) -> Finding:
    """*soft* as of RLIMIT_NPROC, which the kernel does not apply to root."""
    if is_root or soft == resource.RLIM_INFINITY or soft >= PROCESSES_ENOUGH:
        return Finding("processes", OK, "not limited for root" if is_root else _count(soft))
    what = f"{soft:,} of this user; a slot takes 2, and each thread counts"
    return Finding("processes", WARNING, what, "ulimit -u unlimited")


def _count(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else f"{number:,}"


# --- the journal's place, shared memory -------------------------------------------------------


def journal(path: Path, file_system: str, writable: bool, free: int) -> Finding:
    """*path* is where the journal is or will be, *free* are bytes."""
    what = f"{path} on {file_system or 'an unknown file system'}, {format_bytes(free)} free"
    elsewhere = "Name a directory on a local disk: --journal DIR."
    if not writable:
        return Finding("journal", FAILED, f"{what}; it cannot be written to", elsewhere)
    if file_system in NETWORK_FILE_SYSTEMS:
        text = f"{what}; locks and SQLite's journal are not safe over a network"
        return Finding("journal", FAILED, text, elsewhere)
    if free < FREE_MIN:
        return Finding("journal", FAILED, what, "Make room, or name another place: --journal DIR.")
    if file_system in VOLATILE:
        return Finding("journal", WARNING, f"{what}; gone when the machine restarts", elsewhere)
    if free < FREE_ENOUGH:
        return Finding("journal", WARNING, what, "Make room: a full disk stops new submissions.")
    return Finding("journal", OK, what)


def journal_here(path: Path) -> Finding:
    there = next(place for place in (path, *path.parents) if place.exists())
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    mounts = Path("/proc/self/mounts")
    text = mounts.read_text(errors="replace") if mounts.exists() else ""
    return journal(path, file_system_of(there.resolve(), text), writable, free)


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system of *path*; *mounts* is a text like /proc/mounts."""
    found = ""
    longest = -1
    for line in mounts.splitlines():
        _, point, kind, *_ = [*line.split(), "", "", ""]
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if point and path.is_relative_to(point) and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def shared_memory(size: int | None) -> Finding:
    """*size* of /dev/shm in bytes; None: there is none."""
    if size is None:
        return Finding("/dev/shm", SKIPPED, "there is none here")
    if size < SHARED_MEMORY_ENOUGH:
        remedy = "In a container: --shm-size=1g. Libraries share arrays between processes there."
        return Finding("/dev/shm", WARNING, format_bytes(size), remedy)
    return Finding("/dev/shm", OK, format_bytes(size))


def shared_memory_here() -> Finding:
    try:
        return shared_memory(shutil.disk_usage("/dev/shm").total)
    except OSError:
        return shared_memory(None)


# --- control groups, claims -------------------------------------------------------------------


def control_groups(found: Groups | str) -> Finding:
    if isinstance(found, Groups):
        what = f"version {found.dialect.version}, usable: {found.folders[0]}"
        return Finding("control groups", OK, what)
    if SWITCH in found:
        return Finding("control groups", SKIPPED, found)
    what = f"not usable from here, memory is only looked at: {found}"
    remedy = "In a systemd unit: Delegate=yes. A daemon may have what this shell has not."
    return Finding("control groups", WARNING, what, remedy)


def claims(problem: str) -> Finding:
    """*problem* is what keeps the claims directory from being used, or empty."""
    if problem:
        remedy = "Set XDG_RUNTIME_DIR to a local directory of yours, with mode 0700."
        return Finding("claims", WARNING, f"this node cannot be shared: {problem}", remedy)
    return Finding("claims", OK, "this user's processes can share the node")


def claims_here() -> Finding:
    try:
        place = runtime_directory() / "claims"
        place.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ClusterError) as error:
        return claims(str(error))
    return claims("" if os.access(place, os.W_OK) else f"{place} cannot be written to")


# --- keys -------------------------------------------------------------------------------------


def keys(modes: Mapping[str, int] | None) -> Finding:
    """*modes* of the files and directories by path, as of `stat`; None: none are in use."""
    if modes is None:
        return Finding("keys", SKIPPED, "none are in use here")
    wrong = [path for path, mode in modes.items() if mode & _forbidden(path, mode)]
    if wrong:
        listed = " ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else "")
        what = f"others can read or change {len(wrong)} of {len(modes)}: {listed}"
        return Finding("keys", FAILED, what, f"chmod go= {listed}, and make new keys if need be.")
    return Finding("keys", OK, f"{len(modes)} files and directories, closed to others")


def _forbidden(path: str, mode: int) -> int:
    """Public halves may be read by everybody."""
    is_public = Path(path).suffix in (".pub", ".key_public", ".toml") or "public" in path
    return OTHERS_WRITE if is_public and not stat.S_ISDIR(mode) else OTHERS


def keys_here(places: Iterable[Path]) -> Finding:
    found: dict[str, int] = {}
    for place in places:
        for path in (place, *(sorted(place.rglob("*")) if place.is_dir() else ())):
            try:
                found[str(path)] = path.stat().st_mode
            except OSError:
                continue
    return keys(found or None)


# --- ports ------------------------------------------------------------------------------------


def port(name: str, address: str, holder: str | None, answers: bool) -> Finding:
    """*holder* is who has the port (None: nobody); *answers*: it is a Router of ours."""
    title = f"port of {name}"
    if holder is None:
        return Finding(title, OK, f"{address} is free")
    if answers:
        return Finding(title, OK, f"{address} is the Router's ({holder})")
    remedy = f"End that, or take another one: --{name} tcp://127.0.0.1:PORT."
    return Finding(title, FAILED, f"{address} is in use by {holder}", remedy)


def port_here(name: str, address: str, answers: bool) -> Finding:
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.port:
        return Finding(f"port of {name}", SKIPPED, f"{address} names no port")
    try:
        is_free = can_bind(parts.hostname or "127.0.0.1", parts.port)
    except OSError:
        return Finding(f"port of {name}", SKIPPED, f"{address} is not of this machine")
    return port(name, address, None if is_free else holder_of(parts.port), answers)


def can_bind(host: str, number: int) -> bool:
    """False if somebody has it; raises OSError for what cannot be bound here at all."""
    family, kind, *_, where = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def holder_of(number: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and _port_of(found.laddr) == number and found.pid:
                return f"{psutil.Process(found.pid).name()}, pid {found.pid}"
    except (psutil.Error, OSError):
        pass
    return "a process that this user cannot see"


def _port_of(address: Sequence[object]) -> object:
    return address[1] if len(address) > 1 else None


# --- the cluster ------------------------------------------------------------------------------


def clock(off_s: float) -> Finding:
    """*off_s* is how much this clock is ahead of the Router's."""
    text = f"{off_s:+.1f} s against the Router's"
    if abs(off_s) > CLOCK_OFF_S:
        return Finding("clock", WARNING, text, "Shown times suffer. Let NTP set both clocks.")
    return Finding("clock", OK, text)


def versions(own: str, router: str, nodes: Mapping[str, str]) -> Finding:
    """Of this command, the Router and each node by name (empty: it did not say)."""
    named = {"the Router": router, **nodes}
    others = [f"{name} {text or 'of before'}" for name, text in named.items() if text != own]
    if not others:
        return Finding("versions", OK, f"{own}, the Router and {len(nodes)} nodes")
    what = f"{own} here, but {', '.join(others[:5])}{' ...' if len(others) > 5 else ''}"
    return Finding("versions", WARNING, what, "Bring all to one version, the Router first.")


def unreachable(api: str, why: str, is_expected: bool) -> Finding:
    """No Router answers; *is_expected*: somebody said that one is there."""
    if not is_expected:
        return Finding("cluster", SKIPPED, f"none runs at {api}")
    return Finding("cluster", FAILED, why, "Start it, or correct its address.")


# --- all of this machine ----------------------------------------------------------------------


def of_this_machine(journal_path: Path, key_places: Iterable[Path]) -> Iterator[Finding]:
    """Everything but ports and the cluster."""
    yield python(sys.version_info[:3])
    yield libzmq(zmq.zmq_version_info(), zmq.has("curve"))
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield processes(resource.getrlimit(resource.RLIMIT_NPROC)[0], os.geteuid() == 0)
    yield journal_here(journal_path)
    yield shared_memory_here()
    yield control_groups(find(os.environ, os.getpid()))
    yield claims_here()
    yield keys_here(key_places)
