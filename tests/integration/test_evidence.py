"""What jobs print and use, with real daemons: kept, told apart, live, and there when nodes die."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.client.logs import Attempt
from pypelinin.errors import NotFound
from tests.integration.cluster import RealCluster, until

WAIT_S = 60.0
KEPT = 64 * 1024
"""What is kept of each stream here."""

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    limits = {"log_bytes_max": KEPT}
    with RealCluster(tmp_path_factory.mktemp("evidence"), limits=limits) as made:
        yield made


@pytest.fixture
def manager(cluster: RealCluster) -> PipelineManager:
    return cluster.manager()


def ran(manager: PipelineManager, function: Any, *args: Any, **options: Any) -> Pipeline:
    """A run of one job, to its end, however that is."""
    pipeline = Pipeline([Job(function, args=args, name="one", **options)])
    manager.run(pipeline, WAIT_S, raise_on_failure=False)
    return pipeline


def printed(manager: PipelineManager, run: Pipeline, stream: str = "stdout", **more: Any) -> bytes:
    return b"".join(part.data for part in manager.logs(run, 0, streams=(stream,), **more))


def printed_at_last(manager: PipelineManager, run: Pipeline, end: bytes, **more: Any) -> bytes:
    """What it printed, as soon as that ends so: it may come a moment after the outcome."""
    until(lambda: printed(manager, run, **more).endswith(end), f"output that ends with {end!r}")
    return printed(manager, run, **more)


def attempts(manager: PipelineManager, run: Pipeline, count: int = 1) -> list[Attempt]:
    """Its attempts, as soon as it is known of all what they used."""

    def known() -> list[Attempt]:
        found = manager.attempts(run, 0)
        whole = len(found) == count and all(one.wall_s is not None for one in found)
        return found if whole else []

    return until(known, f"{count} attempts")


# --- who prints ------------------------------------------------------------------------


def print_from_everywhere() -> None:
    print("python")
    print("python's error", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child; echo error of a child >&2"], check=True)
    os.write(1, b"C\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"stdio of C")
    libc.fflush(None)
    print("no end of line", end="")


def test_all_that_a_job_prints_is_kept_in_its_order(manager: PipelineManager) -> None:
    run = ran(manager, print_from_everywhere)
    out = printed_at_last(manager, run, b"no end of line")
    assert out == b"python\nchild\nC\nstdio of C\nno end of line"
    assert printed(manager, run, "stderr") == b"python's error\nerror of a child\n"


def empty_its_errors(gate: str) -> None:
    os.write(2, b"a long line that is known before\n")
    until(lambda: os.path.exists(gate))
    subprocess.run(["sh", "-c", "echo emptied > /dev/stderr; echo and on >&2"], check=True)


def test_a_job_that_empties_what_it_prints_to_is_heard(
    manager: PipelineManager, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = Pipeline([Job(empty_its_errors, args=(str(gate),))])
    manager.start(run)
    before = printed_at_last(manager, run, b"known before\n", stream="stderr")
    gate.touch()
    after = printed_at_last(manager, run, b"and on\n", stream="stderr")
    assert after == before + b"emptied\nand on\n"
    manager.wait(run, WAIT_S)


def say(number: int) -> None:
    print(f"job {number}")


def test_short_jobs_of_one_lot_are_told_apart(manager: PipelineManager) -> None:
    pipeline = Pipeline([Job(say, args=(n,), name=f"j{n}") for n in range(300)])
    manager.run(pipeline, WAIT_S)
    until(lambda: len(list(manager.logs(pipeline))) == 300)
    for part in manager.logs(pipeline):
        assert part.data == f"job {part.job}\n".encode()
    assert [part.data for part in manager.logs(pipeline, "j7")] == [b"job 7\n"]


def nothing() -> None:
    """Prints nothing."""


def test_jobs_that_print_nothing_leave_nothing(
    cluster: RealCluster, manager: PipelineManager
) -> None:
    pipeline = Pipeline([Job(nothing, name=str(n)) for n in range(2000)])
    manager.run(pipeline, WAIT_S)
    kept = cluster.journal / "logs" / str(pipeline.id)
    entries = kept.stat().st_size // 80 if kept.exists() else 0
    assert entries < 200  # some took longer than a millisecond
    assert list(manager.logs(pipeline)) == []


# --- how much ---------------------------------------------------------------------------


def print_much(lines: int) -> None:
    for number in range(lines):
        print(f"{number:09}" + "x" * 90)


def test_of_ten_megabytes_head_and_tail_are_kept(
    cluster: RealCluster, manager: PipelineManager
) -> None:
    run = ran(manager, print_much, 100_000)
    out = printed_at_last(manager, run, b"000099999" + b"x" * 90 + b"\n")
    assert len(out) == KEPT
    assert out.startswith(b"000000000x")
    assert out[-100:].startswith(b"000099999x")
    assert sum(part.left_out for part in manager.logs(run, 0)) == 100_000 * 100 - KEPT
    assert attempts(manager, run)[0].stdout_bytes == 100_000 * 100
    assert (cluster.journal / "logs" / str(run.id)).stat().st_size < KEPT + 2000


def print_until(flag: str) -> int:
    count = 0
    while not os.path.exists(flag):
        print_much(2000)
        count += 2000
    return count


def test_who_prints_as_fast_as_he_can_holds_up_nobody(
    cluster: RealCluster, manager: PipelineManager, tmp_path: Path
) -> None:
    router, broker = (psutil.Process(cluster.pid(name)) for name in ("router", "broker-1"))
    before = router.memory_info().rss + broker.memory_info().rss
    loud = Pipeline([Job(print_until, args=(str(tmp_path / "flag"),), name="loud")])
    manager.start(loud)
    until(lambda: printed(manager, loud), "a first line")
    began = time.monotonic()
    for _ in range(5):
        manager.run(Pipeline([Job(nothing, name=str(n)) for n in range(200)]), WAIT_S)
    quiet_s = time.monotonic() - began
    (tmp_path / "flag").touch()
    manager.wait(loud, WAIT_S)
    assert loud.jobs[0].result(WAIT_S) > 2000
    assert quiet_s < 20.0
    after = router.memory_info().rss + broker.memory_info().rss
    assert after - before < 32 * 2**20
    assert (cluster.journal / "logs" / str(loud.id)).stat().st_size < KEPT + 2000


# --- live, and after the node is gone ---------------------------------------------------------


def print_and_wait(flag: str) -> None:
    print("it begins")
    os.write(2, b"no error\n")
    while not os.path.exists(flag):
        time.sleep(0.01)
    print("it ends")


def test_follow_sees_a_line_before_the_job_ends(manager: PipelineManager, tmp_path: Path) -> None:
    run = Pipeline([Job(print_and_wait, args=(str(tmp_path / "flag"),), name="one")])
    manager.start(run)
    seen = []
    for part in manager.logs(run, "one", follow=True, streams=("stdout",)):
        seen.append(part.data)
        if not (tmp_path / "flag").exists():
            (running,) = manager.attempts(run, 0)
            assert (running.running, running.node) == (True, "broker-1")
            (tmp_path / "flag").touch()
    assert seen == [b"it begins\n", b"it ends\n"]


def test_it_is_there_after_the_broker_was_killed(tmp_path: Path) -> None:
    with RealCluster(tmp_path) as cluster:
        manager = cluster.manager()
        flag = tmp_path / "flag"
        run = Pipeline([Job(print_and_wait, args=(str(flag),), name="one")])
        manager.start(run)
        for stream in ("stdout", "stderr"):
            until(lambda stream=stream: printed(manager, run, stream), "its first lines")
        cluster.kill("broker-1")
        flag.touch()
        cluster.restart("broker-1")
        manager.wait(run, WAIT_S)
        printed_at_last(manager, run, b"it ends\n")
        until(lambda: len(manager.attempts(run, 0)) == 2)
        first, second = manager.attempts(run, 0)
        assert first.failure is not None
        assert (first.failure.cause, first.failure.node) == ("lost", "broker-1")
        assert second.failure is None
        assert printed(manager, run, attempt=1) == b"it begins\n"
        assert printed(manager, run, attempt=-1) == b"it begins\nit ends\n"
        cluster.kill("router")
        cluster.restart("router")
        assert printed(manager, run, attempt=2) == b"it begins\nit ends\n"


# --- how attempts end -------------------------------------------------------------------------


def fail_once(flag: str) -> None:
    path = Path(flag)
    if path.exists():
        print("the second try")
        return
    path.touch()
    print("the first try")
    raise ValueError("not yet")


def test_the_output_of_each_try_stays_apart(manager: PipelineManager, tmp_path: Path) -> None:
    run = ran(manager, fail_once, str(tmp_path / "flag"), retries=1)
    assert run.state == "done"
    printed_at_last(manager, run, b"the second try\n")
    first, _ = attempts(manager, run, 2)
    assert first.failure is not None
    assert (first.failure.type, first.failure.text) == ("ValueError", "not yet")
    assert "fail_once" in first.failure.traceback
    assert printed(manager, run, attempt=1) == b"the first try\n"
    assert printed(manager, run, attempt=2) == b"the second try\n"
    with pytest.raises(NotFound, match="2 attempts are known"):
        printed(manager, run, attempt=3)


def say_and_die(how: str) -> None:
    print("last words")
    print("without an end", end="", file=sys.stderr)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "sleep":
        time.sleep(WAIT_S)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "count", "kind"), [("segfault", 3, "SIGSEGV"), ("kill", 3, "SIGKILL"),
                               ("sleep", 1, "Timeout")]
)  # fmt: skip
def test_the_last_words_of_who_dies_are_there(
    manager: PipelineManager, how: str, count: int, kind: str
) -> None:
    run = ran(manager, say_and_die, how, timeout=3.0 if how == "sleep" else WAIT_S)
    printed_at_last(manager, run, b"last words\n", attempt=-1)
    found = attempts(manager, run, count)
    assert [one.failure and one.failure.type for one in found] == [kind] * count
    error = printed(manager, run, "stderr", attempt=-1)
    assert error.startswith(b"without an end")
    assert (b"say_and_die" in error) == (how == "segfault")  # the frames of a segfault


# --- what is used -----------------------------------------------------------------------------


def burn(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


def burn_in_a_child(seconds: float) -> None:
    code = f"import time\nwhile time.process_time() < {seconds}: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)


@pytest.mark.parametrize("function", [burn, burn_in_a_child])
def test_it_is_known_what_cpu_an_attempt_took(manager: PipelineManager, function: Any) -> None:
    (used,) = attempts(manager, ran(manager, function, 0.5))
    assert used.cpu_s == pytest.approx(0.5, abs=0.15)
    assert used.wall_s is not None
    assert used.began_at is not None
    assert used.wall_s >= 0.4
    assert abs(time.time() - used.began_at) < WAIT_S


def allocate(size: int) -> None:
    kept = b"x" * size
    time.sleep(0.01)
    del kept


def test_it_is_known_what_memory_an_attempt_took(manager: PipelineManager) -> None:
    (large,) = attempts(manager, ran(manager, allocate, 200 * 2**20))
    assert large.memory_peak is not None
    assert 200 * 2**20 < large.memory_peak < 300 * 2**20
    (small,) = attempts(manager, ran(manager, allocate, 2**20))
    assert small.memory_peak is not None
    if small.own_peak:
        assert small.memory_peak < 100 * 2**20


# --- asking -----------------------------------------------------------------------------------


def test_what_is_not_there_is_said(manager: PipelineManager) -> None:
    run = ran(manager, nothing)
    with pytest.raises(NotFound, match="no run"):
        list(manager.logs("0" * 32))
    with pytest.raises(NotFound, match="no job 7"):
        list(manager.logs(run, 7))
    with pytest.raises(NotFound, match="no job 'two'"):
        list(manager.logs(run, "two"))


def test_the_router_knows_how_its_nodes_are(cluster: RealCluster, manager: PipelineManager) -> None:
    def seen() -> Any:
        return cluster.nodes(manager=manager)[0].sample

    sample = until(seen, "a sample")
    assert 0 < sample.memory_used < sample.memory_total
    assert 0.0 <= sample.cpu_percent <= 100.0
    assert sample.load >= 0.0
