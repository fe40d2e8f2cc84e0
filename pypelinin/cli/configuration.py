"""`pypelinin config show`: which settings hold here."""

from __future__ import annotations

import json
from typing import Any

import click

from pypelinin.cli import options, settings


@click.group("config")
def config() -> None:
    """Settings and where they come from."""


@options.verb("show", epilog=settings.ORDER)
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@options.json_option
def show(origin: bool, as_json: bool) -> None:
    """All settings as a daemon started here would have them.

    --json: an object by name; with --origin each is {"value": ..., "origin": ...}.
    """
    values = settings.load({}).values
    if as_json:
        document: dict[str, Any] = {
            name: {"value": s.value, "origin": s.origin} if origin else s.value
            for name, s in values.items()
        }
        click.echo(json.dumps(document, indent=2))
        return
    width = max(map(len, values))
    for name, setting in values.items():
        where = f"  # {setting.origin}" if origin else ""
        click.echo(f"{name.ljust(width)} = {json.dumps(setting.value)}{where}")


config.add_command(show)
COMMANDS = {"config": config}
