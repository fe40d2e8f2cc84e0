"""Processes below a process: found, measured and ended, however they forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pypelinin.runtime.trees import (
    children,
    descendants,
    kill_all,
    proportional,
    reap,
    resident,
    usage,
)
from tests.integration.cluster import until

MIB = 2**20
FAMILY = """
import os, sys, time
for _ in range(2):
    if not os.fork():
        if not os.fork():
            time.sleep(60)
        time.sleep(60)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process with two children and two grandchildren."""
    made = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE)
    assert made.stdout
    made.stdout.readline()
    until(lambda: len(descendants([made.pid])) == 5, "the family")
    yield made
    kill_all([made.pid])
    made.wait()
    made.stdout.close()


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_all_below_are_found_parents_first(family: subprocess.Popen[bytes]) -> None:
    found = descendants([family.pid])
    assert found[0] == family.pid
    assert set(found[1:]) == {p.pid for p in psutil.Process(family.pid).children(recursive=True)}
    assert set(children(family.pid)) == {p.pid for p in psutil.Process(family.pid).children()}


def test_all_of_them_end(family: subprocess.Popen[bytes]) -> None:
    found = descendants([family.pid])
    kill_all([family.pid])
    assert family.wait(60) == -signal.SIGKILL
    until(lambda: not any(map(alive, found)), "their end")


def test_who_has_ended_has_no_children_and_no_memory() -> None:
    made = subprocess.Popen(["true"])
    made.wait()
    assert children(made.pid) == []
    assert resident([made.pid]) == proportional([made.pid]) == 0
    kill_all([made.pid])


def test_what_processes_share_is_divided(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
kept = bytearray(os.urandom(1)) * (64 * {MIB})
for _ in range(3):
    if not os.fork():
        time.sleep(60)
print(flush=True)
time.sleep(60)
"""
    made = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert made.stdout
    made.stdout.readline()
    tree = descendants([made.pid])
    assert resident(tree) > 4 * 60 * MIB
    assert 64 * MIB < proportional(tree) < 110 * MIB
    kill_all([made.pid])
    made.wait()
    made.stdout.close()


def test_reaping_says_who_did_not_end() -> None:
    stubborn, gone = os.fork(), 0
    if not stubborn:
        signal.pause()
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitid(os.P_PID, gone, os.WEXITED | os.WNOWAIT)
    assert reap([stubborn, gone], 0.3) == [stubborn]
    os.kill(stubborn, signal.SIGKILL)
    assert reap([stubborn, gone], 60.0) == []


def test_who_reaps_learns_what_was_used() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    found: list[int] = []
    assert reap([child], 60.0, lambda used: found.append(used.ru_maxrss)) == []
    assert len(found) == 1
    assert found[0] > 0


def test_what_processes_used_is_told_until_they_are_gone() -> None:
    code = (
        "x = b'x' * (64 << 20)\nimport time\nwhile time.process_time() < 0.3: pass\nprint(flush=1)"
    )
    code += "\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        cpu_s, peak = usage([child.pid])
        assert 0.2 < cpu_s < 5.0
        assert 64 * 2**20 < peak < 256 * 2**20
    finally:
        child.communicate(b"\n", timeout=30)
    assert usage([child.pid]) == (0.0, 0)
