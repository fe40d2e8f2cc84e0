"""Waiting for a Broker that joins, fails, or never comes; `test_local` has the good case."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.cli import readiness
from pypelinin.cli.supervisor import Supervisor
from pypelinin.config import DEFAULTS
from pypelinin.errors import ClusterError
from tests.integration.cli.commands import KITCHEN

FREE = {"api": "tcp://127.0.0.1:0", "broadcast": "tcp://127.0.0.1:0"}


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Router and Broker; the Broker's workers are in `kitchen`."""
    (tmp_path / "kitchen.py").write_text(KITCHEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    values = {**DEFAULTS, **FREE, "journal": str(tmp_path / "j"), "workers": ["kitchen"]}
    started = Supervisor(values, ["router", "broker"], output=subprocess.DEVNULL)
    yield started
    started.close()


def test_the_brokers_are_told_once_one_has_joined(keeper: Supervisor) -> None:
    keeper.start()
    (node,) = readiness.brokers(keeper)
    assert node.workers == ("Burn", "Buy", "Cook", "Gate", "Loud")


def test_a_broker_that_dies_is_told_at_once(keeper: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "kitchen.py").write_text("import time\ntime.sleep(60)\n")  # before that none joins
    keeper.start()
    keeper.daemons["broker"].process.kill()
    with pytest.raises(ClusterError, match=r"The broker ended \(killed by signal 9\)"):
        readiness.brokers(keeper)


def test_a_broker_that_never_comes(keeper: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "JOIN_S", 0.0)
    keeper.start()
    with pytest.raises(ClusterError, match=r"did not join within 0 s\. Do its workers modules"):
        readiness.brokers(keeper)


def test_a_router_that_is_silent_is_asked_again(
    keeper: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "ASK_S", 0.01)
    monkeypatch.setattr(readiness, "JOIN_S", 0.1)
    keeper.start()
    router = keeper.daemons["router"].process
    router.kill()
    router.wait()
    with pytest.raises(ClusterError):
        readiness.brokers(keeper)


def test_several_that_could_not_start_make_one_error() -> None:
    one, other = ClusterError("A is wrong.", remedy="Mend it."), ClusterError("B is wrong.")
    assert readiness.not_started([one]) is one
    assert str(readiness.not_started([one, other])) == "A is wrong. B is wrong. Mend it."


def test_who_is_late_is_named(keeper: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "JOIN_S", 0.0)
    keeper.start()
    keeper.daemons["broker on node"] = keeper.daemons["broker"]
    with pytest.raises(ClusterError, match=r"joined within 0 s: broker on node\."):
        readiness.brokers(keeper)
