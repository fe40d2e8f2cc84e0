"""Files that are kept for a while."""

from __future__ import annotations

import os
from pathlib import Path

from pypelinin.incremental.links import keep_newest, point


def test_a_link_can_be_moved_on(tmp_path: Path) -> None:
    link = tmp_path / "latest"
    point(link, "one")
    point(link, "two")
    assert os.readlink(link) == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_the_newest_are_kept_and_links_do_not_count(tmp_path: Path) -> None:
    for i in range(4):
        path = tmp_path / f"{i}.log"
        path.touch()
        os.utime(path, (i, i))
    point(tmp_path / "latest.log", "0.log")
    gone = keep_newest(tmp_path.glob("*.log"), 2)
    assert sorted(path.name for path in gone) == ["0.log", "1.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.log", "3.log", "latest.log"]


def test_without_a_number_all_stay(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert keep_newest(tmp_path.iterdir(), None) == []
    assert keep_newest(tmp_path.iterdir(), 0) == []  # that of this run stays
