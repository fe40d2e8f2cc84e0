"""What happens in a run, as lines of JSON for another program: `new(push_events=True)`.

That program binds a unix datagram socket, `ppg_event_socket` in the log directory. It is told of
`run_start`, `job_done` (jobs that write files), and `run_stop` with its outcome: "ok",
"job_failure", "internal_failure" or "aborted". Nobody waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypelinin.incremental.ends import was_not_begun
from pypelinin.incremental.enums import JobKind, JobOutcome
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

SOCKET = "ppg_event_socket"


class Events(Watcher):
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._running: Running | None = None

    def began(self, running: Running) -> None:
        self._running = running
        post(self._graph, {"event": "run_start", "jobs": len(running.jobs)})

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        if job.kind is JobKind.Output and outcome.outcome is JobOutcome.Success:
            files = [str(name) for name in job.outputs]
            event = {"event": "job_done", "job_id": job.job_id, "files": files}
            post(self._graph, {**event, "run_time": outcome.run_time})

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        if self._running is None:
            return
        has_failed = any(outcome.has_failed for outcome in outcomes.values())
        if self._running.is_aborted or any(map(was_not_begun, outcomes.values())):
            how = "aborted"
        elif not self._running.run.over:
            how = "internal_failure"
        else:
            how = "job_failure" if has_failed else "ok"
        post(self._graph, {"event": "run_stop", "outcome": how})
        self._running = None


def post(graph: Graph, event: dict[str, Any]) -> None:
    """Send it, if somebody is there."""
    directory = graph.dir_config.log_dir
    if not isinstance(directory, Path) or not (directory / SOCKET).exists():
        return
    line = json.dumps({"time": time.time(), "pid": os.getpid(), **event}) + "\n"
    with contextlib.suppress(OSError):
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:  # the path itself may be too long for a socket's name
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(line.encode(), f"/proc/self/fd/{opened}/{SOCKET}")
        finally:
            os.close(opened)
