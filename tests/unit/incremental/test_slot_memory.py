"""Slots are forked anew when they lack what jobs may look for, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine.run import Run
from pypelinin.graph.declared import ALWAYS, Declared, Input
from pypelinin.incremental.slot_memory import SlotMemory

READS = ((0, b"", b""),)
found: list[str] = []


def test_what_slots_lack() -> None:
    run = Run([Declared(ALWAYS), Declared(ALWAYS, [Input(0)]), Declared(ALWAYS)])
    memory = SlotMemory()
    assert memory.lacks(run, {0: ()}, True)
    memory.renewed(3)
    assert not memory.lacks(run, {0: (), 1: READS}, True)
    memory.loaded()
    assert memory.lacks(run, {0: (), 1: READS}, True)
    assert not memory.lacks(run, {1: READS}, False)
    assert not memory.lacks(run, {1: ()}, True)
    memory.renewed(3)
    memory.acted(0)
    assert not memory.lacks(run, {2: ()}, True)
    assert memory.lacks(run, {1: (), 2: ()}, False)
    memory.renewed(3)
    assert not memory.lacks(run, {1: (), 2: ()}, True)
    assert memory.lacks(run, {3: ()}, True)


def write(path: Path) -> None:
    path.write_text(" ".join(found))


def note() -> None:
    found.append("noted")


def note_and_write(path: Path) -> None:
    note()
    path.write_text("x")


def by_generator() -> Any:
    return ppg.JobGeneratingJob("note", note)


def by_file() -> Any:
    return ppg.FileGeneratingJob(
        "note.txt", note_and_write, ppg.Resources.RunsHere, allowed_non_locals=["found"]
    )


@pytest.mark.parametrize("noting", [by_generator, by_file])
def test_what_a_job_of_the_caller_left_is_found_by_who_depends_on_it(
    ppg_here: ppg.PyPipeGraph, noting: Any
) -> None:
    """Though slots were forked before it ran."""
    found.clear()
    before, after = (
        ppg.FileGeneratingJob(name, write, empty_ok=True, allowed_non_locals=["found"])
        for name in ("before.txt", "after.txt")
    )
    after.depends_on(noting().depends_on(before))
    ppg_here.run()
    assert Path("before.txt").read_text() == ""
    assert Path("after.txt").read_text() == "noted"
