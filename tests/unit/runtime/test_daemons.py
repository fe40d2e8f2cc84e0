"""Router and Pipeliner in threads of this process; see tests/integration for the real thing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.config import Limits
from pypelinin.errors import ClusterError, DefinitionError, Refused, VersionMismatch
from pypelinin.runtime.daemons import Pipeliner, Router
from pypelinin.runtime.journal import Journal
from pypelinin.wire import rows
from tests.integration.cluster import FAST, until

LIMITS = Limits(**FAST)
ANY = ("127.0.0.1", 0)
WAIT_S = 20.0


class Running:
    """A daemon in a thread; *error* is what its start raised."""

    def __init__(self, daemon: Any) -> None:
        self.daemon = daemon
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.daemon.start()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.daemon.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


Start = Callable[[Any], Running]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Running] = []

    def run(daemon: Any) -> Running:
        running.append(made := Running(daemon))
        if isinstance(daemon, Router):
            until(lambda: daemon.started.is_set() or not made.alive, "the Router's start", WAIT_S)
        return made

    yield run
    for one in reversed(running):
        one.stop()


def router(tmp_path: Path, **config: Any) -> Router:
    return Router(ANY, ANY, {"journal": str(tmp_path / "journal"), **config}, limits=LIMITS)


# --- Router -----------------------------------------------------------------------------------


def test_a_router_tells_its_addresses_and_configuration(start: Start, tmp_path: Path) -> None:
    config = {"store": {"x": 1}, "monitoring interval": 5}
    start(daemon := router(tmp_path, **config))
    with PipelineManager(daemon.api) as manager:
        found = manager.configuration()
    assert found.broadcast == daemon.broadcast
    assert found.values == config
    assert daemon.api.startswith("tcp://127.0.0.1:")


def test_a_router_goes_on_where_it_stopped(start: Start, tmp_path: Path) -> None:
    first = start(daemon := router(tmp_path))
    with PipelineManager(daemon.api) as manager:
        run = manager.start(Pipeline({Job("A"): Job("B")}, data={"x": 1}))
        before = manager.cluster()
    first.stop()
    assert first.error is None
    start(daemon := router(tmp_path))
    with PipelineManager(daemon.api) as manager:
        assert manager.attach(run) == Pipeline({Job("A"): Job("B")}, data={"x": 1})
        after = manager.cluster()
    assert (after.cluster, after.epoch) == (before.cluster, before.epoch + 1)


def test_its_defaults_are_the_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = Router()
    assert (daemon._api, daemon._broadcast) == ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556")
    assert daemon.journal == tmp_path / ".pypelinin"


def test_what_a_router_cannot_be_configured_with(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="synchronous is 'full' or 'normal', not 'maybe'"):
        router(tmp_path, synchronous="maybe")
    with pytest.raises(DefinitionError, match=r"config\['store'\] is no plain data: .*PosixPath"):
        router(tmp_path, store={"directory": tmp_path})


def test_a_router_that_cannot_start_leaves_nothing(start: Start, tmp_path: Path) -> None:
    start(first := router(tmp_path))
    port = int(first.api.rpartition(":")[2])
    taken = Router(("127.0.0.1", port), ANY, {"journal": str(tmp_path / "other")})
    with pytest.raises(Refused, match="is taken by pid"):
        taken.start()
    second = router(tmp_path)
    with pytest.raises(Refused, match="Another Router has the journal"):
        second.start()
    with pytest.raises(DefinitionError, match="lets every machine"):
        Router(("0.0.0.0", 0), ANY, {"journal": str(tmp_path / "other")}).start()
    start(Router(_address(second.api), _address(second.broadcast),
                 {"journal": str(tmp_path / "free")}))  # fmt: skip
    assert not (tmp_path / "other").exists()


def _address(api: str) -> tuple[str, int]:
    host, _, port = api.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def test_a_row_of_a_newer_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "journal", "full", "x", lambda *_: None) as journal:
        list(journal.rows())
        journal.start()
        with monkeypatch.context() as patch:
            patch.setitem(rows._TAGS, rows.Left, 250)
            from pypelinin.cluster.events import Write

            journal.append(Write(1, rows.Left(1, "x")))
            journal.close()
            monkeypatch.setattr(journal, "close", lambda: None)
    with pytest.raises(VersionMismatch, match=r"is of a newer version: unknown kind 250"):
        router(tmp_path).start()


def test_a_journal_that_takes_no_more_rows_ends_the_router(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is accepted that is not safe."""
    made = start(daemon := router(tmp_path))

    def full(self: Any, group: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_commit", full)
    with PipelineManager(daemon.api, deadline_s=5.0) as manager, pytest.raises(ClusterError):
        manager.start(Pipeline({Job("A"): None}))
    until(lambda: not made.alive, "the Router's end", WAIT_S)
    assert isinstance(made.error, ClusterError)
    assert "The journal takes no more rows" in str(made.error)
    assert "No space left" in str(made.error)
    monkeypatch.undo()
    start(daemon := router(tmp_path))
    with PipelineManager(daemon.api) as manager:
        assert manager.list_runs() == []


def test_stopped_before_it_started(start: Start, tmp_path: Path) -> None:
    daemon = router(tmp_path)
    daemon.stop()
    made = start(daemon)
    until(lambda: not made.alive, "its end", WAIT_S)
    assert made.error is None


def test_it_logs_where_it_was_told_to(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("of a test")
    with caplog.at_level("INFO", "of a test"):
        made = start(Router(ANY, ANY, {"journal": str(tmp_path / "j")}, logger))
        made.stop()
    texts = [record.getMessage() for record in caplog.records if record.name == "of a test"]
    assert texts[0].startswith("Router ")
    assert str(tmp_path / "j") in texts[0]
    assert texts[-1] == "Stopped"


def test_what_a_router_had_accepted_when_it_was_stopped_is_answered(
    start: Start, tmp_path: Path
) -> None:
    made = start(daemon := router(tmp_path))
    with PipelineManager(daemon.api, deadline_s=1.0) as manager:
        stopper = threading.Timer(0.02, made.daemon.stop)
        stopper.start()
        accepted = []
        try:
            while True:
                accepted.append(manager.start(Pipeline({Job("A"): None})))
        except ClusterError:
            pass
        stopper.join()
    until(lambda: not made.alive, "its end", WAIT_S)
    start(daemon := router(tmp_path))
    with PipelineManager(daemon.api) as manager:
        assert set(accepted) <= {run.run for run in manager.list_runs(limit=1000)}


# --- Pipeliner --------------------------------------------------------------------------------


def test_a_pipeliner_joins_and_leaves(start: Start, tmp_path: Path) -> None:
    start(daemon := router(tmp_path))
    made = start(Pipeliner(daemon.api, daemon.broadcast, limits=LIMITS))
    with PipelineManager(daemon.api) as manager:
        until(lambda: [node.role for node in manager.cluster().nodes] == ["pipeliner"])
        made.stop()
        assert made.error is None
        until(lambda: not manager.cluster().nodes)


def test_a_pipeliner_waits_for_its_router_and_can_be_stopped(start: Start) -> None:
    made = start(Pipeliner("tcp://127.0.0.1:1", limits=LIMITS))
    made.stop()
    assert made.error is None


def test_an_address_that_is_none() -> None:
    with pytest.raises(DefinitionError, match="is no address"):
        Pipeliner("localhost").start()
