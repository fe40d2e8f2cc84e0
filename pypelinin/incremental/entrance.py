"""The way into a run: its lock, its history, its watchers, and what is raised at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pypelinin.incremental.afterwards import begin_again, run_hook
from pypelinin.incremental.ends import was_not_begun
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobsFailed, RunFailed
from pypelinin.incremental.history import History
from pypelinin.incremental.importing import take_over
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.pictures import DumpAtRun, dump
from pypelinin.incremental.reasons import Reasons
from pypelinin.incremental.running import Running

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.hands import Hands

NAMED_MAX = 5


def run_graph(
    graph: Graph,
    wanted: Sequence[Job] | None,
    print_failures: bool = True,
    raise_on_job_error: bool = True,
    dump_graphml: bool | None = None,
    dry_run: bool = False,
    on: str | None = None,
    engine: Any = None,
) -> dict[str, RecordedJobOutcome]:
    """See Graph.run."""
    if graph.running is not None:
        raise RunFailed("This graph is being run already.", remedy="A job cannot run its graph.")
    if dry_run:
        return plan_graph(graph, wanted)
    history = History(graph.get_history_filename())
    graph.restart_afterwards = False
    try:
        if dump_graphml:
            dump(graph)
        if history.out():
            from pypelinin.incremental.recovering import recover

            recover(history)
        take_over(graph, history)
        address = on or (None if engine is not None else os.environ.get("PYPELININ_API"))
        directory = os.path.abspath(str(graph.dir_config.run_dir))
        make_hands = partial(_hands_for, graph.cores, directory, address, engine)
        watchers = [Reasons(history), DumpAtRun(), *graph.watchers()]
        graph.running = running = Running(graph, history, wanted, watchers, make_hands)
        running.go()
        for line in history.importer.lines() if history.importer is not None else ():
            print(line, file=sys.stderr)
    finally:
        graph.running = None
        history.close()
        run_hook()
    graph.last_run_result = running.outcomes
    all_failed = [o for o in running.outcomes.values() if o.outcome is JobOutcome.Failed]
    failed = [outcome for outcome in all_failed if not was_not_begun(outcome)]
    if failed and print_failures:
        print_all(failed)
    graph.do_raise = [outcome.payload for outcome in failed]
    if graph.restart_afterwards:
        begin_again()
    left = len(all_failed) - len(failed)
    if left or (failed and running.is_aborted):
        raise_of_abort(running, failed, left, raise_on_job_error)
    elif failed and raise_on_job_error:
        names = ", ".join(outcome.job_id for outcome in failed[:NAMED_MAX])
        more = f" and {len(failed) - NAMED_MAX} more" if len(failed) > NAMED_MAX else ""
        raise JobsFailed(
            f"{len(failed)} of {len(running.outcomes)} jobs failed: {names}{more}.", graph.do_raise
        )
    return running.outcomes


def _hands_for(cores: int, directory: str, on: str | None, engine: Any) -> Hands:
    from pypelinin.incremental.hands import hands_for  # a run of nothing does without it

    return hands_for(cores, directory, on, engine)


def raise_of_abort(
    running: Running, failed: Sequence[RecordedJobOutcome], left: int, raise_on_job_error: bool
) -> None:
    """Raises, if that is wanted, JobsFailed, or KeyboardInterrupt if nothing ran any more."""
    if raise_on_job_error:
        if running.is_aborted and not failed:
            raise KeyboardInterrupt(f"The run was aborted; {left} jobs were not begun.")
        how = "aborted" if running.is_aborted else "stopped"
        raise JobsFailed(
            f"The run was {how}: {len(failed)} jobs failed or were ended, {left} were not begun. "
            "What was done is kept.",
            [outcome.payload for outcome in failed],
        )


def plan_graph(graph: Graph, wanted: Sequence[Job] | None) -> dict[str, RecordedJobOutcome]:
    """A dry run: what a run would do, by job; see `dry.PlannedOutcome`."""
    from pypelinin.incremental.dry import plan

    history = History(graph.get_history_filename(), read_only=True)
    try:
        take_over(graph, history)
        return plan(graph, history, wanted)
    finally:
        history.close()


def print_all(failed: Sequence[RecordedJobOutcome]) -> None:
    """What failed, and why, for who reads the terminal."""
    for outcome in failed:
        print(f"\n{outcome.job_id} failed: {outcome.payload}", file=sys.stderr)
        if outcome.stack_trace:
            print(outcome.stack_trace, file=sys.stderr)
