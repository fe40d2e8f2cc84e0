"""The keeper's side of `cli.hosted`: the Broker of another host, behind an ssh of this one."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.cli import ssh as words
from pypelinin.cli.addresses import host_port, reachable
from pypelinin.cli.hosts import Host
from pypelinin.cli.supervision import described, rebuilt, send
from pypelinin.cli.supervisor import KILL_S, KeptDaemon
from pypelinin.config import VERSION
from pypelinin.errors import ClusterError
from pypelinin.runtime.served_values import PORT

ALIVE_S = 5.0
"""How often the other side is told that we are here; it gives up after `hosted.SILENCE_S`."""
LINES_KEPT = 30


class HostDaemon(KeptDaemon):
    """The ssh process that a Broker hangs on; looks like any other daemon of a Supervisor."""

    def __init__(
        self, host: Host, ssh: Sequence[str], api: str, journal: str, tell: Callable[[str], object]
    ) -> None:
        self.role = f"broker on {host.name}"
        self.host = host
        self.started_at = time.monotonic()
        self.answer: dict[str, Any] = {}
        self._received = b""
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._tell = tell
        self._how = ""
        self._closed = threading.Event()
        self._path = f"/tmp/pypelinin-{secrets.token_hex(8)}.api"
        command = words.command(ssh, host, self._path, _ports(api, journal), sys.executable)
        self.process, self.link = _started(command)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._speak, daemon=True).start()

    def configure(self, values: Mapping[str, Any]) -> None:
        """Send what its Broker needs to know, and nothing else."""
        host = self.host
        chosen = {name: values[name] for name in SENT if name in values}
        more = {"api": f"ipc://{self._path}", "name": host.name, "version": VERSION}
        if access := values.get("access"):
            more["access_text"] = Path(access).read_text(encoding="utf-8")
        send(
            self.link,
            {**chosen, **more, "slots": host.cpus, "directory": os.getcwd()},
        )

    def _speak(self) -> None:
        while not self._closed.wait(ALIVE_S):
            send(self.link, {"alive": True})

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                self._tell(f"{self.host.name}: {text}")

    def _take(self, line: bytes) -> None:
        try:
            found = json.loads(line)
        except ValueError:  # the greeting of a login shell
            found = None
        if isinstance(found, dict):
            self.answer |= found
        else:
            self._said.append(line.decode(errors="replace"))

    def ask_end(self) -> None:
        send(self.link, {"stop": True})

    def ended(self) -> str:
        """How it ended, and what to do; `answer` has it as an error, too."""
        self._how = self._how or self._ended()
        return self._how

    def _ended(self) -> str:
        try:
            code = self.process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            return "its connection broke"
        self._listener.join(KILL_S)  # ssh has ended: what it said is there
        if "ready" in self.answer and "error" not in self.answer:
            return words.broken(code, self._said)
        error = words.failure(self.host, code, list(self._said))
        told_there = self.answer.get("error")
        if isinstance(told_there, dict) and told_there.keys() >= {"kind", "what", "remedy"}:
            told = rebuilt(told_there)
            error = ClusterError(f"{self.host.name}: {told.what}", remedy=told.remedy)
        self.answer["error"] = described(error)
        return str(error)

    def close(self) -> None:
        """End ssh; what it ran over there ends with the connection."""
        self._closed.set()
        super().close()
        self._listener.join(KILL_S)


SENT = (
    "workers", "store", "own_store_configuration", "labels", "memory", "resources",
    "log_format", "log_level", "path", "affinity", "log_bytes",
)  # fmt: skip
"""Settings that a Broker on another host shares with those here."""


def _started(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and the socket to its standard input and output."""
    link, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            link.close()
            raise ClusterError(
                f"{command[0]!r} cannot be run: {error.strerror}.",
                remedy="Install an ssh client, or name one with --ssh.",
            ) from None
    return process, link


def _ports(api: str, journal: str) -> tuple[str, str]:
    """API and value server of the Router here, as "HOST:PORT"."""
    host, port = host_port(reachable(api, "the Router"), "the Router")
    values = (Path(journal) / "values" / PORT).read_text(encoding="ascii").strip()
    return f"{host}:{port}", f"{host}:{values}"
