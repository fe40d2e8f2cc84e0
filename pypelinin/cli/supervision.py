"""What a kept daemon and its keeper say to each other: one line of JSON, and errors as data."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from pypelinin import errors
from pypelinin.errors import ClusterError, PypelininError


def send(link: socket.socket, document: Mapping[str, Any]) -> None:
    try:
        link.sendall(json.dumps(document).encode() + b"\n")
    except OSError:
        pass  # the other side is gone; whoever reads from it learns that too


def receive(link: socket.socket) -> dict[str, Any] | None:
    """The next line; None if the other side is gone."""
    with link.makefile("rb") as stream:
        line = stream.readline()
    return dict(json.loads(line)) if line else None


def described(error: PypelininError) -> dict[str, str]:
    """*error* as data; `rebuilt` makes it one again."""
    return {"kind": type(error).__name__, "what": error.what, "remedy": error.remedy}


def rebuilt(described: Mapping[str, str]) -> PypelininError:
    """The exception a daemon described."""
    kind = getattr(errors, described["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, PypelininError)):
        kind = ClusterError
    return kind(described["what"], remedy=described["remedy"])
