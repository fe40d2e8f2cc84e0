"""`pypelinin logs`, and what `show` tells of one job: what jobs printed and used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pypelinin.cli import options
from pypelinin.cli.which import ORDER, Reach

if TYPE_CHECKING:
    from pypelinin.client import PipelineManager
    from pypelinin.client.logs import Attempt, LogPart
    from pypelinin.pipeline import Pipeline

LISTEN_USUAL = "localhost:5005"
TAIL_LINES = 10
TAIL_BYTES = 4096


@options.verb("logs", epilog=ORDER)
@click.argument("run", metavar="ID", required=False)
@click.argument("job", metavar="[JOB]", required=False)
@click.option(
    "--listen", metavar="[HOST:PORT]", is_flag=False, flag_value=LISTEN_USUAL,
    help="Of no run here: what pypelinin.incremental logs, as it comes.  "
    f"[default: {LISTEN_USUAL}]",
)  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on until the job, or the run, has ended.")
@click.option("--stdout", "out", is_flag=True, help="Only what went to standard output.")
@click.option("--stderr", "err", is_flag=True, help="Only what went to standard error.")
@click.option("--attempt", type=int, metavar="N", help="Only this try of JOB; -1: the last.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line.")
@options.reach
def logs(
    reach: Reach, run: str | None, job: str | None, follow: bool, out: bool, err: bool,
    attempt: int | None, as_json: bool, listen: str | None,
) -> None:  # fmt: skip
    """What the jobs of a run printed, or one of them (its name or number).

    Of one job it comes as it is, standard error on standard error; of all, each line has the
    job's name before it. What was too much to be kept is counted on standard error.

    --json: job, number, attempt, stream, offset (bytes before it), left_out (bytes before it that
    are not kept) and text.
    """
    if listen is not None:
        from pypelinin.cli import listening

        if run is not None:
            raise click.UsageError("--listen is of no run: leave the ID out.")
        listening.listen(listen, as_json)
        return
    if run is None:
        raise click.UsageError("Missing argument 'ID'.")
    if attempt is not None and job is None:
        raise click.UsageError("--attempt is of one job: name it.")
    streams = tuple(name for name, wanted in (("stdout", out), ("stderr", err)) if wanted)
    with reach.manager(as_json) as manager:
        number = None if job is None else manager.job_number(run, job)
        names = names_of(manager, run)
        parts = manager.logs(
            run, number, follow=follow, attempt=attempt, streams=streams or ("stdout", "stderr")
        )
        writer = _writer(as_json, number is not None, names)
        told = False
        for part in parts:
            writer(part)
            told = True
        writer(None)
    if not told and not as_json:
        click.echo("Nothing that was printed is kept of it.", err=True)


def names_of(manager: PipelineManager, run: str) -> Callable[[int], str]:
    """The name of a job by its number, looked up when first needed."""
    known: list[str] = []

    def name_of(number: int) -> str:
        if number >= len(known):
            pipeline, _ = manager.describe(run)
            known[:] = [one.name for one in pipeline.jobs]
        return known[number] if number < len(known) else str(number)

    return name_of


def _writer(
    as_json: bool, one_job: bool, name_of: Callable[[int], str]
) -> Callable[[LogPart | None], None]:
    if as_json:
        return lambda part: None if part is None else print_part(part, name_of(part.job))
    return Plain() if one_job else Prefixed(name_of)


def print_part(part: LogPart, name: str) -> None:
    document = {
        "job": name,
        "number": part.job,
        "attempt": part.attempt,
        "stream": part.stream,
        "offset": part.offset,
        "left_out": part.left_out,
        "text": part.data.decode("utf-8", "replace"),
    }
    click.echo(json.dumps(document, ensure_ascii=False))


def _stream(name: str) -> BinaryIO:
    return sys.stderr.buffer if name == "stderr" else sys.stdout.buffer


def left_out(part: LogPart) -> str:
    return f"... {part.left_out:,} bytes of {part.stream} are not here ..."


class Plain:
    """One job: its bytes as they are, and a line between two attempts."""

    def __init__(self) -> None:
        self._attempt = 0

    def __call__(self, part: LogPart | None) -> None:
        if part is None:
            return
        if self._attempt and part.attempt != self._attempt:
            self._say(f"--- attempt {part.attempt} ---")
        self._attempt = part.attempt
        if part.left_out:
            self._say(left_out(part))
        stream = _stream(part.stream)
        stream.write(part.data)
        stream.flush()

    def _say(self, line: str) -> None:
        sys.stdout.flush()
        click.echo(f"\n{line}", err=True)


class Prefixed:
    """Many jobs: whole lines, each with its job's name; what has no line end waits for it."""

    def __init__(self, name_of: Callable[[int], str]) -> None:
        self._name_of = name_of
        self._open: dict[tuple[int, int, str], bytes] = {}

    def __call__(self, part: LogPart | None) -> None:
        if part is None:
            for (job, _, stream), rest in self._open.items():
                self._write(job, stream, [rest])
            return
        key = (part.job, part.fence, part.stream)
        if part.left_out:
            click.echo(f"{self._name_of(part.job)}: {left_out(part)}", err=True)
        *lines, rest = (self._open.pop(key, b"") + part.data).split(b"\n")
        self._write(part.job, part.stream, lines)
        if rest:
            self._open[key] = rest

    def _write(self, job: int, stream: str, lines: list[bytes]) -> None:
        if lines:
            prefix = self._name_of(job).encode() + b": "
            into = _stream(stream)
            into.write(b"".join(prefix + line + b"\n" for line in lines))
            into.flush()


