"""A disk that is full, or cannot be written: nothing acknowledged is lost, and it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.cluster.events import Write
from pypelinin.errors import Busy, ClusterError, ValueLost
from pypelinin.runtime.journal import Journal
from pypelinin.runtime.reserve import RESERVE_BYTES
from pypelinin.wire.rows import CancelledRuns
from tests.chaos.disks import SmallDisk, small_disk
from tests.chaos.history import KEEP_ROWS, History
from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.jobs import note, notes

pytestmark = [pytest.mark.chaos, pytest.mark.mounts]

MIB = 2**20
DISK_BYTES = 96 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as made:
        yield made


def refused(manager: PipelineManager) -> Busy | None:
    """Why a small pipeline is not taken now; None if it is."""
    try:
        manager.start(Pipeline({Job("Noop"): None}))
    except Busy as error:
        return error
    return None


def test_a_full_disk_refuses_what_is_new_and_records_what_runs(
    tmp_path: Path, disk: SmallDisk
) -> None:
    """Twice: filled to the last byte while jobs run, and freed by deleting one file."""
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", journal=disk.path / "journal", limits=KEEP_ROWS) as cluster:
        manager = cluster.manager()
        done = 0
        for round in range(2):
            gate = tmp_path / f"gate {round}"
            data = {"log": str(log), "gate": str(gate), "key": round}
            running = [Pipeline({Job("Gate"): Job("Noop")}, data=data) for _ in range(2)]
            manager.start_all(running)
            until(lambda round=round: len(notes(log)) == 4 * round + 2, "their begin")
            queued = Pipeline({Job("Sleep", {"seconds": 0.2}): None})  # too long to be sent ahead
            manager.start(queued)
            filler = disk.fill()
            error = until(lambda: refused(manager), "a refusal")
            assert "disk" in str(error)
            assert "MB free" in str(error)
            assert "Make room" in str(error)
            gate.touch()
            until(lambda round=round: len(notes(log)) == 4 * round + 4, "their ends")
            for pipeline in running:
                until(lambda p=pipeline: manager.status(p).done == 1, "its first outcome")
            assert manager.status(queued).done == 0
            filler.unlink()
            until(lambda: refused(manager) is None, "going on by itself")
            manager.wait([*running, queued], timeout=20)
            done += 4 + 1
        manager.wait(timeout=20)
        assert "has room again" in cluster.log("router")
    history = History(cluster.journal)
    assert history.finished == history.submitted
    assert len(history.outcomes) >= done + 2
    assert set(history.outcomes.values()) == {1}


def test_the_journal_uses_its_reserve_then_waits_and_goes_on(disk: SmallDisk) -> None:
    """Rows of 256 KiB, more than the disk and the reserve hold: each that was called durable
    is there, the others come when there is room."""
    errors: list[str] = []
    journal = Journal(
        disk.path / "journal", "full", "a test", lambda _, error: errors.append(error)
    )
    list(journal.rows())
    journal.start()
    assert journal.reserve.held
    filler = disk.fill(8 * MIB)
    body = array("I", range(64 * 1024))
    count = (2 * RESERVE_BYTES) // (256 * 1024)
    for number in range(1, count + 1):
        journal.append(Write(number, CancelledRuns(body)))
    until(lambda: journal.stuck, "the end of the reserve")
    assert not journal.reserve.held
    assert "MB free" in journal.reserve.short
    durable = journal.lsn
    assert durable * 256 * 1024 > 8 * MIB
    assert durable < count
    filler.unlink()
    until(lambda: journal.lsn == count, "the rest")
    for number in range(count + 1, count + 3):  # SQLite's log is cut when it begins anew
        journal.append(Write(number, CancelledRuns(body)))
        until(lambda number=number: journal.lsn == number, "another row")
    until(lambda: journal.reserve.short == "", "the reserve")
    journal.close()
    assert not any(errors)
    assert rows_of(disk.path / "journal") == count + 2


def rows_of(directory: Path) -> int:
    with Journal(directory, "full", "a test", lambda *_: None) as journal:
        return sum(1 for _ in journal.rows())


def test_a_stuck_journal_ends_at_once_and_keeps_what_was_durable(disk: SmallDisk) -> None:
    journal = Journal(disk.path / "journal", "full", "a test", lambda *_: None)
    list(journal.rows())
    journal.start()
    disk.fill(MIB)
    for number in range(1, 200):
        journal.append(Write(number, CancelledRuns(array("I", range(64 * 1024)))))
    until(lambda: journal.stuck, "the end of the reserve")
    durable = journal.lsn
    journal.close()
    assert 0 < durable == rows_of(disk.path / "journal")


def test_a_router_killed_on_a_full_disk_loses_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    with RealCluster(tmp_path / "c", journal=disk.path / "journal", limits=KEEP_ROWS) as cluster:
        manager = cluster.manager()
        gate, log = tmp_path / "gate", tmp_path / "log"
        data = {"log": str(log), "gate": str(gate)}
        accepted = [manager.start(Pipeline({Job("Gate"): Job("Noop")}, data=data))]
        accepted += [manager.start(Pipeline({Job("Noop"): None})) for _ in range(50)]
        until(lambda: notes(log), "its begin")
        filler = disk.fill()
        for _ in range(2):
            cluster.kill("router")
            cluster.restart("router")
            until(lambda: refused(manager), "a refusal")
        filler.unlink()
        gate.touch()
        manager.wait(timeout=30)
        assert {run.run for run in manager.list_runs(limit=1000)} >= set(accepted)
    history = History(cluster.journal)
    assert history.finished == history.submitted
    assert set(history.outcomes.values()) == {1}


def test_no_room_even_to_start_is_one_sentence(tmp_path: Path, disk: SmallDisk) -> None:
    disk.fill(MIB)
    with pytest.raises(ClusterError, match=r"The journal .* cannot be used: .*full"):
        start_journal(disk.path / "journal")


def start_journal(directory: Path) -> None:
    with Journal(directory, "full", "a test", lambda *_: None) as journal:
        list(journal.rows())
        journal.start()


def large(log: str, gate: str) -> bytes:
    import time
    from pathlib import Path

    note(log, key="large")
    while not Path(gate).exists():
        time.sleep(0.01)
    return b"x" * (8 * MIB)


def test_a_large_result_that_finds_no_room_fails_its_job_and_says_so(
    tmp_path: Path, disk: SmallDisk
) -> None:
    with RealCluster(tmp_path / "c", journal=disk.path / "journal") as cluster:
        manager = cluster.manager()
        gate, log = tmp_path / "gate", tmp_path / "log"
        job: Job = Job(large, args=(str(log), str(gate)))
        manager.start(pipeline := Pipeline([job]))
        until(lambda: notes(log), "its begin")
        filler = disk.fill(MIB)
        gate.touch()
        manager.wait(pipeline, timeout=20, raise_on_failure=False)
        assert pipeline.state == "failed"
        error = manager.error(pipeline)
        assert isinstance(error, ValueLost)
        assert "its result of 8,388," in str(error)
        assert "No space left" in str(error)
        filler.unlink()
        until(lambda: refused(manager) is None, "going on by itself")
        again: Any = Job(large, args=(str(log), str(gate)))
        manager.run(Pipeline([again]), timeout=20)


# --- a disk that cannot be written ----------------------------------------------------------------


def test_a_disk_with_errors_ends_the_router_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel makes it read-only in the middle of the work."""
    with (
        small_disk(tmp_path / "disk", DISK_BYTES, tmp_path / "image") as disk,
        RealCluster(tmp_path / "c", journal=disk.path / "journal", limits=KEEP_ROWS) as cluster,
    ):
        manager = cluster.manager()
        accepted = [manager.start(Pipeline({Job("Noop"): None})) for _ in range(20)]
        manager.wait(timeout=20)
        gate, log = tmp_path / "gate", tmp_path / "log"
        data = {"log": str(log), "gate": str(gate)}
        accepted.append(manager.start(Pipeline({Job("Gate"): Job("Noop")}, data=data)))
        until(lambda: notes(log), "its begin")
        disk.remount("abort")
        somebody = subprocess.Popen(["unshare", "--mount", "sleep", "60"])  # who has it as well
        gate.touch()
        assert cluster.wait_end("router") == 1
        assert "ClusterError: The journal takes no more rows: " in cluster.log("router")
        disk.unmount()
        disk.repair()
        disk.mount()
        cluster.restart("router")
        manager.wait(timeout=30)
        assert {run.run for run in manager.list_runs(limit=1000)} >= set(accepted)
        cluster.stop("router")
        History(cluster.journal).recorded_once(22)
        cluster.restart("router")
        somebody.kill()
        somebody.wait()


