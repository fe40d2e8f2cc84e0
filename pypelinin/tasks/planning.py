"""What has to run: the engine decides it, before anything does.

Every key is known from the declaration, so a Run of keyed jobs can be played to its end here: a
job that it hands out has to run, the others stand or are not needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pypelinin.engine.run import Run
from pypelinin.graph.declared import CACHED, OUTPUT, Declared, Input
from pypelinin.tasks.definition import Task
from pypelinin.tasks.inside.files import RESULT, is_there

AnyTask = Task[Any, Any]


class Plan(NamedTuple):
    """Tasks, parents first."""

    tasks: Sequence[AnyTask]
    keys: Mapping[AnyTask, str]
    there: frozenset[AnyTask]
    """Whose result is on the disk."""
    run: Sequence[AnyTask]
    """What has to run, in an order in which it can."""
    load: frozenset[AnyTask]
    """What has not, but is read by what has to."""

    def path(self, task: AnyTask) -> str:
        """Where its result is, or will be."""
        return os.path.join(task.folder(self.keys[task]), RESULT)


def reloaded(tasks: Sequence[AnyTask], force: bool) -> set[AnyTask]:
    """What runs whatever there is of it: what is marked so, and all that is made from it."""
    found: set[AnyTask] = set()
    for task in tasks:
        if force or task.reload or any(parent in found for parent in task.parents):
            found.add(task)
    return found


def planned(tasks: Sequence[AnyTask], keys: Mapping[AnyTask, str], force_reload: bool) -> Plan:
    """The plan for *tasks*, parents first, whose data path is set."""
    numbers = {task: number for number, task in enumerate(tasks)}
    reload = reloaded(tasks, force_reload)
    read = {parent for task in tasks for parent in task.parents}
    there = frozenset(
        task for task in tasks if is_there(os.path.join(task.folder(keys[task]), RESULT))
    )
    run = Run(
        Declared(
            policy=CACHED if task in read else OUTPUT,
            inputs=[Input(numbers[parent]) for parent in task.parents],
            name=task.name,
            spec=(("key", bytes.fromhex(keys[task])),),
            keyed=True,
            there=("",) if task in there else (),
            reload=task in reload,
        )
        for task in tasks
    )
    order: list[AnyTask] = []
    while handed_out := run.take().run:
        for number in handed_out:
            order.append(tasks[number])
            run.done(number)
    assert run.over, "a run of keyed jobs has an end"
    load = {parent for task in order for parent in task.parents} - set(order)
    return Plan(tasks, keys, there, order, frozenset(load))


__all__ = ["Plan", "planned", "reloaded"]
