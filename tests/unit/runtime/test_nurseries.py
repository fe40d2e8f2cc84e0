from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import msgpack
import pytest

from pypelinin.cluster.slots import Shape
from pypelinin.runtime import nurseries
from pypelinin.runtime.nurseries import (
    SESSION_VARIABLE,
    ForkedProcess,
    Nursery,
    fork_nursery,
    session_of,
    start_nursery,
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: one that ends when it is told to is not killed."""
    monkeypatch.setattr(nurseries, "END_S", 60.0)


def answer(nursery: Nursery) -> list[object]:
    nursery.control.settimeout(10)
    found: list[object] = msgpack.unpackb(nursery.control.recv(65536))
    return found


def test_the_session_of_a_shape_is_a_variable_of_its_environment() -> None:
    assert session_of(Shape()) == ""
    assert session_of(Shape(env=(("A", "b"), (SESSION_VARIABLE, "three")))) == "three"


def test_one_that_was_started_ends_with_the_way_to_it() -> None:
    nursery = start_nursery("", ())
    nursery.request(["nothing", 0])
    nursery.close()
    assert nursery._process.wait(0) == 0


def test_a_fork_of_this_process_serves_and_ends_with_the_way_to_it() -> None:
    nursery = Nursery("one", *fork_nursery(()))
    nursery.request(["end", 1, True])  # of a slot that it does not have
    nursery.close()
    assert nursery._process.wait(0) == 0


def test_a_fork_keeps_nothing_open_that_it_was_not_told_to_keep(tmp_path: Path) -> None:
    """Else a socket or a lock of the caller would outlive it."""
    with open(tmp_path / "kept", "w") as kept, open(tmp_path / "other", "w") as other:
        process, way = fork_nursery((kept.fileno(),))
        nursery = Nursery("", process, way)
        try:
            wait_until_it_serves(process.pid)
            there = opened_by(process.pid)
        finally:
            nursery.close()
    assert kept.name in there
    assert other.name not in there


def opened_by(pid: int) -> set[str]:
    """It goes on meanwhile: what it has just closed is not among them."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def wait_until_it_serves(pid: int) -> None:
    """It has said which signals it catches."""
    while True:
        with open(f"/proc/{pid}/status") as status:
            caught = next(line for line in status if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGCHLD - 1) & 1:
            return


def test_signal_handlers_of_the_caller_are_not_inherited() -> None:
    old = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        process, way = fork_nursery(())
        nursery = Nursery("", process, way)
        wait_until_it_serves(process.pid)
        os.kill(process.pid, signal.SIGUSR1)
        assert process.wait(60) == -signal.SIGUSR1
        nursery.close()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_a_forked_process_is_waited_for_as_long_as_was_said() -> None:
    process, way = fork_nursery(())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.kill()  # it is gone
    way.close()


def test_one_that_somebody_else_waited_for_has_ended() -> None:
    pid = os.fork()
    if not pid:
        os._exit(3)
    os.waitpid(pid, 0)
    assert ForkedProcess(pid).wait(1) == 0


def ask_often(nursery: Nursery) -> None:
    for _ in range(100):
        nursery.request(["end", 1, True])


def test_requests_wait_for_room_and_the_way_may_be_gone() -> None:
    process, way = fork_nursery(())
    nursery = Nursery("", process, way)
    process.kill()
    process.wait()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        ask_often(nursery)
    nursery.close()
