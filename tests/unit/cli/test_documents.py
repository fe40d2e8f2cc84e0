"""Answers of the Router as JSON and as text."""

from __future__ import annotations

import json
import time

import pytest

from pypelinin.cli import documents
from pypelinin.wire.definitions import Capacity, Failure
from pypelinin.wire.evidence import NodeSample
from pypelinin.wire.messages import Cluster, NodeStatus, RunStatus

FAILED = RunStatus(
    "r1", "failed", jobs=5, done=2, failed=1, skipped=2, submitted_at=100.0, finished_at=102.5,
    error=Failure("exception", "ValueError", "no", "Traceback ...", "kiwi"), error_job="3",
    labels={"a": "b"},
)  # fmt: skip


def test_a_run_has_all_keys_that_are_documented() -> None:
    document = documents.run(FAILED, "parse")
    assert json.loads(json.dumps(document)) == document
    assert (document["id"], document["state"], document["seconds"]) == ("r1", "failed", 2.5)
    assert document["error"] == {
        "cause": "exception", "type": "ValueError", "text": "no", "node": "kiwi",
        "traceback": "Traceback ...", "job_number": 3, "job": "parse",
    }  # fmt: skip
    assert all(key in documents.RUN_KEYS for key in (*document, *document["error"]))


def test_what_has_not_happened_is_null() -> None:
    document = documents.run(RunStatus("r2", "running", jobs=1, submitted_at=time.time()))
    assert document["finished_at"] is None
    assert document["error"] is None
    assert 0 <= document["seconds"] < 5


def test_a_cluster() -> None:
    node = NodeStatus("kiwi", "broker", "up", 2, 1, ("A",), {"disk": "ssd"}, 0.25, 0,
                      Capacity(2, 10**9, {"gpu": 1}), Capacity(1, 5),
                      "1.0", sample=NodeSample(12.5, 5, 9, 0.25))  # fmt: skip
    document = documents.cluster(
        Cluster(1, "c" * 32, 7, "1.0", (node,), 1, 2, 3, 4, 99, 50.0), "tcp://127.0.0.1:5"
    )
    assert json.loads(json.dumps(document)) == document
    assert document["runs"] == {"open": 1, "finished": 2}
    assert document["jobs"] == {"queued": 3, "running": 4}
    assert document["nodes"][0] == {
        "name": "kiwi", "role": "broker", "state": "up", "why": "", "slots": 2,
        "running": 1, "runs": 0,
        "workers": ["A"], "labels": {"disk": "ssd"}, "silent_s": 0.25, "version": "1.0",
        "capacity": {"cores": 2, "memory": 10**9, "gpu": 1}, "free": {"cores": 1, "memory": 5},
        "sample": {"cpu_percent": 12.5, "memory_used": 5, "memory_total": 9, "load": 0.25},
    }  # fmt: skip
    assert documents.used(document["nodes"][0]).startswith("12 % CPU, 5")
    assert documents.sample(None) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"), (9.994, "9.99 s"), (12.3, "12 s"), (60, "1 min"), (200.9, "3 min 20 s"),
        (3600, "1 h"), (5 * 3600 + 130, "5 h 2 min"), (90000, "1 d 1 h"), (59.7, "60 s"),
    ],
)  # fmt: skip
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert documents.span(seconds) == text


def test_progress_counts_what_is_left_as_waiting() -> None:
    assert documents.progress(FAILED) == "5 jobs: 2 done, 1 failed, 2 skipped"
    running = RunStatus("r", "running", jobs=2000, done=1, running=2)
    assert documents.progress(running) == "2,000 jobs: 1 done, 2 running, 1,997 waiting"
    assert documents.progress(RunStatus("r", "done", jobs=1, done=1)) == "1 job: 1 done"


def test_a_table_is_aligned_without_trailing_blanks() -> None:
    assert documents.table(("id", "state", ""), [("a", "done", "x"), ("bcd", "d", "")]) == [
        "id   state",
        "a    done   x",
        "bcd  d",
    ]
