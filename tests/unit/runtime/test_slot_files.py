"""Files without a name: read by place, given back to the disk, gone with the last user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypelinin.runtime.slot_files import SlotFile, slot_files


def test_what_is_appended_is_read_by_its_place(tmp_path: Path) -> None:
    file = SlotFile(str(tmp_path))
    assert file.size() == 0
    os.write(file.fd, b"one")
    os.write(file.fd, b"two")
    assert (file.size(), file.read(3, 6), file.read(3, 99)) == (6, b"two", b"two")
    assert os.listdir(tmp_path) == []
    file.let_go()


def test_it_is_closed_when_its_last_user_lets_it_go(tmp_path: Path) -> None:
    file = SlotFile(str(tmp_path))
    file.use()
    file.let_go()
    assert file.size() == 0
    file.let_go()
    with pytest.raises(OSError):
        file.size()


def test_a_file_system_that_has_no_nameless_files_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    file = SlotFile(str(tmp_path))
    os.write(file.fd, b"one")
    assert (file.read(0, 3), os.listdir(tmp_path)) == (b"one", [])
    file.let_go()


def test_what_nobody_reads_any_more_goes_back_to_the_disk(tmp_path: Path) -> None:
    file = SlotFile(str(tmp_path))
    os.write(file.fd, b"x" * (4 * 2**20))
    os.fsync(file.fd)
    before = os.fstat(file.fd).st_blocks
    file.free(2**20 - 1)  # not worth it
    assert os.fstat(file.fd).st_blocks == before
    file.free(3 * 2**20 + 5)
    assert file.size() == 4 * 2**20
    assert file.read(3 * 2**20 + 5, 4 * 2**20) == b"x" * (2**20 - 5)
    assert os.fstat(file.fd).st_blocks * 512 < 2 * 2**20
    file.let_go()


def test_one_that_was_emptied_is_given_back_from_its_begin(tmp_path: Path) -> None:
    file = SlotFile(str(tmp_path))
    os.write(file.fd, b"x" * (3 * 2**20))
    file.free(3 * 2**20)
    os.ftruncate(file.fd, 0)
    file.begin_again()
    os.write(file.fd, b"y" * (2 * 2**20))
    os.fsync(file.fd)
    assert file.is_worth_freeing(2 * 2**20)
    file.free(2 * 2**20)
    assert os.fstat(file.fd).st_blocks * 512 < 2**20
    file.let_go()


def test_there_are_two_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = slot_files(str(tmp_path))
    assert pair[0].fd != pair[1].fd
    for file in pair:
        file.let_go()
    before = len(os.listdir("/proc/self/fd"))
    real, opened = os.open, []

    def once(path: str, flags: int, mode: int = 0o777) -> int:
        if opened:
            raise OSError("too many open files")
        opened.append(path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", once)
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr("tempfile.mkstemp", lambda dir: (real(dir, os.O_RDONLY), dir + "/x"))
    (tmp_path / "x").touch()
    with pytest.raises(OSError):
        slot_files(str(tmp_path))
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
