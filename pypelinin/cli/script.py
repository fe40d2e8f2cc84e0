"""`pypelinin run`: a Python script with a cluster at hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from pypelinin.cli import far, options, settings
from pypelinin.cli.hosts import Host
from pypelinin.cli.which import ORDER, Reach
from pypelinin.config import Settings

if TYPE_CHECKING:
    from pypelinin.cli.local import LocalCluster

CHECKPOINT = "PYPELININ_CHECKPOINT"
"""Where a stream keeps its state if its script does not say."""


@options.verb(
    "run",
    epilog=f"{ORDER}\n\n{settings.ORDER}",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@options.workers_option
@options.store_option
@options.store_options_option
@options.slots_option
@click.option("--local", is_flag=True, help="A cluster of its own, whatever else is running.")
@far.hosts_option
@far.host_option
@far.all_hosts_option
@far.ssh_option
@click.option(
    "--checkpoint", metavar="FILE",
    help="Where the script's stream keeps its state, and goes on from if it was interrupted.",
)  # fmt: skip
@options.reach
def run(
    reach: Reach, file: str, arguments: tuple[str, ...], local: bool, checkpoint: str | None,
    hosts_file: str | None, host_list: str | None, all_hosts: bool, ssh: str, **flags: Any,
) -> int:  # fmt: skip
    """Run the Python script FILE with PYPELININ_API set to a cluster.

    If none is running, one is started on this machine for as long as the script runs; its workers
    are those of --workers (also found beside FILE), and what they print is shown. The exit code
    is the script's.

    With --hosts or --host it has a cluster of its own whose jobs run on those hosts, and here only
    if `localhost` is one of them. All of it ends with the script.
    """
    more = {} if checkpoint is None else {CHECKPOINT: checkpoint_file(checkpoint)}
    hosts = far.named(hosts_file, host_list)
    if hosts and (reach.api or reach.access):
        raise click.UsageError(
            "Hosts are for a cluster of its own, --api and --access for another."
        )
    own = any(flags.values())
    pairs = flags.pop("store_options")
    flags["store_configuration"] = settings.options(pairs, "--store-option")
    loaded = settings.load(flags)
    target = None if local or hosts else reach.target(quiet=True)
    if target is not None and not target.is_default:
        reach.target()
        if own:
            click.echo("its own workers, store and slots are used (--local: those given)", err=True)
        with reach.manager(quiet=True) as manager:
            manager.configuration()
        return script(file, arguments, target.api, target.access, more)
    with own_cluster(loaded, file, hosts, far.ssh_words(ssh), all_hosts) as cluster:
        if hosts and not reach.quiet:
            nodes = ", ".join(f"{node.name} ({node.slots} slots)" for node in cluster.nodes)
            click.echo(f"jobs run on {nodes}", err=True)
        return script(file, arguments, cluster.api, cluster.access, more)


def own_cluster(
    loaded: Settings, file: str, hosts: Sequence[Host], ssh: Sequence[str], all_hosts: bool
) -> LocalCluster:
    """A cluster for as long as *file* runs: on *hosts*, or here."""
    from pypelinin.cli.local import LocalCluster

    return LocalCluster(
        loaded["workers"], loaded["store"], loaded["store_configuration"], loaded["slots"],
        path=[str(Path(file).resolve().parent)], show_output=True,
        hosts=hosts, ssh=ssh, all_hosts=all_hosts,
    )  # fmt: skip


def checkpoint_file(path: str) -> str:
    """The absolute path. Raises UsageError if no file can be made there."""
    found = Path(path).absolute()
    if not found.parent.is_dir():
        raise click.UsageError(f"--checkpoint: {found.parent} is no directory.")
    if found.is_dir():
        raise click.UsageError(f"--checkpoint: {found} is a directory.")
    return str(found)


def script(
    file: str,
    arguments: tuple[str, ...],
    api: str,
    access: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run *file* as Python would, with *more* in its environment.

    Returns its exit code as a shell would tell it.
    """
    environment = {**os.environ, "PYPELININ_API": api, "PYPELININ_ACCESS": access, **more}
    command = [sys.executable, file, *arguments]
    with subprocess.Popen(command, env=environment) as process, signals_to(process):
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM goes to the script. A terminal gives it Ctrl-C itself, so we only wait for it."""

    def passed_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    before: Mapping[signal.Signals, Any] = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, passed_on),
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS = {"run": run}
