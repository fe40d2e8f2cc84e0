"""The file of a stream: whose it is, whether it is whole, and what a crash leaves of it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams.checkpoints import (
    MAGIC,
    VARIABLE,
    VERSION,
    Checkpoint,
    named_by_environment,
)
from pypelinin.streams.inside import ambient

DESCRIBED: list[Any] = [[[["Stage", "double"]], "total", None], [[["Stage", "half"]], None, None]]
KEPT = {"taken": 3, "state": b"s", "out": b"o", "before": b"b"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def checkpoint(path: Path, described: Any = DESCRIBED, interval_s: float = 600.0) -> Checkpoint:
    return Checkpoint(path, described, interval_s)


def whole(content: bytes) -> bytes:
    """A file with that in it."""
    return MAGIC + zlib.crc32(content).to_bytes(4, "big") + content


def test_what_was_written_is_read(path: Path) -> None:
    checkpoint(path).write({"taken": 1})
    checkpoint(path).write(KEPT)
    assert checkpoint(path).read() == KEPT
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_nothing_is_kept_at_first_and_at_last(path: Path) -> None:
    kept = checkpoint(path)
    assert kept.read() is None
    kept.write(KEPT)
    kept.remove()
    assert kept.read() is None
    kept.remove()
    assert list(path.parent.iterdir()) == []


def test_who_runs_with_it_has_it_alone(path: Path) -> None:
    first, second = checkpoint(path), checkpoint(path)
    with first.held():
        with pytest.raises(DefinitionError) as raised, second.held():
            pass
        assert str(raised.value).startswith(
            f"The checkpoint {path} is in use: process {os.getpid()} on {socket.gethostname()} runs"
        )
        assert os.path.exists(f"{path}.lock")
    with second.held():
        pass
    assert list(path.parent.iterdir()) == []


def test_whoever_was_killed_holds_it_no_more(path: Path) -> None:
    Path(f"{path}.lock").write_text("process 1 on a machine that is gone")
    with checkpoint(path).held():
        assert str(os.getpid()) in Path(f"{path}.lock").read_text()


def test_a_lock_that_was_removed_meanwhile_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner ended between our opening it and our locking it."""
    flock, removed = fcntl.flock, list[str]()

    def remove(lock: int, how: int) -> None:
        if not removed:
            removed.append(f"{path}.lock")
            os.unlink(removed[0])
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", remove)
    with checkpoint(path).held():
        assert os.path.exists(f"{path}.lock")
    assert removed


