"""`pypelinin run`: a Python script with a cluster at hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pypelinin.cli import options, settings
from pypelinin.cli.which import ORDER, Reach


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
@options.reach
def run(reach: Reach, file: str, arguments: tuple[str, ...], local: bool, **flags: Any) -> int:
    """Run the Python script FILE with PYPELININ_API set to a cluster.

    If none is running, one is started on this machine for as long as the script runs; its workers
    are those of --workers (also found beside FILE), and what they print is shown. The exit code
    is the script's.
    """
    own = any(flags.values())
    pairs = flags.pop("store_options")
    flags["store_configuration"] = settings.options(pairs, "--store-option")
    loaded = settings.load(flags)
    target = None if local else reach.target(quiet=True)
    if target is not None and not target.is_default:
        reach.target()
        if own:
            click.echo("its own workers, store and slots are used (--local: those given)", err=True)
        with reach.manager(quiet=True) as manager:
            manager.configuration()
        return script(file, arguments, target.api, target.access)
    from pypelinin.cli.local import LocalCluster

    with LocalCluster(
        loaded["workers"], loaded["store"], loaded["store_configuration"], loaded["slots"],
        path=[str(Path(file).resolve().parent)], show_output=True,
    ) as cluster:  # fmt: skip
        return script(file, arguments, cluster.api, cluster.access)


def script(file: str, arguments: tuple[str, ...], api: str, access: str = "") -> int:
    """Run *file* as Python would; returns its exit code as a shell would tell it."""
    environment = {**os.environ, "PYPELININ_API": api, "PYPELININ_ACCESS": access}
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
