"""The incremental example: after each change exactly the expected jobs run again."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cluster import ROOT

EXAMPLE = ROOT / "example" / "incremental" / "words.py"
COUNTS = {f"counts/sources/{name}.py.json" for name in
          ("__init__", "decoder", "encoder", "scanner", "tool", "__main__")}  # fmt: skip
MERGED = {f"merged/{letter}.json" for letter in string.ascii_lowercase}
ENDS = {"chart.txt", "table.tsv"}
CACHE = {"words.pickle", "load_words.pickle"}


class Project:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = path / "words.py"
        self.script.write_text(EXAMPLE.read_text())

    def run(self, *options: str) -> set[str]:
        """The jobs that ran, as the script prints them."""
        done = subprocess.run(
            [sys.executable, str(self.script), "--package", "json", *options], cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        line = done.stdout.splitlines()[0]
        assert " jobs ran:" in line
        return set(line.partition(": ")[2].split())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_runs_after_each_change(project: Project) -> None:
    counts = {f"counts/{path.relative_to(project.path)}.json" for path in
              project.path.glob("sources/*.py")}  # fmt: skip
    first = project.run()
    counts = {name for name in first if name.startswith("counts/")}
    assert counts <= COUNTS
    assert len(counts) >= 5
    assert first == counts | MERGED | CACHE | ENDS
    assert project.run() == set()

    with open(project.path / "sources" / "scanner.py", "a") as file:
        file.write("# quixotic quixotic\n")
    changed = "counts/sources/scanner.py.json"
    assert project.run() == {changed} | MERGED | CACHE | ENDS
    assert "quixotic\t2\n" in (project.path / "table.tsv").read_text()

    with open(project.path / "sources" / "scanner.py", "a") as file:
        file.write("# (*) a b\n")
    assert project.run() == {changed}  # with the same words in it

    source = project.script.read_text()
    project.script.write_text(source.replace("'#' * (40", "'=' * (40"))
    assert project.run() - CACHE == {"chart.txt"}
    assert "=====" in (project.path / "chart.txt").read_text()

    assert project.run("--least", "6") == counts | MERGED | CACHE | ENDS
    assert not (project.path / "merged" / "a.json").exists()
