"""Packages are floors: nothing imports upwards, and the world starts at floor 3."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator

import pytest

from tests.architecture.tree import PACKAGE, ROOT, Module, assert_none, imports, modules

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids", "machine", "config", "units"),
    ("graph", "wire", "pipeline", "growth", "context", "store", "worker", "runner"),
    ("engine", "cluster"),
    ("runtime", "stores"),
    ("client", "local", "executor", "running", "aio", "joblib", "testing"),
    ("incremental", "tasks", "streams"),
    ("cli", "dashboard", "demo", "__init__", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
WORDS = 1
TENANTS = FLOORS[5]

SANS_IO = ("errors", "ids", "machine", "units", "graph", "wire", "engine", "cluster")
THE_WORLD = frozenset(
    "asyncio cloudpickle concurrent ctypes datetime fcntl logging mmap multiprocessing os pickle "
    "psutil random secrets select selectors shelve shutil signal socket sqlite3 subprocess "
    "tempfile threading time uuid zmq".split()
)
WORLDLY_CALLS = frozenset({"open", "print", "input", "breakpoint"})

MAY_UNPICKLE = (
    *(f"pypelinin.runtime.{name}" for name in ("child", "calls", "values")),
    "pypelinin.incremental.jobs.cached",
)
PICKLES = frozenset({"pickle", "_pickle", "cloudpickle", "marshal"})
UNPICKLING_NAMES = frozenset({"load", "loads", "Unpickler"})
LIGHT = ("inside", "exceptions")
"""Modules of a front-end that a slot may load."""
LOADED = ("pypelinin.runtime.values",)
"""Of the world: what every slot has loaded anyway."""
UNPICKLING_MODULES = frozenset({"multiprocessing", "shelve"})


# --- the rules --------------------------------------------------------------------------------


def upward_imports(tree: Iterable[Module]) -> Iterator[str]:
    tree = list(tree)
    known = {module.name for module in tree}
    for module in tree:
        if module.top not in FLOOR:
            yield f"{module.name}: '{module.top}' stands on no floor: give it one"
            continue
        for target, line in ours(module, known):
            top = Module(target, "").top
            if FLOOR.get(top, 0) > FLOOR[module.top]:
                yield (
                    f"{module.name}:{line}: floor {FLOOR[module.top]} imports {target} "
                    f"of floor {FLOOR[top]}"
                )


def ours(module: Module, known: set[str]) -> Iterator[tuple[str, int]]:
    for target, line in imports(module, known):
        if target.split(".")[0] == PACKAGE and target != module.name:
            yield target, line


def worldly(module: Module) -> Iterator[str]:
    if module.top not in SANS_IO:
        return
    for target, line in imports(module):
        if target.split(".")[0] in THE_WORLD:
            yield f"{module.name}:{line}: sans-I/O code imports {target}"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in WORLDLY_CALLS:
            yield f"{module.name}:{node.lineno}: sans-I/O code calls {node.func.id}()"


def unpickles(module: Module) -> Iterator[str]:
    if module.name in MAY_UNPICKLE or module.top in TENANTS:  # they run in slots and clients
        return
    pickles = {"pickle", "cloudpickle"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in PICKLES:
                    pickles.add(alias.asname or alias.name)
                if alias.name.split(".")[0] in UNPICKLING_MODULES:
                    yield f"{module.name}:{node.lineno}: {alias.name} unpickles what it receives"
        elif isinstance(node, ast.ImportFrom):
            yield from unpickling_names(module, node)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and opens_a_pickle(node, pickles):
            yield f"{module.name}:{node.lineno}: opens a pickle with {ast.unparse(node)}"


def unpickling_names(module: Module, node: ast.ImportFrom) -> Iterator[str]:
    source = (node.module or "").split(".")[0]
    for alias in node.names:
        opens = source in PICKLES and alias.name in UNPICKLING_NAMES
        if opens or source in UNPICKLING_MODULES:
            yield f"{module.name}:{node.lineno}: imports {source}.{alias.name}, which unpickles"


def opens_a_pickle(node: ast.Attribute, pickles: set[str]) -> bool:
    if node.attr == "recv_pyobj":
        return True
    owner = node.value.id if isinstance(node.value, ast.Name) else None
    return owner in pickles and node.attr in UNPICKLING_NAMES


def inside_imports(tree: Iterable[Module]) -> Iterator[str]:
    """What a front-end runs in the slot knows words and its own errors only: a slot stays light."""
    tree = list(tree)
    known = {module.name for module in tree}
    for module in tree:
        if module.top not in TENANTS or "inside" not in module.parts:
            continue
        for target, line in ours(module, known):
            own = Module(target, "").parts[1:3] in [(module.top, name) for name in LIGHT]
            light = own or target in LOADED or FLOOR.get(Module(target, "").top, 0) <= WORDS
            if not light:
                yield f"{module.name}:{line}: runs in the slot but imports {target}"


def cycles(tree: Iterable[Module]) -> list[list[str]]:
    """Groups of modules that import each other, by peeling off what imports or is imported last."""
    tree = list(tree)
    known = {module.name for module in tree}
    edges = {m.name: {t for t, _ in ours(m, known)} & known for m in tree}
    while True:
        imported = set().union(*edges.values()) if edges else set()
        keep = {name for name in edges if edges[name] and name in imported}
        if len(keep) == len(edges):
            return [sorted(edges)] if edges else []
        edges = {name: edges[name] & keep for name in keep}


# --- the tree obeys them ----------------------------------------------------------------------


def test_nothing_imports_upwards() -> None:
    assert_none(upward_imports(modules()))


def test_words_and_rules_are_sans_io() -> None:
    assert_none(line for module in modules() for line in worldly(module))


def test_only_the_slot_and_the_client_open_pickles() -> None:
    assert_none(line for module in modules() for line in unpickles(module))


def test_what_runs_in_the_slot_imports_words_only() -> None:
    assert_none(inside_imports(modules()))


def test_no_import_cycles() -> None:
    assert cycles(modules()) == []


def test_the_contracts_of_the_linter_say_the_same() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    rows = [row.replace("|", " ").replace(":", " ").split() for row in reversed(layers)]
    floors = [FLOOR[name.strip("()")] for row in rows for name in row]
    assert floors == sorted(floors)
    assert len(floors) == len(FLOOR) - len({"__init__", "__main__"})
    sources = contracts["contracts"][1]["source_modules"]
    exist = {module.top for module in modules()}
    assert sorted(sources) == sorted(f"{PACKAGE}.{name}" for name in SANS_IO if name in exist)
    assert set(contracts["contracts"][1]["forbidden_modules"]) <= THE_WORLD


# --- each rule can fail -----------------------------------------------------------------------

RUNTIME = Module("pypelinin.runtime.loop", "")


@pytest.mark.parametrize(
    "source",
    [
        "from pypelinin.runtime.loop import x",
        "from pypelinin.runtime import loop",
        "import pypelinin.runtime.loop",
        "from ..runtime import loop",
        "def late():\n    from pypelinin import runtime",
        "from pypelinin import Job",
        "import importlib\nimportlib.import_module('pypelinin.cli')",
    ],
)
def test_an_upward_import_is_seen(source: str) -> None:
    tree = [
        Module("pypelinin.cluster.router", source),
        RUNTIME,
        Module("pypelinin.runtime", "", is_package=True),
    ]
    assert len(list(upward_imports(tree))) == 1


def test_a_module_without_a_floor_is_seen() -> None:
    assert list(upward_imports([Module("pypelinin.attic", "")]))


def test_a_downward_import_is_fine() -> None:
    source = "from pypelinin.cluster import router\nfrom . import loop\nimport zmq"
    assert list(upward_imports([Module("pypelinin.runtime.daemons", source), RUNTIME])) == []


@pytest.mark.parametrize(
    "source",
    ["import time", "from os import path", "import zmq.error", "def f():\n    open('x')"],
)
def test_the_world_in_a_rule_is_seen(source: str) -> None:
    assert len(list(worldly(Module("pypelinin.engine.run", source)))) == 1
    assert list(worldly(Module("pypelinin.runtime.loop", source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(b'')",
        "import cloudpickle as cp\ncp.loads(b'')",
        "import pickle as p\nopener = p.Unpickler",
        "from pickle import loads",
        "from multiprocessing.connection import Connection",
        "message = socket.recv_pyobj()",
    ],
)
def test_opening_a_pickle_is_seen(source: str) -> None:
    assert len(list(unpickles(Module("pypelinin.runtime.slots", source)))) == 1
    assert list(unpickles(Module("pypelinin.runtime.child", source))) == []


def test_writing_a_pickle_is_fine() -> None:
    source = "import json, cloudpickle\ncloudpickle.dumps(json.loads('1'))"
    assert list(unpickles(Module("pypelinin.client", source))) == []


def test_a_heavy_import_inside_is_seen() -> None:
    inside = Module("pypelinin.streams.inside", "from pypelinin.runtime import loop")
    assert len(list(inside_imports([inside, RUNTIME]))) == 1


def test_a_cycle_is_seen() -> None:
    one = Module("pypelinin.graph.job", "from pypelinin.graph import graph")
    other = Module("pypelinin.graph.graph", "from pypelinin.graph.job import Job")
    far = Module("pypelinin.cli", "from pypelinin.graph import job")
    assert cycles([one, other, far]) == [["pypelinin.graph.graph", "pypelinin.graph.job"]]
    assert cycles([one, far]) == []
