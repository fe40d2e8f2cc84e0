"""What files of deploy/ say of our command line: commands, options, settings, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from pypelinin.cli.app import entrance
from pypelinin.config import DEFAULTS, merge
from pypelinin.units import parse_bytes

OTHER_SETTINGS = {"PYPELININ_ACCESS", "PYPELININ_CLAIMS"}
KUBERNETES_UNITS = {"Mi": "MiB", "Gi": "GiB", "g": "GiB", "m": "MiB"}


def check_command(words: Sequence[str]) -> None:
    """Fail unless it is `pypelinin VERB OPTIONS` with a verb and options that exist."""
    program, verb, *options = words
    assert program == "pypelinin"
    command = entrance.get_command(click.Context(entrance), verb)
    assert command is not None, verb
    command.make_context(verb, list(options), obj={})


def check_environment(variables: Mapping[str, str]) -> None:
    """Fail unless each PYPELININ_ variable is a setting, with a value that can be read."""
    ours = {name: value for name, value in variables.items() if name.startswith("PYPELININ_")}
    known = {f"PYPELININ_{name.upper()}" for name in DEFAULTS} | OTHER_SETTINGS
    assert set(ours) <= known, set(ours) - known
    merge({}, ours)


def size(text: str) -> int:
    """Bytes of "4g", "16Gi" or "3GB"."""
    for unit, ours in KUBERNETES_UNITS.items():
        if text.endswith(unit):
            return parse_bytes(text.removesuffix(unit) + ours)
    return parse_bytes(text)
