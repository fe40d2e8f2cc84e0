"""Where the lines of a run go."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.tasks.exceptions import PipelineError
from pypelinin.tasks.run_log import LOGGER, RunLog, new_directory

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


def test_directories_of_one_name_have_numbers(tmp_path: Path) -> None:
    made = [new_directory(str(tmp_path), "run") for _ in range(3)]
    assert [Path(path).name for path in made] == ["run", "run_2", "run_3"]
    with pytest.raises(PipelineError, match="cannot be made"):
        new_directory(str(tmp_path / "gone"), "run")
