"""Where the lines of a run go."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.tasks.exceptions import PipelineError
from pypelinin.tasks.run_log import EXCEPTIONS, LOG, LOGGER, RunLog, new_directory

SCRIPT = """
import logging, sys
if len(sys.argv) > 2:
    logging.basicConfig(level=sys.argv[2], format="root %(message)s", stream=sys.stderr)
from pypelinin.tasks.run_log import RunLog
with RunLog(sys.argv[1]) as log:
    log.say("a line")
    log.say("a failure", logging.ERROR, "X()", "Slot-1", 0.25)
"""


def shown(directory: Path, *level: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, str(directory), *level]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_without_logging_it_is_shown_on_stderr(tmp_path: Path) -> None:
    lines = shown(tmp_path)
    assert lines == (tmp_path / "pipeline.log").read_text().splitlines()
    assert lines[0].split(maxsplit=2)[2].split() == [
        "INFO", "MainProcess", "pypelinin.tasks", "a", "line",
    ]  # fmt: skip
    assert lines[1].endswith("ERROR    Slot-1       X()                            a failure")


def test_a_level_of_the_logger_is_enough_to_be_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", False)
    with RunLog(str(tmp_path)) as log:
        log.say("shown")
        monkeypatch.setattr(LOGGER, "level", logging.ERROR)
        LOGGER.manager._clear_cache()  # type: ignore[attr-defined]  # as setLevel() does
        log.say("quiet")
        monkeypatch.undo()
        LOGGER.manager._clear_cache()  # type: ignore[attr-defined]  # typeshed lacks it
    monkeypatch.setattr(LOGGER, "propagate", False)
    with RunLog(str(tmp_path)) as log:
        monkeypatch.setattr(LOGGER.manager, "_disable", logging.CRITICAL)
        log.say("quiet", logging.ERROR)
    assert "shown" in (told := capsys.readouterr().err)
    assert "quiet" not in told


def test_with_logging_its_levels_hold(tmp_path: Path) -> None:
    assert shown(tmp_path, "INFO") == ["root a line", "root a failure"]
    assert shown(tmp_path, "WARNING") == ["root a failure"]
    assert len((tmp_path / "pipeline.log").read_text().splitlines()) == 4, "the file has all"


def test_nothing_stays_behind(tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:], LOGGER.handlers[:], LOGGER.level
    with RunLog(str(tmp_path)) as log:
        log.say("100 %s")
        log.failed("X()", "Traceback\nKeyError\n")
        log.failed("Y()", "Traceback \udcff")
    assert (logging.getLogger().handlers, LOGGER.handlers, LOGGER.level) == before
    assert "100 %s" in (tmp_path / "pipeline.log").read_text()
    told = (tmp_path / "exception.log").read_text()
    assert told == "X()\nTraceback\nKeyError\n\nY()\nTraceback \\udcff\n\n"


def test_on_a_full_disk_the_log_ends_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (LOG, EXCEPTIONS):
        (tmp_path / name).symlink_to("/dev/full")
    with caplog.at_level(logging.INFO), RunLog(str(tmp_path)) as log:
        log.say("flushed")
        log.say("only shown")
        log.failed("X()", "Traceback")
    ends, flushed, shown, lacks = caplog.messages
    assert ends.startswith(f"{tmp_path / LOG} ends too early: [Errno 28] No space left")
    assert (flushed, shown) == ("flushed", "only shown")
    assert lacks.startswith(f"{tmp_path / EXCEPTIONS} lacks what follows: [Errno 28]")
    assert lacks.endswith("\nTraceback")


def test_what_is_lost_at_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / LOG).symlink_to("/dev/full")
    with RunLog(str(tmp_path)) as log:
        log._flushed_at = float("inf")  # it all waits in memory
        log.say("waits")
    assert "ends too early" in caplog.text


def test_directories_of_one_name_have_numbers(tmp_path: Path) -> None:
    made = [new_directory(str(tmp_path), "run") for _ in range(3)]
    assert [Path(path).name for path in made] == ["run", "run_2", "run_3"]
    with pytest.raises(PipelineError, match="cannot be made"):
        new_directory(str(tmp_path / "gone"), "run")
