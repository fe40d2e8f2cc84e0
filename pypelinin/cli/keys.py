"""`pypelinin keys`: who may use the cluster of a Router, and for what.

They work on the Router's directory of keys, on its machine; the Router learns of each change
within a second.
"""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pypelinin.cli import options, settings
from pypelinin.cli.addresses import EVERYWHERE, host_port, is_ipc
from pypelinin.cluster.roles import ROLES
from pypelinin.config import Settings
from pypelinin.errors import DefinitionError
from pypelinin.runtime import keys as ring
from pypelinin.runtime.access import ROUTER, Access, text_of, write

api_option = click.option(
    "--api", metavar="tcp://HOST:PORT", help="Where the Router is, for who gets the access file."
)
broadcast_option = click.option("--broadcast", metavar="tcp://HOST:PORT", help="Its broadcast.")


@click.group("keys")
def keys() -> None:
    """Who may use the cluster, and for what. The first key turns encryption and roles on."""


@options.verb("new", epilog=settings.ORDER)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@api_option
@broadcast_option
@click.option(
    "--out", metavar="FILE", help="Write the access file there; the Router keeps no secret of it."
)
@options.keys_option
@options.journal_option
def new(name: str, role: str, out: str | None, **flags: Any) -> None:
    """Make a key for a person or a daemon.

    The first one makes the Router's own pair, too. A Router that had none uses keys from its next
    start; one that has some takes the new one within a second.
    """
    loaded = settings.load(flags)
    directory = directory_of(loaded)
    is_first = not (directory / f"{ROUTER}{ring.SUFFIX}").exists()
    api, broadcast = told(loaded, "api"), told(loaded, "broadcast")
    if out is not None and Path(out).exists():
        raise DefinitionError(f"{out} is there already.", remedy="Remove it first.")
    made = ring.new(directory, name, role, api, broadcast, keep_secret=out is None)
    if out is not None:
        try:
            write(Path(out), made)
        except BaseException:
            ring.revoke(directory, name)
            raise
    click.echo(f"key {name}: role {role}, fingerprint {ring.fingerprint(made.public)}")
    if out is None:
        click.echo(f"its access file: pypelinin keys export {name} --out FILE")
    else:
        click.echo(f"access file {out}, for {api}: the only copy of its secret")
    if is_first:
        click.echo("The Router uses keys from its next start.", err=True)


def directory_of(loaded: Settings) -> Path:
    return ring.directory_of(loaded["keys"], loaded["journal"])


def told(loaded: Settings, name: str) -> str:
    """The address that others reach the Router at, as far as it is known here."""
    if is_ipc(loaded[name]):
        return str(loaded[name])
    try:
        host, port = host_port(loaded[name], f"{name} ({loaded.origin(name)})")
    except DefinitionError as error:
        raise click.UsageError(str(error)) from None
    return f"tcp://{socket.gethostname()}:{port}" if host in EVERYWHERE else str(loaded[name])


@options.verb("list", epilog=settings.ORDER)
@options.json_option
@options.keys_option
@options.journal_option
def list_(as_json: bool, **flags: Any) -> None:
    """All keys: name, role, fingerprint, and whether the Router can export it.

    --json: {"keys": [...], "left_out": {FILE: why}}.
    """
    loaded = settings.load(flags)
    found = ring.ring_of(loaded["keys"], loaded["journal"])
    if found is None:
        raise DefinitionError(
            f"There are no keys in {directory_of(loaded)}.",
            remedy="Make the first one with `pypelinin keys new NAME --role ROLE`.",
        )
    rows = [
        {
            "name": holder.name,
            "role": holder.role,
            "fingerprint": holder.fingerprint,
            "exportable": bool(ring.find(found.directory, holder.name).secret),
        }
        for holder in sorted(found.holders.values(), key=lambda one: one.name)
    ]
    if as_json:
        click.echo(json.dumps({"keys": rows, "left_out": dict(found.problems)}, indent=2))
        return
    width = max([len(str(row["name"])) for row in rows], default=0)
    for row in rows:
        note = "" if row["exportable"] else "  (secret not kept here)"
        text = f"{str(row['name']).ljust(width)}  {row['role']:9}  {row['fingerprint']}{note}"
        click.echo(text)
    for name, why in found.problems.items():
        click.echo(f"left out: {name}: {why}", err=True)


@options.verb("export", epilog=settings.ORDER)
@click.argument("name")
@api_option
@broadcast_option
@click.option("--out", metavar="FILE", help="Where to write it; - is stdout.  [default: NAME.toml]")
@options.keys_option
@options.journal_option
def export(name: str, out: str | None, **flags: Any) -> None:
    """Write the access file of a key: addresses, the Router's public key, the key pair.

    Whoever can read it is its holder for the cluster: send it on a safe way, and only to him.
    """
    loaded = settings.load(flags)
    directory = directory_of(loaded)
    found = ring.find(directory, name)
    if not found.secret:
        raise DefinitionError(
            f"The secret of {name!r} is not kept here: it is only in the access file that was "
            "written when it was made.",
            remedy=f"If that is lost: pypelinin keys revoke {name}, then keys new {name}.",
        )
    found = replace(found, **addresses(found, loaded))
    if out == "-":
        sys.stdout.write(text_of(found))
        return
    path = Path(out or f"{name}{ring.SUFFIX}")
    write(path, found)
    click.echo(f"access file {path} of {name} ({found.role}), for {found.api}")


def addresses(found: Access, loaded: Settings) -> dict[str, str]:
    """Those that are given now, else those that were when the key was made."""
    return {
        name: told(loaded, name)
        for name in ("api", "broadcast")
        if loaded.origin(name) != "default" or not getattr(found, name)
    }


@options.verb("revoke", epilog=settings.ORDER)
@click.argument("name")
@options.keys_option
@options.journal_option
def revoke(name: str, **flags: Any) -> None:
    """End a key: within a second nothing of its holder is taken any more, connected or not.

    What he submitted goes on; `pypelinin cancel` ends it.
    """
    ring.revoke(directory_of(settings.load(flags)), name)
    click.echo(f"revoked {name}")


for command in (new, list_, export, revoke):
    keys.add_command(command)
COMMANDS = {"keys": keys}
