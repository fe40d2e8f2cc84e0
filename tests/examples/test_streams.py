"""The examples of streams, and what docs/streams.md shows of sweeps and other programs."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.cluster import ROOT

EXAMPLES = ROOT / "example" / "streams"
PAGE = (ROOT / "docs" / "streams.md").read_text(encoding="utf-8")


def ran(directory: Path, *command: str, **variables: str) -> str:
    """What a script prints; it has to end well."""
    plain = {key: value for key, value in os.environ.items() if "PYPELININ_API" not in key}
    path = os.pathsep.join(filter(None, (variables.pop("FIRST", ""), str(ROOT))))
    done = subprocess.run(
        [sys.executable, "-W", "error", *command], cwd=directory,
        env={**plain, "PYTHONPATH": path, **variables}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (2, "1 primes up to 2, the last is 2"),
        (4, "2 primes up to 4, the last is 3"),
        (1_000_000, "78,498 primes up to 1,000,000, the last is 999,983"),
    ],
)
def test_primes(tmp_path: Path, limit: int, said: str) -> None:
    assert ran(tmp_path, str(EXAMPLES / "primes.py"), str(limit)).strip() == said


def test_the_sieve_agrees_with_division() -> None:
    names: dict[str, object] = {"__name__": "primes"}
    source = (EXAMPLES / "primes.py").read_text()
    exec(compile(source, "primes.py", "exec", dont_inherit=True), names)
    sieve, segments = names["sieve"], names["segments"]
    assert callable(sieve)
    assert callable(segments)
    divided = [n for n in range(2, 3000) if all(n % d for d in range(2, n))]
    known = [n for n in divided if n < 55]
    for start, stop in ((55, 3000), (56, 57), (59, 60), (1000, 1009)):
        assert sieve(range(start, stop), known) == [n for n in divided if start <= n < stop]
    pieces = segments(3, 100_003, 7)
    assert [n for piece in pieces for n in (piece.start, piece.stop)][:: 2 * len(pieces) - 1] == [
        3, 100_003,
    ]  # fmt: skip
    assert all(one.stop == other.start for one, other in pairwise(pieces))


WALKS = (str(EXAMPLES / "walks.py"), "--steps", "10", "40", "--error", "0.1")


def check_walks(directory: Path, out: str) -> None:
    rows = list(csv.DictReader((directory / "walks.csv").read_text().splitlines()))
    assert [(row["steps"], row["kind"]) for row in rows] == [
        ("10", "unit"), ("40", "unit"), ("10", "normal"), ("40", "normal"),
    ]  # fmt: skip
    for row in rows:
        mean, error = float(row["distance"]), float(row["distance_err"])
        assert 3 <= int(row["trials"]) <= 10_000
        assert error <= 0.12 * mean  # what is under way at the end counts, too
        assert abs(mean - (3.14159 * int(row["steps"])) ** 0.5 / 2) < 0.3 * mean
        assert row["id"] in out
    assert ElementTree.parse(directory / "walks.svg").getroot().tag.endswith("svg")


@pytest.mark.needs_all
def test_walks_with_matplotlib(tmp_path: Path) -> None:
    out = ran(tmp_path, *WALKS, MPLCONFIGDIR=str(tmp_path))
    assert "walks.svg drawn with matplotlib; the table is in walks.csv" in out
    check_walks(tmp_path, out)


def test_walks_without_matplotlib(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "matplotlib.py").write_text("raise ModuleNotFoundError('no', name='matplotlib')\n")
    out = ran(tmp_path, *WALKS, FIRST=str(missing))
    assert "walks.svg drawn without matplotlib" in out
    check_walks(tmp_path, out)
    assert (tmp_path / "walks.svg").read_text().count("<circle") == 4


# --- the page -----------------------------------------------------------------------------


def block(name: str) -> str:
    """The Python block of the page that begins with this name."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (found,) = (text for text in blocks if text.startswith(f"# {name}\n"))
    return str(found)


def test_the_sweep_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(block("dice.py"))
    out = ran(tmp_path, "dice.py").splitlines()
    shown = re.search(r"```\n( +trials .*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert out[0].split() == shown[1].splitlines()[0].split()
    assert [line.split()[:4] for line in out[2:]] == [
        line.split()[:4] for line in shown[1].splitlines()[2:]
    ]
    assert len((tmp_path / "dice.csv").read_text().splitlines()) == len(out) - 1


@pytest.mark.parametrize(
    ("name", "printed"),
    [("program.py", "3\n"), ("classes.py", "[(4, 10), (5, 15), (8, 36)]\n")],
)
def test_other_blocks_of_the_page(tmp_path: Path, name: str, printed: str) -> None:
    (tmp_path / name).write_text(block(name))
    assert ran(tmp_path, name) == printed
