"""The package as syntax trees. Nothing here imports the product: a broken module can be judged."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "pypelinin"

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Module:
    """One source file. `name` is dotted; a package's `__init__.py` carries the package's name."""

    name: str
    source: str
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        return parsed(self.source, self.name)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))

    @property
    def top(self) -> str:
        """The package or module right below the root: `engine` of `pypelinin.engine.run`."""
        return self.parts[1] if len(self.parts) > 1 else "__init__"

    @property
    def package(self) -> tuple[str, ...]:
        return self.parts if self.is_package else self.parts[:-1]


@cache
def parsed(source: str, name: str) -> ast.Module:
    return ast.parse(source, filename=name)


def modules(root: Path = ROOT) -> list[Module]:
    return [load(path, root) for path in sorted((root / PACKAGE).rglob("*.py"))]


def load(path: Path, root: Path) -> Module:
    parts = list(path.relative_to(root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    return Module(".".join(parts), path.read_text(encoding="utf-8"), is_package)


def imports(module: Module, known: Collection[str] = ()) -> Iterator[tuple[str, int]]:
    """Every import of *module*, wherever it stands, as (dotted name, line).

    `from a import b` is `a.b` where *known* has such a module, else `a`.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in known else base), node.lineno
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            yield name, node.lineno


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parents = module.package[: len(module.package) - node.level + 1]
    return ".".join((*parents, *(node.module or "").split("."))).rstrip(".")


def imported_by_call(node: ast.Call) -> str | None:
    """The literal of `import_module("...")` or `__import__("...")`."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else None
    called = node.func.id if isinstance(node.func, ast.Name) else called
    if called not in {"import_module", "__import__"} or not node.args:
        return None
    first = node.args[0]
    literal = first.value if isinstance(first, ast.Constant) else None
    return literal if isinstance(literal, str) and not literal.startswith(".") else None


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, FUNCTION):
            yield node


def assert_none(found: Iterable[str]) -> None:
    """Fail with every finding on a line of its own."""
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)
