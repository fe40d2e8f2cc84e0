"""Which cluster a command speaks to, and how it says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypelinin.cli.addresses import reachable
from pypelinin.cli.settings import read_file
from pypelinin.config import DEFAULT_API, merge
from pypelinin.errors import DefinitionError

if TYPE_CHECKING:
    from pypelinin.client import PipelineManager

ORDER = """\
Which cluster: --api, then `api` in the nearest pypelinin.toml (here or in a directory above), then
PYPELININ_API, then the one you started with `pypelinin up`, then tcp://127.0.0.1:5555. A line on
stderr says which, unless it was the flag."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address and where it came from; *is_default* if from nowhere."""

    api: str
    why: str
    is_flag: bool = False
    is_default: bool = False


def find(flag: str | None, environ: Mapping[str, str], directory: Path) -> Target:
    """The cluster for a command started in *directory*. Raises UsageError for a wrong address."""
    try:
        return _find(flag, environ, directory)
    except DefinitionError as error:
        raise click.UsageError(str(error)) from None


def _find(flag: str | None, environ: Mapping[str, str], directory: Path) -> Target:
    if flag:
        return Target(reachable(flag, "--api"), "--api", is_flag=True)
    text, path = read_file(directory)
    settings = merge({}, {}, text, path)
    if settings.origin("api") == path and path:
        return Target(reachable(settings["api"], path), f"api in {path}")
    if given := environ.get("PYPELININ_API"):
        return Target(reachable(given, "PYPELININ_API"), "PYPELININ_API")
    return _running(directory) or Target(DEFAULT_API, "the default", is_default=True)


def _running(directory: Path) -> Target | None:
    from pypelinin.runtime.places import nearest_cluster, running_clusters

    chosen = nearest_cluster(directory)
    if chosen is None:
        return None
    others = len(running_clusters()) - 1
    which = f"one of your {others + 1} clusters" if others > 0 else "your running cluster"
    return Target(chosen.api, f"{which}, journal {chosen.journal}")


@dataclass(frozen=True, slots=True)
class Reach:
    """How a command reaches its cluster: the flags that all such commands have."""

    api: str | None
    deadline_s: float | None
    quiet: bool

    def target(self, quiet: bool = False) -> Target:
        """The cluster; says which one unless the user did."""
        target = find(self.api, os.environ, Path.cwd())
        if not (quiet or self.quiet or target.is_flag):
            click.echo(f"cluster {target.api} ({target.why})", err=True)
        return target

    def manager(self, quiet: bool = False) -> PipelineManager:
        """A client of the cluster."""
        return connect(self.target(quiet).api, self.deadline_s)

    @property
    def flag(self) -> str:
        """What a command that shall reach the same cluster must be given."""
        return f" --api {self.api}" if self.api else ""


def connect(api: str, deadline_s: float | None = None) -> PipelineManager:
    from pypelinin.client import PipelineManager

    return PipelineManager(api, deadline_s=deadline_s)
