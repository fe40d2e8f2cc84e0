"""What a cluster did for a process that died meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any

from pypelinin.client.batches import resolve
from pypelinin.client.manager import PipelineManager
from pypelinin.errors import ClusterError, NotFound
from pypelinin.graph.declared import Record
from pypelinin.graph.fingerprint import Tags
from pypelinin.incremental.hands import ended
from pypelinin.incremental.history import Handed, History
from pypelinin.incremental.jobs.invariants import FILE_VIEW

WAIT_S = 60.0
"""How long jobs that are being ended may take for it."""
DEADLINE_S = 10.0
"""How long a Router may take to answer."""
_log = logging.getLogger("pypelinin.incremental")


def recover(history: History) -> None:
    """Take in what jobs gave that were handed out before; those that still run are ended.

    A cluster that does not answer is left out, with a warning: its jobs run again.
    """
    out = history.out()
    for api, handed in groupby(sorted(out, key=lambda one: one.api), lambda one: one.api):
        listed = list(handed)
        try:
            with PipelineManager(api, deadline_s=DEADLINE_S) as manager:
                for run, jobs in groupby(sorted(listed), lambda one: one.run):
                    _take(manager, history, run, list(jobs))
        except (ClusterError, TimeoutError) as error:
            _log.warning(
                f"{len(listed)} jobs were handed to {api}, which cannot be asked for them: {error} "
                "They run again."
            )
    for one in out:
        history.came_back(one.job)
    history.commit()


def _take(manager: PipelineManager, history: History, run: str, handed: Sequence[Handed]) -> None:
    try:
        manager.cancel(run, running=True)
        pipeline = manager.attach(run)
    except NotFound:  # it was never accepted, or all of it was told
        return
    manager.wait(pipeline, WAIT_S, raise_on_failure=False)
    for one in handed:
        outcome = manager.outcome(pipeline, one.number, WAIT_S)
        future: Future[Any] = Future()
        resolve(run, one.number, future, outcome, manager.values)
        found = ended(one.number, future, outcome.failure)
        if found.error is None:
            remember(history, one, found.value[0])


def remember(history: History, handed: Handed, facts: Sequence[tuple[int, int, bytes]]) -> None:
    """The job succeeded, and that is what its files are like."""
    outputs: dict[str, Tags] = {}
    for name, (size, changed_ns, digest) in zip(handed.outputs, facts, strict=True):
        history.files.learn(name, size, changed_ns, digest)
        outputs[name] = ((FILE_VIEW, digest),)
    inputs = {("", name): tags for name, tags in handed.inputs.items()}
    history.remember(handed.job, Record(handed.spec, outputs, inputs))
