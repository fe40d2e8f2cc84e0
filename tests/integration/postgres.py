"""A real PostgreSQL server of a test's own, from the programs installed here.

It listens on a socket in a temporary directory only, so no port is taken and nobody else reaches
it. PostgreSQL refuses to run as root: root hands it to an unprivileged account.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from glob import glob
from pathlib import Path
from typing import Any

ACCOUNTS = ("postgres", "nobody")
READY = "database system is ready to accept connections"
SETTINGS = (
    "listen_addresses=",
    "fsync=off",  # the tests kill processes, not the host
    "shared_buffers=8MB",
    "max_connections=20",
    "max_wal_senders=0",
    "autovacuum=off",
    "jit=off",
    "log_min_messages=log",  # nobody reads the pipe once it is ready: keep it from filling
)


class PostgresServer:
    """`start` and `kill` it as often as wanted; `remove` ends it and deletes its files."""

    def __init__(self) -> None:
        self._programs = programs()
        self._as_account = as_account()
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        if uid := self._as_account.get("user"):
            os.chown(self.directory, uid, -1)
        self._process: subprocess.Popen[str] | None = None
        self._run("initdb", "--no-sync", "--auth=trust", "--username=tester", "--encoding=UTF8")

    @property
    def url(self) -> str:
        return f"postgresql://tester@/postgres?host={self.directory}"

    def start(self) -> None:
        """Return when it takes connections."""
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, "-k", self.directory, *settings],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            **self._as_account,
        )
        assert self._process.stderr
        said = []
        for line in self._process.stderr:
            said.append(line)
            if READY in line:
                return
        raise RuntimeError(f"PostgreSQL does not start: {''.join(said)}")

    def kill(self) -> None:
        """As a power cut would; `start` recovers."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        self._end(signal.SIGINT)  # "fast": sessions are closed, then it ends
        shutil.rmtree(self.directory)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.communicate()  # its other processes hold the pipe: all are gone after it
        self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            check=True,
            capture_output=True,
            cwd=self.directory,
            **self._as_account,
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"


def programs() -> Path:
    """Where `initdb` and `postgres` are: PATH, else the newest that Debian installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [Path(path).parent for path in glob("/usr/lib/postgresql/*/bin/initdb")]
    return max(versions, key=lambda path: float(path.parent.name))


def as_account() -> dict[str, Any]:
    """Arguments for `subprocess` that make it somebody else than root."""
    if os.geteuid() != 0:
        return {}
    for name in ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError(f"PostgreSQL needs an account that is not root: none of {ACCOUNTS} is here")
