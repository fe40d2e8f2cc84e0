"""What a result is kept under. The hashes are those that the original's documents show."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.tasks import Secret, Task, TaskError, run, task
from pypelinin.tasks.hashing import checked_scheme, keys_of

HELLO = {
    "md5": ("22179f3afd85ab64dd32c63bc21a9eb4", "f7d904856f2aa4fda20e05521298397f"),
    "sha256": (
        "ab3c99fd51605c7da9f90f003106eca2f166074f4514cc37ef9b26ccb1ac3559",
        "2d80db6c6ddc72de482040a735f317b1974107f7e65e77df24b7319f0eee9e6a",
    ),
}
EVALUATE = {
    "md5": "197f82a6dbc9799406a35bef412cd7f4",
    "sha256": "e22899da0edfdca814b4281db5aacf91e1d17af576b25f049a24a0a13e4da18e",
}


def any_task(name: str) -> type[Task[Any, Any]]:
    @task(name)
    def work(data: Any, **params: Any) -> None: ...

    return work


@pytest.mark.parametrize("scheme", ["md5", "sha256"])
def test_the_published_hashes(scheme: str) -> None:
    hello = any_task("Hello")()
    world = any_task("World")()(hello)
    assert (hello.hash(scheme), world.hash(scheme)) == HELLO[scheme]
    load, process = any_task("LoadData"), any_task("ProcessData")
    login = {"host": "localhost", "username": "user", "password": "password"}
    database = load("database", database=login, wait=10)
    l2 = process("normalize-l2", norm="l2", axis=0, wait=1)(database)
    l1 = process("normalize-l1", norm="l1", wait=1)(load("csv", filename="data.csv", wait=1))
    augment = any_task("AugmentData")("augment", types=["rotate", "noise"], wait=1)(l1)
    evaluate = any_task("Evaluate")("both", wait=1)
    assert evaluate([l1, l2, augment]).hash(scheme) == EVALUATE[scheme]


@pytest.mark.parametrize("scheme", ["md5", "sha256"])
def test_the_originals_do_not_look_at_order_code_and_defaults(scheme: str) -> None:
    a, b = any_task("A")(), any_task("B")()
    one, other = any_task("C")()([a, b]), any_task("C")()([b, a])
    assert one.hash(scheme) == other.hash(scheme)
    assert one.hash("code") != other.hash("code")


CHANGES = {
    "nothing": "@task('A')\ndef f(data, n=1):\n    return n + 1",
    "comment": "@task('A')\ndef f(data, n=1):\n    # why\n    return n + 1",
    "docstring": "@task('A')\ndef f(data, n=1):\n    'What for.'\n    return n + 1",
    "place": "import os\n\n\n@task('A')\ndef f(data, n=1):\n    return n + 1",
    "variable": "@task('A')\ndef f(data, n=1):\n    return n + 2",
    "default": "@task('A')\ndef f(data, n=2):\n    return n + 1",
    "helper": "def g(n): return n + 1\n@task('A')\ndef f(data, n=1):\n    return g(n)",
    "helper's code": "def g(n): return n + 2\n@task('A')\ndef f(data, n=1):\n    return g(n)",
    "cached helper": (
        "import functools\n@functools.cache\ndef g(n): return n + 1\n"
        "@task('A')\ndef f(data, n=1):\n    return g(n)"
    ),
    "cached helper's code": (
        "import functools\n@functools.cache\ndef g(n): return n + 2\n"
        "@task('A')\ndef f(data, n=1):\n    return g(n)"
    ),
    "light helper": (
        "@task(cache=True)\ndef g(n): return n + 3\n@task('A')\ndef f(data, n=1):\n    return g(n)"
    ),
    "light helper's code": (
        "@task(cache=True)\ndef g(n): return n + 4\n@task('A')\ndef f(data, n=1):\n    return g(n)"
    ),
    "constant": "N = 1\n@task('A')\ndef f(data, n=1):\n    return n + N",
    "constant's value": "N = 2\n@task('A')\ndef f(data, n=1):\n    return n + N",
    "constants": "N = (1, 'a')\n@task('A')\ndef f(data, n=1):\n    return n + N",
    "constants' values": "N = (1, 'b')\n@task('A')\ndef f(data, n=1):\n    return n + N",
    "words": "N = {'a', 'b'}\n@task('A')\ndef f(data, n=1):\n    return n in N",
    "words that differ": "N = {'a', 'c'}\n@task('A')\ndef f(data, n=1):\n    return n in N",
    "pattern": "import re\nN = re.compile('a')\n@task('A')\ndef f(data, n=1):\n    return N",
    "another": "import re\nN = re.compile('b')\n@task('A')\ndef f(data, n=1):\n    return N",
    "unread": "N = 3\n@task('A')\ndef f(data, n=1):\n    return n.N",
}


def test_the_code_of_a_task_counts_but_not_how_it_looks(
    module: Callable[[str], ModuleType],
) -> None:
    keys = {name: module(text).f().hash() for name, text in CHANGES.items()}
    same = {"nothing", "comment", "docstring", "place"}
    assert {keys[name] for name in same} == {keys["nothing"]}
    assert keys["unread"] == module(CHANGES["unread"].replace("N = 3", "N = 4")).f().hash()
    assert len(set(keys.values())) == len(keys) - len(same) + 1


CLASS = "class A(Task):\n    {member}\n    @run\n    def run(self, data): return self.f()\n"
MEMBERS = [
    "def f(self): return 1", "def f(self): return 2", "f = 3", "f = 4",
    "@property\n    def f(self): return 1", "@property\n    def f(self): return 2",
    "@staticmethod\n    def f(): return 1", "@staticmethod\n    def f(): return 2",
    "f = object()",
]  # fmt: skip


def test_of_a_class_all_its_members_count(module: Callable[[str], ModuleType]) -> None:
    keys = [module(CLASS.format(member=member)).A().hash() for member in MEMBERS]
    assert len(set(keys)) == len(keys)
    assert module(CLASS.format(member=MEMBERS[0])).A().hash() == keys[0]
    base = module(
        "class B(Task):\n    def f(self): return 1\n"
        + "class A(B):\n    @run\n    def run(self, data): return self.f()\n"
    )
    other = module(
        "class B(Task):\n    def f(self): return 2\n"
        + "class A(B):\n    @run\n    def run(self, data): return self.f()\n"
    )
    assert base.A().hash() != other.A().hash()


OBJECTS = """
import logging, re, threading
log, lock, things = logging.getLogger("x"), threading.Lock(), [logging.getLogger("y")]
class A(Task):
    log = log
    @run
    def run(self, data):
        with lock:
            log.info(things)
