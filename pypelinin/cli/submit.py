"""`pypelinin submit`: the pipelines of a Python file."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from pypelinin.cli import exits, follow, options
from pypelinin.cli.which import ORDER, Reach
from pypelinin.errors import DefinitionError

if TYPE_CHECKING:
    from pypelinin.pipeline import Pipeline

MODULE_NAME = "pypelinin_submission"
"""Not `__main__`: a file may run itself under its main guard, and is only read here."""


@options.verb("submit", epilog=ORDER)
@click.argument("source", metavar="FILE[:NAME]")
@click.option("--queue-anyway", is_flag=True, help="Also if no Broker offers a worker yet.")
@click.option("--wait", "wait", is_flag=True, help="Wait until all have ended.")
@follow.timeout_option
@follow.progress_option
@options.json_option
@options.reach
def submit(
    reach: Reach,
    source: str,
    queue_anyway: bool,
    wait: bool,
    timeout: float | None,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Submit the pipelines of a Python file; prints their ids, one a line.

    FILE is executed, but not as __main__. Its pipelines are the Pipeline objects at module level
    and in lists there, or what FILE:NAME names.

    --json: {"ids": [...]}; with --wait {"runs": [...]} as in `list`.
    """
    pipelines = load(source)
    with reach.manager(as_json) as manager:
        try:
            manager.start_all(pipelines, queue_anyway=queue_anyway)
        except KeyboardInterrupt:
            click.echo("\nInterrupted; `pypelinin list` shows what was accepted.", err=True)
            return exits.INTERRUPTED
        finally:
            ids = [pipeline.id for pipeline in pipelines if pipeline.id]
            if not as_json:
                click.echo("".join(f"{run}\n" for run in ids), nl=False)
                sys.stdout.flush()
        if wait:
            return follow.follow(reach, manager, pipelines, timeout, progress, as_json)
    if as_json:
        from pypelinin.cli.queries import print_json

        print_json({"ids": ids})
    return exits.FINE


def load(source: str) -> list[Pipeline]:
    """The pipelines of FILE or FILE:NAME. Raises UsageError if there is no such file,
    DefinitionError if it raises or has none."""
    path, name = split(source)
    values = execute(path)
    if name is None:
        found = [pipeline for value in list(values.values()) for pipeline in pipelines_in(value)]
        found = list({id(pipeline): pipeline for pipeline in found}.values())
        if not found:
            raise DefinitionError(
                f"{path} has no Pipeline at module level.",
                remedy="Assign one there: pipeline = Pipeline({Job('A'): Job('B')}).",
            )
        return found
    found = list(pipelines_in(values.get(name)))
    if not found:
        known = [key for key, value in values.items() if any(True for _ in pipelines_in(value))]
        close = get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise DefinitionError(
            f"{path} has no Pipeline, or list of them, named {name!r}.",
            remedy=f"{hint}It has: {', '.join(known) or 'none'}.",
        )
    return found


def split(source: str) -> tuple[Path, str | None]:
    """(file, name) of FILE:NAME; the name is None if there is none."""
    path, name = Path(source), None
    head, _, tail = source.rpartition(":")
    if head and tail.isidentifier() and not path.exists():
        path, name = Path(head), tail
    if not path.is_file():
        raise click.UsageError(f"There is no file {str(path)!r}.")
    return path, name


def pipelines_in(value: Any) -> Iterator[Pipeline]:
    from pypelinin.pipeline import Pipeline

    if isinstance(value, Pipeline):
        yield value
    elif isinstance(value, (list, tuple)):
        yield from (item for item in value if isinstance(item, Pipeline))


def execute(path: Path) -> Mapping[str, Any]:
    """The names of the module in *path*, which can import what lies beside it."""
    module = ModuleType(MODULE_NAME)
    module.__file__ = str(path)
    with importable(path.parent):
        try:
            code = compile(path.read_bytes(), str(path), "exec")
            exec(code, module.__dict__)
        except DefinitionError as error:
            raise type(error)(f"{at(error, path)}{error.what}", remedy=error.remedy) from error
        except (Exception, SystemExit) as error:
            raise DefinitionError(
                f"{at(error, path)}{type(error).__name__}: {error}.".replace("..", "."),
                remedy="The file has to run through; --debug shows its traceback.",
            ) from error
    return module.__dict__


def at(error: BaseException, path: Path) -> str:
    """ "file.py, line 7: ": the last place in the user's file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: "
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}, line {lines[-1]}: " if lines else f"{path}: "


@contextlib.contextmanager
def importable(directory: Path) -> Iterator[None]:
    """Modules of *directory* can be imported, as if its file was run as a script."""
    entry = str(directory.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


COMMANDS = {"submit": submit}
