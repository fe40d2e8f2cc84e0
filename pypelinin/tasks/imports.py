"""Modules that functions import when they run.

They are not loaded for a hash, as that can take long or do things; so their whole source
counts, and that of the modules of the project that they import.
"""

from __future__ import annotations

import ast
import dis
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from types import CodeType

from pypelinin.graph.fingerprint import digest
from pypelinin.runtime.code_views import is_of_library


def imported(code: CodeType, package: str) -> Iterator[str]:
    """Names that modules may have, of what *code* in *package* imports."""
    found = list(dis.get_instructions(code))
    for at, one in enumerate(found):
        if one.opname == "IMPORT_NAME":  # behind its level and what is taken from it
            level, names = found[at - 2].argval, found[at - 1].argval
            yield from _absolute(level, str(one.argval), names or (), package)


def _absolute(level: int, name: str, names: Iterable[str], package: str) -> Iterator[str]:
    try:
        base = resolve_name("." * level + name, package) if level else name
    except ImportError:  # above its package
        return
    yield base
    yield from (f"{base}.{one}" for one in names)


class Sources:
    """Digests of the sources of modules; each is read once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, list[str]]] = {}

    def digest(self, names: Iterable[str]) -> bytes:
        """Of these of the project, and those that they import; empty if there is none."""
        found = dict.fromkeys(names)
        stack = list(found)
        while stack:
            for name in self._read(stack.pop())[1]:
                if name not in found:
                    found[name] = None
                    stack.append(name)
        contents = [(name.encode(), self._read(name)[0]) for name in sorted(found)]
        parts = [part for name, content in contents if content for part in (name, content)]
        return digest(*parts) if parts else b""

    def _read(self, name: str) -> tuple[bytes, list[str]]:
        """The digest of its source, and what it imports; nothing if it is not of the project."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = _read(name)
        return known


def _read(name: str) -> tuple[bytes, list[str]]:
    spec = _found(name)
    origin = None if spec is None else spec.origin
    if spec is None or not origin or not os.path.isfile(origin) or is_of_library(origin):
        return b"", []
    with open(origin, "rb") as file:
        content = file.read()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # no Python, or broken
        return digest(content), []
    names = [one for node in ast.walk(tree) for one in _imports(node, spec.parent or "")]
    return digest(ast.dump(_bare(tree)).encode("utf-8", "surrogatepass")), names


def _found(name: str) -> ModuleSpec | None:
    """Where it is; the packages above it are not loaded for that, as `find_spec` would."""
    spec, places, full = None, None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        specs = (find(full, places) for find in finders if find)
        spec = next((one for one in specs if one is not None), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if places is None and full != name:
            return None
    return spec


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = [alias.name for alias in node.names]
        yield from _absolute(node.level, node.module or "", names, package)


def _bare(tree: ast.AST) -> ast.AST:
    """Without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del node.body[0]
    return tree


__all__ = ["Sources", "imported"]
