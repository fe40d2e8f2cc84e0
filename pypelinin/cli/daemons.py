"""`pypelinin router`, `pipeliner` and `broker`: one daemon in the foreground."""

from __future__ import annotations

from typing import Any

import click

from pypelinin.cli import options, settings, which
from pypelinin.config import DEFAULT_API, DEFAULT_BROADCAST, Settings

router_option = click.option(
    "--router", "--api", "api", metavar="tcp://HOST:PORT", help="The Router to work for."
)


@options.verb("router", epilog=settings.ORDER)
@click.option(
    "--api",
    metavar="tcp://HOST:PORT",
    help=f"Where to listen; port 0 is any free one.  [default: {DEFAULT_API}]",
)
@click.option(
    "--broadcast",
    metavar="tcp://HOST:PORT",
    help=f"Where to broadcast.  [default: {DEFAULT_BROADCAST}]",
)
@options.journal_option
@options.synchronous_option
@options.keys_option
@options.insecure_option
@options.store_options_option
@options.monitoring_option
@options.logging_options
def router(**flags: Any) -> None:
    """The one authority of a cluster: accepts pipelines, keeps the journal, hands jobs out.

    The store options go to all Brokers, which make their StoreClass with them.

    \b
    SIGTERM or Ctrl-C stops it; what was accepted goes on when it is started again.
    """
    flags["store_configuration"] = settings.options(flags.pop("store_options"), "--store-option")
    loaded = settings.load(flags)
    settings.check_binds(loaded)
    serve("router", loaded)


@options.verb("pipeliner", epilog=which.ORDER)
@router_option
@options.access_option
@options.logging_options
def pipeliner(api: str | None, access: str | None, **flags: Any) -> None:
    """Knows the order of jobs. Any number of them may run, and any of them may die."""
    loaded = settings.load(flags)
    serve("pipeliner", loaded, **router_address(api, access))


@options.verb("broker", epilog=f"{which.ORDER}\n\n{settings.ORDER}")
@router_option
@options.access_option
@options.workers_option
@options.store_option
@options.store_options_option
@options.slots_option
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="What jobs can ask of their node; may be repeated.",
)
@click.option(
    "--memory", metavar="SIZE", help="How much the node offers, as 16GB.  [default: what is there]"
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME=N",
    help="What else the node offers, as gpu=2 or gpu=[0,3]; may be repeated.",
)
@click.option(
    "--affinity/--no-affinity", default=None, help="Each job on cores of its own.  [default: no]"
)
@click.option("--name", metavar="NAME", help="Of this node.  [default: its host name]")
@options.logging_options
def broker(api: str | None, access: str | None, name: str | None, **flags: Any) -> None:
    """Runs jobs on this machine with the workers of some modules.

    SIGTERM or Ctrl-C: finish what runs, take nothing new. Once more: stop at once.

    The StoreClass is made with the Router's store options, or with its own if some are given.
    """
    pairs = flags.pop("store_options")
    flags["store_configuration"] = settings.options(pairs, "--store-option")
    flags["labels"] = settings.texts(flags["labels"], "--label")
    flags["resources"] = settings.options(flags["resources"], "--resource")
    loaded = settings.load(flags)
    own = loaded["store_configuration"] or None
    more = router_address(api, access)
    serve("broker", loaded, **more, name=name, own_store_configuration=own)


def router_address(api: str | None, access: str | None) -> dict[str, str]:
    """The Router of a daemon and the key for it, found as for every other command."""
    found = which.Reach(api, None, quiet=False, access=access).target()
    return {"api": found.api, "access": found.access}


def serve(role: str, loaded: Settings, **more: Any) -> None:
    """Run a daemon until it is stopped."""
    from pypelinin.cli import serve as daemons

    values = {**settings.values_of(loaded), **more}
    daemons.log_to_stderr(values)
    daemons.start(daemons.daemon_of(role, values))


COMMANDS = {"router": router, "pipeliner": pipeliner, "broker": broker}
