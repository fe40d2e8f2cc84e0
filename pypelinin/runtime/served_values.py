"""The Router's value directory, and the process that serves it to other hosts."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Container, Iterable
from pathlib import Path

from pypelinin.errors import ClusterError
from pypelinin.runtime.value_files import PROBE, ValueFiles, this_start
from pypelinin.wire.definitions import ValuePlace

WATCH_S = 1.0
AGAIN_S = 5.0
"""After a start that failed: each one holds up the Router."""
PORT = "port"


class ServedValues:
    """Files in *directory*; the server is started again if it dies, at the same port."""

    def __init__(self, directory: Path, host: str, keys: Path | None = None) -> None:
        """With the *keys* of that directory only their holders are served."""
        self._directory = directory
        self._keys = [] if keys is None else [str(keys)]
        self._host = host
        self._files = ValueFiles(directory)
        self._server: subprocess.Popen[str] | None = None
        self._probe = ""
        self._port = "*"
        self._watch_at = 0.0

    def start(self, cluster: str, durable: bool) -> ValuePlace:
        """Returns where values are, for everybody. Raises ClusterError."""
        self._probe = f"{cluster}-{secrets.token_hex(8)}"
        try:
            self._write_probe()
            port = self._port = self._serve(self._last_port())
            (self._directory / PORT).write_text(port)
        except OSError as error:
            raise ClusterError(
                f"The value directory {self._directory} cannot be used: {error.strerror}.",
                remedy="Is the disk full or read-only, or the directory somebody else's?",
            ) from None
        return ValuePlace(str(self._directory), self._probe, int(port), durable, this_start())

    def _write_probe(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = self._directory / PROBE
        probe.unlink(missing_ok=True)
        file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as opened:
            opened.write(self._probe)

    def _last_port(self) -> str:
        """Clients go on where they were after a restart, if the port is still free."""
        try:
            return str(int((self._directory / PORT).read_text()))
        except (OSError, ValueError):
            return "*"

    def _serve(self, port: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        command = [sys.executable, "-P", "-m", "pypelinin.runtime.value_server"]
        self._server = subprocess.Popen(
            [*command, str(self._directory), self._probe, f"tcp://{host}:{port}",
             *self._keys],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._server.stdout is not None
        found = self._server.stdout.readline().strip()
        if not found:
            raise ClusterError("The value server cannot start; see the lines above.")
        return found

    def watch(self, now: float) -> None:
        """Once a second: is the server there?"""
        if now < self._watch_at:
            return
        self._watch_at = now + WATCH_S
        if self._server is None or self._server.poll() is not None:
            self._end()
            with contextlib.suppress(OSError, ClusterError):
                if self._serve(self._port) == self._port:
                    return
            self._end()  # at another port nobody would look for it
            self._watch_at = now + AGAIN_S

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._files.drop(name)

    def sweep(self, known: Container[str]) -> None:
        """Drop what belongs to no run that is *known*."""
        self._files.sweep(known)

    def _end(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def close(self) -> None:
        """End the server; the files stay."""
        self._end()
