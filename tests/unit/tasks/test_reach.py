"""What counts of all that a task's code reaches: each program stands here in two versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.tasks.reach import Reach, data_of

ROOT = Path(__file__).parents[3]
F = "\ndef f(): return {}\n"
WRAPPED = "def deco(g):\n    @functools.wraps(g)\n    def inner(): return g()\n    return inner\n"
BARE = WRAPPED.replace("    @functools.wraps(g)\n", "")
HEAD = "import argparse, collections, contextlib, dataclasses, enum, functools, types\n"
CHANGES = {
    "one of two lambdas": "g = lambda: ?\nh = lambda: 9" + F.format("g() + h()"),
    "the other": "g = lambda: 9\nh = lambda: ?" + F.format("g() + h()"),
    "decorated": BARE
    + "@deco\ndef g(): return ?\n@deco\ndef h(): return 1"
    + F.format("g() + h()"),
    "behind decorated": WRAPPED + "def d(): return ?\n@deco\ndef g(): return d()" + F.format("g()"),
    "data behind decorated": WRAPPED + "N = ?\n@deco\ndef g(): return N" + F.format("g()"),
    "it is decorated": WRAPPED + "def d(): return ?\n@deco\ndef f(): return d()",
    "it is cached": "@functools.cache\ndef f(): return ?",
    "context manager": "@contextlib.contextmanager\ndef g():\n    yield ?" + F.format("g()"),
    "dispatched": "@functools.singledispatch\ndef g(x): return ?" + F.format("g(1)"),
    "registered": "@functools.singledispatch\ndef g(x): return 0\n@g.register\n"
    "def _(x: int): return ?" + F.format("g(1)"),
    "argument of a partial": "g = functools.partial(max, ?)" + F.format("g(1)"),
    "function of a partial": "def h(x): return ?\ng = functools.partial(h, 1)" + F.format("g()"),
    "which builtin": "g = (min, max)[? - 1]" + F.format("g(3, 4)"),
    "which type": "g = (list, set)[? - 1]" + F.format("g()"),
    "attribute of a class": "class C:\n    N = ?" + F.format("C.N"),
    "static method": "class C:\n    @staticmethod\n    def g(): return ?" + F.format("C.g()"),
    "class method": "class C:\n    @classmethod\n    def g(cls): return ?" + F.format("C.g()"),
    "property": "class C:\n    @property\n    def g(self): return ?" + F.format("C().g"),
    "setter": "class C:\n    @property\n    def g(self): return 1\n    @g.setter\n"
    "    def g(self, x): self.x = ?" + F.format("C().g"),
    "cached property": "class C:\n    @functools.cached_property\n    def g(self): return ?"
    + F.format("C().g"),
    "inherited": "class B:\n    def g(self): return ?\nclass C(B): ..." + F.format("C().g()"),
    "inner class": "class C:\n    class D:\n        N = ?" + F.format("C.D.N"),
    "method of an object": "class C:\n    def g(self): return ?\nc = C()" + F.format("c.g()"),
    "bound method": "class C:\n    def g(self): return ?\ng = C().g" + F.format("g()"),
    "called object": "class C:\n    def __call__(self): return ?\nc = C()" + F.format("c()"),
    "attribute of an object": "class C:\n    def __init__(self, n): self.n = n\nc = C(?)"
    + F.format("c.n"),
    "slot": "class C:\n    __slots__ = ('n',)\nc = C()\nc.n = ?" + F.format("c.n"),
    "dataclass": "@dataclasses.dataclass\nclass C:\n    n: int\nc = {'c': C(?)}" + F.format("c"),
    "its default": "@dataclasses.dataclass\nclass C:\n    n: int = ?" + F.format("C().n"),
    "its factory": "@dataclasses.dataclass\nclass C:\n"
    "    n: int = dataclasses.field(default_factory=lambda: ?)" + F.format("C().n"),
    "namespace": "c = types.SimpleNamespace(n=?)" + F.format("c.n"),
    "arguments": "c = argparse.Namespace(n=?)" + F.format("c.n"),
    "enum": "class C(enum.Enum):\n    N = ?" + F.format("C.N.value"),
    "method of an enum": "class C(enum.Enum):\n    N = 1\n    def g(self): return ?\nc = C.N"
    + F.format("c.g()"),
    "named tuple": "class C(collections.namedtuple('C', 'n')):\n    def g(self): return ?\nc = C(1)"
    + F.format("c.g()"),
    "kind of text": "class C(str):\n    pass\nc = C('?')" + F.format("c"),
    "name of a builtin": "max = ?" + F.format("max"),
    "in a dict": "def g(): return ?\nd = {'g': g}" + F.format("d['g']()"),
    "beside a function": "d = {'g': lambda: 1, 'n': ?}" + F.format("d['n']"),
    "in a set": "def g(): return ?\nd = {g, max}" + F.format("d"),
    "deque": "d = collections.deque([?])" + F.format("d"),
    "bytes": "d = bytearray([?])" + F.format("d"),
    "proxy": "d = types.MappingProxyType({'n': ?})" + F.format("d"),
    "behind a closure": "def d(): return ?\ndef make(g):\n    def f(): return g()\n    return f\n"
    "f = make(lambda: d())",
    "behind a default": "def d(): return ?\ndef f(g=lambda: d()): return g()",
    "class in a function": "def f():\n    class C:\n        N = ?\n    return C.N",
}


def key(module: ModuleType, name: str = "f") -> bytes:
    return Reach().digest([(name, vars(module)[name])])


@pytest.mark.parametrize("change", CHANGES)
def test_it_counts(change: str, module: Callable[[str], ModuleType]) -> None:
    one, same, other = (
        key(module(HEAD + CHANGES[change].replace("?", value))) for value in ("1", "1", "2")
    )
    assert one == same != other


KEPT = {
    "comment": "def g():\n    # ?\n    return 1" + F.format("g()"),
    "docstring": "def f():\n    class C:\n        '?'\n        x = 1\n    return C",
    "place": "{}\ndef f():\n    class C:\n        x = 1\n    return C",
    "place of a class": "{}\nclass C:\n    def g(self): self.x = 1" + F.format("C().g()"),
    "another function": "def g(): return ?" + F.format("1"),
    "an attribute of that name": "N = ?\ndef f(): return f.N",
    "the address of an object": "a = [object() for _ in range(?)]\nd = {object, a[0]}"
    + F.format("d"),
    "environment": "from os import environ\nenviron['PYPELININ_TEST_REACH'] = '?'"
    + F.format("environ"),
}


@pytest.mark.parametrize("change", KEPT)
def test_it_does_not_count(
    change: str, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPELININ_TEST_REACH", "")
    texts = (KEPT[change].replace("?", "1"), KEPT[change].replace("?", "2").replace("{}", "\n\n"))
    one, other = (key(module(text.replace("{}", ""))) for text in texts)
    assert one == other


@pytest.mark.parametrize(
    ("reads", "text"),
    [
        ("near.N", "N = ?"),
        ("near.g()", "N = ?\ndef g(): return N"),
        ("near.C().g()", "class C:\n    def g(self): return ?"),
        ("near.C.N", "class C:\n    N = ?"),
        ("near.g()", "import functools\n@functools.cache\ndef g(): return ?"),
        ("near.inner.g()", "import sys, types\ninner = types.ModuleType('inner')\n"
         "inner.__file__ = __file__\ndef g(): return ?\ninner.g = g"),
    ],
)  # fmt: skip
def test_what_stands_in_a_module_of_the_project_counts(
    reads: str, text: str, module: Callable[[str], ModuleType]
) -> None:
    keys = []
    for value in ("1", "1", "2"):
        made = module(F.format(reads))
        made.near = module(text.replace("?", value))  # type: ignore[attr-defined]  # as imported
        keys.append(key(made))
    assert keys[0] == keys[1] != keys[2]


SCRIPT = """
import sys
from pypelinin.tasks import task
words = {"a", "b", "c", min, max}
class C:
    def g(self):
        class D: ...
        return D
