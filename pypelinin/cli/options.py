"""Options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pypelinin.cli.which import Reach

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


class Verb(click.Command):
    """A command: knows its name for messages, and has --debug."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, is_eager=True, callback=_debug,
                help="Show the traceback of an error.",
            )
        )  # fmt: skip

    def invoke(self, ctx: click.Context) -> Any:
        ctx.find_root().obj["command"] = ctx.command_path
        return super().invoke(ctx)


def _debug(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.find_root().ensure_object(dict)["debug"] = True


def verb(name: str, epilog: str = "", **settings: Any) -> Callable[[Callable[..., Any]], Verb]:
    """A command of the table in `pypelinin.cli.app`; *epilog* may have several paragraphs."""
    return click.command(name, cls=Verb, epilog=epilog or None, **settings)


access_option = click.option(
    "--access", metavar="FILE", help="Your access file, for a Router that has keys."
)
keys_option = click.option(
    "--keys", metavar="DIR", help="Where the Router's keys are.  [default: keys in the journal]"
)


def reach(function: Callable[..., R]) -> Callable[..., R]:
    """--api, --access, --deadline and --quiet, given to the command as one `Reach`."""

    @click.option("--api", metavar="tcp://HOST:PORT", help="The Router to speak to.")
    @access_option
    @click.option(
        "--deadline", type=click.FloatRange(min=0.01), metavar="S",
        help="Seconds the Router has for an answer.  [default: 10]",
    )  # fmt: skip
    @click.option("-q", "--quiet", is_flag=True, help="Do not say which cluster it is.")
    @functools.wraps(function)
    def with_reach(
        *arguments: Any, api: str | None, access: str | None, deadline: float | None, quiet: bool,
        **options: Any,
    ) -> R:  # fmt: skip
        return function(*arguments, reach=Reach(api, deadline, quiet, access), **options)

    return with_reach


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout instead of text."
)
slots_option = click.option(
    "--slots", type=click.IntRange(1, 10_000), metavar="N",
    help="Jobs at once on this machine.  [default: its CPUs]",
)  # fmt: skip
workers_option = click.option(
    "--workers", multiple=True, metavar="MODULE",
    help="A module with workers in __all__, found from here; may be repeated.",
)  # fmt: skip
store_option = click.option(
    "--store",
    metavar="MODULE:CLASS",
    help="The StoreClass, for example pypelinin.stores:FileStore.",
)
store_options_option = click.option(
    "--store-option", "store_options", multiple=True, metavar="NAME=VALUE",
    help="An argument of the StoreClass; numbers and JSON are read as such. May be repeated.",
)  # fmt: skip
journal_option = click.option(
    "--journal", metavar="DIR", help="Where the Router keeps its journal.  [default: .pypelinin]"
)
synchronous_option = click.option(
    "--synchronous", type=click.Choice(["full", "normal"]),
    help="full: what is accepted survives a power cut; normal: a crash of processes.  "
    "[default: full]",
)  # fmt: skip
insecure_option = click.option(
    "--insecure", is_flag=True, default=None,
    help="Allow to bind beyond loopback: the network is yours alone.",
)  # fmt: skip
monitoring_option = click.option(
    "--monitoring-interval", type=click.IntRange(min=0), metavar="S",
    help="Seconds between samples for the store's save_monitoring; 0: none.  [default: 60]",
)  # fmt: skip
log_options = (
    click.option("--log-format", type=click.Choice(["text", "json"]), help="[default: text]"),
    click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
        help="[default: info]",
    ),
)  # fmt: skip


def logging_options(function: F) -> F:
    for option in reversed(log_options):
        function = option(function)
    return function
