"""A Run as a story: jobs by name, outcomes by name, and what the world answers to looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pypelinin.engine.run import Run
from pypelinin.engine.table import NAMES
from pypelinin.graph.declared import ALWAYS, After, Declared, Expansion, Input, Policy, Record
from pypelinin.graph.fingerprint import Fingerprint

Edge = str | tuple[str, str] | tuple[str, str, bool]
"""A job, (job, its output), or (job, its output, even if failed)."""


class Job:
    """What is declared of a job; *reads* and *after* name jobs before it."""

    def __init__(
        self,
        name: str,
        policy: Policy = ALWAYS,
        reads: Sequence[Edge] = (),
        after: Sequence[str | tuple[str, bool]] = (),
        **declared: Any,
    ) -> None:
        self.name = name
        self.policy = policy
        self.reads = reads
        self.after = after
        self.declared = declared


def tags(content: object) -> Fingerprint:
    return ((("content", str(content).encode()),),)


class Scene:
    """One run of *jobs*; *records* and *there* (outputs by job) are the world's."""

    def __init__(
        self,
        *jobs: Job,
        records: dict[str, Record] | None = None,
        there: dict[str, tuple[str, ...]] | None = None,
        answer: bool = True,
        closed: bool = True,
    ) -> None:
        self.records = dict(records or {})
        self.there = dict(there or {})
        self.answer = answer
        self.numbers: dict[str, int] = {}
        self.ran: list[str] = []
        self.released: list[tuple[str, tuple[str, ...]]] = []
        self.looked: list[str] = []
        self.killed: list[str] = []
        self.forgotten: list[str] = []
        self.run = Run(self.declared(jobs), closed=closed)
        self.obey()

    def declared(self, jobs: Iterable[Job], new: dict[str, int] | None = None) -> list[Declared]:
        """As a graph, or (with *new* names) as jobs of an expansion: -1, -2, ..."""
        found: list[Declared] = []
        local: dict[str, int] = {}
        for job in jobs:
            place = {**self.numbers, **local}
            reads = [self._input(edge, place) for edge in job.reads]
            after = [
                After(place[edge]) if isinstance(edge, str) else After(place[edge[0]], edge[1])
                for edge in job.after
            ]
            given: dict[str, Any] = {
                "name": job.name,
                "spec": (("text", b"1"),),
                "record": self.records.get(job.name),
                **job.declared,
            }
            found.append(Declared(job.policy, reads, after, **given))
            if new is None:
                self.numbers[job.name] = len(self.numbers)
            else:
                local[job.name] = -1 - len(local)
                new[job.name] = local[job.name]
        return found

    def _input(self, edge: Edge, place: dict[str, int]) -> Input:
        if isinstance(edge, str):
            return Input(place[edge])
        return Input(place[edge[0]], (edge[1],), len(edge) > 2)

    def obey(self) -> None:
        """Do what the Run asks for, looks included, until it waits for outcomes."""
        names = {number: name for name, number in self.numbers.items()}
        while commands := self.run.take():
            for number in commands.forget:
                self.forgotten.append(names[number])
                self.records.pop(names[number], None)
            for number, record in commands.remember.items():
                self.records[names[number]] = record
            self.ran += (names[number] for number in commands.run)
            self.released += ((names[n], outputs) for n, outputs in commands.release)
            self.killed += (names[number] for number in commands.kill)
            for number in commands.look:
                self.looked.append(names[number])
                if self.answer:
                    self.run.found(number, self.there.get(names[number], ()))
        self.run.check()

    # --- events ----------------------------------------------------------------------------

    def done(self, *names: str, content: object = "", expansion: Expansion | None = None) -> Scene:
        """These end well, one after the other; *content* is what each output holds."""
        for name in names:
            job = self.run.jobs[self.numbers[name]]
            prints = tags(content or name) * len(job.outputs)
            base = self.run.next_number
            self.run.done(job.number, prints, expansion)
            if expansion is not None and self.run.next_number > base:
                for i, declared in enumerate(expansion.jobs):
                    self.numbers[declared.name] = base + i
            self.obey()
        return self

    def expand(
        self, name: str, jobs: Sequence[Job], gains: Sequence[tuple[str, str]] = ()
    ) -> Scene:
        """*name* ends well and brings *jobs*; (a, b) of *gains*: the old job a reads b."""
        new: dict[str, int] = {}
        declared = self.declared(jobs, new)
        place = {**self.numbers, **new}
        inputs = [(self.numbers[to], Input(place[up])) for to, up in gains]
        return self.done(name, expansion=Expansion(declared, inputs))

    def failed(self, *names: str) -> Scene:
        for name in names:
            self.run.failed(self.numbers[name], "it fails")
            self.obey()
        return self

    def vanished(self, name: str, up: str, output: str = "") -> Scene:
        self.run.vanished(self.numbers[name], [(self.numbers[up], (output,))])
        self.obey()
        return self

    def recipe_failed(self, name: str, recipe: str) -> Scene:
        self.run.recipe_failed(self.numbers[name], self.numbers[recipe])
        self.obey()
        return self

    def cancel(self, *names: str) -> Scene:
        self.run.cancel([self.numbers[name] for name in names] or None)
        self.obey()
        return self

    # --- what is ---------------------------------------------------------------------------

    @property
    def states(self) -> dict[str, str]:
        """Forgotten TOKENs are not among them."""
        jobs = self.run.jobs
        return {name: NAMES[jobs[n].state] for name, n in self.numbers.items() if n in jobs}

    def all(self) -> Scene:
        """Every job that is handed out ends well, in that order."""
        told = 0
        while told < len(self.ran):
            self.done(self.ran[told])
            told += 1
        return self

    def again(self, *jobs: Job, there: dict[str, tuple[str, ...]]) -> Scene:
        """The next run of a graph with the records of this one."""
        return Scene(*jobs, records=self.records, there=there)
