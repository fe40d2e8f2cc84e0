"""The Router's directory of keys: its own pair in `router.toml`, one file for each other holder.

    new(directory, "alice", "client")     makes the Router's pair, too, if there is none yet
    ring = ring_of(directory)             None if there are no keys at all
    ring.holders[public]                  who has that key now; `look` learns of changes

A file that cannot be used is left out, with the reason in `problems`; all others count.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import zmq

from pypelinin.cluster.roles import ADMIN, BROKER, PIPELINER, ROLES
from pypelinin.errors import DefinitionError, NotFound, PypelininError
from pypelinin.runtime.access import ROUTER, Access, Unreadable, is_name, read, write

SUFFIX = ".toml"
HOLDERS_MAX = 10_000
OWN = {"broker": ("local-broker", BROKER), "pipeliner": ("local-pipeliner", PIPELINER)}
OWN_ADMIN = ("local-admin", ADMIN)
"""The keys of what `pypelinin up` starts, and of the user who started it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a key is, and what he may do."""

    name: str
    role: str
    fingerprint: str


def fingerprint(public: str) -> str:
    """A key in short, for people and logs."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def directory_of(given: str, journal: str | os.PathLike[str]) -> Path:
    """Where the keys are: what was *given*, else `keys` in the journal's directory."""
    return Path(given or Path(journal, "keys")).absolute()


# --- writing ---------------------------------------------------------------------------


def new(
    directory: Path,
    name: str,
    role: str,
    api: str = "",
    broadcast: str = "",
    *,
    keep_secret: bool = True,
) -> Access:
    """A new pair for *name*, valid at once. Raises DefinitionError, OSError.

    Unless *keep_secret* what is returned is the only copy of the secret.
    """
    _check(name, role)
    _prepare(directory)
    router = router_pair(directory)
    public, secret = pair()
    made = Access(name, role, public, secret, router.public, api, broadcast)
    write(_path(directory, name), made if keep_secret else replace(made, secret=""))
    return made


def _check(name: str, role: str) -> None:
    if not is_name(name):
        raise DefinitionError(
            f"{name!r} cannot be the name of a key.",
            remedy="Letters, digits, '.', '_' and '-', at most 64; 'router' is taken.",
        )
    if role not in ROLES:
        raise DefinitionError(f"There is no role {role!r}.", remedy=f"One of {', '.join(ROLES)}.")


def _prepare(directory: Path) -> None:
    for place in (directory.parent, directory):  # the journal's too may be made here
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and found.st_uid):
        raise DefinitionError(
            f"Others can write to the directory of keys {directory}.",
            remedy=f"It has to be yours: chmod 700 {directory}",
        )


def pair() -> tuple[str, str]:
    """(public, secret)"""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def router_pair(directory: Path) -> Access:
    """The Router's own pair, made if it is not there. Raises DefinitionError."""
    path = _path(directory, ROUTER)
    if not path.exists():
        public, secret = pair()
        with contextlib.suppress(DefinitionError):  # somebody else made it a moment ago
            write(path, Access(ROUTER, ROUTER, public, secret))
    return read(path)


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}{SUFFIX}"


def find(directory: Path, name: str) -> Access:
    """What is known of the key *name*. Raises NotFound, DefinitionError."""
    path = _path(directory, name)
    if not is_name(name) or not path.exists():
        raise NotFound(
            f"There is no key {name!r} in {directory}.", remedy="`pypelinin keys list` shows them."
        )
    return read(path)


def revoke(directory: Path, name: str) -> None:
    """End the key *name*: nothing of it is taken any more within a second. Raises NotFound."""
    path = _path(directory, name)
    if not is_name(name) or not path.exists():
        find(directory, name)
    path.unlink()


def own_key(directory: Path, name: str, role: str) -> str:
    """The access file of a daemon of ours beside its Router, made if it is not there."""
    path = _path(directory, name)
    if not path.exists():
        new(directory, name, role)
    if read(path).role != role:
        raise DefinitionError(f"{path} has to have the role {role}.", remedy=f"Remove {path}.")
    return str(path)


# --- reading ---------------------------------------------------------------------------

Stamp = tuple[int, int, int, int, int]
_DENIED = (FileNotFoundError, NotADirectoryError, PermissionError)
"""Whoever runs the Router took the keys away; any other failure to read them says nothing."""


