"""`python -m benchmarks.incremental`: beside pypipegraph2, installed from the package index.

Both libraries run the same graph (`incremental_graph.py`) in turn, in fresh directories; medians
of the whole are compared: import, definition and run. `--large` adds 100,000 jobs beside it and
1,000,000 of ours alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import machine

SCRIPT = Path(__file__).with_name("incremental_graph.py")
OURS, PEER = "pypelinin.incremental", "pypipegraph2"
LARGE_MIB_MAX = 500.0


class Case(NamedTuple):
    """*before* are runs that make the history, as (way, leaf); *timed* is the one that counts."""

    name: str
    jobs: int
    before: tuple[tuple[str, str], ...]
    timed: tuple[str, str]
    bar: float | None
    alone: bool = False


CASES = (
    Case("first run, slots", 1_000, (), ("slots", "a"), 5.0),
    Case("first run, a fork each", 1_000, (), ("forks", "a"), 3.0),
    Case("unchanged", 10_000, (("here", "a"),), ("here", "a"), 5.0),
    Case("one leaf changed", 10_000, (("here", "a"),), ("here", "b"), 5.0),
)
LARGE = (
    Case("unchanged, large", 100_000, (("here", "a"),), ("here", "a"), 5.0),
    Case("unchanged, very large", 1_000_000, (("here", "a"),), ("here", "a"), None, alone=True),
)


class Result(NamedTuple):
    case: Case
    ours: list[dict[str, float]]
    peer: list[dict[str, float]]

    @property
    def ratio(self) -> float | None:
        return _median(self.peer) / _median(self.ours) if self.peer else None

    @property
    def is_missed(self) -> bool:
        too_slow = self.case.bar is not None and (self.ratio or 0) < self.case.bar
        too_big = self.case.jobs == 100_000 and _median(self.ours, "peak_mib") > LARGE_MIB_MAX
        return too_slow or too_big

    def line(self) -> str:
        case = self.case
        peer = (
            f"{_median(self.peer):.3f} | {_median(self.peer, 'peak_mib'):.0f}" if self.peer else "|"
        )
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        bar = "" if case.bar is None else f"{case.bar:.0f}"
        ours = f"{_median(self.ours):.3f} | {_median(self.ours, 'peak_mib'):.0f}"
        missed = "missed" if self.is_missed else ""
        return f"| {case.name} | {case.jobs:,} | {ours} | {peer} | {ratio} | {bar} | {missed} |"


def _median(runs: Sequence[dict[str, float]], what: str = "total") -> float:
    return statistics.median(run[what] for run in runs)


def main(arguments: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks.incremental", description=__doc__)
    made.add_argument("only", nargs="*", help="numbers of cases, from 1 on (all)")
    made.add_argument("--runs", type=int, default=3, help="of each case; medians are shown (3)")
    made.add_argument("--large", action="store_true", help="also 100,000 and 1,000,000 jobs")
    made.add_argument("--peer", type=Path, help="a Python that has pypipegraph2 (else made anew)")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    made.add_argument("--write", type=Path, metavar="FILE", help="write the table to FILE")
    options = made.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="incremental-", dir=Path.cwd()) as place:
        peer = options.peer or peer_in(Path(place, "peer"))
        cases = CASES + (LARGE if options.large else ())
        if options.only:
            cases = tuple((CASES + LARGE)[int(number) - 1] for number in options.only)
        results = []
        for case in cases:
            results.append(measured(case, Path(place), peer, options.runs))
            print(results[-1].line(), file=sys.stderr)  # the next one may fail
    text = page(results, version_of(peer), options.runs)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 1 if options.check and any(result.is_missed for result in results) else 0


def peer_in(place: Path) -> Path:
    """A Python with the other library, from the package index."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


def version_of(peer: Path) -> str:
    code = f"from importlib.metadata import version; print(version({PEER!r}))"
    return subprocess.check_output([peer, "-c", code], text=True).strip()


def measured(case: Case, place: Path, peer: Path, runs: int) -> Result:
    """Both in turn, so that what else the machine does is shared."""
    result = Result(case, [], [])
    for number in range(runs if case.jobs <= 10_000 else 1):
        print(f"{case.name}: {number + 1}", file=sys.stderr)
        result.ours.append(one(case, place, Path(sys.executable), OURS))
        if not case.alone:
            result.peer.append(one(case, place, peer, PEER))
    return result


def one(case: Case, place: Path, python: Path, module: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="project-", dir=place) as project:
        for way, leaf in case.before:
            run(project, python, module, case.jobs, way, leaf)
        return run(project, python, module, case.jobs, *case.timed)


def run(
    project: str, python: Path, module: str, jobs: int, way: str, leaf: str
) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]) if module == OURS else ""}
    command = [str(python), str(SCRIPT), module, str(jobs), way, leaf]
    done = subprocess.run(
        command,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(results: Sequence[Result], version: str, runs: int) -> str:
    here = machine()
    head = [
        "# Incremental graphs beside pypipegraph2", "",
        f"{here['cores']} cores, Python {here['python']}, {here['system']}, {here['date']}; "
        f"pypipegraph2 {version} from the package index. Both run in turn, medians of {runs} (one "
        "run from 100,000 on). Seconds for import, definition and run of a layered graph: "
        "100 layers, each job of which reads two of the layer before (of 1,000 layers pypipegraph2 "
        "refuses an unchanged run: its engine recurses). MiB is the peak of the process. "
        "Histories of unchanged graphs are made with jobs that run in the caller.", "",
        "| case | jobs | pypelinin s | MiB | pypipegraph2 s | MiB | ratio | bar | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    tail = ["", "Run it: `python -m benchmarks.incremental --large --check`.", ""]
    return "\n".join([*head, *(result.line() for result in results), *tail])


if __name__ == "__main__":
    sys.exit(main())
