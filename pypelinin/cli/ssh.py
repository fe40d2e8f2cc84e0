"""What ssh is told to run a Broker on another host, and what its failures mean. Pure.

The Broker reaches the Router through the same connection: ssh listens for it at two sockets on
the host, which only its user may open, and passes on what comes to the Router's ports here. So
nothing is bound beyond loopback, and ssh encrypts all of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pypelinin.cli.hosts import Host
from pypelinin.config import VERSION
from pypelinin.errors import ClusterError

OPTIONS = {
    "BatchMode": "yes",  # never ask: nobody is there to answer
    "ConnectTimeout": "10",
    "ConnectionAttempts": "1",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ExitOnForwardFailure": "yes",
    "ControlMaster": "no",  # a connection of its own, so that its end is the Broker's
    "ControlPath": "none",
    "ForwardX11": "no",
    "ForwardAgent": "no",  # jobs there could use it
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
}
HOSTED = "pypelinin.cli.hosted"
SSH_FAILED = 255
NOT_EXECUTABLE, NOT_FOUND = 126, 127
VALUES = ".values"
"""Behind the path of an API's socket: the socket of its value server."""


def command(
    ssh: Sequence[str], host: Host, path: str, ports: tuple[str, str], here: str
) -> list[str]:
    """The command line that starts a Broker on *host*.

    *path* is the socket there that stands for the API, *ports* are API and value server here as
    "HOST:PORT", *here* is this interpreter, which is used there too if it exists.
    """
    options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
    forwards = ["-R", f"{path}:{ports[0]}", "-R", f"{path}{VALUES}:{ports[1]}"]
    port = ["-p", str(host.port)] if host.port else []
    script = shlex.quote(_script(host.python, path, here))
    return [*ssh, *options, *forwards, *port, "--", host.target, f"exec sh -c {script}"]


def _script(python: str, path: str, here: str) -> str:
    """For a POSIX shell, which also removes the sockets: sshd leaves them behind."""
    if python:
        choice = f"python={shlex.quote(python.removeprefix('~/'))}"
    else:
        choice = f'python={shlex.quote(here)}; test -x "$python" || python=python3'
    sockets = f"{shlex.quote(path)} {shlex.quote(path + VALUES)}"
    return f'{choice}; "$python" -P -m {HOSTED}; code=$?; rm -f {sockets}; exit $code'


_MEANINGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"),
        "the key of {name} is not known here, or has changed",
        "Connect once by hand (`{by_hand}`), compare the key and accept it.",
    ),
    (
        ("Permission denied", "Too many authentication failures"),
        "{name} does not let us in without a password",
        "Put your key there (`ssh-copy-id {target}`), or start an ssh-agent.",
    ),
    (
        ("Could not resolve hostname",),
        "{name} is not the name of a host",
        "Correct it, or give it an address in ~/.ssh/config.",
    ),
    (
        ("remote port forwarding failed", "forwarding request failed"),
        "the sshd of {name} refuses the tunnel to the Router",
        "It needs AllowTcpForwarding and AllowStreamLocalForwarding (both are on by default).",
    ),
    (
        ("No module named 'pypelinin'", "No module named pypelinin"),
        "pypelinin {version} is not installed for the Python of {name}",
        "Install it there (`python3 -m pip install pypelinin=={version}`), or name another "
        "interpreter with python=PATH in the line of that host.",
    ),
    (
        ("Unknown option: -P", "unknown option -P"),
        "the Python of {name} is older than 3.11",
        "Name a newer one with python=PATH in the line of that host.",
    ),
)
"""What somebody says on stderr -> what is wrong, what to do."""


def failure(host: Host, code: int, said: Sequence[str]) -> ClusterError:
    """Why no Broker came up on *host*: ssh's exit *code* and the last lines it or Python said."""
    text = "\n".join(said)
    last = last_line(said)
    names = {"name": host.name, "target": host.target, "version": VERSION, "by_hand": by_hand(host)}
    for signs, what, remedy in _MEANINGS:
        if any(sign in text for sign in signs):
            return ClusterError(f"{what.format(**names)} ({last}).", remedy=remedy.format(**names))
    if code in (NOT_EXECUTABLE, NOT_FOUND):
        python = host.python or "python3"
        return ClusterError(
            f"{host.name} has no Python at {python!r} ({last}).",
            remedy="Name it with python=PATH in the line of that host.",
        )
    if code == SSH_FAILED:
        return ClusterError(
            f"{host.name} cannot be reached by ssh ({last}).",
            remedy=f"`{by_hand(host)}` should work without a question.",
        )
    return ClusterError(f"{host.name}: {broken(code, said)}.")


def broken(code: int, said: Sequence[str]) -> str:
    """How a Broker ended that had worked; its jobs may have said anything meanwhile."""
    if code < 0:
        return f"its ssh was killed by signal {-code}"
    what = "its connection broke" if code == SSH_FAILED else f"exit code {code}"
    return f"{what} ({last_line(said)})"


def last_line(said: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(said) if line.strip()), "no word")


def by_hand(host: Host) -> str:
    """What a person types to reach *host*."""
    return f"ssh -p {host.port} {host.target}" if host.port else f"ssh {host.target}"
