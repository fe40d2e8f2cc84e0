"""The example of tasks: after each change exactly the expected tasks run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cluster import ROOT

EXAMPLE = ROOT / "example" / "tasks" / "etl.py"
ENDS = {"Functions()", "Imports()", "Report()"}

pytestmark = pytest.mark.timeout(100)


class Project:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = path / "etl.py"
        self.script.write_text(EXAMPLE.read_text())

    def run(self, *options: str) -> set[str]:
        """The tasks that ran, as the script prints them."""
        environ = {key: value for key, value in os.environ.items() if "PYPELININ_API" not in key}
        done = subprocess.run(
            [sys.executable, str(self.script), *options], cwd=self.path, capture_output=True,
            env={**environ, "PYTHONPATH": str(ROOT)}, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        line = done.stdout.splitlines()[-1]
        assert " tasks ran:" in line
        return set(line.partition(":")[2].split())

    @property
    def report(self) -> str:
        return (self.path / "report.txt").read_text()


def test_what_runs_after_each_change(tmp_path: Path) -> None:
    project = Project(tmp_path)
    first = project.run()
    modules = {f"Modules({path.stem})" for path in (tmp_path / "sources").glob("*.py")}
    assert {"Modules(decoder)", "Modules(scanner)"} <= modules
    assert first == modules | ENDS
    assert project.report.startswith("The package json\n")
    assert "modules import re\n" in project.report
    assert project.run() == set()

    with (tmp_path / "sources" / "scanner.py").open("a") as file:
        file.write("\n\ndef quixotic():\n" + "    # at it\n" * 500 + "    return 1\n")
    assert project.run() == {"Modules(scanner)"} | ENDS
    assert project.report.splitlines()[1] == "   502 lines  scanner.quixotic"

    assert project.run("--longest", "1") == {"Functions()", "Report()"}
    assert project.report.count(" lines  ") == 1
    assert project.run() == set(), "back to what was"

    source = project.script.read_text()
    project.script.write_text(source.replace("size:6} lines  {name}", "size:6} lines: {name}"))
    assert project.run() == {"Report()"}, "only the code of that one changed"
    assert "   502 lines: scanner.quixotic" in project.report

    (tmp_path / "data" / "Report()").rename(tmp_path / "gone")
    assert project.run() == {"Report()"}
