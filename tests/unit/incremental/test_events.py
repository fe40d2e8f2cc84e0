"""What happens in a run, told to another program."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg


def write(path: Path) -> None:
    path.write_text("x")


def fail(path: Path) -> None:
    raise ValueError("no")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / ("deep" * 20) / ("deeper" * 20)  # too long for the name of a socket
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    yield place
    ppg.change_global_pipegraph(None)


@pytest.fixture
def heard(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    logs = here / ".ppg" / "logs"
    logs.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        monkeypatch.chdir(logs)
        listener.bind("ppg_event_socket")
        monkeypatch.chdir(here)
        listener.settimeout(10)
        yield listener


def begin() -> ppg.PyPipeGraph:
    return ppg.new(
        dir_config=ppg.DirConfig(Path(".ppg").absolute()), push_events=True, log_address=None
    )


def events(heard: socket.socket) -> list[dict[str, Any]]:
    found = [json.loads(heard.recv(65536))]
    while found[-1]["event"] != "run_stop":
        found.append(json.loads(heard.recv(65536)))
    return found


def test_a_run_is_told_from_beginning_to_end(heard: socket.socket) -> None:
    begin()
    ppg.FileGeneratingJob("a", write).depends_on(ppg.ParameterInvariant("p", 1))
    ppg.run()
    told = events(heard)
    assert [event["event"] for event in told] == ["run_start", "job_done", "run_stop"]
    assert (told[1]["job_id"], told[1]["files"]) == ("a", ["a"])
    assert told[2]["outcome"] == "ok"


def test_a_failure_is_told_as_one(heard: socket.socket) -> None:
    begin()
    ppg.FileGeneratingJob("a", fail)
    ppg.run(print_failures=False, raise_on_job_error=False)
    assert events(heard)[-1]["outcome"] == "job_failure"


def test_an_abort_is_told_as_one(heard: socket.socket) -> None:
    graph = begin()

    def abort() -> None:
        raise KeyboardInterrupt

    ppg.JobGeneratingJob("g", abort, depend_on_function=False)
    with pytest.raises(ppg.JobsFailed, match="aborted"):
        graph.run(print_failures=False)
    assert events(heard)[-1]["outcome"] == "aborted"


def test_others_can_add_events(heard: socket.socket) -> None:
    begin().post_event({"event": "run_stop", "mine": 7})
    assert events(heard)[0]["mine"] == 7


def test_nobody_has_to_listen(here: Path) -> None:
    begin()
    ppg.FileGeneratingJob("a", write)
    assert ppg.run()["a"].outcome is ppg.JobOutcome.Success


def test_a_listener_that_does_not_read_holds_up_nobody(heard: socket.socket) -> None:
    graph = begin()
    for _ in range(2000):
        graph.post_event({"event": "x" * 1000})
