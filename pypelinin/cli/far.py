"""What a user says of Brokers on other hosts: `--hosts`, `--host`, `--all-hosts`, `--ssh`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pypelinin.cli.hosts import Host, parse, parse_list

hosts_option = click.option(
    "--hosts", "hosts_file", metavar="FILE",
    help="Run the jobs on the hosts of FILE, one a line, each with a Broker started by ssh.",
)  # fmt: skip
host_option = click.option(
    "--host", "host_list", metavar="'A, B cpus=2'",
    help="The same for hosts that stand here, with commas between them.",
)  # fmt: skip
all_hosts_option = click.option(
    "--all-hosts", is_flag=True, help="Fail unless every host can be used."
)
ssh_option = click.option(
    "--ssh", metavar="COMMAND", envvar="PYPELININ_SSH", default="ssh", show_default=True,
    help="How to call ssh, as 'ssh -F FILE' (or PYPELININ_SSH).",
)  # fmt: skip


def named(hosts_file: str | None, host_list: str | None) -> list[Host]:
    """The hosts that --hosts or --host name, none without. Raises UsageError, DefinitionError."""
    if hosts_file is not None and host_list is not None:
        raise click.UsageError("--hosts and --host exclude each other: hosts are named once.")
    if hosts_file is not None:
        return read_hosts(hosts_file)
    return [] if host_list is None else parse_list(host_list, "--host")


def read_hosts(path: str) -> list[Host]:
    """The hosts of a file. Raises UsageError, DefinitionError."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}.") from None


def ssh_words(command: str) -> list[str]:
    """How to call ssh. Raises UsageError."""
    try:
        return shlex.split(command) or ["ssh"]
    except ValueError as error:
        raise click.UsageError(f"--ssh: {command!r} cannot be read: {error}.") from None