@pytest.mark.parametrize("there", [True, False])
def test_a_read_only_journal_is_refused_with_one_sentence(disk: SmallDisk, there: bool) -> None:
    directory = disk.path / "journal"
    if there:
        start_journal(directory)
    disk.remount("ro")
    with pytest.raises(ClusterError) as raised:
        start_journal(directory)
    assert str(directory) in str(raised.value)
    assert "annot be " in str(raised.value)


def unable(directory: Path) -> list[str]:
    """A Router of somebody who is root by number only: it may do what the modes say."""
    limited = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    command = [sys.executable, "-m", "pypelinin", "router", "--journal", str(directory)]
    return [*limited, *command, "--api", "tcp://127.0.0.1:0", "--broadcast", "tcp://127.0.0.1:0"]


@pytest.mark.parametrize("what", ["directory", "journal.sqlite", "head", "lock", "values"])
def test_a_journal_of_somebody_else_is_refused_with_one_sentence(tmp_path: Path, what: str) -> None:
    directory = tmp_path / "journal"
    start_journal(directory)
    (directory / "values").mkdir()
    found = directory if what == "directory" else directory / what
    found.chmod(0o500 if found.is_dir() else 0o600)
    os.chown(found, 1, 1)
    ended = subprocess.run(
        unable(directory), capture_output=True, text=True, timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.returncode == 4, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    assert str(directory) in line
    assert "cannot be" in line
