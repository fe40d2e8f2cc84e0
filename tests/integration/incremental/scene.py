"""A small world of jobs that is written down in a line, changed by words, and run.

`i=FILE; a=file(i); t=temp(a); b=file(t)`: a name, a kind, what it reads. `a=file!(i)` writes the
same whatever it reads; `m=multi!1(i)` does so with the first of its files, which `m.1` names.
`x<g=file(i)` is made by the generator `g`. What a job writes tells what it was made from, so a
stale or missing input cannot stay unseen; each execution leaves a line in a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pypelinin.incremental as ppg
from pypelinin.incremental import state

WORLDS: dict[str, World] = {}
_NODE = re.compile(r"(\w+)(?:<(\w+))?=(\w+)(!1|!)?(?:\(([\w,. ]*)\))?")

FILES = {
    "file": ppg.FileGeneratingJob, "temp": ppg.TempFileGeneratingJob,
    "multi": ppg.MultiFileGeneratingJob, "dict": ppg.MultiFileGeneratingJob,
    "multitemp": ppg.MultiTempFileGeneratingJob, "tempdict": ppg.MultiTempFileGeneratingJob,
    "plus": ppg.TempFilePlusGeneratingJob,
}  # fmt: skip
SEVERAL = ("multi", "dict", "multitemp", "tempdict")
TEMPORARY = ("temp", "multitemp", "tempdict")
LOADERS = ("data", "attr", "entry")
GIVEN = ("FILE", "PARAM", "FUNC")
ALWAYS = ("gen", "inject", "final")


@dataclass
class Node:
    name: str
    maker: str
    kind: str
    same: str
    """`!`: it writes the same whatever it reads; `!1`: its first output is so."""
    inputs: list[str]
    label: str
    """What it is called in texts: its first name."""
    version: int = 0
    code: int = 0


def nodes_of(line: str) -> Iterator[Node]:
    for part in filter(None, (part.strip() for part in line.split(";"))):
        found = _NODE.fullmatch(part)
        assert found, part
        name, maker, kind, same, inputs = found.groups()
        listed = [one.strip() for one in (inputs or "").split(",") if one.strip()]
        yield Node(name, maker or "", kind, same or "", listed, name)


def act(key: str, name: str, paths: Sequence[Any], *_: int) -> Any:
    return WORLDS[key].act(name, paths)


class Loaded:
    """Where attributes are loaded to."""


@dataclass
class World:
    key: str
    line: str
    resources: ppg.Resources = ppg.Resources.RunsHere
    nodes: dict[str, Node] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    interrupting: set[str] = field(default_factory=set)
    aborting: set[str] = field(default_factory=set)
    store: dict[str, str] = field(default_factory=dict)
    loaded: Loaded = field(default_factory=Loaded)

    def __post_init__(self) -> None:
        WORLDS[self.key] = self
        self.nodes = {node.name: node for node in nodes_of(self.line)}
        os.makedirs(self.key, exist_ok=True)
        for node in self.nodes.values():
            self.write_given(node)

    # --- what it is ------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        return f"{self.key}/{name}"

    def outputs(self, node: Node) -> list[str]:
        if node.kind in SEVERAL:
            return [self.path(f"{node.name}.{i}") for i in (1, 2)]
        if node.kind == "plus":
            return [self.path(node.name), self.path(f"{node.name}.log")]
        return [self.path(node.name)]

    def kept(self, node: Node) -> list[str]:
        if node.kind in ("file", "multi", "dict"):
            return self.outputs(node)
        return self.outputs(node)[1:] if node.kind == "plus" else []

    def inputs(self, node: Node) -> list[str]:
        """What it reads, with what is injected."""
        injected = [
            made.name
            for name in node.inputs
            if self.nodes[name.partition(".")[0]].kind == "inject"
            for made in self.nodes.values()
            if made.maker == name
        ]
        return sorted({*node.inputs, *injected}, key=lambda name: self.node_of(name).label + name)

    def node_of(self, name: str) -> Node:
        return self.nodes[name.partition(".")[0]]

    def text(self, node: Node, texts: Sequence[str], output: int = 1) -> str:
        rests = node.same == "!" or (node.same == "!1" and output == 1)
        return f"{node.label}.{output}.{node.version}({'' if rests else ','.join(texts)})"

    def expected(self, name: str) -> list[str]:
        """The texts that a reader of *name* must find."""
        node, _, output = self.node_of(name), *name.partition(".")[1:]
        if node.kind == "FILE":
            return [f"{node.label}{node.version}"]
        if node.kind in (*GIVEN, *ALWAYS):
            return [str(node.version)] if node.kind in GIVEN else []
        texts = [text for one in self.inputs(node) for text in self.expected(one)]
        found = [self.text(node, texts, i + 1) for i in range(len(self.outputs(node)))]
        return [found[int(output) - 1]] if output else found

    # --- what jobs do ----------------------------------------------------------------------------

    def read(self, name: str) -> list[str]:
        """The texts of *name* that there are now."""
        node, _, output = self.node_of(name), *name.partition(".")[1:]
        if node.kind in LOADERS:
            if node.kind == "attr":
                return [str(getattr(self.loaded, node.name))]
            return [self.store[node.name]]
        if node.kind in ("PARAM", "FUNC", *ALWAYS):
            return self.expected(name)
        paths = [self.path(name)] if output else self.outputs(node)
        return [Path(path).read_text() for path in paths]

    def act(self, name: str, paths: Sequence[Any]) -> Any:
        node = self.nodes[name]
        with open(self.path("ran"), "a") as log:
            log.write(f"{name}\n")
        if name in self.aborting:
            assert state.graph is not None
            state.graph.running.abort()
        if name in self.interrupting:
            raise KeyboardInterrupt
        if node.kind in ("gen", "inject"):
            made = self.make_all(one for one in self.nodes.values() if one.maker == name)
            if name in self.failing:
                raise ValueError(f"{name} fails")
            return made if node.kind == "inject" else None
        texts = [text for one in self.inputs(node) for text in self.read(one)]
        if name in self.failing:
            raise ValueError(f"{name} fails")
        if node.kind == "final":
            return None
        if node.kind in LOADERS:
            text = self.text(node, texts)
            if node.kind == "data":
                self.store[name] = text
            return text
        if node.kind in SEVERAL:
            paths = list(paths[0].values() if isinstance(paths[0], dict) else paths[0])
        for i, path in enumerate(paths):
            path.write_text(self.text(node, texts, i + 1))
        return None

    # --- definition ------------------------------------------------------------------------------

    def define(self) -> None:
        self.make_all(node for node in self.nodes.values() if not node.maker)

    def make_all(self, nodes: Iterable[Node]) -> list[Any]:
        jobs = {node.name: self.make(node) for node in nodes}
        for name, job in jobs.items():
            for other in self.nodes[name].inputs:
                job.depends_on(self.dependency(other))
        return list(jobs.values())

    def function(self, node: Node) -> Any:
        """Its code differs with the version of the node."""
        name = f"work_{self.key}_{node.label}"
        given = f"{self.key!r}, {node.name!r}, paths, {node.version}, {node.code}"
        names: dict[str, Any] = {"act": act}
        exec(f"def {name}(*paths):\n    return act({given})", names)
        return names[name]

    def make(self, node: Node) -> Any:
        path, kind = self.path(node.name), node.kind
        if kind == "FILE":
            return ppg.FileInvariant(path)
        if kind == "PARAM":
            return ppg.ParameterInvariant(path, node.version)
        function: Any = self.function(node)
        if kind == "FUNC":
            return ppg.FunctionInvariant(path, function)
        if kind in ALWAYS:
            return {"gen": ppg.JobGeneratingJob, "inject": ppg.DependencyInjectionJob,
                        "final": ppg.FinalJob}[kind](path, function)  # fmt: skip
        if kind in FILES:
            return self.make_file_job(node, function)
        if kind == "data":
            return ppg.DataLoadingJob(path, function)
        if kind == "attr":
            return ppg.AttributeLoadingJob(path, self.loaded, node.name, function)
        return ppg.DictEntryLoadingJob(path, self.store, node.name, function)

    def make_file_job(self, node: Node, function: Any) -> Any:
        outputs: Any = self.outputs(node)
        if "dict" in node.kind:
            outputs = dict(zip("xy", outputs, strict=True))
        if node.kind == "plus":
            return ppg.TempFilePlusGeneratingJob(*outputs, function, resources=self.resources)
        if node.kind not in SEVERAL:
            (outputs,) = outputs
        return FILES[node.kind](outputs, function, resources=self.resources)

    def dependency(self, name: str) -> Any:
        node = self.node_of(name)
        if "." in name:
            return self.path(name)
        ids = {"PARAM": f"PI{self.path(name)}", "FUNC": f"FI{self.path(name)}"}
        if node.kind in ids:
            return ids[node.kind]
        return self.outputs(node)

    # --- changes ---------------------------------------------------------------------------------

    def write_given(self, node: Node) -> None:
        if node.kind == "FILE":
            Path(self.path(node.name)).write_text(f"{node.label}{node.version}")

    def change(self, words: str) -> None:
        """Several, with `;` between them."""
        self.failing, self.interrupting, self.aborting = set(), set(), set()
        for one in filter(None, (one.strip() for one in words.split(";"))):
            verb, *rest = one.split(" ")
            getattr(self, f"do_{verb}")(*rest)

    def do_edit(self, name: str) -> None:
        """Other content, value or code."""
        self.nodes[name].version += 1
        self.write_given(self.nodes[name])

    def do_recode(self, name: str) -> None:
        """Other code that does the same."""
        self.nodes[name].code += 1

    def do_revert(self, name: str) -> None:
        self.nodes[name].version -= 1
        self.write_given(self.nodes[name])

    def do_touch(self, name: str) -> None:
        os.utime(self.path(name), ns=(0, 10**18))

    def do_fail(self, name: str) -> None:
        self.failing.add(name)

    def do_interrupt(self, name: str) -> None:
        self.interrupting.add(name)

    def do_abort(self, name: str) -> None:
        self.aborting.add(name)

    def do_delete(self, name: str) -> None:
        os.unlink(self.path(name))

    def do_empty(self, name: str) -> None:
        os.truncate(self.path(name), 0)

    def do_tamper(self, name: str) -> None:
        Path(self.path(name)).write_text("somebody else was here")

    def do_add(self, name: str, _to: str, reader: str) -> None:
        self.nodes[reader].inputs.append(name)

    def do_remove(self, name: str, _of: str, reader: str) -> None:
        self.nodes[reader].inputs.remove(name)

    def do_drop(self, name: str) -> None:
        self.store["dropped " + name] = ""
        self._dropped = self.nodes.pop(name)

    def do_return(self, name: str) -> None:
        assert self._dropped.name == name
        self.nodes[name] = self._dropped

    def do_define(self, *words: str) -> None:
        """A node more, or another one of that name, which is at the same place."""
        for node in nodes_of("".join(words)):
            self.nodes[node.name] = node
            self.write_given(node)

    def do_rename(self, name: str, _to: str, new: str) -> None:
        node = self.nodes[name]
        if node.kind == "FILE":
            os.rename(self.path(name), self.path(new))
        renamed = {}
        for one in self.nodes.values():
            inputs = [new if other == name else other for other in one.inputs]
            key = new if one is node else one.name
            renamed[key] = replace(one, name=key, inputs=inputs)
        self.nodes = renamed

    # --- what happened ---------------------------------------------------------------------------

    def take_ran(self) -> list[str]:
        """What was executed since the last call."""
        log = Path(self.path("ran"))
        found = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return sorted(found)

    def check_files(self) -> None:
        """After a run in which nothing failed: all is as if it had been made from nothing."""
        for node in self.nodes.values():
            if node.kind in FILES:
                for path, text in zip(self.outputs(node), self.expected(node.name), strict=True):
                    if path in self.kept(node):
                        assert Path(path).read_text() == text, path
                    else:
                        assert not os.path.exists(path), f"{path} was left"
        assert not any(
            name in self.store for name in self.nodes if self.nodes[name].kind == "entry"
        )
        assert not vars(self.loaded)

    def always(self) -> list[str]:
        """What runs in every run, with what must be made for it."""
        found = [node for node in self.nodes.values() if node.kind in ALWAYS]
        for node in found:  # grows while it is walked
            found += [
                up for up in map(self.node_of, self.inputs(node))
                if up.kind in (*TEMPORARY, *LOADERS) and up not in found
            ]  # fmt: skip
        return sorted(node.name for node in found)

    def outcomes(self, found: dict[str, Any]) -> dict[str, list[str]]:
        """Names of jobs, by the name of their outcome; invariants are left out."""
        told: dict[str, list[str]] = {}
        for node in self.nodes.values():
            if node.kind not in GIVEN:
                job_id = ":::".join(sorted(self.outputs(node)))
                if job_id in found:
                    told.setdefault(found[job_id].outcome.name, []).append(node.name)
        return {key: sorted(names) for key, names in told.items()}
