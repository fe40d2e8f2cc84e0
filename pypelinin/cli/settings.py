"""The user's settings: flags, `PYPELININ_*`, the nearest `pypelinin.toml`, defaults.

What is wrong in them is a wrong use of the command, whichever place it came from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pypelinin.cli.addresses import listening
from pypelinin.config import Setting, Settings, merge
from pypelinin.errors import DefinitionError

FILE_NAME = "pypelinin.toml"
PATHS = ("journal", "keys", "access")
ORDER = """\
Settings are taken from the flag, then the environment (PYPELININ_SLOTS, PYPELININ_WORKERS, ...),
then the nearest pypelinin.toml (here or in a directory above), then the default;
`pypelinin config show --origin` tells which."""


def nearest_file(directory: Path) -> Path | None:
    """The `pypelinin.toml` of *directory* or the next one above it."""
    for place in (directory, *directory.parents):
        path = place / FILE_NAME
        if os.path.isfile(path):  # not path.is_file(): that fails where we may not look
            return path
    return None


def read_file(directory: Path) -> tuple[str, str]:
    """(text, path) of the nearest file; two empty texts if there is none."""
    path = nearest_file(directory)
    if path is None:
        return "", ""
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}.") from None


def load(flags: Mapping[str, Any]) -> Settings:
    """All settings. Raises UsageError that names the place of what is wrong.

    A path in the file is relative to the file, else to the working directory.
    """
    text, path = read_file(Path.cwd())
    try:
        settings = merge(flags, os.environ, text, path)
    except DefinitionError as error:
        raise click.UsageError(str(error)) from None
    paths = {name: _absolute(settings, name, path) for name in PATHS}
    return Settings({**settings.values, **paths})


def _absolute(settings: Settings, name: str, path: str) -> Setting:
    setting = settings.values[name]
    if not setting.value and name != "journal":
        return setting
    base = Path(path).parent if path and setting.origin == path else Path.cwd()
    return replace(setting, value=str((base / setting.value).absolute()))


def check_binds(settings: Settings) -> None:
    """Raise UsageError unless `api` and `broadcast` are addresses a Router can listen at."""
    for name in ("api", "broadcast"):
        origin = settings.origin(name)
        try:
            listening(settings[name], f"{name} ({origin})")
        except DefinitionError as error:
            raise click.UsageError(str(error)) from None


def values_of(settings: Settings) -> dict[str, Any]:
    """The bare values by name."""
    return {name: setting.value for name, setting in settings.values.items()}


def options(pairs: Sequence[str], flag: str) -> dict[str, Any] | None:
    """NAME=VALUE, ... as a mapping; None if there are none.

    A value that reads as JSON (a number, true, "text", a list) is that, else text.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{flag} takes NAME=VALUE, not {pair!r}.")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found or None


def texts(pairs: Sequence[str], flag: str) -> dict[str, str] | None:
    """NAME=VALUE, ... as a mapping of texts; None if there are none."""
    for pair in pairs:
        if not pair.partition("=")[1]:
            raise click.UsageError(f"{flag} takes NAME=VALUE, not {pair!r}.")
    return {name: text for name, _, text in (pair.partition("=") for pair in pairs)} or None
