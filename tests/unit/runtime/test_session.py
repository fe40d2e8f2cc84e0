from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pypelinin.runtime.session import LOOK_S, Sessions
from tests.integration.cluster import until

PREPARES = """
import os
from pathlib import Path

def prepare(key, more):
    if more == "fail":
        raise ValueError("no such data")
    if more == "die":
        os._exit(9)
    with open(key + ".log", "a") as file:
        file.write(f"{os.getpid()} {more}\\n")
"""


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a session lives with, beside a module that it calls."""
    (tmp_path / "prepares.py").write_text(PREPARES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    path = tmp_path / "key"
    path.touch()
    return path


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    made = Sessions()
    yield made
    made.close()


def named(key: Path, more: str = "") -> str:
    return f"prepares:prepare|{key}|{more}"


def calls(key: Path) -> list[tuple[int, str]]:
    """(process, what was asked for) of each preparation."""
    path = Path(f"{key}.log")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split(" ")[0]), line.split(" ")[1]) for line in lines]


def ended(control: socket.socket) -> bool:
    control.settimeout(20)
    try:
        return control.recv(65536) == b""
    except ConnectionError:
        return True


def test_one_process_prepares_for_all_nurseries_of_a_key(sessions: Sessions, key: Path) -> None:
    controls = [sessions(named(key, more), ())[1] for more in ("", "a", "a,b")]
    until(lambda: len(calls(key)) == 3, "three preparations")
    assert [more for _, more in calls(key)] == ["", "a", "a,b"]
    (holder,) = {pid for pid, _ in calls(key)}
    # It is forked after the preparation that is told.
    until(lambda: len(psutil.Process(holder).children()) == 3, "three nurseries")
    for control in controls:
        control.close()


def test_another_key_is_another_process(sessions: Sessions, key: Path) -> None:
    other = key.with_name("other")
    other.touch()
    kept = [sessions(named(path), ())[1] for path in (key, other)]
    until(lambda: calls(key) and calls(other), "two preparations")
    assert calls(key)[0][0] != calls(other)[0][0]
    for control in kept:
        control.close()


@pytest.mark.parametrize("more", ["fail", "die"])
def test_a_preparation_that_fails_closes_the_way(sessions: Sessions, key: Path, more: str) -> None:
    _, control = sessions(named(key, more), ())
    assert ended(control)
    control.close()
    _, control = sessions(named(key, "fine"), ())
    until(lambda: calls(key), "a preparation after it")
    control.close()


@pytest.mark.parametrize("name", ["", "prepares:prepare", "prepares:prepare|", "prepares|key|more"])
def test_a_name_that_is_none(sessions: Sessions, name: str) -> None:
    with pytest.raises(OSError, match="is no name of a session"):
        sessions(name, ())


def test_one_that_cannot_be_started_leaves_nothing_open(
    sessions: Sessions, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    gc.collect()
    before = psutil.Process().num_fds()
    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(BlockingIOError):
        sessions(named(key), ())
    assert psutil.Process().num_fds() == before


def test_it_ends_with_its_file(
    sessions: Sessions, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what was loaded for a run does not stay when the run is over."""
    _, control = sessions(named(key), ())
    until(lambda: calls(key), "a preparation")
    holder = psutil.Process(calls(key)[0][0])
    key.unlink()
    until(gone(holder), "the end of the session", 4 * LOOK_S)
    assert ended(control)
    control.close()


def gone(process: psutil.Process) -> Callable[[], bool]:
    def found() -> bool:
        try:
            return bool(process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    return found


def test_it_ends_with_who_started_it(key: Path) -> None:
    sessions = Sessions()
    process, control = sessions(named(key), ())
    until(lambda: calls(key), "a preparation")
    holder: Any = psutil.Process(calls(key)[0][0])
    sessions.close()
    assert gone(holder)()
    assert ended(control)
    assert process.wait(0) == 0
    process.kill()
    control.close()
