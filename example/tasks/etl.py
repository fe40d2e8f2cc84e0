"""A small ETL over real files: what the modules of a package of the standard library are like.

    python etl.py [--package email] [--longest 5] [--on tcp://HOST:5555]

    Modules(NAME) for each file -> Functions --+
          |                                    +--> Report -> report.txt
          +---------------------> Imports -----+

Each file is read by a task of its own, whose parameter is the file's digest: change a copy under
`sources/`, and only its task and what is made from it runs again. So does another `--longest`, or a
change of the code below. The results lie in `data/`, the logs in `log/`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import shutil
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from pypelinin.tasks import Pipeline, Runner, Task, TaskInputs, run, task

SOURCES = Path("sources")


class Module(TypedDict):
    """What is taken out of one file."""

    name: str
    lines: int
    functions: list[tuple[str, int]]
    imports: list[str]


def copy_sources(package: str) -> list[Path]:
    """The input: copies of the package's modules, so that they can be edited."""
    SOURCES.mkdir(exist_ok=True)
    if not any(SOURCES.iterdir()):
        for path in Path(sysconfig.get_path("stdlib"), package).glob("*.py"):
            shutil.copy(path, SOURCES)
    return sorted(SOURCES.glob("*.py"))


@task("Modules", receives_input=False)
def read(path: str, digest: str) -> Module:
    """Extract: one file. The digest is there to be a part of the hash."""
    text = Path(path).read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    imports = [name for node in ast.walk(tree) for name in imported(node)]
    print(f"{len(functions)} functions, {len(imports)} imports")
    return Module(
        name=Path(path).stem, lines=len(text.splitlines()), functions=functions, imports=imports
    )


def imported(node: ast.AST) -> list[str]:
    """The top names that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


class Functions(Task[Module, list[tuple[int, str]]]):
    """Transform: the longest functions of all modules."""

    @run
    def run(self, data: TaskInputs[Module], longest: int) -> list[tuple[int, str]]:
        found = [(size, f"{one['name']}.{name}") for one in data for name, size in one["functions"]]
        return sorted(found, key=lambda row: (-row[0], row[1]))[:longest]


@task("Imports")
def count_imports(data: TaskInputs[Module]) -> Counter[str]:
    """Transform: how many modules import each other module."""
    return Counter(name for one in data for name in set(one["imports"]))


@task("Report")
def report(data: TaskInputs[Any], title: str, filename: str) -> int:
    """Load: both branches into one file; the number of its lines."""
    imports = sorted(data["Imports()"].items(), key=lambda row: (-row[1], row[0]))
    lines = [
        title,
        *(f"{size:6} lines  {name}" for size, name in data["Functions()"]),
        *(f"{count:6} modules import {name}" for name, count in imports[:5]),
    ]
    Path(filename).write_text("\n".join([*lines, ""]), encoding="utf-8")
    return len(lines)


def pipeline_of(paths: list[Path], package: str, longest: int) -> Pipeline:
    modules = [
        read(
            path.stem,
            path=str(path.resolve()),
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
    ]
    functions = Functions(longest=longest)(modules)
    imports = count_imports()(modules)
    report(title=f"The package {package}", filename=str(Path("report.txt").resolve()))(
        [functions, imports]
    )
    return Pipeline(f"etl-{package}", modules)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", default="json")
    parser.add_argument("--longest", type=int, default=5, help="functions to be shown")
    parser.add_argument("--on", help="the address of a Router; without it tasks run here")
    options = parser.parse_args()
    pipeline = pipeline_of(copy_sources(options.package), options.package, options.longest)
    runner = Runner("data", "log", on=options.on)
    runner.run(pipeline)
    print(f"{len(runner.tasks_run)} tasks ran:", *sorted(one.name for one in runner.tasks_run))
    return 1 if runner.tasks_error else 0


if __name__ == "__main__":
    sys.exit(main())
