"""What the README shows is what runs: its files, its commands, its output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_stand_in_it_each_on_one_line() -> None:
    lines = README.splitlines()
    environment = "python3 -m venv .venv && .venv/bin/pip install -e "
    assert environment + ". && .venv/bin/pypelinin demo" in lines
    assert environment + "'.[test]' && .venv/bin/pytest" in lines


def test_the_first_pipeline_runs_as_shown(tmp_path: Path) -> None:
    files = [block for block in blocks("python") if re.match(r"# \w+\.py\n", block)]
    assert [block.split("\n", 1)[0] for block in files[:2]] == ["# shop.py", "# cook.py"]
    for block in files:
        (tmp_path / block.split("\n", 1)[0][2:]).write_text(block, encoding="utf-8")
    up = next(block.strip() for block in blocks("sh") if block.startswith("pypelinin up"))
    rest = next(block.split("\n") for block in blocks("sh") if "python cook.py" in block)
    environ = {key: value for key, value in os.environ.items() if "PYPELININ" not in key}
    environ["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    (tmp_path / "run").mkdir(mode=0o700)

    def run(command: str) -> str:
        words = command.split()
        known = {"pypelinin": [sys.executable, "-m", "pypelinin"], "python": [sys.executable]}
        done = subprocess.run(
            known[words[0]] + words[1:],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(up)
    try:
        lines = run(rest[0]).splitlines()
        assert [line.split()[0] for line in lines] == ["done"] * 3
        assert lines[0].endswith("soup made of what soup needs: good")
        assert "broker" in run(rest[1]).lower()
        listed = json.loads(run(rest[2] + " --json"))
        assert json.dumps(listed).count('"done"') >= 3
    finally:
        run(rest[3])


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("functions.py", ["285"]),
        ("calls.py", ["[1, 2, 4, 8, 16]", "1000000"]),
        ("loop.py", ["[1, 3, 9, 27, 81, 1, 2, 3]"]),
        ("squares.py", ["333332833333500000"]),
    ],
)
def test_the_examples_with_functions_run_as_shown(
    name: str, printed: list[str], tmp_path: Path
) -> None:
    (code,) = (block for block in blocks("python") if block.startswith(f"# {name}\n"))
    (tmp_path / name).write_text(code, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if "PYPELININ" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "error", name],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == printed, done.stderr
    assert not done.stderr


def test_the_results_that_are_kept_are_shown_twice(tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if block.startswith("# report.py\n"))
    (tmp_path / "report.py").write_text(code, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if "PYPELININ" not in key}
    for ran in (2, 0):
        done = subprocess.run(
            [sys.executable, "-W", "error", "report.py"],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.splitlines() == [f"{{'a': 2, 'rose': 2}} {ran} ran"], done.stderr
        assert all(" INFO " in line for line in done.stderr.splitlines()), done.stderr


def test_read_result_file_reads_what_the_example_leaves(tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "def read_result_file" in block)
    names: dict[str, object] = {}
    exec(code, names)
    path = tmp_path / "0.data"
    path.write_text('{"links": ["a"]}', encoding="utf-8")
    read = names["read_result_file"]
    assert callable(read)
    assert read(str(path)) == {"links": ["a"]}
