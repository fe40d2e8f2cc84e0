"""Why a job runs, waits or rests."""

from __future__ import annotations

from typing import Any

from pypelinin.engine.run import Run
from pypelinin.graph.declared import OUTPUT, Declared, Input, Record
from pypelinin.incremental import telling

OLD, NEW = (("file", b"old"),), (("file", b"new"),)


class FakeJob:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class FakeRunning:
    def __init__(self, jobs: list[Declared]) -> None:
        self.run = Run(jobs)
        self.jobs = [FakeJob(job.name) for job in jobs]

    def working(self) -> list[Any]:
        return []


def declared(name: str, *inputs: Input, **more: Any) -> Declared:
    return Declared(OUTPUT, inputs, name=name, outputs=(name,), there=(name,), **more)


def told(running: Any, number: int) -> str:
    return "\n".join(telling.told(running, number))


def test_what_has_changed_is_named() -> None:
    given = declared("in", given=(NEW,), invariant=True)
    record = Record((), {"out": OLD}, {("in", "in"): OLD})
    running: Any = FakeRunning([given, declared("out", Input(0), record=record)])
    text = told(running, 1)
    assert "what it reads changed" in text
    assert "changed: in" in text


def test_what_it_waits_for_is_named() -> None:
    jobs = [declared(f"in{i}") for i in range(5)]
    running: Any = FakeRunning([*jobs, declared("out", *map(Input, range(5)))])
    assert told(running, 5).endswith("waits for in0, in1, in2 and 2 more")
    assert "there is no record of a success" in told(running, 0)


def test_a_job_that_is_gone_is_said_to_be() -> None:
    running: Any = FakeRunning([declared("in")])
    del running.run.jobs[0]
    assert "has ended" in told(running, 0)
