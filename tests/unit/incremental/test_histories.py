"""Histories are found, listed, compared, and forget what they shall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import histories, start
from pypelinin.incremental.graph import Options
from pypelinin.incremental.history import History

HISTORY = Path(".ppg/history/history.sqlite3")


def write(path: Path) -> None:
    path.write_text("x")


def run(value: int = 1, more: str = "more", root: str = ".ppg") -> None:
    ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=root)
    out = ppg.FileGeneratingJob("out", write)
    out.depends_on_params(value)
    ppg.FileGeneratingJob(more, write).depends_on(out)
    ppg.MultiFileGeneratingJob(["a.txt", "b.txt"], lambda paths: list(map(write, paths)))
    ppg.run()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    run()
    yield tmp_path
    ppg.change_global_pipegraph(None)


def test_a_history_is_found_by_its_root_or_from_below(here: Path) -> None:
    (here / "inner").mkdir()
    assert histories.find(here / "inner") == (here, [here / HISTORY])
    for root in (".ppg", ".ppg/history", str(HISTORY)):
        assert histories.find(here, root) == (here, [HISTORY])
    assert histories.find(here, "elsewhere") == (here, [])
    assert histories.find(Path("/nowhere")) == (Path("/nowhere"), [])


def test_an_overview_has_a_line_for_each_job() -> None:
    with closing(History(HISTORY, read_only=True)) as history:
        lines = list(histories.overview(history))
        facts = histories.facts(history)
    assert [(line.job, line.has_record, line.outcome) for line in lines] == [
        ("a.txt:::b.txt", True, "Success"), ("more", True, "Success"), ("out", True, "Success"),
    ]  # fmt: skip
    assert facts["records"] == 3
    assert facts["last_run"] == lines[0].run
    assert facts["imported"] is None


def test_a_record_is_shown_with_the_texts_of_its_inputs() -> None:
    with closing(History(HISTORY, read_only=True)) as history:
        document = histories.record_document(history, "out")
        assert histories.record_document(history, "gone") is None
    assert document is not None
    assert document["kind"] == "FileGeneratingJob"
    assert document["inputs"]["PIout"]["text"] == "1"
    assert "def write" in document["inputs"]["FIwrite"]["text"]
    assert len(document["outputs"]["out"]["blake2b"]) == 32


@pytest.mark.parametrize(
    ("names", "forgotten"),
    [
        (["out"], ["out"]), (["b.txt"], ["a.txt:::b.txt"]), (["?o*"], ["more"]),
        (["*.txt", "out"], ["a.txt:::b.txt", "out"]),
    ],
)  # fmt: skip
def test_what_is_forgotten_runs_again(names: list[str], forgotten: list[str]) -> None:
    with closing(History(HISTORY)) as history:
        assert histories.forget(history, names) == forgotten
    with closing(History(HISTORY, read_only=True)) as history:
        assert not set(history.packed) & set(forgotten)
    run()
    outcomes = ppg.global_pipegraph.last_run_result
    ran = {job for job in ("out", "more", "a.txt:::b.txt") if outcomes[job].start_time}
    assert ran == set(forgotten)


def test_nothing_is_forgotten_if_one_name_stands_for_nothing() -> None:
    with closing(History(HISTORY)) as history:
        for unknown in ("gone", "*.gone"):
            with pytest.raises(KeyError):
                histories.forget(history, ["out", unknown])
        assert "out" in history.packed


def test_two_histories_are_compared() -> None:
    run(value=2, more="other", root="second")
    with (
        closing(History(HISTORY, read_only=True)) as before,
        closing(History(Path("second/history/history.sqlite3"), read_only=True)) as now,
    ):
        compared = histories.compare(before, now)
        assert not any(histories.compare(now, now))
    assert (compared.only_before, compared.only_now) == (["more"], ["other"])
    assert list(compared.changed) == ["out"]
    (difference,) = compared.changed["out"]
    assert difference.change.name == "PIout"
    assert difference.diff[-2:] == ("-1", "+2")


def test_added_and_removed_inputs_are_differences() -> None:
    ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config="second")
    ppg.FileGeneratingJob("out", write).depends_on(ppg.ParameterInvariant("other", 1))
    ppg.run()
    with (
        closing(History(HISTORY, read_only=True)) as before,
        closing(History(Path("second/history/history.sqlite3"), read_only=True)) as now,
    ):
        differences = histories.compare(before, now).changed["out"]
    assert [(one.change.kind, one.change.name) for one in differences] == [
        ("removed", "PIout"), ("added", "PIother"),
    ]  # fmt: skip


def test_files_are_compared_with_the_history() -> None:
    with closing(History(HISTORY, read_only=True)) as history:
        assert histories.compare_with_files(history, Path()) == {}
        Path("out").unlink()
        Path("b.txt").write_text("other")
        changed = histories.compare_with_files(history, Path())
    kinds = {job: [one.change.kind for one in found] for job, found in changed.items()}
    assert kinds == {"a.txt:::b.txt": ["altered"], "out": ["missing"]}
