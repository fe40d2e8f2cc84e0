"""`pypelinin nodes`, `drain` and `undrain`: who works, and who shall not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pypelinin.cli import options
from pypelinin.cli.which import ORDER, Reach

if TYPE_CHECKING:
    from pypelinin.wire.messages import Cluster


@options.verb("nodes", epilog=ORDER)
@options.json_option
@options.reach
def nodes(reach: Reach, as_json: bool) -> None:
    """The nodes: what each has, what is free, and why one takes no jobs.

    --json: {"nodes": [...]} with the keys of `status`.
    """
    with reach.manager(as_json) as manager:
        show(manager.cluster(), as_json)


@options.verb("drain", epilog=ORDER)
@click.argument("names", metavar="NODE...", nargs=-1, required=True)
@click.option("--why", default="", metavar="TEXT", help="Shown to whoever asks why.")
@options.json_option
@options.reach
def drain(reach: Reach, names: tuple[str, ...], why: str, as_json: bool) -> None:
    """Let nodes finish what runs there, and give them nothing new.

    Until `undrain`, or until their Broker is started again. --json as of `nodes`.
    """
    with reach.manager(as_json) as manager:
        show(manager.drain(names, why), as_json, names)


@options.verb("undrain", epilog=ORDER)
@click.argument("names", metavar="NODE...", nargs=-1, required=True)
@options.json_option
@options.reach
def undrain(reach: Reach, names: tuple[str, ...], as_json: bool) -> None:
    """Give drained nodes jobs again. --json as of `nodes`."""
    with reach.manager(as_json) as manager:
        show(manager.undrain(names), as_json, names)


def show(answer: Cluster, as_json: bool, names: tuple[str, ...] = ()) -> None:
    """The Brokers of the cluster, or those with *names*."""
    from pypelinin.cli import documents, queries

    listed: list[dict[str, Any]] = [
        node
        for node in documents.nodes(answer)
        if node["role"] == "broker" and (not names or node["name"] in names)
    ]
    if as_json:
        queries.print_json({"nodes": listed})
    elif not listed:
        click.echo("No nodes: start one with `pypelinin broker --workers MODULE`.")
    else:
        rows = [
            (
                node["name"], node["state"], f"{node['running']:,}",
                _of(node), documents.free(node), documents.labels(node["labels"]), node["why"],
            )
            for node in listed
        ]  # fmt: skip
        heads = ("node", "state", "running", "free cores", "free", "labels", "why")
        click.echo("\n".join(documents.table(heads, rows)))


def _of(node: dict[str, Any]) -> str:
    has, left = node["capacity"], node["free"]
    return "" if has is None else f"{left['cores']} of {has['cores']}"


COMMANDS = {"nodes": nodes, "drain": drain, "undrain": undrain}