# --- one job ---------------------------------------------------------------------------


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    from pypelinin.cli import documents

    return {
        "attempt": attempt.number,
        "fence": attempt.fence,
        "node": attempt.node,
        "running": attempt.running,
        "began_at": attempt.began_at,
        "seconds": attempt.wall_s,
        "cpu_seconds": attempt.cpu_s,
        "memory_peak": attempt.memory_peak,
        "memory_peak_is_own": attempt.own_peak,
        "stdout_bytes": attempt.stdout_bytes,
        "stderr_bytes": attempt.stderr_bytes,
        "failure": None if attempt.failure is None else documents.failure(attempt.failure),
    }


def job_document(
    manager: PipelineManager, pipeline: Pipeline, number: int, job: dict[str, Any]
) -> dict[str, Any]:
    """What `show` has of the job, with its attempts and the end of what it printed as an error."""
    run = str(pipeline.id)
    attempts = manager.attempts(run, number)
    return {
        **job,
        "run": run,
        "attempts": [attempt_document(attempt) for attempt in attempts],
        "stderr": tail(manager, run, number) if attempts else "",
    }


def tail(manager: PipelineManager, run: str, number: int) -> str:
    """The last lines on standard error of the last attempt."""
    end = b""
    for part in manager.logs(run, number, attempt=-1, streams=("stderr",)):
        end = (end + part.data)[-TAIL_BYTES:]
    return "\n".join(end.decode("utf-8", "replace").splitlines()[-TAIL_LINES:])


def known_failure(document: dict[str, Any]) -> dict[str, Any] | None:
    """Why the job failed, or its last attempt that did."""
    failed = [attempt for attempt in document["attempts"] if attempt["failure"]]
    found: dict[str, Any] | None = document["failure"]
    return found or (failed[-1]["failure"] if failed else None)


def job_lines(document: dict[str, Any], failure: str) -> Iterator[str]:
    """The same as text; *failure* tells why it failed, if it did."""
    from pypelinin.cli import documents

    yield f"run {document['run']}, job {document['name']}: {document['state']}"
    yield f"worker {document['worker']}, number {document['number']}"
    if document["after"]:
        yield f"after {', '.join(document['after'])}"
    rows = [_row(attempt) for attempt in document["attempts"]]
    if rows:
        heads = ("attempt", "node", "began", "time", "CPU", "memory", "printed", "end")
        yield from documents.table(heads, rows)
    elif document["state"] in ("done", "failed"):
        yield "It took less than a millisecond and printed nothing; no more is kept of it."
    if failure:
        yield f"\n{failure}"
    if document["stderr"]:
        yield f"\nthe end of its stderr:\n{document['stderr']}"


def _row(attempt: dict[str, Any]) -> tuple[str, ...]:
    from pypelinin.cli import documents
    from pypelinin.units import format_bytes

    known = attempt["seconds"] is not None
    memory = format_bytes(attempt["memory_peak"] or 0)
    return (
        str(attempt["attempt"]), attempt["node"] or "?",
        documents.when(attempt["began_at"]) if known else "?",
        documents.span(attempt["seconds"]) if known else "?",
        documents.span(attempt["cpu_seconds"]) if known else "?",
        (memory if attempt["memory_peak_is_own"] else f"up to {memory}") if known else "?",
        format_bytes(attempt["stdout_bytes"] + attempt["stderr_bytes"]) if known else "?",
        _end(attempt),
    )  # fmt: skip


def _end(attempt: dict[str, Any]) -> str:
    if attempt["failure"]:
        return str(attempt["failure"]["type"])
    if attempt["running"]:
        return "running"
    return "done" if attempt["seconds"] is not None else "?"


COMMANDS = {"logs": logs}
