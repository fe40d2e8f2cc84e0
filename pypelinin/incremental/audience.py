"""Who is told of a run: the console, signals, log files, errors, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypelinin.incremental.error_files import ErrorFiles
from pypelinin.incremental.events import Events
from pypelinin.incremental.interactive import Interactive
from pypelinin.incremental.interrupting import Interrupting
from pypelinin.incremental.progress import Progress
from pypelinin.incremental.runlog import RunLog
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph


def audience_of(graph: Graph) -> list[Watcher]:
    """The first is the first to be told. Signals come back to who had them when all is told."""
    progress = Progress(graph.options.quiet)
    interactive = Interactive(progress)
    interrupting = Interrupting(graph.run_mode, lambda: interactive.is_reading, progress.say)
    watchers = [
        ErrorFiles(graph, progress.say), RunLog(graph, progress.say), progress,
        interactive, interrupting,
    ]  # fmt: skip
    return [Events(graph), *watchers] if graph.options.push_events else watchers
