"""Word statistics over the sources of the standard library, made again only where they changed.

    python words.py [--package email] [--least 4] [--on tcp://HOST:5555]

list of files -> a count for each file (jobs that a generator makes) -> merged by letter
(temporary files) -> all words, loaded -> a table and a chart. Run it twice; then touch what it
reads: edit a file under sources/, give another --least, or change `draw`, and see what runs.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import string
import sysconfig
from collections import Counter
from pathlib import Path

import pypelinin.incremental as ppg

SOURCES = Path("sources")
WORD = re.compile(r"[A-Za-z]{2,}")


def copy_sources(package: str) -> None:
    """The input of the project: a copy, so that it can be edited."""
    if not SOURCES.exists():
        found = Path(sysconfig.get_path("stdlib"), package)
        shutil.copytree(found, SOURCES, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def count(path: Path, source: str, least: int, word: re.Pattern[str] = WORD) -> None:
    words = Counter(found.lower() for found in word.findall(Path(source).read_text()))
    kept = {name: times for name, times in sorted(words.items()) if len(name) >= least}
    path.write_text(json.dumps(kept))


def merge(path: Path, letter: str, counts: list[str]) -> None:
    total: Counter[str] = Counter()
    for name in counts:
        found = json.loads(Path(name).read_text())
        total.update({word: times for word, times in found.items() if word.startswith(letter)})
    path.write_text(json.dumps(dict(sorted(total.items()))))


def draw(path: Path, words: dict[str, int]) -> None:
    top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:10]
    most = top[0][1]
    path.write_text("".join(f"{w:>14} {'#' * (40 * n // most)} {n}\n" for w, n in top))


def tabulate(path: Path, words: dict[str, int]) -> None:
    path.write_text("".join(f"{word}\t{times}\n" for word, times in sorted(words.items())))


class Everything:
    """Where the merged words are while jobs read them."""

    words: dict[str, int]


def define_merges(counts: list[str]) -> list[ppg.Job]:
    made: list[ppg.Job] = []
    for letter in string.ascii_lowercase:

        def merge_letter(path: Path, letter: str = letter, counts: list[str] = counts) -> None:
            merge(path, letter, counts)

        job = ppg.TempFileGeneratingJob(f"merged/{letter}.json", merge_letter)
        made.append(job.depends_on(ppg.FunctionInvariant("merge", merge)))
    return made


def define_counts(listed: list[str], least: int, readers: list[ppg.Job]) -> None:
    """A generator makes a job for each file, which all merges read."""

    def count_each() -> None:
        for name in listed:

            def count_one(path: Path, name: str = name, least: int = least) -> None:
                count(path, name, least)

            job = ppg.FileGeneratingJob(f"counts/{name}.json", count_one)
            job.depends_on_file(name)
            job.depends_on(ppg.FunctionInvariant("count", count))
            for reader in readers:
                reader.depends_on(job)

    generator = ppg.JobGeneratingJob("count each", count_each)
    generator.depends_on_params(listed)
    for reader in readers:
        reader.depends_on(generator)


def define(least: int) -> None:
    listed = sorted(str(path) for path in SOURCES.rglob("*.py"))
    merged = define_merges([f"counts/{name}.json" for name in listed])
    define_counts(listed, least, merged)
    everything = Everything()

    def load() -> dict[str, int]:
        words: dict[str, int] = {}
        for letter in string.ascii_lowercase:
            words.update(json.loads(Path(f"merged/{letter}.json").read_text()))
        return words

    words, cache = ppg.CachedAttributeLoadingJob("words.pickle", everything, "words", load)
    cache.depends_on(merged)

    def chart(path: Path, everything: Everything = everything) -> None:
        draw(path, everything.words)

    def table(path: Path, everything: Everything = everything) -> None:
        tabulate(path, everything.words)

    for name, function, inner in (("chart.txt", chart, draw), ("table.tsv", table, tabulate)):
        job = ppg.FileGeneratingJob(name, function)
        job.depends_on(words, ppg.FunctionInvariant(inner.__name__, inner))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", default="email", help="of the standard library (email)")
    parser.add_argument("--least", type=int, default=4, help="letters of a word (4)")
    parser.add_argument("--on", help="the address of a cluster; usually here")
    options = parser.parse_args()
    copy_sources(options.package)
    graph = ppg.new(run_mode=ppg.RunMode.NONINTERACTIVE)
    define(options.least)
    outcomes = graph.run(on=options.on)
    ran = [
        name for name, outcome in outcomes.items()
        if outcome.start_time is not None and not isinstance(graph.jobs[name], ppg.JobGeneratingJob)
    ]  # fmt: skip
    print(f"{len(ran)} of {len(outcomes)} jobs ran: {' '.join(sorted(ran))}")
    print(Path("chart.txt").read_text(), end="")


if __name__ == "__main__":
    main()
