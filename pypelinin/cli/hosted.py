"""A Broker on another host, started there by ssh: `python -m pypelinin.cli.hosted`.

Standard input is the connection to its keeper: first one line of JSON, the settings, then a
line now and then. When it closes, or nothing came for a while, this process ends at once and
takes its slots along: so nothing outlives a keeper that was killed, a connection that broke or
a network that swallows everything. One line goes out, {"ready": ...} or {"error": ...}.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pypelinin.cli.supervised import ORPHANED
from pypelinin.cli.supervision import described
from pypelinin.config import DEFAULTS, VERSION
from pypelinin.errors import PypelininError, VersionMismatch
from pypelinin.runtime.places import runtime_directory

SILENCE_S = 30.0
"""A keeper says something every few seconds (`host_daemon.ALIVE_S`)."""
LINE_BYTES_MAX = 16 * 1024 * 1024


class Keeper:
    """The keeper as seen from here: lines from one descriptor, lines to another."""

    def __init__(self, reads: int, writes: int, silence_s: float = SILENCE_S) -> None:
        self._reads, self._writes = reads, writes
        self._silence_s = silence_s

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it says, until it is gone or silent for too long."""
        received = b""
        while len(received) <= LINE_BYTES_MAX:
            poll = select.poll()
            poll.register(self._reads, select.POLLIN)
            if not poll.poll(self._silence_s * 1000):
                return
            data = os.read(self._reads, 65536)
            if not data:
                return
            *lines, received = (received + data).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def tell(self, document: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is gone; whoever reads from it learns that
            os.write(self._writes, json.dumps(document).encode() + b"\n")


def check_version(version: str) -> None:
    """Raise VersionMismatch unless the keeper is of the same release."""
    if version != VERSION:
        raise VersionMismatch(
            f"pypelinin {VERSION} is installed here, but {version} at the Router.",
            remedy=f"Install it here: {sys.executable} -m pip install pypelinin=={version}.",
        )


def enter(directory: str) -> None:
    """Go where the keeper is, if that exists here: files and modules are found as there."""
    with contextlib.suppress(OSError):
        os.chdir(directory)


def main() -> int:
    keeper = Keeper(*connection())
    lines = keeper.lines()
    values = next(lines, None)
    if values is None:
        return ORPHANED
    try:
        check_version(values["version"])
        return serve(values, keeper, lines)
    except PypelininError as error:
        keeper.tell({"error": described(error)})
        return 1


def connection() -> tuple[int, int]:
    """Standard input and output, and others in their place: slots shall not speak there."""
    reads, writes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reads, writes


def serve(values: Mapping[str, Any], keeper: Keeper, lines: Iterator[dict[str, Any]]) -> int:
    """Run the Broker until it is told to stop. Raises PypelininError."""
    from pypelinin.cli import serve as daemons

    enter(values["directory"])
    sys.path[:0] = values["path"]
    if values.get("log_bytes") == 0:  # what jobs print goes through ssh: at once, not in the end
        os.environ["PYTHONUNBUFFERED"] = "1"
    daemons.log_to_stderr(values)
    access = access_file(values)
    try:
        daemon = daemons.daemon_of("broker", {**DEFAULTS, **values, "access": access})
        watched = (lines, daemon.stop, access)
        threading.Thread(target=obey, args=watched, name="keeper", daemon=True).start()

        def ready() -> None:
            daemon.started.wait()
            keeper.tell({"ready": {"api": daemon.api, "broadcast": daemon.broadcast}})

        threading.Thread(target=ready, name="ready", daemon=True).start()
        daemons.start(daemon)
    finally:
        remove(access)
    return 0


def access_file(values: Mapping[str, Any]) -> str:
    """The path of the access file that was sent along, "" without one; only this user reads it."""
    text = values.get("access_text")
    if not text:
        return ""
    connection_name = os.path.basename(values["api"])  # its socket: two of a name do not mix
    path = runtime_directory() / f"{os.path.basename(values['name'])}-{connection_name}.access"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)


def remove(access: str) -> None:
    if access:
        with contextlib.suppress(OSError):
            os.unlink(access)


def obey(lines: Iterator[dict[str, Any]], stop: Callable[[], object], access: str = "") -> None:
    """Stop as often as the keeper says so; end with it."""
    with contextlib.suppress(OSError, ValueError):
        for line in lines:
            if line.get("stop"):
                stop()
    remove(access)
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
