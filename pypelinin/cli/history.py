"""`pypelinin history` and `explain FILE`: what an incremental project remembers of its runs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pypelinin.cli import options
from pypelinin.errors import NotFound, Refused

if TYPE_CHECKING:
    from pypelinin.incremental.explaining import Difference, Explanation
    from pypelinin.incremental.histories import Place
    from pypelinin.incremental.history import History

SHOWN_MAX = 200
WHICH = """\
Which history: --root, else those below .ppg, here or in the nearest directory above."""
root_option = click.option(
    "--root", metavar="DIR", help="What the script gives to new() as dir_config."
)


@click.group("history")
def history() -> None:
    """What an incremental project remembers: show it, compare it, let it forget."""


# --- which one ----------------------------------------------------------------------------------


def found(root: str | None) -> Place:
    """The histories that are meant. Raises NotFound."""
    from pypelinin.incremental.histories import find

    place = find(Path.cwd(), root)
    if not place.histories:
        where = "below .ppg, here and further up" if root is None else f"in {root}"
        raise NotFound(f"There is no history {where}.", remedy="Run the script, or say --root DIR.")
    return place


@contextlib.contextmanager
def opened(path: Path, *, to_write: bool = False) -> Iterator[History]:
    """Raises Refused if it cannot be read, or is in use and shall be written."""
    from pypelinin.incremental.exceptions import FatalGraphException
    from pypelinin.incremental.history import History

    try:
        one = History(path, read_only=not to_write)
        try:
            yield one
        finally:
            one.close()
    except FatalGraphException as error:
        raise Refused(error.what, remedy=error.remedy) from error


def only(place: Place) -> Path:
    """The one history. Raises UsageError if there are several."""
    if len(place.histories) > 1:
        listed = "\n".join(f"  --root {path.parent.parent}" for path in place.histories)
        raise click.UsageError(f"There are several histories; say one of\n{listed}")
    return place.histories[0]


def name_in(project: Path, name: str) -> str:
    """A file that was named from here, as the project names it."""
    path = Path(os.path.normpath(Path.cwd() / name))
    return str(path.relative_to(project)) if path.is_relative_to(project) else name


def knowing(place: Place, name: str) -> tuple[Path, str]:
    """(history, id) of the job that has that name, or makes that file. Raises NotFound."""
    from pypelinin.incremental.explaining import known_as

    for path in place.histories:
        with opened(path) as one:
            for tried in (name, name_in(place.project, name)):
                job = known_as(one, tried)
                if job is not None:
                    return path, job
    looked = ", ".join(map(str, place.histories))
    raise NotFound(f"No job makes {name!r} or is called so, says {looked}.")


# --- commands -----------------------------------------------------------------------------------


@options.verb("show", epilog=WHICH)
@click.argument("job", metavar="[JOB]", required=False)
@root_option
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=SHOWN_MAX, show_default=True, metavar="N",
    help="Jobs to show as text.",
)  # fmt: skip
@options.json_option
def show(job: str | None, root: str | None, limit: int, as_json: bool) -> None:
    """All jobs with their last run, or the record of one job, named by a file that it makes.

    --json: history, last_run, records, files, imported, jobs (job, has_record, outcome, run,
    reason). With JOB: job, kind, outputs and inputs with their digests, and the texts of inputs.
    """
    place = found(root)
    if job is not None:
        path, job_id = knowing(place, job)
        with opened(path) as one:
            _show_record(one, job_id, as_json)
        return
    with opened(only(place)) as one:
        _show_all(one, limit, as_json)


def _show_all(one: History, limit: int, as_json: bool) -> None:
    from pypelinin.cli import documents
    from pypelinin.incremental.histories import facts, overview

    told, lines = facts(one), list(overview(one))
    if as_json:
        _print_json({**told, "jobs": [line._asdict() for line in lines]})
        return
    click.echo(
        f"{told['history']}: {told['records']:,} records, last run {told['last_run'] or 'unknown'}"
    )
    if told["imported"]:
        from_ = json.loads(told["imported"])
        click.echo(f"taken over on {from_['when']} from {from_['from']}")
    rows = [
        (
            line.job,
            line.outcome or ("record only" if line.has_record else ""),
            line.run,
            line.reason,
        )
        for line in lines[:limit]
    ]
    if rows:
        click.echo("\n".join(documents.table(("job", "it ended", "in the run of", "as"), rows)))
    if len(lines) > limit:
        click.echo(f"... {len(lines) - limit:,} more; --limit shows them")


def _show_record(one: History, job_id: str, as_json: bool) -> None:
    from pypelinin.incremental.histories import record_document

    document = record_document(one, job_id)
    if document is None:
        raise NotFound(f"There is no record of a success of {job_id!r}.")
    if as_json:
        _print_json(document)
        return
    click.echo(f"{job_id} ({document['kind']})")
    for what in ("outputs", "inputs"):
        click.echo(f"{what}:")
        for name, views in document[what].items():
            text = views.pop("text", "")
            told = "  ".join(f"{view} {digest}" for view, digest in views.items())
            click.echo(f"  {name}  {told}")
            for line in text.splitlines():
                click.echo(f"      {line}")


@options.verb("diff", epilog=WHICH)
@click.argument("other", metavar="[OTHER]", required=False)
@root_option
@options.json_option
def diff(other: str | None, root: str | None, as_json: bool) -> None:
    """What files say now against the history; with OTHER (a root or a history file), what differs
    from that older one.

    --json: changed (by job, a list of kind, name, old, new, old_size, new_size, old_time, new_time,
    diff), only_before, only_now.
    """
    from pypelinin.incremental import histories

    place = found(root)
    with opened(only(place)) as one:
        if other is None:
            changed = histories.compare_with_files(one, place.project)
            _print_compared(histories.Compared([], [], changed), as_json)
            return
        with opened(only(found(other))) as before:
            _print_compared(histories.compare(before, one), as_json)


def _print_compared(compared: Any, as_json: bool) -> None:
    if as_json:
        documents = {
            job: [difference.document() for difference in differences]
            for job, differences in compared.changed.items()
        }
        _print_json({**compared._asdict(), "changed": documents})
        return
    for job in compared.only_before:
        click.echo(f"{job}: has a record only there")
    for job in compared.only_now:
        click.echo(f"{job}: has a record only here")
    for job, differences in compared.changed.items():
        click.echo(f"{job}:")
        for line in _lines(differences):
            click.echo(f"  {line}")
    if not any(compared):
        click.echo("Nothing differs.")


def _lines(differences: Sequence[Difference]) -> list[str]:
    return [line for difference in differences for line in difference.lines()]


@options.verb("forget", epilog=WHICH)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@root_option
@options.json_option
def forget(jobs: tuple[str, ...], root: str | None, as_json: bool) -> None:
    """Forget the records of these jobs, so that they run again.

    JOB is an id, a file that it makes, or a pattern with `*`. --json: {"forgotten": [...]}.
    """
    from pypelinin.incremental import histories

    place = found(root)
    path = place.histories[0] if len(place.histories) == 1 else knowing(place, jobs[0])[0]
    with opened(path, to_write=True) as one:
        names = [
            name if name in one.packed or set(name) & set("*?[") else name_in(place.project, name)
            for name in jobs
        ]
        try:
            forgotten = histories.forget(one, names)
        except KeyError as error:
            raise NotFound(f"{path} has no record of {error.args[0]!r}.") from None
    if as_json:
        _print_json({"forgotten": forgotten})
        return
    for job in forgotten:
        click.echo(f"forgotten: {job}")


@options.verb("import", epilog=WHICH)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--root", metavar="DIR", required=True, help="What the script gives to new() as dir_config."
)
@options.json_option
def import_(file: str, root: str, as_json: bool) -> None:
    """Take over a history of pypipegraph2 (ppg_history.2.zstd), so that nothing is rebuilt.

    The next run makes records of it; jobs that have one here keep it. Where that file stands at
    its usual place and there is no history here, the first run does this by itself.
    --json: {"history", "jobs"}.
    """
    from pypelinin.incremental import importing

    path = Path(root) / "history" / "history.sqlite3"
    with opened(path, to_write=True) as one:
        jobs = importing.load(one, Path(file))
        one.commit()
    if as_json:
        _print_json({"history": str(path), "jobs": jobs})
    else:
        click.echo(f"{path}: {jobs:,} jobs taken over; the next run makes records of them")


for verb in (show, diff, forget, import_):
    history.add_command(verb)


# --- explain FILE -------------------------------------------------------------------------------


def explain_file(name: str, root: str | None, as_json: bool) -> None:
    """Why the job that makes a file ran, or would run."""
    from pypelinin.incremental.explaining import explain

    place = found(root)
    path, job = knowing(place, name)
    with opened(path) as one:
        explanation: Explanation = explain(one, job, place.project)
    if as_json:
        _print_json(explanation.document())
    else:
        click.echo("\n".join(explanation.lines()))


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


COMMANDS = {"history": history}
