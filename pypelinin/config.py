"""Every limit and interval, and the user's settings with where each came from.

Pure: the text of a file and the environment are arguments. Order: flag, environment
(`PYPELININ_*`), file, default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pypelinin.errors import DefinitionError

VERSION = "1.0.0.dev0"


@dataclass(frozen=True, slots=True)
class Limits:
    """Intervals in seconds and bounds of the cluster; tests shorten them."""

    heartbeat_interval_s: float = 1.0
    node_lease_s: float = 10.0
    pipeliner_lease_s: float = 5.0
    client_deadline_s: float = 10.0
    client_silence_s: float = 30.0
    kill_grace_s: float = 10.0
    stall_s: float = 3.0
    """A loop that was away longer than this was paused: its peers' leases start anew."""
    resend_interval_s: float = 0.2
    lot_s: float = 0.010
    """How much work of measured-short jobs goes into one lot."""
    lot_jobs_max: int = 5_000
    slot_start_s: float = 60.0
    """A slot that takes longer to load the user's modules is ended."""
    blocked_slot_s: float = 0.1
    """A slot that is longer in one job gives the jobs behind it back."""
    batch_jobs_max: int = 10_000
    resident_jobs_max: int = 1_000
    """Runs of up to this many jobs are served by the Router's own Pipeliner."""
    queued_jobs_max: int = 20_000_000
    partial_bytes_max: int = 1024 * 1024 * 1024
    """Bytes of definitions that are not complete yet, all clients together."""
    partial_s: float = 3600.0
    """A definition is forgotten when no part of it came for so long."""
    lost_max: int = 5
    """A job whose node went away more often than this fails as lost."""
    crashes_max: int = 3
    """A job whose slots died so often is not tried again."""
    crashes_in_row_max: int = 5
    """A node where the slots of so many different jobs died in a row is drained."""
    retry_base_s: float = 0.5
    retry_max_s: float = 60.0
    history_s: float = 7 * 24 * 3600.0
    history_runs_max: int = 100_000
    taken_bytes_max: int = 64 * 1024 * 1024
    """Finished runs whose client has taken all results are forgotten above so many bytes."""
    journal_rows_max: int = 20_000
    """More rows than this since the last time: compact the journal."""
    images_in_turn_max: int = 200
    kept_failures_max: int = 100
    """Failures with their text that the Router keeps in memory for each run."""
    failure_text_bytes_max: int = 16 * 1024
    log_bytes_max: int = 1024 * 1024
    """Of each stream of an attempt so many bytes are kept, half of them from its end; 0: none."""
    logs_bytes_max: int = 1024 * 1024 * 1024
    """What the Router keeps of what all jobs printed; one run has at most a quarter of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from ("flag", "PYPELININ_API", a file, "default")."""

    value: Any
    origin: str


DEFAULT_API = "tcp://127.0.0.1:5555"
DEFAULT_BROADCAST = "tcp://127.0.0.1:5556"

DEFAULTS: dict[str, Any] = {
    "api": DEFAULT_API,
    "broadcast": DEFAULT_BROADCAST,
    "journal": ".pypelinin",
    "synchronous": "full",
    "keys": "",
    "access": "",
    "insecure": False,
    "slots": 0,
    "memory": "",
    "resources": {},
    "affinity": False,
    "workers": [],
    "store": "",
    "store_configuration": {},
    "monitoring_interval": 60,
    "labels": {},
    "log_format": "text",
    "log_level": "info",
    "log_bytes": 1024 * 1024,
    "logs_bytes": 1024 * 1024 * 1024,
}

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False,
          "no": False, "off": False}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's settings, merged; `settings["api"]`, `settings.origin("api")`."""

    values: Mapping[str, Setting] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def origin(self, name: str) -> str:
        return self.values[name].origin


def merge(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    text: str = "",
    path: str = "",
) -> Settings:
    """Settings from all sources. *text* is the TOML of *path*.

    Raises DefinitionError that names the source for unknown names and wrong types.
    """
    values = {name: Setting(value, "default") for name, value in DEFAULTS.items()}
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(f"{path} is not TOML: {error}.") from None
    for name, value in table.items():
        values[name] = Setting(_checked(name, value, path), path)
    for name in DEFAULTS:
        variable = "PYPELININ_" + name.upper()
        if environ.get(variable):
            values[name] = Setting(_parsed(name, environ[variable], variable), variable)
    for name, value in flags.items():
        if value is not None and value != ():
            values[name] = Setting(_checked(name, value, "flag"), "flag")
    return Settings(values)


def _checked(name: str, value: Any, origin: str) -> Any:
    if name not in DEFAULTS:
        close = get_close_matches(name, DEFAULTS, n=1)
        raise DefinitionError(
            f"{origin} has an unknown setting {name!r}.",
            remedy=(f"Did you mean {close[0]!r}? " if close else "")
            + f"Known are: {', '.join(sorted(DEFAULTS))}.",
        )
    wanted = type(DEFAULTS[name])
    if wanted is list and isinstance(value, (list, tuple)):
        return list(value)
    if type(value) is not wanted:
        raise DefinitionError(
            f"{origin}: {name} is a {wanted.__name__}, not {type(value).__name__} ({value!r})."
        )
    return value


def _parsed(name: str, text: str, origin: str) -> Any:
    default = DEFAULTS[name]
    try:
        if isinstance(default, bool):
            return _WORDS[text.lower()]
        if isinstance(default, int):
            return int(text)
    except (KeyError, ValueError):
        raise DefinitionError(f"{origin}: cannot read {text!r} as {name}.") from None
    if isinstance(default, list):
        return [part for part in text.split(",") if part]
    if isinstance(default, dict):
        try:
            return dict(part.split("=", 1) for part in text.split(",") if part)
        except ValueError:
            raise DefinitionError(f"{origin}: expected NAME=VALUE,..., got {text!r}.") from None
    return text


__all__ = [
    "DEFAULTS", "DEFAULT_API", "DEFAULT_BROADCAST", "Limits", "Setting", "Settings", "VERSION",
    "merge",
]  # fmt: skip
