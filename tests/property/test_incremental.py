"""Random graphs with random changes, against what section by section must hold in every run.

The oracle knows nothing of the engine: from what each job was made from at its last success it
says which are dirty, and from that who must run. Where something fails only the laws are asked.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pypelinin.incremental as ppg
from tests.integration.incremental.scene import GIVEN, LOADERS, TEMPORARY, WORLDS, Node, World

KINDS = ("file", "file", "file!", "multi", "multi!1", "temp", "temp", "temp!", "data", "attr!",
         "entry", "multitemp")  # fmt: skip
JOBS_MAX = 9
STEPS = 4
LAZY = (*TEMPORARY, *LOADERS)
Made = tuple[int, int, str, dict[str, tuple[str, ...]]]
"""Version and code of a job, its kind, and what it read, by name."""


class Memory:
    """What each job was made from when it last ended well."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: dict[str, Made] = {}
        self.disturbed: set[str] = set()
        """Jobs with an output that is missing, or not as they left it."""

    def now(self, node: Node) -> Made:
        read = {name: tuple(self.world.expected(name)) for name in node.inputs}
        return node.version, node.code, node.kind, read

    def asked(self) -> set[str]:
        """What some file in the end is made from."""
        found = [node for node in self.world.nodes.values() if node.kind in ("file", "multi")]
        for node in found:  # grows while it is walked
            found += [up for up in map(self.world.node_of, node.inputs) if up not in found]
        return {node.name for node in found if node.kind not in GIVEN}

    def must_run(self) -> set[str]:
        nodes, asked = self.world.nodes, self.asked()
        runs = {name for name in asked if self.made.get(name) != self.now(nodes[name])}
        runs |= self.disturbed & asked
        for name in reversed(list(nodes)):  # readers come after what they read
            if name in runs:
                read = map(self.world.node_of, nodes[name].inputs)
                runs |= {up.name for up in read if up.kind in LAZY}
        return runs

    def learn(self) -> None:
        """Nothing failed."""
        for name in self.asked():
            self.made[name] = self.now(self.world.nodes[name])
        self.disturbed.clear()


def random_line(random: Random) -> str:
    parts = ["i=FILE", "j=FILE", "p=PARAM", "f=FUNC"]
    names: list[str] = []
    for number in range(random.randint(1, JOBS_MAX)):
        before = [*"ijpf", *names]
        read = random.sample(before, min(len(before), random.randint(0, 3)))
        if names and random.random() < 0.7:
            read = list(dict.fromkeys([*read, random.choice(names)]))
        if random.random() < 0.2:
            read = [
                f"{one}.{random.randint(1, 2)}" if is_multi(one, parts) else one for one in read
            ]
        names.append(f"n{number}")
        parts.append(f"n{number}={random.choice(KINDS)}({','.join(read)})")
    return "; ".join(parts)


def is_multi(name: str, parts: list[str]) -> bool:
    return any(part.startswith(f"{name}=multi") for part in parts)


def disturb(world: World, memory: Memory, random: Random) -> str:
    """One change; what it was, in words."""
    nodes = list(world.nodes.values())
    node = random.choice(nodes)
    way = random.choice(("edit", "edit", "recode", "delete", "tamper", "empty", "add", "remove"))
    if way in ("delete", "tamper", "empty"):
        kept = [one for one in nodes if one.kind in ("file", "multi") and one.name in memory.made]
        if not kept:
            return ""
        node = random.choice(kept)
        path = random.choice(world.outputs(node))
        if not os.path.exists(path):
            return ""
        memory.disturbed.add(node.name)
        return f"{way} {os.path.basename(path)}"
    if way == "add":
        earlier = [one.name for one in nodes[: nodes.index(node)]]
        free = [name for name in earlier if name not in {n.partition(".")[0] for n in node.inputs}]
        if not free or node.kind in GIVEN:
            return ""
        return f"add {random.choice(free)} to {node.name}"
    if way == "remove":
        return f"remove {random.choice(node.inputs)} of {node.name}" if node.inputs else ""
    if way == "recode" and node.kind in GIVEN:
        return ""
    return f"{way} {node.name}"


