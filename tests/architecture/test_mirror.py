"""Every module with code has a test file of its name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import FUNCTION, ROOT, Module, assert_none, functions, modules

# Module -> why no test file carries its name.
EXCEPTIONS: dict[str, str] = {}
KINDS = ("playbook", "integration")


def has_code(module: Module) -> bool:
    return any(not is_stub(function) for function in functions(module))


def is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A body of `...`, `pass` or a docstring: a Protocol's method, not code."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )


def places(module: Module) -> list[str]:
    """Where the module's tests may stand. A package's own code counts as a module beside it."""
    *folders, name = module.parts[1:] or module.parts
    test = f"test_{name.strip('_')}.py"
    inner = "/".join((*folders, test))
    candidates = (f"unit/{inner}", *(f"{kind}/{f}" for kind in KINDS for f in (test, inner)))
    return list(dict.fromkeys(candidates))


def has_tests(path: Path) -> bool:
    if not path.is_file():
        return False
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return any(isinstance(node, FUNCTION) and node.name.startswith("test") for node in nodes)


def untested(tree: Iterable[Module], tests: Path) -> Iterator[str]:
    for module in tree:
        if not has_code(module) or module.name in EXCEPTIONS:
            continue
        if not any(has_tests(tests / place) for place in places(module)):
            first, second, *_ = places(module)
            yield f"{module.name}: no tests in {first}, {second} or the like"


def test_every_module_has_its_tests() -> None:
    assert_none(untested(modules(), ROOT / "tests"))


def test_every_exception_is_needed() -> None:
    tree = {module.name: module for module in modules()}
    for name, reason in EXCEPTIONS.items():
        assert reason
        assert name in tree, f"{name} does not exist"
        assert not any(has_tests(ROOT / "tests" / place) for place in places(tree[name])), name


# --- each rule can fail -----------------------------------------------------------------------

CODE = Module("pypelinin.engine.run", "def decide():\n    return 1")


def test_a_module_without_tests_is_seen(tmp_path: Path) -> None:
    assert len(list(untested([CODE], tmp_path))) == 1


@pytest.mark.parametrize("place", ["unit/engine/test_run.py", "playbook/test_run.py"])
def test_an_empty_test_file_does_not_count(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text("from pypelinin.engine import run\n")
    assert list(untested([CODE], tmp_path))
    path.write_text("class TestRun:\n    def test_it(self): pass\n")
    assert list(untested([CODE], tmp_path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "LIMIT = 3",
        "from pypelinin.engine.run import Run\n__all__ = ['Run']",
        "class Machine:\n    def check(self) -> None:\n        '''What for.'''\n        ...",
    ],
)
def test_words_and_protocols_need_no_tests(tmp_path: Path, source: str) -> None:
    assert list(untested([Module("pypelinin.machine", source)], tmp_path)) == []


def test_packages_and_private_modules_have_a_place() -> None:
    assert places(Module("pypelinin.cli", "", is_package=True))[0] == "unit/test_cli.py"
    assert places(Module("pypelinin", "", is_package=True))[0] == "unit/test_pypelinin.py"
    assert places(Module("pypelinin.cli.__main__", ""))[0] == "unit/cli/test_main.py"
