"""The benchmark of tasks runs and says what it measured; how fast it was is not asked here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tasks import CASES, Result

ROOT = Path(__file__).parents[2]


def test_every_case_runs_and_is_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.tasks", "--runs", "1", "--tasks", "300"]
    done = subprocess.run(
        [*command, "--write", str(tmp_path / "page.md")], cwd=ROOT, capture_output=True,
        text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.md").read_text()
    assert text.strip() == done.stdout.strip()
    rows = {row.split(" | ")[0][2:]: row.split(" | ") for row in text.splitlines() if " | " in row}
    assert [case.name for case in CASES if case.name not in rows] == []
    ran = {name: int(row[2].replace(",", "")) for name, row in rows.items() if name != "case"}
    assert ran["first run, layers"] == 300
    assert ran["unchanged, layers"] == 0
    assert ran["one of the layer in the middle changed"] == 3
    assert str(tmp_path) not in text
    assert not list(ROOT.glob("tasks-*"))


@pytest.mark.parametrize(("seconds", "missed"), [([0.1, 0.9, 0.9], False), ([0.1, 1.1, 1.2], True)])
def test_a_bar_is_a_limit_of_the_median(seconds: list[float], missed: bool) -> None:
    result = Result(CASES[0], 1000, seconds, 1000, [0.1], [0.01])
    assert result.is_missed is missed
    assert ("missed" in result.line()) is missed