def test_where_a_file_is_never_the_same_one_it_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on file systems that make up their numbers."""
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    kept = checkpoint(path)
    with pytest.raises(DefinitionError, match="is another file each time"), kept.held():
        pass


def test_where_there_can_be_no_lock_file_that_is_told(path: Path) -> None:
    Path(f"{path}.lock").mkdir()
    kept = checkpoint(path)
    with pytest.raises(DefinitionError, match="cannot be written: Is a directory"), kept.held():
        pass


def test_where_nothing_can_be_locked_nobody_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with checkpoint(path).held():
        pass


def test_a_relative_path_means_where_the_stream_began(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = checkpoint(Path("file"))
    monkeypatch.chdir("/")
    kept.write(KEPT)
    assert checkpoint(path).read() == KEPT


def test_it_is_due_after_the_interval(path: Path) -> None:
    kept = checkpoint(path, interval_s=0.0)
    assert kept.is_due
    kept.write(KEPT)
    assert kept.is_due
    assert not checkpoint(path, interval_s=3600.0).is_due


def test_a_missing_folder_is_seen_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"there is no such folder. Make the folder first"):
        checkpoint(tmp_path / "none" / "file")


def test_a_folder_that_takes_no_files_is_seen_before_the_run() -> None:
    kept = checkpoint(Path("/proc/file"))
    with pytest.raises(DefinitionError, match="/proc/file cannot be written"), kept.held():
        pass


def test_a_file_that_cannot_be_put_aside_is_seen_before_the_run(path: Path) -> None:
    path.with_name("file.new").mkdir()
    kept = checkpoint(path)
    with pytest.raises(DefinitionError, match="file cannot be written"), kept.held():
        pass
    assert not os.path.exists(f"{path}.lock")


def test_who_is_refused_does_not_take_away_what_the_other_one_writes(path: Path) -> None:
    first = checkpoint(path)
    with first.held():
        path.with_name("file.new").write_bytes(b"being written")
        with pytest.raises(DefinitionError, match="in use"), checkpoint(path).held():
            pass
        assert path.with_name("file.new").read_bytes() == b"being written"


def test_a_folder_is_no_checkpoint(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DefinitionError, match="cannot be read"):
        checkpoint(path).read()


def test_a_write_that_fails_leaves_what_was_there(path: Path) -> None:
    kept = checkpoint(path)
    kept.write(KEPT)
    with pytest.raises(TypeError):
        kept.write({"state": object()})
    assert kept.read() == KEPT
    path.with_name("file.new").mkdir()
    with pytest.raises(OSError, match=r"file\.new"):
        kept.write({"taken": 9})
    assert kept.read() == KEPT


def test_a_full_disk_is_not_filled_further_and_not_tried_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = checkpoint(path)
    monkeypatch.setattr(kept, "_written", -1e9)
    assert kept.is_due
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.write(KEPT)
    assert list(path.parent.iterdir()) == []
    assert not kept.is_due


def test_the_environment_names_a_file_for_each_stream(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert named_by_environment() is None
    monkeypatch.setenv(VARIABLE, str(path))
    assert [named_by_environment() for _ in "abc"] == [str(path), f"{path}.2", f"{path}.3"]
    with ambient.stream(1):  # whoever is called again when the stream goes on
        assert named_by_environment() is None


def test_another_programs_is_left_alone_and_both_are_named(path: Path) -> None:
    checkpoint(path).write(KEPT)
    before = path.read_bytes()
    other = [[[["Stage", "triple"]], None, None]]
    with pytest.raises(DefinitionError) as caught:
        checkpoint(path, other).read()
    assert "the checkpoint of another program: its stages are double, total, half" in str(
        caught.value
    )
    assert "those of this one triple." in str(caught.value)
    assert path.read_bytes() == before


def test_a_program_without_stages_is_named_so(path: Path) -> None:
    checkpoint(path).write(KEPT)
    with pytest.raises(DefinitionError, match="those of this one none"):
        checkpoint(path, [[[], None, None]]).read()


@pytest.mark.parametrize("described", [DESCRIBED, 7, "x", [[1]]])
def test_another_versions_is_named(path: Path, described: Any) -> None:
    path.write_bytes(whole(msgpack.packb((VERSION + 1, described, {}))))
    with pytest.raises(DefinitionError, match=f"its format is {VERSION + 1}, this one's {VERSION}"):
        checkpoint(path).read()


def test_a_file_that_is_cut_anywhere_is_no_whole_checkpoint(path: Path) -> None:
    checkpoint(path).write(KEPT)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(
            DefinitionError, match=r"no whole checkpoint.*It was not touched"
        ) as caught:
            checkpoint(path).read()
        assert caught.value.__cause__ is None  # it tells all
        assert path.read_bytes() == whole[:length]


@pytest.mark.parametrize("rest", [b"\x01", b"\xc0", b"\x92\x01\x02", b"\xc1", b"\xa3abcd"])
def test_a_file_with_something_else_in_it_is_none(path: Path, rest: bytes) -> None:
    for content in (MAGIC + rest, whole(rest)):
        path.write_bytes(content)
        with pytest.raises(DefinitionError, match="is no whole checkpoint"):
            checkpoint(path).read()


def test_a_byte_that_changed_is_noticed(path: Path) -> None:
    checkpoint(path).write(KEPT)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x11
        path.write_bytes(changed)
        with pytest.raises(DefinitionError, match=r"no whole checkpoint.*It was not touched"):
            checkpoint(path).read()
