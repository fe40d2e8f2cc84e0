"""`pypelinin doctor`: what is wrong with this machine or its cluster, and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypelinin.cli import exits, options, settings
from pypelinin.cli.queries import print_json
from pypelinin.cli.which import ORDER, Reach, Target, connect
from pypelinin.config import VERSION, Settings
from pypelinin.errors import ClusterError, PypelininError

if TYPE_CHECKING:
    from pypelinin.runtime.checkup import Finding

ANSWER_S = 3.0
KEY_SETTINGS = ("keys", "access")


@options.verb("doctor", epilog=f"{ORDER}\n\n{settings.ORDER}")
@options.json_option
@options.reach
def doctor(reach: Reach, as_json: bool) -> int:
    """Look at this machine, and at the cluster if one runs: what is wrong, and what to do.

    The exit code is 0 if nothing failed (a warning is no failure), else 1.

    --json: {"findings": [...]}, each with name, state (ok, warning, failed, skipped), what and
    remedy.
    """
    from pypelinin.runtime import checkup

    loaded = settings.load({})
    target = reach.target(as_json)
    found = list(checkup.of_this_machine(Path(loaded["journal"]), key_places(loaded)))
    found += of_cluster(target, reach.deadline_s or ANSWER_S, loaded)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in found]})
    else:
        click.echo("\n".join(lines_of(found)))
    return exits.JOB_FAILED if any(f.state == checkup.FAILED for f in found) else exits.FINE


def key_places(loaded: Settings) -> list[Path]:
    """Where keys are, as far as a setting says so, and beside the journal."""
    named = [str(loaded[name]) for name in KEY_SETTINGS if name in loaded.values and loaded[name]]
    return [*map(Path, named), Path(loaded["journal"], "keys")]


def of_cluster(target: Target, deadline_s: float, loaded: Settings) -> Iterator[Finding]:
    """The ports that a Router here would take, and what the one that runs says."""
    from pypelinin.runtime import checkup

    broadcast = str(loaded["broadcast"])
    try:
        with connect(target.api, deadline_s) as manager:
            told = manager.configuration()
            off_s = time.time() - told.clock if told.clock else 0.0
            nodes = {node.name: node.version for node in manager.cluster().nodes}
    except (ClusterError, PypelininError) as error:
        yield checkup.port_here("api", target.api, answers=False)
        yield checkup.port_here("broadcast", broadcast, answers=False)
        yield checkup.unreachable(target.api, str(error), not target.is_default)
        return
    yield checkup.port_here("api", target.api, answers=True)
    yield checkup.port_here("broadcast", told.broadcast, answers=True)
    yield checkup.clock(off_s)
    yield checkup.versions(VERSION, told.version, nodes)


def lines_of(found: list[Finding]) -> Iterator[str]:
    """For people: a line a finding, and what to do below those that need it."""
    width = max(len(finding.name) for finding in found)
    for finding in found:
        yield f"{finding.state:8} {finding.name.ljust(width)}  {finding.what}"
        if finding.remedy:
            yield f"{'':8} {'':{width}}  -> {finding.remedy}"


COMMANDS = {"doctor": doctor}
