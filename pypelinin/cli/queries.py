"""`pypelinin list`, `show`, `status` and `cancel`: questions to a Router."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from pypelinin.cli import options
from pypelinin.cli.which import ORDER, Reach

if TYPE_CHECKING:
    from pypelinin.client import PipelineManager
    from pypelinin.pipeline import Pipeline
    from pypelinin.wire.messages import Definition, RunStatus

PAGE_RUNS = 1000
FAILURES_SHOWN = 10


@options.verb("list", epilog=ORDER)
@click.option(
    "--state",
    type=click.Choice(["running", "done", "failed", "cancelled"]),
    help="Only runs in this state.",
)
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@options.json_option
@options.reach
def list_runs(reach: Reach, state: str | None, limit: int, as_json: bool) -> None:
    """The newest runs, the newest first.

    --json: {"runs": [...]}, each with id, state, jobs, done, failed, skipped, cancelled, running,
    submitted_at, finished_at, seconds, labels, reason and error.
    """
    from pypelinin.cli import documents

    with reach.manager(as_json) as manager:
        runs = _pages(manager, state or "", limit)
    if as_json:
        print_json({"runs": [documents.run(run) for run in runs]})
        return
    if not runs:
        click.echo("No runs." if state is None else f"No runs are {state}.")
        return
    rows = [
        (
            run.run, run.state, f"{run.done}/{run.jobs}", documents.when(run.submitted_at),
            documents.span(documents.lasted(run)), documents.labels(run.labels),
        )
        for run in runs
    ]  # fmt: skip
    heads = ("id", "state", "jobs done", "submitted", "time", "labels")
    click.echo("\n".join(documents.table(heads, rows)))


def _pages(manager: PipelineManager, state: str, limit: int) -> list[RunStatus]:
    runs: list[RunStatus] = []
    while len(runs) < limit:
        wanted = min(PAGE_RUNS, limit - len(runs))
        page = manager.list_runs(state, len(runs), wanted)
        runs += page
        if len(page) < wanted:
            break
    return runs


@options.verb("show", epilog=ORDER)
@click.argument("run", metavar="ID")
@click.argument("job", metavar="[JOB]", required=False)
@click.option("--dot", is_flag=True, help="The graph in the DOT language.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=200, show_default=True, metavar="N",
    help="Jobs to show as text.",
)  # fmt: skip
@options.json_option
@options.reach
def show(reach: Reach, run: str, job: str | None, dot: bool, limit: int, as_json: bool) -> None:
    """One run: its jobs with worker and state, its failures with the remote traceback.

    With JOB (its name or number): its attempts with node, time, CPU and memory, how they ended,
    and the end of what it printed on standard error.

    --json: the keys of `list`, and jobs: number, name, worker, state (waiting, ready, running,
    done, failed, skipped, cancelled), after (names of what it waits for), failure. With JOB: these
    keys, run, stderr, and attempts: attempt, fence, node, running, began_at, seconds, cpu_seconds,
    memory_peak (bytes), memory_peak_is_own, stdout_bytes, stderr_bytes, failure.
    """
    from pypelinin.cli import documents

    if job is not None:
        show_job(reach, run, job, as_json)
        return
    with reach.manager(as_json or dot) as manager:
        pipeline, found = manager.describe(run)
    if dot:
        click.echo(str(pipeline))
        return
    jobs = _jobs(pipeline, found)
    if as_json:
        print_json({**documents.run(found.status, pipeline.error_job or None), "jobs": jobs})
        return
    click.echo(f"run {run}: {summary(found.status)}")
    if found.status.labels:
        click.echo(f"labels {documents.labels(found.status.labels)}")
    rows = [(str(job["name"]), str(job["worker"]), str(job["state"])) for job in jobs[:limit]]
    click.echo("\n".join(documents.table(("job", "worker", "state"), rows)))
    if len(jobs) > limit:
        click.echo(f"... {len(jobs) - limit:,} more; --limit shows them")
    failed = [job for job in jobs if job["failure"]][:FAILURES_SHOWN]
    for one in failed:
        click.echo(f"\n{failure_text(one['name'], one['failure'])}")
    if found.status.failed > len(failed):
        click.echo(f"\n... {found.status.failed - len(failed):,} more failed")


def show_job(reach: Reach, run: str, job: str, as_json: bool) -> None:
    from pypelinin.cli import evidence

    with reach.manager(as_json) as manager:
        pipeline, found = manager.describe(run)
        number = manager.job_number(run, job)
        known = _jobs(pipeline, found)[number]
        document = evidence.job_document(manager, pipeline, number, known)
    if as_json:
        print_json(document)
    else:
        why = evidence.known_failure(document)
        text = "" if why is None else failure_text(document["name"], why)
        click.echo("\n".join(evidence.job_lines(document, text)))


def _jobs(pipeline: Pipeline, found: Definition) -> list[dict[str, Any]]:
    from pypelinin.cli import documents
    from pypelinin.graph import states

    failures = {one.job: documents.failure(one.failure) for one in found.failures}
    of_jobs = found.blobs[1]
    return [
        {
            "number": number,
            "name": job.name,
            "worker": job.worker,
            "state": states.NAMES[of_jobs[number]],
            "after": [pipeline.jobs[up].name for up in pipeline.graph.upstreams_of(number)],
            "failure": failures.get(number),
        }
        for number, job in enumerate(pipeline.jobs)
    ]


def failure_text(job: str, failure: dict[str, Any]) -> str:
    """What happened to a job, with the remote traceback if there is one."""
    where = f" on {failure['node']}" if failure["node"] else ""
    line = f"job {job} failed{where}: {failure['type']}: {failure['text']}"
    return f"{line}\n{failure['traceback'].rstrip()}" if failure["traceback"] else line


def summary(status: RunStatus) -> str:
    """State, jobs and time of a run in a line."""
    from pypelinin.cli import documents

    return (
        f"{status.state}, {documents.progress(status)}; {documents.span(documents.lasted(status))}"
    )


@options.verb("status", epilog=ORDER)
@click.argument("run", metavar="[ID]", required=False)
@options.json_option
@options.reach
def status(reach: Reach, run: str | None, as_json: bool) -> None:
    """The cluster: Router, nodes, slots, what is queued and runs. With an ID: that run.

    --json: api, cluster, epoch, version, started_at, runs (open, finished), jobs (queued,
    running), nodes (name, role, state, why, slots, running, capacity, free, runs, workers, labels,
    silent_s, version, sample; capacity and free have cores, memory in bytes and each resource;
    sample has cpu_percent, memory_used, memory_total and load); with an ID the keys of `list`.
    """
    target = reach.target(as_json)
    from pypelinin.cli import documents, which

    with which.connect(target.api, reach.deadline_s, target.access) as manager:
        if run is None:
            document = documents.cluster(manager.cluster(), target.api)
        else:
            pipeline, found = manager.describe(run)
            document = documents.run(found.status, pipeline.error_job or None)
    if as_json:
        print_json(document)
    elif run is None:
        click.echo("\n".join(_cluster_lines(document)))
    else:
        click.echo(f"run {run}: {summary(found.status)}")
        if found.status.reason:
            click.echo(f"it waits: {found.status.reason}")
        if document["error"]:
            click.echo(failure_text(document["error"]["job"], document["error"]))


def _cluster_lines(document: dict[str, Any]) -> list[str]:
    from pypelinin.cli import documents

    since = documents.span(time.time() - document["started_at"])
    runs, jobs = document["runs"], document["jobs"]
    slots = sum(node["slots"] for node in document["nodes"])
    lines = [
        f"Router {document['version']} at {document['api']}, up {since}, epoch {document['epoch']}",
        f"runs: {runs['open']:,} open, {runs['finished']:,} finished; "
        f"jobs: {jobs['queued']:,} queued, {jobs['running']:,} running; "
        f"{documents.counted(slots, 'slot')}",
    ]
    rows = [
        (
            node["name"], node["role"], node["state"],
            str(node["slots"]) if node["role"] == "broker" else "",
            str(node["running"]) if node["role"] == "broker" else f"{node['runs']:,} runs",
            documents.free(node), documents.used(node),
            documents.labels(node["labels"]), ", ".join(node["workers"]),
        )
        for node in document["nodes"]
    ]  # fmt: skip
    if not any(node["role"] == "broker" for node in document["nodes"]):
        lines.append("no Broker: jobs wait until one joins (`pypelinin broker --workers MODULE`)")
    heads = ("node", "role", "state", "slots", "running", "free", "in use", "labels", "workers")
    return [*lines, *documents.table(heads, rows)] if rows else lines


@options.verb("cancel", epilog=ORDER)
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
@click.option("--running", is_flag=True, help="End what runs already, too.")
@options.json_option
@options.reach
def cancel(reach: Reach, runs: tuple[str, ...], running: bool, as_json: bool) -> None:
    """Begin nothing more of these runs; what runs already is finished.

    A run that has ended stays as it is. --json: {"runs": [...]} as in `list`.
    """
    from pypelinin.cli import documents

    with reach.manager(as_json) as manager:
        manager.cancel(runs, running=running)
        found = [manager.status(run) for run in runs]
    if as_json:
        print_json({"runs": [documents.run(one) for one in found]})
        return
    for one in found:
        state = "being cancelled" if one.state == "running" else one.state
        click.echo(f"run {one.run}: {state}, {documents.progress(one)}")


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


COMMANDS = {"list": list_runs, "show": show, "status": status, "cancel": cancel}
