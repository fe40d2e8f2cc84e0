"""docs/engine.md shows the states as the code has them; docs/engines.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pypelinin.engine.table import MEANING, NAMES, TRANSITIONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "engine.md"


def tables() -> str:
    """What stands between the marks of the page."""
    states = ["| state | |", "|---|---|"]
    states += [f"| {NAMES[state]} | {meaning} |" for state, meaning in MEANING.items()]
    steps = ["| from | to | when |", "|---|---|---|"]
    steps += [f"| {NAMES[a]} | {NAMES[b]} | {when} |" for (a, b), when in TRANSITIONS.items()]
    return "\n".join(["", *states, "", *steps, ""])


def test_the_tables_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- table -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == tables(), "python -m tests.examples.test_engine_page writes it anew"


def test_the_example_of_other_engines_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    body = code.partition("\n\nwith ")
    script = f'{body[0]}\n\nif __name__ == "__main__":\n    with ' + body[2].replace("\n", "\n    ")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "1024", done.stderr


if __name__ == "__main__":
    old = PAGE.read_text(encoding="utf-8")
    marks = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
    PAGE.write_text(marks.sub(lambda m: m[1] + tables() + m[2], old), encoding="utf-8")
