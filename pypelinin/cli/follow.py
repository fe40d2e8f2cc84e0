"""`pypelinin wait`: until runs have ended; also behind `submit --wait`.

Ctrl-C lets go of the runs, which go on, and says how to come back; a second one within two
seconds cancels them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pypelinin.cli import exits, options
from pypelinin.cli.which import ORDER, Reach

if TYPE_CHECKING:
    from pypelinin.client import PipelineManager
    from pypelinin.pipeline import Pipeline

SECOND_THOUGHT_S = 2.0
FAILURES_SHOWN = 10
RUNS_NAMED_MAX = 50

timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="S", help="Give up after so many seconds."
)
progress_option = click.option(
    "--progress/--no-progress", default=None, help="A bar on stderr.  [default: on a terminal]"
)


@options.verb("wait", epilog=ORDER)
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
@timeout_option
@progress_option
@options.json_option
@options.reach
def wait(
    reach: Reach, runs: tuple[str, ...], timeout: float | None, progress: bool | None, as_json: bool
) -> int:
    """Wait until these runs have ended, and say how.

    A failure is shown with its remote traceback; the exit code is 1 if there is one. Ctrl-C lets
    go of the runs, which go on; once more within two seconds cancels them.

    --json: {"runs": [...]} as in `list`.
    """
    with reach.manager(as_json) as manager:
        pipelines = [manager.attach(run) for run in dict.fromkeys(runs)]
        return follow(reach, manager, pipelines, timeout, progress, as_json)


def follow(
    reach: Reach,
    manager: PipelineManager,
    pipelines: Sequence[Pipeline],
    timeout: float | None,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Wait for *pipelines* and tell how they ended; returns the exit code."""
    bar = sys.stderr.isatty() if progress is None else progress
    try:
        manager.wait(pipelines, timeout, progress=bar, raise_on_failure=False)
    except KeyboardInterrupt:
        return let_go(reach, [str(one.id) for one in pipelines if one.finished_at is None])
    tell(manager, pipelines, as_json)
    return exits.FINE if all(one.state == "done" for one in pipelines) else exits.JOB_FAILED


def let_go(reach: Reach, runs: Sequence[str]) -> int:
    """The first Ctrl-C; a second one soon after cancels."""
    back = f"wait{reach.flag} {' '.join(runs)}"
    if len(runs) > RUNS_NAMED_MAX:
        back = f"list{reach.flag} --state running"
    try:
        click.echo("\nThe runs go on; Ctrl-C again cancels them. To wait for them again:", err=True)
        click.echo(f"pypelinin {back}", err=True)
        time.sleep(SECOND_THOUGHT_S)
    except KeyboardInterrupt:
        with reach.manager(quiet=True) as manager:
            manager.cancel(runs)
        named = " ".join(runs) if len(runs) <= RUNS_NAMED_MAX else f"{len(runs):,} runs"
        click.echo(f"Cancelled: {named}", err=True)
    return exits.INTERRUPTED


def tell(manager: PipelineManager, pipelines: Sequence[Pipeline], as_json: bool) -> None:
    """How each has ended; the failures last, where they are seen."""
    from pypelinin.cli import documents, queries

    if as_json:
        runs = [documents.run(manager.status(p), p.error_job or None) for p in pipelines]
        queries.print_json({"runs": runs})
        return
    for pipeline in pipelines:
        click.echo(f"{pipeline.id} {pipeline.state} {documents.span(pipeline.duration or 0.0)}")
    failed = [(pipeline, pipeline.error) for pipeline in pipelines if pipeline.error is not None]
    for pipeline, error in failed[:FAILURES_SHOWN]:
        text = queries.failure_text(pipeline.error_job, documents.failure(error))
        click.echo(f"\nrun {pipeline.id}, {text}", err=True)
    if len(failed) > FAILURES_SHOWN:
        more = len(failed) - FAILURES_SHOWN
        click.echo(f"\n... {more} more failed; `pypelinin show ID` tells why", err=True)


COMMANDS = {"wait": wait}
