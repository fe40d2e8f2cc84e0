"""Code uses the words of docs/GLOSSARY.md and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.tree import ROOT, Module, assert_none, modules

WORDS = frozenset(
    """
    Job Worker Slot Pipeline Run Attempt Outcome Verdict Fence Epoch Basis Input After Policy Keep
    Fingerprint Record Expansion Need Grant Capacity Ledger Claim Lease LSN Nursery Session Drain
    Event Command Router Pipeliner Broker Node Machine Journal Store Link Graph
    """.split()
)

# Names that pypipegraph2 and job_stream gave their users.
GIVEN_NAMES = frozenset(
    {
        "pypelinin.incremental.util",
        "pypelinin.incremental.v1.util",
        "pypelinin.streams.common",
    }
)
MODULE_NAMES_FORBIDDEN = frozenset("util utils helper helpers common misc".split())
# Part of an identifier in snake case -> the word to use.
FORBIDDEN = {
    "task": "job",
    "worker_process": "slot",
    "message_broker": "router",
}
# The front-end of that name may be named.
TASKS_FRONT_END = "tasks"
MANAGERS = frozenset({"PipelineManager"})


def identifiers(module: Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.alias(asname=str(name)) | ast.keyword(arg=str(name)):
                yield name, node.lineno


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def misused(module: Module) -> Iterator[str]:
    forbidden = MODULE_NAMES_FORBIDDEN & {part.strip("_") for part in module.parts}
    if forbidden and module.name not in GIVEN_NAMES:
        yield f"{module.name}: a module is named after its role, not {sorted(forbidden)[0]!r}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and "Manager" in node.name and node.name not in MANAGERS:
            yield f"{module.name}:{node.lineno}: {node.name}: say what it does, not that it manages"
    if module.top == TASKS_FRONT_END:
        return
    for name, line in sorted(set(identifiers(module)), key=lambda found: found[1]):
        for word, better in FORBIDDEN.items():
            if word in snake(name) and name != TASKS_FRONT_END:
                yield f"{module.name}:{line}: {name}: the word is {better!r}, not {word!r}"


def defined(markdown: str) -> set[str]:
    """The words in bold at the start of the glossary's rows."""
    return set(re.findall(r"^\| \*\*([^*]+)\*\* \| .{10,}", markdown, flags=re.MULTILINE))


def test_code_uses_the_words() -> None:
    assert_none(line for module in modules() for line in misused(module))


def test_the_glossary_defines_the_words() -> None:
    markdown = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    assert sorted(WORDS - defined(markdown)) == []


# --- each rule can fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "task = 1",
        "self.subtasks",
        "def run(*, task_count): ...",
        "class TaskQueue: ...",
        "def start_task(): ...",
        "import x as worker_process",
        "class WorkerProcess: ...",
        "f(message_broker=1)",
        "class SlotManager: ...",
    ],
)
def test_a_wrong_word_is_seen(source: str) -> None:
    assert len(list(misused(Module("pypelinin.cluster.queues", source)))) == 1


def test_a_module_named_after_nothing_is_seen() -> None:
    assert list(misused(Module("pypelinin.runtime.utils", "")))
    assert list(misused(Module("pypelinin.helpers.text", "")))


def test_right_words_pass() -> None:
    source = (
        "from pypelinin import tasks\nclass PipelineManager:\n    def f(self, workers): tasks.x"
    )
    assert list(misused(Module("pypelinin.client", source))) == []
    assert list(misused(Module("pypelinin.tasks.declare", "class Task: ..."))) == []


def test_a_word_without_a_meaning_is_not_defined() -> None:
    rows = "| **Job** | one unit of work |\n| **Slot** | |\n| Run | one execution of it |\n"
    assert defined(rows) == {"Job"}
