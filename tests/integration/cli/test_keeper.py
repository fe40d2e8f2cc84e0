"""Who keeps a cluster, and where it may listen; `test_up` has its whole life."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cli import keeper
from pypelinin.config import DEFAULTS
from pypelinin.errors import ClusterError
from pypelinin.runtime.places import ClusterFile, RunningCluster
from tests.integration.ports import free_ports
from tests.unit.runtime.test_places import cluster_of

FREE = {"api": "tcp://127.0.0.1:0", "broadcast": "tcp://127.0.0.1:0"}
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_the_first_one_keeps_it_and_the_second_learns_of_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    file = keeper.taken(str(journal))
    assert isinstance(file, ClusterFile)
    cluster = cluster_of(journal, "tcp://127.0.0.1:1")
    file.write(cluster)
    assert keeper.taken(str(journal)) == cluster
    assert keeper.running(str(journal)) == cluster
    assert keeper.running(str(tmp_path / "other")) is None
    file.close()


def test_who_comes_while_another_starts_waits_for_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    file = keeper.taken(str(journal))
    assert isinstance(file, ClusterFile)
    found: list[ClusterFile | RunningCluster] = []
    second = threading.Thread(target=lambda: found.append(keeper.taken(str(journal))))
    second.start()
    cluster = cluster_of(journal, "tcp://127.0.0.1:1")
    file.write(cluster)
    second.join(30)
    assert found == [cluster]
    file.close()


def test_who_comes_while_another_fails_takes_its_place(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    file = keeper.taken(journal)
    assert isinstance(file, ClusterFile)
    found: list[ClusterFile | RunningCluster] = []
    second = threading.Thread(target=lambda: found.append(keeper.taken(journal)))
    second.start()
    file.close()
    second.join(30)
    assert isinstance(found[0], ClusterFile)
    found[0].close()


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "STARTING_S", 0.0)
    file = keeper.taken(str(tmp_path / "journal"))
    assert isinstance(file, ClusterFile)
    with pytest.raises(ClusterError, match="does not get ready"):
        keeper.taken(str(tmp_path / "journal"))
    file.close()


def test_only_a_taken_port_is_exchanged() -> None:
    there = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        found = keeper.with_free_ports({"api": here, "broadcast": there, "slots": 1})
    assert found == {"api": "tcp://127.0.0.1:0", "broadcast": there, "slots": 1}


@pytest.fixture
def too_early() -> Iterator[None]:
    """SIGTERM is a mistake until the keeper has a handler of its own."""

    def refuse(*_: object) -> None:
        raise AssertionError("nobody hears it")

    before = {number: signal.getsignal(number) for number in HEARD}
    signal.signal(signal.SIGTERM, refuse)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_who_finds_its_file_can_ask_it_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_early: None
) -> None:
    journal = tmp_path / "journal"
    file = keeper.taken(str(journal))
    assert isinstance(file, ClusterFile)
    write, told = file.write, list[dict[str, Any]]()

    def found(cluster: RunningCluster) -> None:
        write(cluster)
        os.kill(cluster.supervisor.pid, signal.SIGTERM)

    monkeypatch.setattr(file, "write", found)
    values = {**DEFAULTS, **FREE, "roles": ["router"], "journal": str(journal)}
    keeper.Keeper(values, file, told.append).run()
    assert [document["supervisor"]["pid"] for document in told] == [os.getpid()]
    assert keeper.running(str(journal)) is None


def test_a_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ClusterFile(tmp_path / "journal")
    made = keeper.Keeper({"roles": [], "journal": "j"}, file, lambda document: None)
    made._rewrite()
    shutil.rmtree(tmp_path / "pypelinin")
    made._rewrite()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert " - up - The file that tells of this cluster cannot be written: " in said
    made._supervisor.close()
