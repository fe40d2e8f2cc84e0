"""Explanations out of a history, without the script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import start
from pypelinin.incremental.explaining import (
    Explanation,
    diff_of,
    explain,
    histories_below,
    known_as,
    project_of,
)
from pypelinin.incremental.graph import Options
from pypelinin.incremental.history import History

HISTORY = Path(".ppg/history/history.sqlite3")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield tmp_path
    ppg.change_global_pipegraph(None)


def new() -> None:
    ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg")


def write(text: str) -> Callable[[Path], Any]:
    return lambda path, text=text: path.write_text(text)


def explained(job: str, project: Path | None = None) -> Explanation:
    with closing(History(HISTORY, read_only=True)) as history:
        return explain(history, job, project)


def run(text: str, value: int) -> None:
    new()
    job = ppg.FileGeneratingJob("out", write(text))
    job.depends_on_file("in.txt")
    job.depends_on_params({"value": value})
    ppg.run()


def test_an_explanation_says_what_changed_with_diffs(here: Path) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    Path("in.txt").write_text("longer")
    run("2", 2)
    lines = explained("out").lines()
    assert lines[0].startswith("out: it ran on ")
    assert lines[0].endswith(", as what it reads changed.")
    text = "\n".join(lines)
    assert "-# by default text = '1'" in text
    assert "+# by default text = '2'" in text
    assert "-{'value': 1}" in text
    assert "in.txt changed: 3 bytes of " in text
    assert "-> 6 bytes of " in text
    assert lines[-1] == "By now no file that it reads or makes has changed."


def test_what_has_changed_since_is_why_it_would_run(here: Path) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    assert not explained("out").document()["would_run"]
    Path("in.txt").write_text("two")
    os.utime("in.txt", (1, 1))
    document = explained("out").document()
    assert document["would_run"]
    assert [(one["kind"], one["name"]) for one in document["since"]] == [("changed", "in.txt")]
    Path("out").write_text("altered")
    assert {one.change.kind for one in explained("out").since} == {"changed", "altered"}
    Path("out").unlink()
    lines = explained("out").lines()
    assert "Now it would run:" in lines
    assert lines[lines.index("Now it would run:") + 1].startswith("  out is missing: 1 bytes of")


def test_a_touched_file_is_not_a_changed_one(here: Path) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    os.utime("in.txt", (1, 1))
    assert explained("out").since == ()


def test_paths_begin_where_the_project_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    (here / "inner").mkdir()
    monkeypatch.chdir(here / "inner")
    with closing(History(here / HISTORY, read_only=True)) as history:
        assert explain(history, "out", here).since == ()
        assert [one.change.kind for one in explain(history, "out").since] == ["missing"]


def test_a_temporary_file_that_is_gone_is_as_it_should_be(here: Path) -> None:
    new()
    temp = ppg.TempFileGeneratingJob("temp", write("t"))
    ppg.FileGeneratingJob("out", write("1")).depends_on(temp)
    ppg.run()
    assert not Path("temp").exists()
    assert explained("temp").since == ()
    assert explained("out").since == ()


def test_a_job_that_failed_has_no_record_and_would_run(here: Path) -> None:
    def fails(path: Path) -> None:
        raise ValueError("no")

    new()
    bad = ppg.FileGeneratingJob("bad", fails)
    ppg.FileGeneratingJob("after", write("1")).depends_on(bad)
    ppg.run(raise_on_job_error=False, print_failures=False)
    lines = explained("bad").lines()
    assert lines[0].startswith("bad: it failed on ")
    assert lines[-1] == "It has no record of a success, so it would run."
    lines = explained("after").lines()
    assert lines[0].startswith("after: it was not begun on ")
    assert lines[1] == "  bad failed"


def test_a_job_is_found_by_each_of_its_files(here: Path) -> None:
    new()
    ppg.MultiFileGeneratingJob(["a", "b"], lambda paths: [path.touch() for path in paths])
    ppg.run()
    with closing(History(HISTORY, read_only=True)) as history:
        assert known_as(history, "b") == known_as(history, "./a") == "a:::b"
        assert known_as(history, "c") is None
        with pytest.raises(KeyError):
            explain(history, "c")


def test_a_record_without_a_reason_is_older(here: Path) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    with closing(History(HISTORY)) as history:
        history.reasons.drop("out")
        history.commit()
    assert explained("out").lines()[0] == "out: its record is older than the reasons that are kept."


def test_a_rest_in_the_last_run_is_said(here: Path) -> None:
    Path("in.txt").write_text("one")
    run("1", 1)
    with closing(History(HISTORY)) as history:
        history.meta.put("last run", "2050-01-01")
        history.commit()
    assert "In the last run, 2050-01-01, it was not run." in explained("out").lines()[0]


def test_diffs_of_texts() -> None:
    assert diff_of("x", None, "new") == ()
    assert diff_of("x", "same", "same") == ("(its text is the same: the byte code differs)",)
    assert diff_of("x", "a\nb", "a\nc") == (
        "--- x (before)", "+++ x (now)", "@@ -1,2 +1,2 @@", " a", "-b", "+c",
    )  # fmt: skip
    long = f"[{', '.join(map(str, range(100)))}]"
    lines = diff_of("x", long, long.replace(" 50,", " 51,"))
    assert [line for line in lines if line[0] in "+-"][2:] == ["-50,", "+51,"]
    many = diff_of("x", "", "\n".join(map(str, range(500))))
    assert many[-1].startswith("... ")
    assert len(many) == 201


def test_histories_are_found_from_below_and_the_newest_comes_first(here: Path) -> None:
    for age, name in enumerate(("new", "old")):
        path = here / ".ppg/per_script" / name / "history/history.sqlite3"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert [path.parts[-3] for path in histories_below(here)] == ["new", "old"]
    (here / "a/b").mkdir(parents=True)
    assert project_of(here / "a/b") == here
    assert histories_below(here / "a") == []
