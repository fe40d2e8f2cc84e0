"""What a run notes of why its jobs ran, and the texts that it keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine import entry as why
from pypelinin.incremental import start
from pypelinin.incremental.functions import text_of_function
from pypelinin.incremental.graph import Options, PyPipeGraph
from pypelinin.incremental.history import History
from pypelinin.incremental.reasons import TEXTS, Reason, packed, reason_of


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], PyPipeGraph]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield lambda: ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg")
    ppg.change_global_pipegraph(None)


def write(text: str) -> Callable[[Path], Any]:
    return lambda path, text=text: path.write_text(text)


def reason(job: str) -> Reason:
    with closing(History(Path(".ppg/history/history.sqlite3"), read_only=True)) as history:
        found = reason_of(history, job)
    assert found is not None
    return found


def changes(job: str) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in reason(job).changes]


def test_a_first_run_has_no_record(new: Callable[[], PyPipeGraph]) -> None:
    new()
    ppg.FileGeneratingJob("out", write("1"))
    ppg.run()
    assert reason("out")[1:] == ("Success", why.NEW, ())
    assert reason("out").text == "there is no record of a success"


def test_every_reason_has_a_text() -> None:
    assert set(TEXTS) == set(range(1, 17))


def test_a_changed_parameter_and_its_texts_are_noted(new: Callable[[], PyPipeGraph]) -> None:
    for value in ({"x": 1}, {"x": 2}):
        new()
        ppg.FileGeneratingJob("out", write("1")).depends_on_params(value)
        outcome = ppg.run()["out"]
    assert changes("out") == [("changed", "PIout")]
    (change,) = reason("out").changes
    assert outcome.changes == (change,)
    with closing(History(Path(".ppg/history/history.sqlite3"), read_only=True)) as history:
        assert history.text_of(change.old) == "{'x': 1}"
        assert history.text_of(change.new) == "{'x': 2}"


def test_a_changed_function_is_noted_with_both_texts(new: Callable[[], PyPipeGraph]) -> None:
    for text in ("one", "two"):
        new()
        ppg.FileGeneratingJob("out", write(text))
        ppg.run()
    (change,) = reason("out").changes
    with closing(History(Path(".ppg/history/history.sqlite3"), read_only=True)) as history:
        old, new_text = history.text_of(change.old), history.text_of(change.new)
    assert old is not None
    assert new_text is not None
    assert "# by default text = 'one'" in old
    assert new_text == old.replace("'one'", "'two'")


def test_a_changed_file_has_its_size_and_time_before_and_now(
    new: Callable[[], PyPipeGraph],
) -> None:
    stats = []
    for text in ("one", "longer"):
        Path("in.txt").write_text(text)
        stats.append(os.stat("in.txt"))
        new()
        ppg.FileGeneratingJob("out", write("1")).depends_on_file("in.txt")
        ppg.run()
    (change,) = reason("out").changes
    assert (change.kind, change.name) == ("changed", "in.txt")
    assert [change.was, change.now] == [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def test_added_and_removed_inputs_are_named(new: Callable[[], PyPipeGraph]) -> None:
    for name in ("a", "b"):
        new()
        job = ppg.FileGeneratingJob("out", write("1"))
        job.depends_on(ppg.ParameterInvariant(name, 1))
        ppg.run()
    assert reason("out").number == why.INPUTS
    assert changes("out") == [("removed", "PIa"), ("added", "PIb")]


def test_a_missing_and_an_altered_output_are_told_apart(new: Callable[[], PyPipeGraph]) -> None:
    for disturb in (None, Path.unlink, lambda path: path.write_text("by hand")):
        if disturb is not None:
            disturb(Path("out"))
        new()
        ppg.FileGeneratingJob("out", write("1"))
        ppg.run()
        if disturb is Path.unlink:
            assert (reason("out").number, changes("out")) == (why.ABSENT, [("missing", "out")])
    assert (reason("out").number, changes("out")) == (why.ALTERED, [("altered", "out")])
    (change,) = reason("out").changes
    assert change.was is not None
    assert change.now is not None
    assert (change.was.size, change.now.size) == (1, 7)


def test_a_temporary_file_is_made_for_who_needs_it(new: Callable[[], PyPipeGraph]) -> None:
    for text in ("1", "2"):
        new()
        ppg.FileGeneratingJob("out", write(text)).depends_on(
            ppg.TempFileGeneratingJob("temp", write("t"))
        )
        ppg.run()
    assert (reason("temp").number, changes("temp")) == (why.WOKEN, [("needed", "out")])


def test_a_failure_keeps_why_it_ran_and_blocks_with_a_name(
    new: Callable[[], PyPipeGraph],
) -> None:
    def fails(path: Path) -> None:
        raise ValueError("no")

    new()
    bad = ppg.FileGeneratingJob("bad", fails)
    ppg.FileGeneratingJob("after", write("1")).depends_on(bad)
    outcomes = ppg.run(raise_on_job_error=False, print_failures=False)
    assert reason("bad")[1:3] == ("Failed", why.NEW)
    assert reason("after")[1:3] == ("UpstreamFailed", why.BROKEN)
    assert changes("after") == [("failed", "bad")]
    assert [change.name for change in outcomes["after"].changes] == ["bad"]


def test_a_job_that_did_its_work_and_failed_all_the_same_is_noted_as_failed(
    new: Callable[[], PyPipeGraph],
) -> None:
    for attempt in (1, 2):
        new()
        temp = ppg.TempFileGeneratingJob("temp", lambda path: path.write_bytes(os.urandom(8)))
        ppg.FileGeneratingJob("out", write(str(attempt))).depends_on(temp)
        ppg.run(raise_on_job_error=False, print_failures=False)
    assert reason("temp")[1:3] == ("Failed", why.WOKEN)


def test_a_job_that_rested_keeps_the_reason_of_its_last_run(
    new: Callable[[], PyPipeGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    for today in ("2030-01-01", "2030-01-02"):
        monkeypatch.setattr("time.strftime", lambda *_, today=today: today)
        new()
        ppg.FileGeneratingJob("out", write("1"))
        ppg.run()
    with closing(History(Path(".ppg/history/history.sqlite3"), read_only=True)) as history:
        assert history.meta.get("last run") == "2030-01-02"
    assert reason("out").run == "2030-01-01"


def test_a_reason_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with closing(History(tmp_path / "history.sqlite3")) as history:
        history.reasons.put("out", packed(Reason("run", "Success", 2))[:-1])
        with pytest.raises(ppg.HistoryLoadingFailed, match="reason of 'out'"):
            reason_of(history, "out")


# --- texts of functions -------------------------------------------------------------------------


class Badly:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_the_text_of_a_function_has_what_it_brings_along() -> None:
    outside, bad = [1, 2], Badly()

    def function(path: Path, one: int = 1, *, two: str = "2") -> Any:
        return outside, bad

    lines = text_of_function(function).splitlines()
    assert lines[0] == 'def function(path: Path, one: int = 1, *, two: str = "2") -> Any:'
    assert lines[2:4] == ["# by default one = 1", "# by default two = '2'"]
    assert lines[4] == "# outside bad = a Badly whose repr fails: RuntimeError('no repr')"
    assert lines[5] == "# outside outside = [1, 2]"


def test_what_has_no_source_is_named() -> None:
    assert text_of_function(len) == "<built-in function len>"
    assert text_of_function(Badly).startswith("class Badly")
    made: dict[str, Any] = {}
    exec("def made(): pass", made)
    assert text_of_function(made["made"]) == "made: no source"