"""


def test_objects_that_are_no_data_count_by_their_class(
    module: Callable[[str], ModuleType],
) -> None:
    made = module(OBJECTS)
    before = made.A().hash()
    logging.getLogger("x.another")
    logging.getLogger("x").setLevel(3)
    assert made.A().hash() == module(OBJECTS).A().hash() == before
    assert module(OBJECTS.replace("threading.Lock()", "None")).A().hash() != before


def test_parameters_name_tag_and_parents_count() -> None:
    kind, other = any_task("A"), any_task("B")
    keys = [
        kind().hash(), kind("t").hash(), other().hash(), kind(n=1).hash(), kind(n=1.0).hash(),
        kind(n=(1,)).hash(), kind(n=[1]).hash(), kind()(other()).hash(), kind()(other("t")).hash(),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert kind(a=1, b=2).hash() == kind(b=2, a=1).hash()


def test_errors_say_what_can_be_done_here() -> None:
    with pytest.raises(TaskError, match=r"child\(parent\)") as caught:
        any_task("A")(n=any_task("B")())
    assert "FunctionInvariant" not in str(caught.value)


def test_a_function_imports_when_it_runs(
    module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for value in (1, 1, 2):
        (tmp_path / "imported_later.py").write_text(f"def g(): return {value}")
        text = "@task('A')\ndef f(data):\n    from imported_later import g\n    return g()"
        keys.append(module(text).f().hash())
    assert keys[0] == keys[1] != keys[2]


def test_arrays_count_by_their_content() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: 'pypelinin[test-all]'")
    keys = [any_task("A")(n=numpy.arange(count)).hash() for count in (3, 4, 3)]
    assert keys[0] == keys[2] != keys[1]


def test_a_default_said_is_a_default() -> None:
    @task("A")
    def f(data: Any, n: int = 1) -> None: ...

    assert f(n=1).hash() == f().hash() != f(n=2).hash()


def test_secrets_do_not_count() -> None:
    kind = any_task("A")
    for scheme in ("code", "md5"):
        made = {kind(p=Secret(value)).hash(scheme) for value in ("x", "y")}
        assert len(made) == 1
        assert made != {kind(p="x").hash(scheme)}
    assert kind(p=[Secret("x")]).hash() == kind(p=[Secret("y")]).hash()


def test_parameters_that_cannot_be_hashed() -> None:
    kind = any_task("A")
    with pytest.raises(TaskError, match='hash_scheme="code"'):
        kind(n={1}).hash("md5")
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TaskError, match="n of A"):
        kind(n=endless)
    with pytest.raises(TaskError, match="n of A"):
        kind(n=open)


def ladder(steps: int) -> Task[Any, Any]:
    """Diamonds one below the other: 2 ** steps ways."""
    kind = any_task("A")
    last = kind("0")
    for i in range(1, steps + 1):
        last = kind(f"{i}")([kind(f"{i}l")(last), kind(f"{i}r")(last)])
    return last


def test_diamonds_take_a_step_a_task() -> None:
    assert ladder(300).hash() != ladder(299).hash()
    assert ladder(6).hash("md5") == by_definition(ladder(6))
    with pytest.raises(TaskError, match="one for each way"):
        ladder(60).hash("md5")


def by_definition(last: Task[Any, Any]) -> str:
    """The same by going every way."""
    import hashlib
    import json

    def entries(one: Any) -> list[str]:
        told = {"class": type(one).__name__, "name": one.name, "params": one.params}
        text = json.dumps(told, sort_keys=True)
        own = [f"{hashlib.md5(text.encode()).hexdigest()}_{one.name}"]
        return own + [entry for parent in one.parents for entry in entries(parent)]

    return hashlib.md5("/".join(sorted(entries(last))).encode()).hexdigest()


def test_a_chain_of_100_000() -> None:
    kind = any_task("A")
    chain = [kind(str(i)) for i in range(100_000)]
    for up, down in itertools.pairwise(chain):
        down(up)
    keys = keys_of(chain, "code")
    assert len(set(keys)) == 100_000
    with pytest.raises(TaskError, match="code"):
        keys_of(chain, "md5")


def test_a_scheme_that_is_none() -> None:
    with pytest.raises(TaskError, match="one of code, md5, sha256, not 'sha1'"):
        checked_scheme("sha1")


def test_classes_say_run_too() -> None:
    class Own(Task[Any, Any]):
        @run
        def run(self, data: Any) -> int:
            return 1

    assert Own().hash("md5") != Own("t").hash("md5")
