"""Which cluster a command speaks to, and how it says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
Which cluster: --api or --access, then `api` or `access` in the nearest pypelinin.toml (here or in a
directory above), then PYPELININ_API or PYPELININ_ACCESS, then the one you started with
`pypelinin up`, then tcp://127.0.0.1:5555. A line on stderr says which, unless it was the flag."""

_BOTH = ("api", "access")


@dataclass(frozen=True, slots=True)
class Target:
    """An address and where it came from; *is_default* if from nowhere.

    *access* is the access file for it, "" for none.
    """

    api: str
    why: str
    is_flag: bool = False
    is_default: bool = False
    access: str = ""


def find(
    flag: str | None, environ: Mapping[str, str], directory: Path, access: str | None = None
) -> Target:
    """The cluster for a command started in *directory*. Raises UsageError for a wrong address."""
    try:
        return _find(flag, access, environ, directory)
    except DefinitionError as error:
        raise click.UsageError(str(error)) from None


def _find(
    flag: str | None, access: str | None, environ: Mapping[str, str], directory: Path
) -> Target:
    from pypelinin.runtime.access import VARIABLE, load

    text, path = read_file(directory)
    settings = merge({}, {}, text, path)
    in_file = {n: settings[n] if path and settings.origin(n) == path else "" for n in _BOTH}
    if in_file["access"]:
        in_file["access"] = str(Path(path).parent / in_file["access"])
    given = access or in_file["access"] or environ.get(VARIABLE) or ""
    sources = (
        (flag, access, "--api", "--access"),
        (in_file["api"], in_file["access"], f"api in {path}", f"access in {path}"),
        (environ.get("PYPELININ_API"), environ.get(VARIABLE), "PYPELININ_API", VARIABLE),
    )
    for number, (api, file, why, why_file) in enumerate(sources):
        if api:
            return Target(reachable(api, _origin(why)), why, number == 0, access=given)
        if file and (told := load(file).api):
            return Target(reachable(told, file), why_file, number == 0, access=file)
    found = _running(directory) or Target(DEFAULT_API, "the default", is_default=True)
    return replace(found, access=given) if given else found


def _origin(why: str) -> str:
    return why.removeprefix("api in ")


def _running(directory: Path) -> Target | None:
    from pypelinin.runtime.places import nearest_cluster, running_clusters

    chosen = nearest_cluster(directory)
    if chosen is None:
        return None
    others = len(running_clusters()) - 1
    which = f"one of your {others + 1} clusters" if others > 0 else "your running cluster"
    return Target(chosen.api, f"{which}, journal {chosen.journal}", access=chosen.access)


@dataclass(frozen=True, slots=True)
class Reach:
    """How a command reaches its cluster: the flags that all such commands have."""

    api: str | None
    deadline_s: float | None
    quiet: bool
    access: str | None = None

    def target(self, quiet: bool = False) -> Target:
        """The cluster; says which one unless the user did."""
        target = find(self.api, os.environ, Path.cwd(), self.access)
        if not (quiet or self.quiet or target.is_flag):
            click.echo(f"cluster {target.api} ({target.why})", err=True)
        return target

    def manager(self, quiet: bool = False) -> PipelineManager:
        """A client of the cluster."""
        target = self.target(quiet)
        return connect(target.api, self.deadline_s, target.access)

    @property
    def flag(self) -> str:
        """What a command that shall reach the same cluster must be given."""
        return "".join(
            f" --{name} {value}"
            for name, value in (("api", self.api), ("access", self.access))
            if value
        )


def connect(api: str, deadline_s: float | None = None, access: str = "") -> PipelineManager:
    from pypelinin.client import PipelineManager

    return PipelineManager(api, deadline_s=deadline_s, access=access)