@task("A")
def f(data): return C().g(), words, data in {"x", "y", "z"}
if __name__ == "__main__":
    import os; os.chdir("/")
    print(f().hash())
"""


def test_it_is_the_same_in_each_process_as_script_and_as_module(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(SCRIPT)
    found = []
    ways = (["made.py"], ["made.py"], ["-c", "import made; print(made.f().hash())"])
    for seed, way in enumerate(ways):
        done = subprocess.run(
            [sys.executable, *way], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}, check=True,
        )  # fmt: skip
        found.append(done.stdout)
    assert len(set(found)) == 1


def test_circles_have_an_end(module: Callable[[str], ModuleType]) -> None:
    text = "def g(n): return f()\nd = [g]\nd.append(d)" + F.format("g(d) + ?")
    one, same, other = (key(module(text.replace("?", value))) for value in "112")
    assert one == same != other


def test_what_has_no_content_is_no_data() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert data_of(endless) is None
    assert data_of([object()]) is None
    assert data_of({"a": {1}}) == data_of({"a": {1}}) != data_of({"a": {2}})


class Odd(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError

    def __hash__(self) -> int:  # type: ignore[override]  # so that it can be a key
        return 1

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


def test_odd_objects_are_taken_as_they_are() -> None:
    def digest(value: Any) -> bytes:
        return Reach().digest([("value", value)])

    for one, other in ((Odd(a=max), Odd(a=min)), ({Odd(): max}, {Odd(): min})):
        assert digest(one) == digest(one) != digest(other)
    assert digest({Odd(), max}) == digest({Odd(), max})


def test_cells_of_a_notebook_have_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    def run_cell(text: str) -> bytes:
        exec(compile(text, "/nowhere/cell.py", "exec"), vars(main))
        return key(main)

    before = run_cell("def g(): return 1\ndef f(): return g()")
    assert run_cell("'Unchanged.'") == before != run_cell("def g(): return 2")
