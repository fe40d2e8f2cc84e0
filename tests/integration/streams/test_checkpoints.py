"""A stream that is killed with all its processes goes on where its checkpoint was made."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import ItemFailed, Work, checkpoints, map
from tests.integration.streams.project import build

PROJECT = Path(__file__).with_name("project.py")
PAUSE_S = 0.02


def started(checkpoint: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT), str(checkpoint), str(PAUSE_S)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYPELININ_CLAIMS": "off"},
    )  # fmt: skip


def kill_all(process: subprocess.Popen[str]) -> None:
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in tree:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()


def undisturbed(tmp_path: Path) -> str:
    return f"{sorted(build(tmp_path / 'undisturbed', 0.0).run())}\n"


@pytest.mark.chaos
def test_killed_at_ten_moments_it_returns_the_same(tmp_path: Path) -> None:
    checkpoint = tmp_path / "stream.checkpoint"
    rng = random.Random(os.urandom(8))
    expected = undisturbed(tmp_path)
    kills = 0
    for _ in range(200):
        process = started(checkpoint)
        assert process.stdout is not None
        if kills >= 10:
            assert process.communicate(timeout=60)[0] == expected
            break
        moment = time.monotonic() + rng.uniform(0.1, 1.0)
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.005)
        if process.poll() is None:
            kill_all(process)
            kills += 1
        else:
            assert process.communicate()[0] == expected
        process.stdout.close()
    assert kills >= 10
    assert not checkpoint.exists()


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    """A job fails once, late; then only what was not through runs again."""
    ran, broken = tmp_path / "ran", tmp_path / "broken"
    broken.touch()

    def note(item: int) -> int:
        with ran.open("a") as file:
            file.write(f"{item}\n")
        time.sleep(0.005)  # so that chunks are small
        if item == 199 and broken.exists():
            raise ValueError("not yet")
        return item

    def stream() -> Work:
        work = Work(range(200), checkpointFile=tmp_path / "kept", slots=2)
        work.job(note)
        return work

    with pytest.raises(Exception, match="not yet"):
        stream().run()
    before = len(ran.read_text().split())
    broken.unlink()
    assert sorted(stream().run()) == list(range(200))
    again = len(ran.read_text().split()) - before
    assert 1 <= again < 100
    assert not (tmp_path / "kept").exists()


def test_another_program_is_refused_and_its_checkpoint_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def fails(item: int) -> int:
        raise ValueError(item)

    def another(item: int) -> int:
        return item

    first = Work([1], checkpointFile=kept)
    first.job(fails)
    with pytest.raises(Exception, match="fails failed for the item 1"):
        first.run()
    content = kept.read_bytes()
    second = Work([1], checkpointFile=kept)
    second.job(another)
    with pytest.raises(DefinitionError, match=r"another program: its stages are fails, .* another"):
        second.run()
    assert kept.read_bytes() == content
    kept.write_bytes(content[:-3])
    with pytest.raises(DefinitionError, match="no whole checkpoint"):
        first.run()


def test_the_keyword_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(item: int) -> int:
        raise ValueError(item)

    monkeypatch.setenv("PYPELININ_CHECKPOINT", str(tmp_path / "environment"))
    for keyword in (None, tmp_path / "keyword"):
        work = Work([1], checkpointFile=keyword)
        work.job(fails)
        with pytest.raises(Exception, match="fails failed"):
            work.run()
    assert {path.name for path in tmp_path.iterdir()} == {"environment", "keyword"}


def test_each_stream_of_a_script_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one has left is not for another one that looks the same."""
    monkeypatch.setenv("PYPELININ_CHECKPOINT", str(tmp_path / "kept"))
    fails = [True]

    def same(item: int) -> int:
        if item == 12 and fails:
            raise ValueError(item)
        return item

    def script() -> list[list[int]]:
        monkeypatch.setattr(checkpoints, "_named", {})  # as in a new process
        return [list(map(same, items, useMultiprocessing=False)) for items in ([1, 2], [11, 12])]

    with pytest.raises(ItemFailed):
        script()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.2"]
    fails.clear()
    assert script() == [[1, 2], [11, 12]]
    assert list(tmp_path.iterdir()) == []


def test_streams_in_functions_leave_the_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    monkeypatch.setenv("PYPELININ_CHECKPOINT", str(kept))
    for slots in (1, None):  # in a slot, and in this process
        work = Work(range(4), checkpointInterval=0, slots=slots, useMultiprocessing=bool(slots))

        @work.job
        def sums(item: int) -> int:
            return sum(map(abs, [1, 2, -item], slots=1))

        assert sorted(work.run()) == [3, 4, 5, 6]
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_before_all_else(tmp_path: Path) -> None:
    work = Work([1], checkpointFile=tmp_path / "no" / "kept")
    with pytest.raises(DefinitionError, match="there is no such folder"):
        work.run()


def test_what_was_through_is_there_for_finish_that_failed(tmp_path: Path) -> None:
    """And so are the errors that were collected."""
    ran: list[int] = []

    def stream(fails: bool) -> Work:
        work = Work(
            range(5), checkpointFile=tmp_path / "kept", on_error="collect", useMultiprocessing=False
        )

        @work.job
        def odd(item: int) -> int:
            ran.append(item)
            if item % 2 == 0:
                raise ValueError(item)
            return item

        @work.finish
        def sums(items: list[int]) -> int:
            if fails:
                raise OSError("no room")
            return sum(items)

        return work

    with pytest.raises(OSError, match="no room"):
        stream(fails=True).run()
    second = stream(fails=False)
    assert second.run() == 4
    assert ran == [0, 1, 2, 3, 4]
    assert sorted(error.item for error in second.errors) == ["0", "2", "4"]
    assert not (tmp_path / "kept").exists()
