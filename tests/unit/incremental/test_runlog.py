"""The log files of a run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import runlog
from pypelinin.incremental.outcomes import RecordedJobOutcome

LOG = logging.getLogger("pypelinin.incremental")


def write(path: Path) -> None:
    path.write_text("x")


def fail(path: Path) -> None:
    print("said before")
    raise ValueError("no")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/some/where/study.py"])
    yield tmp_path
    ppg.change_global_pipegraph(None)
    assert LOG.handlers == []


def begin(**options: object) -> ppg.PyPipeGraph:
    usual = {"dir_config": ".ppg", "log_address": None, "log_level": logging.INFO,
             "log_retention": 3}  # fmt: skip
    return ppg.new(**{**usual, **options})


def run() -> None:
    ppg.run(print_failures=False, raise_on_job_error=False)


def test_messages_and_where_they_come_from_are_written() -> None:
    graph = begin()
    graph.time_str = "now"
    ppg.FileGeneratingJob("a", write)
    ppg.FileGeneratingJob("b", fail)
    run()
    messages = Path(".ppg/logs/study-now.messages.log").read_text()
    assert "FileGeneratingJob: a is done after" in messages
    assert "FileGeneratingJob: b failed after" in messages
    assert "DEBUG" not in messages
    signs = [line.split("\t") for line in Path(".ppg/logs/latest.lookup").read_text().splitlines()]
    assert [place.rpartition("/")[2].partition(":")[0] for _, place, _ in signs] == [
        "runlog.py"
    ] * len(signs)
    assert all(f" {sign} " in messages for sign, _, _ in signs)
    assert os.readlink(".ppg/logs/latest.messages") == "study-now.messages.log"


def test_what_a_job_logs_in_its_process_is_in_the_file() -> None:
    def logs(path: Path) -> None:
        logging.getLogger("pypelinin.incremental").error("from inside")
        path.write_text("x")

    begin()
    ppg.FileGeneratingJob("a", logs)
    run()
    assert "from inside" in Path(".ppg/logs/latest.messages").read_text()


def test_logs_of_old_runs_are_removed() -> None:
    Path(".ppg/logs").mkdir(parents=True)
    for i in range(5):
        for kind in ("messages", "lookup"):
            path = Path(f".ppg/logs/study-{i}.{kind}.log")
            path.touch()
            os.utime(path, (i, i))
    begin(log_retention=2).time_str = "now"
    run()
    assert sorted(path.name for path in Path(".ppg/logs").glob("*.messages.log")) == [
        "study-4.messages.log", "study-now.messages.log",
    ]  # fmt: skip


def test_logs_can_be_switched_off() -> None:
    begin(dir_config=ppg.DirConfig(".ppg", log_dir=None))
    run()
    assert not Path(".ppg/logs").exists()


def test_a_log_that_cannot_be_written_fails_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".ppg").mkdir()
    Path(".ppg/logs").touch()
    begin()
    ppg.FileGeneratingJob("a", write)
    assert ppg.run()["a"].outcome is ppg.JobOutcome.Success
    assert "log is not written" in capsys.readouterr().err


def test_the_files_of_the_first_version_are_written_where_their_folder_is() -> None:
    Path("logs").mkdir()
    Path("logs/ppg_errors.txt").write_text("old")
    begin()
    ppg.FileGeneratingJob("b", fail).depends_on(ppg.FileGeneratingJob("a", write))
    run()
    told = Path("logs/ppg_run.txt").read_text()
    assert "FileGeneratingJob: a is handed out." in told
    assert "a: Success, there is no record of a success." in told
    errors = Path("logs/ppg_errors.txt").read_text()
    assert "ValueError: no" in errors
    assert "said before" in errors
    assert Path("logs/ppg_errors.txt.1").read_text() == "old"
    graph = Path("logs/ppg_graph.txt").read_text().splitlines()
    place = graph.index("FileGeneratingJob b")
    assert "  a" in graph[place : place + 3]


def test_without_that_folder_none_of_them_is_written() -> None:
    begin()
    run()
    assert not Path("logs").exists()


def test_jobs_that_took_long_are_in_a_table(tmp_path: Path) -> None:
    outcomes = [
        RecordedJobOutcome(name, ppg.JobOutcome.Success, start_time=0.0, stop_time=took)
        for name, took in (("a", 0.9), ("b", 1.0), ("c", 2.5))
    ]
    outcomes.append(RecordedJobOutcome("d", ppg.JobOutcome.Skipped))
    runlog.write_runtimes(tmp_path / "runtimes.tsv", outcomes)
    assert (tmp_path / "runtimes.tsv").read_text() == ("runtime_s\tjob_id\n2.500\tc\n1.000\tb\n")


def test_the_table_of_the_last_run_can_be_asked_for() -> None:
    graph = begin()
    ppg.FileGeneratingJob("a", write)
    run()
    graph.dump_runtimes("times.tsv")
    assert Path("times.tsv").read_text() == Path(".ppg/logs/runtimes.tsv").read_text()


def test_warnings_are_told_unless_the_program_has_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    told = runlog.Told(said.append)
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "careful", (), None)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    told.handle(record)
    assert said == ["careful"]
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    told.handle(record)
    assert said == ["careful"]


def test_a_file_is_opened_anew_in_a_fork(tmp_path: Path) -> None:
    handler = runlog.LogFile(tmp_path / "log")
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "there", (), None)
    pid = os.fork()
    if not pid:
        os.close(handler._descriptor)  # what happens in a slot
        with open(os.devnull):  # it may have the number now
            handler.emit(record)
        os._exit(0)
    os.waitpid(pid, 0)
    handler.close()
    assert (tmp_path / "log").read_text().endswith("INFO    there\n")


@pytest.mark.parametrize(("argv", "name"), [(["a/run.py"], "run"), ([], "interactive"),
                                            (["-c"], "c")])  # fmt: skip
def test_logs_have_the_name_of_the_script(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert runlog.script_name() == name
