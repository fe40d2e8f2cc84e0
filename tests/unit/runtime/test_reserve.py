from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from pypelinin.runtime import reserve as module
from pypelinin.runtime.reserve import FILE, RESERVE_BYTES, ROOMY_BYTES, Reserve, is_full


class Disk:
    """Says how much is free on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes: int | None = 10 * RESERVE_BYTES
        monkeypatch.setattr(module.os, "statvfs", self._told)

    def _told(self, _path: object) -> SimpleNamespace:
        blocks = 0 if self.free_bytes is None else 1000
        return SimpleNamespace(f_blocks=blocks, f_bavail=self.free_bytes or 0, f_frsize=1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_with_room_it_is_held_and_nothing_is_short(tmp_path: Path, disk: Disk) -> None:
    reserve = Reserve(tmp_path)
    assert not reserve.held
    reserve.look()
    assert reserve.held
    assert reserve.short == ""
    assert os.stat(tmp_path / FILE).st_blocks * 512 >= RESERVE_BYTES


@pytest.mark.parametrize(("free", "short"), [(RESERVE_BYTES - 1, True), (RESERVE_BYTES, False)])
def test_little_room_beside_it_is_said(tmp_path: Path, disk: Disk, free: int, short: bool) -> None:
    reserve = Reserve(tmp_path)
    reserve.look()
    disk.free_bytes = free
    reserve.look()
    assert bool(reserve.short) == short
    assert reserve.held


def test_it_is_not_made_of_the_last_room(tmp_path: Path, disk: Disk) -> None:
    reserve = Reserve(tmp_path)
    disk.free_bytes = 2 * RESERVE_BYTES - 1
    reserve.look()
    assert not reserve.held
    assert reserve.short == f"The disk of the journal {tmp_path} is full: only 33.6 MB free."


def test_what_was_given_is_taken_again_when_that_is_wanted(tmp_path: Path, disk: Disk) -> None:
    reserve = Reserve(tmp_path)
    reserve.look()
    reserve.give()
    reserve.give()
    assert not reserve.held
    reserve.look(fill=False)
    assert not reserve.held
    assert reserve.short
    reserve.look()
    assert reserve.held
    assert not reserve.short


def test_a_file_system_that_does_not_tell_is_trusted(tmp_path: Path, disk: Disk) -> None:
    reserve = Reserve(tmp_path)
    disk.free_bytes = None
    reserve.look()
    assert reserve.held
    assert reserve.short == ""
    assert not reserve.roomy


def test_a_reserve_that_cannot_be_made_is_short(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", refuse)
    reserve = Reserve(tmp_path)
    reserve.look()
    assert reserve.short
    assert not (tmp_path / FILE).exists()


def test_roomy_begins_at_its_limit(tmp_path: Path, disk: Disk) -> None:
    reserve = Reserve(tmp_path)
    disk.free_bytes = ROOMY_BYTES - 1
    assert not reserve.roomy
    disk.free_bytes = ROOMY_BYTES
    assert reserve.roomy


def test_a_full_database_is_told_from_other_errors() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (x)")
    db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.Error) as raised:
        db.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert is_full(raised.value)
    with pytest.raises(sqlite3.Error) as raised:
        db.execute("INSERT INTO nothing VALUES (1)")
    assert not is_full(raised.value)
    db.close()
    assert not is_full(OSError(28, "No space left on device"))
