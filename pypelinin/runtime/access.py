"""Access files: where a cluster is, its public key, and one key pair of one's own.

The Router's directory of keys has files of the same form, one a holder. Whoever can read such a
file is its holder for the cluster, so it is for one user alone.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pypelinin.cluster.roles import ROLES
from pypelinin.errors import DefinitionError

BYTES_MAX = 64 * 1024
ROUTER = "router"
"""The name and the role of the Router's own pair."""
VARIABLE = "PYPELININ_ACCESS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_HEAD = "# Access to a pypelinin cluster. Whoever can read this is {name!r} there.\n"


class Unreadable(DefinitionError):
    """The system did not let us read a file; `error` says why."""

    error: OSError | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A key pair and what it is for; *router* is the Router's public key."""

    name: str
    role: str
    public: str
    secret: str = field(default="", repr=False)
    router: str = ""
    api: str = ""
    broadcast: str = ""


def load(path: str | os.PathLike[str]) -> Access:
    """An access file of one's own. Raises DefinitionError that says what is wrong with it."""
    found = read(Path(path))
    for name in ("secret", "router"):
        if not getattr(found, name):
            raise DefinitionError(
                f"The access file {path} has no {name} key.",
                remedy="Export it again: pypelinin keys export NAME.",
            )
    return found


def read(path: Path) -> Access:
    """Any key file. Raises DefinitionError."""
    try:
        table = tomllib.loads(_private_text(path))
    except DefinitionError:  # is a ValueError, too
        raise
    except ValueError as error:
        raise DefinitionError(f"{path} is no access file: {error}.") from None
    except RecursionError:
        raise DefinitionError(f"{path} is no access file.") from None
    known = {one.name for one in fields(Access)}
    texts = {key: value for key, value in table.items() if isinstance(value, str)}
    if unknown := sorted(set(table) - known | set(table) - set(texts)):
        raise DefinitionError(f"{path} is no access file: it has {unknown[0][:40]!r}.")
    _check(path, texts)
    return Access(**texts)


def _check(path: Path, table: dict[str, Any]) -> None:
    name, role = table.get("name", ""), table.get("role", "")
    if not is_name(name) and name != ROUTER:
        raise DefinitionError(f"{path} has no name that can be one: {name[:70]!r}.")
    if role not in ROLES and not name == role == ROUTER:
        raise DefinitionError(f"{path} has the role {role[:40]!r}; one is {', '.join(ROLES)}.")
    for key in ("public", "secret", "router"):
        given = table.get(key, "")
        if (given or key == "public") and not _KEY.fullmatch(given):
            raise DefinitionError(f"{path} has no {key} key that can be one.")


def is_name(name: str) -> bool:
    return name != ROUTER and _NAME.fullmatch(name) is not None


def _private_text(path: Path) -> str:
    """What stands in a file that nobody else can read. Raises DefinitionError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what = f"The access file {path} cannot be read: {error.strerror}."
        raise _unreadable(what, error) from None
    except ValueError as error:
        raise DefinitionError(f"The access file {path} cannot be read: {error}.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > BYTES_MAX:
            raise DefinitionError(f"{path} is no access file.")
        _check_private(path, found)
        return os.read(descriptor, BYTES_MAX).decode()
    except OSError as error:
        raise _unreadable(f"{path} cannot be read: {error.strerror}.", error) from None
    finally:
        os.close(descriptor)


def _unreadable(what: str, error: OSError) -> Unreadable:
    made = Unreadable(what)
    made.error = error
    return made


def _check_private(path: Path, found: os.stat_result) -> None:
    """Ours for us alone; root may let a group read his, as Kubernetes does."""
    if found.st_uid not in (0, os.geteuid()):
        raise DefinitionError(f"The access file {path} belongs to another user.")
    shared = 0o077 if found.st_uid == os.geteuid() else 0o027
    if found.st_mode & shared:
        raise DefinitionError(
            f"The access file {path} can be read or written by others "
            f"(mode {stat.S_IMODE(found.st_mode):04o}).",
            remedy=f"chmod 600 {path}",
        )


def write(path: Path, access: Access) -> None:
    """A new file that only this user can read. Raises DefinitionError if there is one already."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever a default ACL adds
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text_of(access))
            file.flush()
            os.fsync(file.fileno())
        os.link(new, path)  # whole at once, and never over another one
    except FileExistsError:
        raise DefinitionError(f"{path} is there already.", remedy="Remove it first.") from None
    finally:
        new.unlink()


def text_of(access: Access) -> str:
    """The file of *access*; empty values are left out."""
    lines = [
        f"{one.name} = {json.dumps(value)}\n"
        for one in fields(Access)
        if (value := getattr(access, one.name))
    ]
    return _HEAD.format(name=access.name) + "".join(lines)


AccessSpec = Access | str | os.PathLike[str] | None
"""A file, what stood in one, "" for none, None for that of `PYPELININ_ACCESS` if there is one."""


def named(given: AccessSpec) -> Access | None:
    """What *given* stands for. Raises DefinitionError."""
    if given is None:
        given = os.environ.get(VARIABLE, "")
    if given == "":
        return None
    return given if isinstance(given, Access) else load(given)


def access_file(given: AccessSpec) -> str:
    """The path of what `named` opens, for another process; "" if there is none."""
    if isinstance(given, Access):
        raise DefinitionError("A Broker's access is a file: its slots read it, too.")
    path = os.environ.get(VARIABLE, "") if given is None else os.fspath(given)
    return os.path.abspath(path) if path else ""


def api_named(access: AccessSpec = None) -> str | None:
    """The Router that *access* or the environment names: PYPELININ_API or its access file."""
    found = named(access)
    told = found.api if found is not None else ""
    if access and told:
        return told
    api = os.environ.get("PYPELININ_API") or told
    if access and not api:  # who gives a key does not mean this process
        raise DefinitionError("That access file names no Router.", remedy="Give api=, too.")
    return api or None
