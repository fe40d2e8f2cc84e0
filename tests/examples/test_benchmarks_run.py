"""The benchmarks run and say what they measured; how fast it was is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Bar, Figure
from benchmarks.report import cells
from benchmarks.scenarios import NAMES

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_scenario_runs_and_is_reported(tmp_path: Path) -> None:
    document, page = tmp_path / "figures.json", tmp_path / "page.md"
    done = benchmarks(
        "--scale", "0.01", "--runs", "1", "--synchronous", "full",
        "--directory", str(tmp_path), "--json", str(document), "--write", str(page),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["figures.json", "page.md"]
    found = json.loads(document.read_text(encoding="utf-8"))
    assert list(dict.fromkeys(figure["name"] for figure in found["figures"])) == list(NAMES)
    for figure in found["figures"]:
        assert figure["synchronous"] == "full"
        assert len(figure["ours"]) == 1
        assert figure["median"] > 0
        assert figure["passed"] is None, "small sizes are not judged"
        assert f"{figure['name']}: {figure['what']}" in done.stdout
    assert set(found["machine"]) == {"cores", "python", "system", "date"}, "no names, no paths"
    assert str(tmp_path) not in page.read_text(encoding="utf-8")


def test_one_scenario_runs_with_a_journal_that_is_not_synced(tmp_path: Path) -> None:
    done = benchmarks(
        "chain", "--scale", "0.01", "--runs", "2", "--synchronous", "normal",
        "--directory", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "normal" in done.stdout
    assert "latency" not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speed"], "known are startup, memory"),
        (["--runs", "0"], "--runs is at least 1"),
        (["--check", "--scale", "0.5"], "--check needs full sizes"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], said: str) -> None:
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_bar_is_a_limit_of_the_median_or_of_its_ratio() -> None:
    rate = Figure("n", "w", "full", "jobs/s", rate=True, ours=[10, 30, 20], pool=[9, 10, 11])
    rate.bar = Bar(2.0, at_least=True, of_ratio=True)
    assert rate.passed is True
    rate.bar = Bar(2.1, at_least=True, of_ratio=True)
    assert rate.passed is False
    assert cells(rate)[-1] == "MISSED"
    size = Figure("n", "w", "full", "MB", ours=[150.0], bar=Bar(150.0, at_least=False))
    assert size.passed is True
    assert cells(size)[-2:] == ("<= 150 MB", "ok")
