"""The hosts of a cluster as a user lists them: one a line, with what is particular about it.

    # a comment
    node1
    node2 cpus=4
    me@node3 port=2222 python=venv/bin/python

Pure: `parse` takes the text of a file, `parse_list` one of the command line. What is wrong is a
DefinitionError that names the place and shows the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any

from pypelinin.errors import DefinitionError

HERE = "localhost"
HOSTS_MAX = 10_000
CPUS_MAX = 10_000
_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:%-]*")  # never a "-" first: ssh would take an option
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REMEDY = "Write one host a line, as `node1 cpus=4 user=me port=22 python=venv/bin/python`."


@dataclass(frozen=True, slots=True)
class Host:
    """One host: its name for ssh and what the user says of it; 0 and "" where he says nothing."""

    name: str
    cpus: int = 0
    user: str = ""
    port: int = 0
    python: str = ""

    @property
    def target(self) -> str:
        """What ssh is told."""
        return f"{self.user}@{self.name}" if self.user else self.name

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, reached without ssh."""
        return self.name == HERE and not (self.user or self.port or self.python)


def parse(text: str, origin: str) -> list[Host]:
    """The hosts of a file; *origin* is its name."""
    lines = ((n, line.partition("#")[0].strip()) for n, line in enumerate(text.splitlines(), 1))
    return _checked(((f"{origin}, line {n}", line) for n, line in lines if line), origin)


def parse_list(text: str, origin: str) -> list[Host]:
    """The hosts of `a,b cpus=2`: like the lines of a file with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise DefinitionError(f"{origin}: {text!r} has nothing where a host should be.")
    return _checked(((origin, part) for part in parts), origin)


def with_hosts(values: Mapping[str, Any], hosts: Sequence[Host]) -> dict[str, Any]:
    """The settings *values* with Brokers on *hosts*, and here only if it is one of them."""
    counted = [replace(host, cpus=host.cpus or values["slots"]) for host in hosts]
    far = [asdict(host) for host in counted if not host.is_here]
    roles = [role for role in values["roles"] if role != "broker"]
    more: dict[str, Any] = {"hosts": far}
    for here in (host for host in counted if host.is_here):
        more["slots"] = here.cpus
        roles.append("broker")
    return {**values, **more, "roles": roles}


def _checked(lines: Iterable[tuple[str, str]], origin: str) -> list[Host]:
    found: dict[str, Host] = {}
    for place, line in lines:
        host = _host(place, line)
        if host.name in found:
            raise _wrong(place, line, f"{host.name} was named before")
        if len(found) == HOSTS_MAX:
            raise _wrong(place, line, f"there are more than {HOSTS_MAX:,} hosts")
        found[host.name] = host
    if not found:
        raise DefinitionError(f"{origin} names no host.", remedy=_REMEDY)
    return list(found.values())


def _host(place: str, line: str) -> Host:
    target, *words = line.split()
    user, at, name = target.rpartition("@")
    if not _NAME.fullmatch(name):
        raise _wrong(place, line, f"{name!r} is no name of a host")
    values: dict[str, str | int] = {"user": _user(user)} if at and _user(user) else {}
    if at and not values:
        raise _wrong(place, line, f"{user!r} is no name of a user")
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in PROPERTIES:
            raise _wrong(place, line, f"{key!r} is no property of a host", _known(key))
        if key in values:
            raise _wrong(place, line, f"{key} is said twice")
        read, wanted = PROPERTIES[key]
        value = read(text)
        if not value:
            raise _wrong(place, line, f"{key} is {wanted}, not {text!r}")
        values[key] = value
    return Host(name, **values)  # type: ignore[arg-type]  # PROPERTIES reads them


def _number(text: str, most: int) -> int:
    """0 for what is no number from 1 to *most*."""
    plain = text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if plain and int(text) <= most else 0


def _user(text: str) -> str:
    return text if _USER.fullmatch(text) else ""


def _python(text: str) -> str:
    return "" if text.startswith("-") else text


PROPERTIES: dict[str, tuple[Callable[[str], str | int], str]] = {
    "cpus": (lambda text: _number(text, CPUS_MAX), f"a number from 1 to {CPUS_MAX}"),
    "user": (_user, "the name of a user"),
    "port": (lambda text: _number(text, 65_535), "a number from 1 to 65535"),
    "python": (_python, "the path of an interpreter"),
}
"""Name -> (its reader, which gives nothing for what is wrong; what it should be)."""


def _known(key: str) -> str:
    close = get_close_matches(key, PROPERTIES, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known are: {', '.join(PROPERTIES)}."


def _wrong(place: str, line: str, what: str, remedy: str = "") -> DefinitionError:
    return DefinitionError(f"{place}: {line!r}: {what}.", remedy=remedy or _REMEDY)
