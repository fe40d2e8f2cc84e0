"""Answers of the Router as plain data for --json, and as text for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from pypelinin.units import format_bytes
from pypelinin.wire.definitions import Capacity, Failure
from pypelinin.wire.evidence import NodeSample
from pypelinin.wire.messages import Cluster, RunStatus

RUN_KEYS = (
    "id, state (running, done, failed, cancelled), jobs, done, failed, skipped, cancelled, running "
    "(numbers of jobs), submitted_at, finished_at (seconds since 1970 or null), seconds, labels, "
    "reason (why it waits), paused, retry_of (the run that this one is again), error (null, or "
    "cause, type, text, node, traceback, job_number, job)"
)


def run(status: RunStatus, job_name: str | None = None) -> dict[str, Any]:
    """One run; see RUN_KEYS. *job_name* is the failed job's, if it is known."""
    error = None
    if status.error is not None:
        number = int(status.error_job or 0)
        error = {**failure(status.error), "job_number": number, "job": job_name}
    return {
        "id": status.run,
        "state": status.state,
        "jobs": status.jobs,
        "done": status.done,
        "failed": status.failed,
        "skipped": status.skipped,
        "cancelled": status.cancelled,
        "running": status.running,
        "submitted_at": status.submitted_at or None,
        "finished_at": status.finished_at or None,
        "seconds": round(lasted(status), 6),
        "labels": status.labels,
        "reason": status.reason,
        "paused": status.paused,
        "retry_of": status.retry_of or None,
        "error": error,
    }


def failure(found: Failure) -> dict[str, Any]:
    return {
        "cause": found.cause,
        "type": found.type,
        "text": found.text,
        "node": found.node,
        "traceback": found.traceback,
    }


def amounts(capacity: Capacity | None) -> dict[str, Any] | None:
    """Cores, bytes of memory and each resource of a node; None for who runs no jobs."""
    if capacity is None:
        return None
    return {"cores": capacity.cores, "memory": capacity.memory, **capacity.resources}


def sample(found: NodeSample | None) -> dict[str, Any] | None:
    """How a node was a moment ago; None if it did not say."""
    if found is None:
        return None
    return {
        "cpu_percent": found.cpu_percent,
        "memory_used": found.memory_used,
        "memory_total": found.memory_total,
        "load": round(found.load, 2),
    }


def nodes(answer: Cluster) -> list[dict[str, Any]]:
    """Each Broker and Pipeliner."""
    return [
        {
            "name": node.name,
            "role": node.role,
            "state": node.state,
            "why": node.why,
            "slots": node.slots,
            "running": node.running,
            "capacity": amounts(node.capacity),
            "free": amounts(node.free),
            "runs": node.runs,
            "workers": list(node.workers),
            "labels": node.labels,
            "silent_s": round(node.heard_s, 3),
            "version": node.version,
            "sample": sample(node.sample),
        }
        for node in answer.nodes
    ]


def cluster(answer: Cluster, api: str) -> dict[str, Any]:
    """The cluster: api, cluster, epoch, version, started_at, runs, jobs, nodes."""
    return {
        "api": api,
        "cluster": answer.cluster,
        "epoch": answer.epoch,
        "version": answer.version,
        "started_at": answer.started_at,
        "runs": {"open": answer.runs_open, "finished": answer.runs_finished},
        "jobs": {"queued": answer.jobs_queued, "running": answer.jobs_running},
        "nodes": nodes(answer),
    }


# --- text ------------------------------------------------------------------------------


def lasted(status: RunStatus) -> float:
    """Seconds from being accepted to the end, or until now."""
    return max(0.0, (status.finished_at or time.time()) - status.submitted_at)


def span(seconds: float) -> str:
    """A time as people say it: 0.12 s, 3 min 20 s, 5 h 2 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for unit, name, part, part_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {part_name}" if rest else "")
    return f"{whole} s"


def when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def free(node: dict[str, Any]) -> str:
    """What a node has free of memory and resources: "12.0 of 16.0 GB, 1 of 2 gpu"."""
    has, left = node["capacity"], node["free"]
    if has is None:
        return ""
    parts = []
    if has["memory"]:
        parts.append(f"{format_bytes(left['memory'])} of {format_bytes(has['memory'])}")
    names = [name for name in has if name not in ("cores", "memory")]
    return ", ".join(parts + [f"{left[name]} of {has[name]} {name}" for name in names])


def used(node: dict[str, Any]) -> str:
    """What the machine of a node uses: "35 % CPU, 3.1 of 16.0 GB, load 1.2"."""
    seen = node["sample"]
    if seen is None:
        return ""
    memory = f"{format_bytes(seen['memory_used'])} of {format_bytes(seen['memory_total'])}"
    return f"{seen['cpu_percent']:.0f} % CPU, {memory}, load {seen['load']:.1f}"


def labels(mapping: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in mapping.items())


def progress(status: RunStatus) -> str:
    """The jobs of a run by state: "5 jobs: 3 done, 1 failed, 1 skipped"."""
    parts = [
        ("done", status.done),
        ("running", status.running),
        ("failed", status.failed),
        ("skipped", status.skipped),
        ("cancelled", status.cancelled),
    ]
    waiting = status.jobs - sum(count for _, count in parts)
    shown = [f"{count:,} {name}" for name, count in [*parts, ("waiting", waiting)] if count > 0]
    return f"{counted(status.jobs, 'job')}: {', '.join(shown)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table with columns to the left; the last is as long as it is."""
    cells = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
