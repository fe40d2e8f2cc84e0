"""What slots tell is read once, whole, and in order."""

from __future__ import annotations

import json
from pathlib import Path

from pypelinin.tasks.hearing import Hearing
from pypelinin.tasks.inside.telling import Teller


def line(time: float, text: str) -> str:
    return json.dumps([time, 20, "Slot-1", "X()", text, ""]) + "\n"


def test_new_lines_of_all_slots_the_oldest_first(tmp_path: Path) -> None:
    hearing = Hearing(str(tmp_path))
    assert hearing.new() == []
    (tmp_path / "a.jsonl").write_text(line(1.0, "one") + line(4.0, "four"))
    (tmp_path / "b.jsonl").write_text(line(2.0, "two"))
    (tmp_path / "marker").write_text("no line")
    assert [told.text for told in hearing.new()] == ["one", "two", "four"]
    assert hearing.new() == []
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(line(5.0, "five"))
    assert [told.text for told in hearing.new()] == ["five"]


def test_a_line_that_is_not_whole_waits_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    hearing = Hearing(str(tmp_path))
    whole = line(1.0, "one")
    (tmp_path / "a.jsonl").write_text(whole[:10])
    assert hearing.new() == []
    (tmp_path / "a.jsonl").write_text(whole + "[1, 2\n[1]\n" + line(2.0, "two"))
    assert [told.text for told in hearing.new()] == ["one", "two"]


def test_it_understands_what_a_task_tells(tmp_path: Path) -> None:
    Teller(str(tmp_path), "X()").tell("Starting", status="RUNNING")
    (told,) = Hearing(str(tmp_path)).new()
    assert (told.task, told.text, told.status, told.level) == ("X()", "Starting", "RUNNING", 20)
    assert told.process.startswith("Slot-")


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    assert Hearing(str(tmp_path / "gone")).new() == []
