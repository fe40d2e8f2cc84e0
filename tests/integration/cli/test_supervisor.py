"""The keeper's side: what starts, what is started again, what ends in which order."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cli import supervisor
from pypelinin.cli.supervisor import KeptDaemon, Supervisor, uninterrupted
from pypelinin.config import DEFAULTS
from pypelinin.errors import ClusterError, DefinitionError, Refused
from pypelinin.runtime.places import ProcessMark
from tests.integration.cli.commands import until

FREE = {"api": "tcp://127.0.0.1:0", "broadcast": "tcp://127.0.0.1:0"}
QUIET = subprocess.DEVNULL


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def values(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {**DEFAULTS, **FREE, "journal": str(tmp_path / "journal"), **more}


@contextmanager
def watched(keeper: Supervisor) -> Iterator[threading.Thread]:
    """*keeper* at work in a thread; asked to stop at once on leaving."""
    keeper.start()
    thread = threading.Thread(target=keeper.watch)
    thread.start()
    try:
        yield thread
    finally:
        for _ in range(3):
            keeper.ask_stop()
        thread.join(30)
        assert not thread.is_alive()


def test_it_starts_again_what_dies_at_the_same_address(tmp_path: Path) -> None:
    lines: list[str] = []
    changes: list[int] = []
    keeper = Supervisor(
        values(tmp_path),
        ["router", "pipeliner"],
        output=QUIET,
        say=lines.append,
        changed=lambda: changes.append(1),
    )
    with watched(keeper):
        first, api = keeper.daemons["router"], keeper.api
        first.process.kill()
        until(lambda: keeper.daemons["router"] is not first)
        until(lambda: "ready" in keeper.daemons["router"].answer)
        assert keeper.daemons["router"].answer["ready"]["api"] == api
        assert changes == [1]
        assert lines == ["The router ended: killed by signal 9. Starting it again in 0.2 s."]


def test_who_dies_again_and_again_is_given_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    keeper = Supervisor(values(tmp_path), ["router"], output=QUIET, say=lines.append)
    clock = time.monotonic()
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock)

    def die(lived: float) -> None:
        daemon = KeptDaemon("router", QUIET)
        daemon.started_at = clock - lived
        daemon.process.kill()
        assert not daemon.read()
        keeper._died(daemon)

    for lived in (1.0, 1.0, 1.0, supervisor.LIVED_S + 1):
        die(lived)
    pauses = [line.split(" again in ")[1] for line in lines]
    assert pauses == ["0.2 s.", "0.4 s.", "0.8 s.", "0.2 s."]
    keeper._pauses["router"] = supervisor.AGAIN_MAX_S
    die(1.0)
    assert lines[-1].endswith("again in 30 s.")
    keeper.close()


def test_all_end_when_asked_the_router_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[str, int | None]] = []
    end = Supervisor._end

    def noted(keeper: Supervisor, daemon: KeptDaemon) -> None:
        end(keeper, daemon)
        ends.append((daemon.role, daemon.process.returncode))

    monkeypatch.setattr(Supervisor, "_end", noted)
    keeper = Supervisor(values(tmp_path), ["router", "pipeliner"], output=QUIET)
    with watched(keeper) as thread:
        until(lambda: "ready" in keeper.daemons["pipeliner"].answer)
        keeper.ask_stop()
        thread.join(30)
    assert ends == [("pipeliner", 0), ("router", 0)]


def test_who_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "KILL_S", 0.1)
    keeper = Supervisor(values(tmp_path), ["router"], output=QUIET)
    with watched(keeper) as thread:
        router = keeper.daemons["router"].process
        found = ProcessMark.of(router.pid).process()
        assert found is not None
        found.suspend()
        keeper.ask_stop()
        keeper.ask_stop()
        thread.join(30)
        assert router.returncode == -9


def test_a_router_that_cannot_start_says_why(tmp_path: Path) -> None:
    first = Supervisor(values(tmp_path), ["router"], output=QUIET)
    with watched(first):
        second = Supervisor(values(tmp_path), ["router", "pipeliner"], output=QUIET)
        with pytest.raises(Refused, match="Another Router has the journal"):
            second.start()
        assert all(daemon.process.returncode is not None for daemon in second.daemons.values())


def test_who_dies_without_a_word_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor.sys, "executable", "/bin/false")
    with open(tmp_path / "log", "w+b") as log:
        log.write(b"something went wrong\n")
        log.flush()
        keeper = Supervisor(values(tmp_path), ["router"], output=log)
        with pytest.raises(ClusterError) as error:
            keeper.start()
    assert str(error.value) == "The router ended (exit code 1). It said: something went wrong"


def test_who_is_not_ready_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    monkeypatch.setattr(supervisor.sys, "executable", str(mute))
    monkeypatch.setattr(supervisor, "READY_S", 0.0)
    keeper = Supervisor(values(tmp_path), ["router"], output=QUIET)
    with pytest.raises(ClusterError, match="The router was not ready within 0 s"):
        keeper.start()
    assert keeper.daemons["router"].process.returncode is not None


def test_settings_that_are_not_plain_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="settings of a cluster are plain data"):
        Supervisor(values(tmp_path, store_configuration={"x": {1, 2}}))


def test_what_is_far_is_tried_again_also_if_it_could_not_start(tmp_path: Path) -> None:
    lines: list[str] = []
    tries: list[str] = []

    def far(api: str) -> KeptDaemon:
        tries.append(api)
        if len(tries) == 2:
            raise OSError("no more descriptors")
        daemon = KeptDaemon("pipeliner", QUIET)
        daemon.role = "broker on node"
        if len(tries) == 1:
            daemon.process.kill()
        return daemon

    keeper = Supervisor(
        values(tmp_path), ["router"], output=QUIET, say=lines.append, far={"broker on node": far}
    )
    monotonic = time.monotonic
    skipped = 0.0
    with pytest.MonkeyPatch.context() as patch, watched(keeper):
        patch.setattr(supervisor.time, "monotonic", lambda: monotonic() + skipped)
        until(lambda: len(tries) == 2)
        assert "killed by signal 9" in str(keeper.failures["broker on node"])
        until(lambda: len(lines) == 2)
        assert lines[1] == "The broker on node cannot be started: no more descriptors"
        skipped = supervisor.AGAIN_MAX_S
        keeper._wake.send(b"x")
        until(lambda: len(tries) == 3)
        until(lambda: "ready" in keeper.daemons["broker on node"].answer)
    assert tries == [keeper.api] * 3


def test_ctrl_c_comes_when_a_process_that_was_begun_is_known() -> None:
    known: list[str] = []
    before = signal.getsignal(signal.SIGINT)

    def begin() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            known.append("daemon")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert known == ["daemon"]
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is before