def run(world: World) -> dict[str, Any]:
    graph = ppg.new(
        cores=2, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".state",
        allow_short_filenames=True, log_address=None,
    )  # fmt: skip
    world.define()
    return graph.run(print_failures=False, raise_on_job_error=False)


def descendants(world: World, names: set[str]) -> set[str]:
    found = set(names)
    for node in world.nodes.values():
        if any(world.node_of(name).name in found for name in node.inputs):
            found.add(node.name)
    return found


def play(random: Random) -> None:
    world = World("w", random_line(random))
    memory = Memory(world)
    for step in range(STEPS):
        changes: list[str] = []
        for _ in range(random.randint(0, 3) if step else 0):
            changes.append(disturb(world, memory, random))
            world.change(changes[-1])
        world.change("")
        told = f"{world.line}\n{changes}"
        if random.random() < 0.3:
            run_with_failures(world, memory, random, told)
            continue
        expected = sorted(memory.must_run())
        outcomes = world.outcomes(run(world))
        assert world.take_ran() == expected, told
        assert outcomes.get("Success", []) == expected, told
        assert not {"Failed", "UpstreamFailed"} & outcomes.keys(), told
        memory.learn()
        check_files(world, memory.asked())
        run(world)
        assert world.take_ran() == [], f"unchanged, after {told}"


def run_with_failures(world: World, memory: Memory, random: Random, told: str) -> None:
    """Failures touch what depends on them and nothing else, and are made good afterwards."""
    jobs = [node.name for node in world.nodes.values() if node.kind not in GIVEN]
    failing = set(random.sample(jobs, min(len(jobs), random.randint(1, 2))))
    must = memory.must_run()
    world.failing = failing
    outcomes = world.outcomes(run(world))
    told = f"{told} {failing}"
    ran = world.take_ran()
    assert len(ran) == len(set(ran)), f"twice: {told}"
    failed = set(outcomes.get("Failed", []))
    assert failed == set(ran) & failing, told
    touched = descendants(world, failed)
    assert set(outcomes.get("UpstreamFailed", [])) <= touched, told
    assert must - descendants(world, failing) <= set(ran) | unneeded(world, touched), told
    world.change("")
    again = world.outcomes(run(world))
    ran = world.take_ran()
    assert failed & memory.asked() <= set(ran), f"not made good: {told}"
    assert not {"Failed", "UpstreamFailed"} & again.keys(), told
    memory.learn()
    check_files(world, memory.asked())
    run(world)
    assert world.take_ran() == [], f"unchanged, after {told}"


def unneeded(world: World, touched: set[str]) -> set[str]:
    """What is made only for others, some of which could not be."""
    found: set[str] = set()
    for node in reversed(world.nodes.values()):
        readers = [
            one.name for one in world.nodes.values()
            if any(world.node_of(name) is node for name in one.inputs)
        ]  # fmt: skip
        if node.kind in LAZY and any(name in touched or name in found for name in readers):
            found.add(node.name)
    return found


def check_files(world: World, asked: set[str]) -> None:
    for node in world.nodes.values():
        outputs = world.outputs(node)
        if node.kind in ("file", "multi"):
            assert [Path(path).read_text() for path in outputs] == world.expected(node.name)
        elif node.kind in TEMPORARY and node.name in asked:
            assert not any(map(os.path.exists, outputs)), f"{node.name} was left"
    assert not vars(world.loaded)


@pytest.fixture(autouse=True)
def directory() -> Iterator[None]:
    here = os.getcwd()
    yield
    os.chdir(here)
    ppg.change_global_pipegraph(None)
    WORLDS.clear()


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_runs_is_what_the_records_ask_for(random: Random) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            play(random)
        finally:
            os.chdir("/")


def test_the_oracle_asks_for_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = World("w", "i=FILE; t=temp!(i); u=temp(t); a=file(u); b=file(i)")
    memory = Memory(world)
    assert memory.must_run() == set("tuab")
    memory.learn()
    assert memory.must_run() == set()
    world.change("edit i")
    assert memory.must_run() == set("tb")
    memory.disturbed.add("a")
    assert memory.must_run() == set("tuab")
