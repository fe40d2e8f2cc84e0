"""A daemon that is tied to its keeper: told what to be, and ended with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cli.supervised import ORPHANED
from pypelinin.cli.supervisor import KeptDaemon
from pypelinin.config import DEFAULTS
from tests.integration.cli.commands import until

FREE = {"api": "tcp://127.0.0.1:0", "broadcast": "tcp://127.0.0.1:0", "path": []}


@pytest.fixture
def daemon() -> Iterator[KeptDaemon]:
    kept = KeptDaemon("router", subprocess.DEVNULL)
    yield kept
    kept.close()


def values(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {**DEFAULTS, **FREE, "journal": str(tmp_path / "journal"), **more}


def said(daemon: KeptDaemon, word: str) -> dict[str, Any]:
    until(lambda: word in daemon.answer or not daemon.read() or word in daemon.answer)
    document: dict[str, Any] = daemon.answer[word]
    return document


def test_a_router_tells_its_addresses(daemon: KeptDaemon, tmp_path: Path) -> None:
    daemon.configure(values(tmp_path))
    ready = said(daemon, "ready")
    assert ready["api"].startswith("tcp://127.0.0.1:")
    assert not ready["api"].endswith(":0")
    daemon.process.terminate()
    assert daemon.process.wait(30) == 0


def test_it_ends_when_its_keeper_is_gone(daemon: KeptDaemon, tmp_path: Path) -> None:
    daemon.configure(values(tmp_path))
    said(daemon, "ready")
    daemon.link.close()
    assert daemon.process.wait(30) == ORPHANED


@pytest.mark.parametrize("role", ["router", "supervisor"])
def test_it_ends_when_its_keeper_is_gone_before_it_said_anything(role: str) -> None:
    daemon = KeptDaemon(role, subprocess.DEVNULL)
    daemon.link.close()
    assert daemon.process.wait(30) == ORPHANED


def test_what_keeps_it_from_starting_is_told(daemon: KeptDaemon, tmp_path: Path) -> None:
    daemon.configure(values(tmp_path, api="tcp://0.0.0.0:0"))
    assert said(daemon, "error")["kind"] == "DefinitionError"
    assert "--insecure" in daemon.answer["error"]["remedy"]
    assert daemon.process.wait(30) == 1
    assert daemon.ended().startswith("Binding tcp://0.0.0.0:")
