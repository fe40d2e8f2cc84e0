"""`pypelinin`: the table of commands, and one place where every error becomes a message."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from pypelinin.cli import exits
from pypelinin.config import VERSION
from pypelinin.errors import PypelininError

# Section -> command -> (module of pypelinin.cli, what it does).
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "A cluster on this machine": {
        "demo": ("demonstration", "See a cluster work on some 200 real pages."),
        "up": ("up", "Start Router, Pipeliner and Broker here."),
        "down": ("up", "Stop what `up` started."),
    },
    "Daemons, one by one": {
        "router": ("daemons", "The one authority: journal, queues, hand-out."),
        "pipeliner": ("daemons", "Knows the order of jobs; any number of them."),
        "broker": ("daemons", "Runs jobs; one on each machine."),
    },
    "Pipelines": {
        "run": ("script", "Run a Python script with a cluster at hand."),
        "submit": ("submit", "Submit the pipelines of a Python file."),
        "wait": ("follow", "Wait until runs have ended."),
        "list": ("queries", "The newest runs."),
        "show": ("queries", "One run with its jobs and failures, or one job."),
        "logs": ("evidence", "What jobs printed."),
        "status": ("queries", "The cluster, or why a run waits."),
        "cancel": ("queries", "Begin nothing more of these runs."),
        "pause": ("again", "Begin nothing more of these runs for now."),
        "resume": ("again", "Let paused runs go on."),
        "retry": ("again", "A run again: only what did not succeed."),
        "explain": ("again", "Why a job waits or failed, and what to try; why a file was made."),
    },
    "Incremental projects": {
        "history": ("history", "What a project remembers: show, diff, forget, import."),
    },
    "Nodes": {
        "nodes": ("nodes", "What each has, and what is free."),
        "drain": ("nodes", "Give these nodes nothing new."),
        "undrain": ("nodes", "Give drained nodes jobs again."),
    },
    "Settings": {
        "config": ("configuration", "Show settings and where they come from."),
        "doctor": ("doctor", "What is wrong here, and what to do."),
        "keys": ("keys", "Who may use the cluster: make, list and revoke keys."),
    },
}
MODULES = {name: entry[0] for section in SECTIONS.values() for name, entry in section.items()}


class Entrance(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        module = import_module(f"pypelinin.cli.{MODULES[cmd_name]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in MODULES and not name.startswith("-"):
            close = get_close_matches(name, MODULES, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry[1]) for name, entry in commands.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"pypelinin {VERSION}")
        ctx.exit()


@click.command(
    cls=Entrance,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog=f"`pypelinin COMMAND --help` tells more.\n\n{exits.TEXT}",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version.",
)  # fmt: skip
@click.pass_context
def entrance(ctx: click.Context) -> int:
    """A cluster you can pip install: run Python jobs and pipelines on one machine or many."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return exits.USAGE
    return exits.FINE


def run(arguments: Sequence[str] | None = None) -> int:
    """The whole command line; returns the exit code, raises nothing a user can cause."""
    notes: dict[str, Any] = {"debug": False, "command": "pypelinin"}
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with entrance.make_context("pypelinin", given, obj=notes) as ctx:
            code = entrance.invoke(ctx)
        sys.stdout.flush()
        return int(code or exits.FINE)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except BrokenPipeError:
        return closed_output()
    except BaseException as error:
        return told(error, str(notes["command"]), bool(notes["debug"]))


def closed_output() -> int:
    """Whoever read our output has seen enough; nothing more may be written into that pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def told(error: BaseException, command: str, debug: bool) -> int:
    """Say what went wrong, in one message; returns the exit code."""
    if debug and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exits.BUG
    if isinstance(error, click.ClickException):
        error.show()
        return exits.USAGE
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        click.echo(f"{command}: interrupted", err=True)
        return exits.INTERRUPTED
    if isinstance(error, (PypelininError, TimeoutError)):
        click.echo(f"{command}: {error}", err=True)
        return exits.code_of(error)
    if isinstance(error, OSError):
        click.echo(f"{command}: the system refused: {error}", err=True)
        return exits.REFUSED
    hint = "" if debug else " Run it again with --debug and report what it shows."
    click.echo(f"{command}: a bug in pypelinin: {type(error).__name__}: {error}.{hint}", err=True)
    return exits.BUG
