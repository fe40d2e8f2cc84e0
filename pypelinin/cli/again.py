"""`pypelinin pause`, `resume`, `retry` and `explain`: runs that wait, and runs that failed."""

from __future__ import annotations

import click

from pypelinin.cli import history, options
from pypelinin.cli.which import ORDER, Reach


@options.verb("pause", epilog=ORDER)
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
@options.json_option
@options.reach
def pause(reach: Reach, runs: tuple[str, ...], as_json: bool) -> None:
    """Begin nothing more of these runs until `resume`; what runs already goes on.

    --json: {"runs": [...]} as in `list`.
    """
    _set_paused(reach, runs, True, as_json)


@options.verb("resume", epilog=ORDER)
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
@options.json_option
@options.reach
def resume(reach: Reach, runs: tuple[str, ...], as_json: bool) -> None:
    """Let paused runs go on. --json: {"runs": [...]} as in `list`."""
    _set_paused(reach, runs, False, as_json)


def _set_paused(reach: Reach, runs: tuple[str, ...], paused: bool, as_json: bool) -> None:
    from pypelinin.cli import documents, queries

    with reach.manager(as_json) as manager:
        found = manager.pause(runs) if paused else manager.resume(runs)
    if as_json:
        queries.print_json({"runs": [documents.run(one) for one in found]})
        return
    for one in found:
        state = "paused" if one.paused and one.state == "running" else one.state
        click.echo(f"run {one.run}: {state}, {documents.progress(one)}")


@options.verb("retry", epilog=ORDER)
@click.argument("run", metavar="ID")
@click.option(
    "--failed", is_flag=True, help="What was cancelled stays so; only failed jobs and theirs run."
)
@click.option(
    "--memory", multiple=True, metavar="SIZE",
    help="What each job may use from now on, 8GB for example; repeated: after a kill the next.",
)  # fmt: skip
@options.json_option
@options.reach
def retry(reach: Reach, run: str, failed: bool, memory: tuple[str, ...], as_json: bool) -> None:
    """Begin a run again, as a new run in which what is done is given; prints its id.

    --json: the keys of `list`, of the new run.
    """
    from pypelinin.cli import documents, queries

    with reach.manager(as_json) as manager:
        pipeline = manager.retry(run, failed=failed, memory=memory or None)
        status = manager.status(pipeline)
    if as_json:
        queries.print_json(documents.run(status))
    else:
        click.echo(status.run)
        click.echo(f"{documents.counted(status.done, 'job')} given, the others run.", err=True)


@options.verb("explain", epilog=ORDER)
@click.argument("run", metavar="ID|FILE")
@click.argument("job", metavar="[JOB]", required=False)
@history.root_option
@options.json_option
@options.reach
def explain(reach: Reach, run: str, job: str | None, root: str | None, as_json: bool) -> None:
    """Why a job, given by name or number, waits, runs or failed, and what to try.

    With one argument: why the job of an incremental project that makes FILE ran, or would run.

    --json: {"run", "job", "state", "lines"}. Of a FILE: job, history, last_run, has_record, run,
    outcome, reason, changes, would_run, since (of both the keys of `history diff`).
    """
    if job is None:
        history.explain_file(run, root, as_json)
        return
    from pypelinin.cli import queries

    with reach.manager(as_json) as manager:
        found = manager.explain(run, job)
    if as_json:
        document = {"run": run, "job": job, "state": found.state, "lines": list(found.lines)}
        queries.print_json(document)
        return
    click.echo(f"job {job} of run {run}: {found.state}")
    for line in found.lines:
        click.echo(line)


COMMANDS = {"pause": pause, "resume": resume, "retry": retry, "explain": explain}
