"""What docs/tasks.md shows is what runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, ["| Load() |", "| Count() |", "{'a': 2, 'rose': 2}"]), (1, ["['green', 'yellow']"])],
)
def test_the_examples_run(number: int, shown: list[str], tmp_path: Path) -> None:
    for name, text in (("words", "a rose a rose"), ("a", "red green"), ("b", "blue yellow red")):
        (tmp_path / f"{name}.txt").write_text(text)
    code = BLOCKS[number].replace("count=5", "count=2")
    code = code.replace("in set(words)", "in sorted(set(words))")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if "PYPELININ" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"], cwd=tmp_path, capture_output=True,
        env={**environ, "PYTHONPATH": str(ROOT)}, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in shown:
        assert text in done.stdout


def test_there_are_no_other_examples() -> None:
    assert len(BLOCKS) == 2
