from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from pypelinin.cluster.slots import Shape
from pypelinin.runtime.surroundings import Pins, environment_of, opened, pin, usable_cores


def test_the_environment_says_what_the_jobs_have() -> None:
    shape = Shape(3, (("gpu", (0, 2)), ("tape", (7,))), (("OMP_NUM_THREADS", "9"), ("A", "b")))
    found = environment_of(shape)
    assert found["PYPELININ_CORES"] == found["MKL_NUM_THREADS"] == "3"
    assert found["OMP_NUM_THREADS"] == "9"
    assert (found["CUDA_VISIBLE_DEVICES"], found["PYPELININ_TAPE"]) == ("0,2", "7")
    assert found["A"] == "b"


def test_the_ends_of_a_slot_are_connected() -> None:
    theirs, ours, token_read, token_write = opened()
    theirs.send(b"hello")
    assert ours.recv(9) == b"hello"
    os.write(token_write, b"1")
    assert os.read(token_read, 9) == b"1"
    for end in (theirs, ours):
        end.close()
    for fd in (token_read, token_write):
        os.close(fd)


def test_all_threads_of_a_process_are_pinned() -> None:
    before = usable_cores()
    told, done = threading.Event(), threading.Event()
    seen: list[set[int]] = []

    def thread() -> None:
        told.wait(20)
        seen.append(os.sched_getaffinity(0))
        done.set()

    other = threading.Thread(target=thread)
    other.start()
    try:
        pin(os.getpid(), {min(before)})
        told.set()
        assert done.wait(20)
        assert seen == [{min(before)}] == [os.sched_getaffinity(0)]
    finally:
        pin(os.getpid(), before)
        other.join()


@pytest.mark.parametrize("wanted", [True, False])
def test_pins_hold_a_slot_while_its_lot_runs(wanted: bool) -> None:
    usable = sorted(usable_cores())
    script = "import sys; sys.stdin.read()"
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) for _ in usable
    ]
    pins = Pins(wanted)
    for number, process in enumerate(processes):
        pins.begin(number, process.pid, 1)
    found = [sorted(os.sched_getaffinity(process.pid)) for process in processes]
    assert found == [[core] if wanted else usable for core in usable]
    pins.end(0)
    pins.begin(0, processes[0].pid, 1)  # the same again
    assert os.sched_getaffinity(processes[0].pid) == set(found[0])
    for number, process in enumerate(processes):
        pins.gone(number, process.pid)
        process.communicate()
    pins.begin(0, 0, 1)  # a slot whose process is not known is left alone
    pin(processes[0].pid, usable)  # so is what has ended
