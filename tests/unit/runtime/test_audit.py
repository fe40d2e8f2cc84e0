"""The audit log: one line each, private, bounded, and never in the way."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from pypelinin.runtime import audit as module
from pypelinin.runtime.audit import Audit


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "audit.jsonl"
    audit = Audit(path)
    audit.note("submit", key="alice", run="r\n1")
    audit.note("cancel", key="bob")
    audit.close()
    first, second = lines(path)
    assert first["event"] == "submit"
    assert first["run"] == "r\n1"
    assert first["time"].endswith("Z")
    assert second["key"] == "bob"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_appended_to(tmp_path: Path) -> None:
    for number in range(3):
        audit = Audit(tmp_path / "audit")
        audit.note("x", number=number)
        audit.close()
    assert [line["number"] for line in lines(tmp_path / "audit")] == [0, 1, 2]


def test_the_same_refusal_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    audit = Audit(tmp_path / "audit")
    for _ in range(500):
        audit.refused("refused message", ("alice",), key="alice")
    audit.refused("refused message", ("bob",), key="bob")
    now += module.AGAIN_S
    audit.refused("refused message", ("alice",), key="alice")
    audit.close()
    found = lines(tmp_path / "audit")
    assert [line["key"] for line in found] == ["alice", "bob", "alice"]
    assert found[2]["more_before"] == 499


def test_strangers_do_not_fill_the_memory(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    for number in range(module.REFUSALS_MAX + 50):
        audit.refused("refused connection", (str(number),))
    assert len(audit._refusals) == module.REFUSALS_MAX
    audit.close()


def test_a_long_log_is_put_aside_once(tmp_path: Path) -> None:
    for number in range(4):
        audit = Audit(tmp_path / "audit", bytes_max=50)
        audit.note("x", number=number, text="y" * 60)
        audit.close()
    assert sorted(os.listdir(tmp_path)) == ["audit.1"]
    assert [line["number"] for line in lines(tmp_path / "audit.1")] == [3]


def test_a_full_queue_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 0)
    audit = Audit(tmp_path / "audit")
    audit.note("x")
    audit.note("x")
    audit.close()
    (line,) = lines(tmp_path / "audit")
    assert (line["event"], line["lines"]) == ("lost", 2)


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("not ours\n")
    (tmp_path / "audit").symlink_to(tmp_path / "target")
    audit = Audit(tmp_path / "audit")
    audit.note("x")
    audit.close()
    assert "cannot be written" in audit.problem
    assert (tmp_path / "target").read_text() == "not ours\n"


def test_what_a_failed_write_took_along_is_told(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "audit").symlink_to(tmp_path / "target")
    audit = Audit(tmp_path / "audit")
    audit.note("x")
    deadline = time.monotonic() + 30
    while not audit.problem and time.monotonic() < deadline:
        os.sched_yield()
    (tmp_path / "audit").unlink()
    audit.note("y")
    audit.close()
    assert [line["event"] for line in lines(tmp_path / "audit")] == ["y", "lost"]
    assert lines(tmp_path / "audit")[1]["lines"] == 1
    assert audit.problem == ""
