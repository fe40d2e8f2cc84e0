"""Addresses as users write them: tcp://HOST:PORT, or ipc:///PATH for one machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from pypelinin.errors import DefinitionError

IPC_MAX = 100
"""Longer paths the system does not take."""
EVERYWHERE = ("*", "0.0.0.0", "::")
"""Hosts that mean "all interfaces" in a bind; from here they are reached by loopback."""


def host_port(text: str, origin: str, free_port: bool = False) -> tuple[str, int]:
    """(host, port) of *text*; raises DefinitionError naming *origin*.

    With *free_port* the port may be 0 or `*`, for "any free one".
    """
    host = port = None
    try:
        parts = urlsplit(text.replace(":*", ":0"))
        host, port = parts.hostname, parts.port
        plain = parts.scheme == "tcp" and parts.geturl() == f"tcp://{parts.netloc}"
        plain = plain and "@" not in text and not any(map(str.isspace, text))
    except ValueError:
        plain = False
    if not plain or not host or port is None or (port == 0 and not free_port):
        raise DefinitionError(f"{origin}: {text!r} is no address.", remedy="Write tcp://HOST:PORT.")
    return host, port


def is_ipc(text: str) -> bool:
    """Whether *text* is a socket in a directory of this machine."""
    return text.startswith("ipc:///") and len(text) < IPC_MAX


def listening(text: str, origin: str) -> tuple[str, int] | str:
    """*text* as an address to listen at: (host, port), or that of a socket in a directory."""
    return text if is_ipc(text) else host_port(text, origin, free_port=True)


def reachable(text: str, origin: str) -> str:
    """*text* as an address to connect to."""
    if is_ipc(text):
        return text
    host, port = host_port(text, origin)
    return f"tcp://127.0.0.1:{port}" if host in EVERYWHERE else text