class KeyRing:
    """All keys of a directory as they are now; the holders are replaced whole, never changed.

    Raises DefinitionError if the Router's own pair cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        own = read(_path(directory, ROUTER))
        if not own.secret or zmq.curve_public(own.secret.encode()) != own.public.encode():
            raise DefinitionError(f"{_path(directory, ROUTER)} holds no key pair.")
        self.public, self.secret = own.public, own.secret
        self.holders: Mapping[str, Holder] = {}
        self.problems: Mapping[str, str] = {}
        """Why a file is left out, by its name."""
        self._read: dict[str, tuple[Stamp, Access | str]] = {}
        self._failed = False
        self.look()

    def look(self) -> bool:
        """Read what changed; whether holders or problems are others now."""
        stamps, problems = self._stamps()
        same = stamps == {name: stamp for name, (stamp, _) in self._read.items()}
        if same and not problems and not self._failed:
            return False
        for name in self._read.keys() - stamps.keys():
            del self._read[name]
        for name, stamp in stamps.items():
            known = self._read.get(name)
            if known is None or known[0] != stamp:
                self._read_one(name, stamp, problems)
        self._failed = bool(problems)
        return self._replace(problems)

    def _read_one(self, name: str, stamp: Stamp, problems: dict[str, str]) -> None:
        """A failure is not kept under that stamp: the next look tries again."""
        try:
            self._read[name] = (stamp, _usable(self.directory / name))
        except Unreadable as failure:
            if isinstance(failure.error, _DENIED):
                self._read.pop(name, None)
            if not isinstance(failure.error, FileNotFoundError):
                problems[name] = str(failure)

    def _stamps(self) -> tuple[dict[str, Stamp], dict[str, str]]:
        stamps: dict[str, Stamp] = {}
        problems: dict[str, str] = {}
        try:
            names = sorted(os.listdir(self.directory))
        except OSError as error:
            problems[str(self.directory)] = f"cannot be read: {error.strerror}"
            if isinstance(error, _DENIED):
                return {}, problems
            names = sorted(self._read)  # each of these can still be looked at
        for name in names[:HOLDERS_MAX]:
            if name.endswith(SUFFIX) and name != f"{ROUTER}{SUFFIX}":
                try:
                    s = os.stat(self.directory / name)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    problems[name] = f"cannot be read: {error.strerror}"
                    if name in self._read and not isinstance(error, _DENIED):
                        stamps[name] = self._read[name][0]
                    continue
                stamps[name] = (s.st_mtime_ns, s.st_size, s.st_mode, s.st_ino, s.st_uid)
        return stamps, problems

    def _replace(self, problems: dict[str, str]) -> bool:
        holders: dict[str, Holder] = {}
        for name, (_, found) in self._read.items():
            if isinstance(found, str):
                problems[name] = found
            elif found.public in holders or found.public == self.public:
                problems[name] = "it has the key of another file"
            else:
                holders[found.public] = Holder(found.name, found.role, fingerprint(found.public))
        changed = holders != self.holders or problems != self.problems
        if changed:
            self.problems, self.holders = problems, holders
        return changed


def _usable(path: Path) -> Access | str:
    """The key in a file, or why it is none. Raises Unreadable."""
    try:
        found = read(path)
    except Unreadable:
        raise
    except PypelininError as error:
        return str(error)
    if found.name != path.name.removesuffix(SUFFIX):
        return f"it is of {found.name!r}"
    if found.role == ROUTER:
        return "it has the role of the Router"
    return found


def ring_of(given: str, journal: str | os.PathLike[str]) -> KeyRing | None:
    """The keys of the Router of *journal*; None if it has none, and none were *given*.

    Raises DefinitionError if keys are meant but cannot be used: never falls back to none.
    """
    directory = directory_of(given, journal)
    try:
        there = any(name.endswith(SUFFIX) for name in os.listdir(directory))
    except OSError as error:
        if not given and isinstance(error, PermissionError) and not os.access(journal, os.X_OK):
            return None  # the journal cannot be opened either, and that is the better sentence
        absent = isinstance(error, (FileNotFoundError, NotADirectoryError))
        if not absent or os.path.lexists(directory):  # a link to what is not mounted is not none
            raise DefinitionError(
                f"The directory of keys {directory} cannot be read: {error.strerror}."
            ) from None
        if not given:
            return None
        there = False
    if not there:
        raise DefinitionError(
            f"There are no keys in {directory}.",
            remedy="Make some with `pypelinin keys new NAME --role ROLE`; if the Router shall have "
            "none, remove that directory, and do not name it.",
        )
    return KeyRing(directory)
