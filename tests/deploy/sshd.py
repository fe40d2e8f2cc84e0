"""A real sshd on loopback with keys, configuration and port of its own, and aliases to reach it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.integration.cli.commands import ROOT, until
from tests.integration.ports import free_ports

PRIVILEGE_SEPARATION = Path("/run/sshd")
SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SERVER_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
ListenAddress 127.0.0.3
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Match LocalAddress 127.0.0.3
  AllowStreamLocalForwarding no
"""
CLIENT_CONFIG = """
Host node-a
  HostName 127.0.0.1
Host node-b
  HostName 127.0.0.2
Host walled
  HostName 127.0.0.3
Host stranger
  HostName 127.0.0.1
  UserKnownHostsFile /dev/null
Host locked
  HostName 127.0.0.1
  IdentityFile {directory}/other_key
Host closed
  HostName 127.0.0.1
  Port {closed}
Host * !locked
  IdentityFile {directory}/user_key
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentitiesOnly yes
  IdentityAgent none
  HostKeyAlias here
  UserKnownHostsFile {directory}/known_hosts
  GlobalKnownHostsFile /dev/null
"""


class Sshd:
    """What a test needs of the server; every alias of CLIENT_CONFIG is a host of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.command = f"ssh -F {directory}/ssh_config"

    def python(self, name: str, *options: str, before: str = "", **variables: str) -> Path:
        """An interpreter as one host might have it; processes below it carry our mark."""
        runtime = self.directory / f"run-{name}"
        runtime.mkdir(mode=0o700, exist_ok=True)
        mark = os.environ.get("PYPELININ_TEST_SESSION", "")
        values = {
            "PYTHONPATH": str(ROOT), "PYPELININ_TEST_SESSION": mark,
            "XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime), **variables,
        }  # fmt: skip
        lines = [f"export {key}='{value}'" for key, value in values.items()]
        words = " ".join((sys.executable, *options))
        path = self.directory / f"python-{name}"
        path.write_text("\n".join(["#!/bin/sh", *lines, f'exec {before} {words} "$@"', ""]))
        path.chmod(0o755)
        return path


@contextmanager
def served(directory: Path) -> Iterator[Sshd]:
    assert SERVER is not None
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key", "other_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(key, check=True)
    port, closed = free_ports(2)
    values = {"directory": directory, "port": port, "closed": closed, "user": getpass.getuser()}
    (directory / "sshd_config").write_text(SERVER_CONFIG.format(**values))
    (directory / "ssh_config").write_text(CLIENT_CONFIG.format(**values))
    (directory / "known_hosts").write_text("here " + (directory / "host_key.pub").read_text())
    with open(directory / "sshd.log", "wb") as log:
        command = [SERVER, "-D", "-e", "-f", str(directory / "sshd_config")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        until(lambda: answers(process, port, directory), "sshd")
        yield Sshd(directory)
    finally:
        sessions = psutil.Process(process.pid).children(recursive=True)
        for found in [psutil.Process(process.pid), *sessions]:
            with suppress(psutil.NoSuchProcess):  # one ends with the other
                found.kill()
        process.wait()
        psutil.wait_procs(sessions, timeout=5)


def answers(process: subprocess.Popen[bytes], port: int, directory: Path) -> bool:
    assert process.poll() is None, (directory / "sshd.log").read_text()
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
