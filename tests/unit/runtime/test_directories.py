from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypelinin.runtime.directories import Directory, place_of, working_directory
from pypelinin.runtime.values import pack_header


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def header(place: object) -> bytes:
    return pack_header(b"m\xc0", {}, str(place))


def test_a_run_is_in_the_directory_of_its_client(home: Path, tmp_path: Path) -> None:
    directory = Directory(moves=True)
    directory.enter(1, header(tmp_path))
    assert Path.cwd() == tmp_path
    directory.enter(2, header(home))
    assert Path.cwd() == home
    directory.enter(1, header(tmp_path))
    directory.leave()
    assert Path.cwd() == home


@pytest.mark.parametrize("place", ["", "gone"])
def test_what_is_not_there_is_the_brokers(home: Path, tmp_path: Path, place: str) -> None:
    directory = Directory(moves=True)
    directory.enter(1, header(tmp_path))
    directory.enter(2, header(place and tmp_path / place))
    assert Path.cwd() == home


def test_what_a_job_changes_stays_within_its_run(home: Path, tmp_path: Path) -> None:
    directory = Directory(moves=True)
    directory.enter(1, header(home))
    os.chdir(tmp_path)
    directory.enter(1, header(home))
    assert Path.cwd() == tmp_path
    directory.enter(2, header(home))
    assert Path.cwd() == home


def test_of_another_process_it_is_left_alone(home: Path, tmp_path: Path) -> None:
    directory = Directory(moves=False)
    directory.enter(1, header(tmp_path))
    directory.leave()
    assert Path.cwd() == home


def test_payloads_that_say_no_directory() -> None:
    assert place_of(b"m\xc0") == ""
    assert place_of(b"") == ""
    assert place_of(header("/somewhere")) == "/somewhere"


def test_a_directory_that_is_gone_has_no_name(tmp_path: Path, home: Path) -> None:
    assert working_directory() == str(home)
    home.rmdir()
    assert working_directory() == ""
    os.chdir(tmp_path)
