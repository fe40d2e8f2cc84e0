"""From the graph to the engine: which jobs a run has, in which order, and what is known of each."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from pypelinin.engine.entry import Entry, inputs_now
from pypelinin.engine.run import Run
from pypelinin.engine.table import WAITING
from pypelinin.errors import Cycle
from pypelinin.graph.declared import Declared, Input, Record
from pypelinin.graph.fingerprint import same
from pypelinin.graph.graph import order
from pypelinin.incremental.exceptions import NotADag
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import MOVES, Job, Place
from pypelinin.incremental.jobs.invariants import FILE_VIEW
from pypelinin.incremental.standing import Standing

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph


class Declaring:
    """What a run is told of jobs, and what came up while that was found out."""

    def __init__(self, graph: Graph, history: History) -> None:
        self.graph = graph
        self.history = history
        self.standing = Standing(graph, history)
        self._as_it_stands: set[str] = set()
        """Jobs that stand and that others read: they are given."""
        self.broken: dict[int, BaseException] = {}
        """Invariants that cannot be known, by number."""
        self.altered: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        """By number, which outputs are there, and which of them others have changed."""
        self._sought: dict[int, Job] = {}
        """By number, jobs that are found by their inputs, as long as these are not known."""

    def chosen(self, wanted: Sequence[str] | None) -> list[str]:
        """The jobs of a run: what is not pruned, and of a partial run what *wanted* needs."""
        graph = self.graph
        if wanted is not None:
            kept = graph.ancestors_of(wanted)
            return [job_id for job_id in graph.jobs if job_id in kept]
        graph.mark_pruned()
        return [job_id for job_id, job in graph.jobs.items() if job.prune_reason is None]

    def ordered(self, chosen: Sequence[str]) -> list[Job]:
        """Upstreams first. Raises NotADag with the path."""
        graph = self.graph
        known = set(chosen)
        producers = graph.outputs_to_job_ids
        edges = (
            (producers[name], job_id)
            for job_id in chosen
            for name in graph.job_inputs[job_id]
            if producers[name] in known
        )
        try:
            ids, _ = order(chosen, edges)
        except Cycle as error:
            raise NotADag(error.what, remedy="Remove one of these dependencies.") from None
        return [graph.jobs[job_id] for job_id in ids]

    def entering(self, ordered: Sequence[Job]) -> list[Job]:
        """Those of *ordered* that a run has to decide, and what they read; the others stand."""
        moving = self.standing.find(ordered)
        found = self.with_inputs(moving, ())
        return [job for job in ordered if job.job_id in found]

    def with_inputs(self, jobs: Iterable[Job], known: Container[str]) -> dict[str, bool]:
        """Ids of these, and of all that stands, is read there, and is not *known*."""
        found = self.standing.closure(jobs, known)
        self._as_it_stands.update(job_id for job_id, is_given in found.items() if is_given)
        return found

    def declared(self, job: Job, numbers: Mapping[str, int], number: int) -> Declared:
        """*job*, which has that *number*; *numbers* are those of the jobs that it may read."""
        job.begin()
        if job.place is Place.GIVEN:
            return self._given(job, number)
        if job.job_id in self._as_it_stands:
            return Declared(
                job.policy, name=job.job_id, spec=job.spec(), outputs=job.outputs,
                keep=job.keep(), given=self.standing.prints(job),
            )  # fmt: skip
        declared = Declared(
            job.policy, self._inputs(job, numbers), name=job.job_id, spec=job.spec(),
            outputs=job.outputs, keep=job.keep(), final=job.final,
        )  # fmt: skip
        if not job.policy.always and not job.by_inputs:
            producers = self.graph.outputs_to_job_ids
            declared.record = self._moved(job, self.history.record(job.job_id, producers))
            if declared.record is None and self.history.importer is not None:
                declared.record = self.history.importer.record(job)
            declared.there = self._there(job, declared, number) if job.makes_files else ()
        return declared

    def _inputs(self, job: Job, numbers: Mapping[str, int]) -> list[Input]:
        graph = self.graph
        reads: dict[str, list[str]] = {}
        for name in graph.job_inputs[job.job_id]:
            reads.setdefault(graph.outputs_to_job_ids[name], []).append(name)
        return [
            Input(
                numbers[upstream],
                None if len(names) == len(graph.jobs[upstream].outputs) else tuple(names),
            )
            for upstream, names in reads.items()
        ]

    def _moved(self, job: Job, record: Record | None) -> Record | None:
        """The record, with inputs under the names that they have now, if they have another."""
        if record is None or not self.graph.shared.get(MOVES):
            return record
        made = self.graph.outputs_to_job_ids
        gone = [key for key in record.inputs if key[1] not in made]
        read = {name for _, name in record.inputs}
        for name in self.graph.job_inputs[job.job_id] if gone else ():
            upstream = self.graph.jobs[self.graph.outputs_to_job_ids[name]]
            old = next((key for key in gone if upstream.was_called(key[1])), None)
            if name not in read and old is not None:
                gone.remove(old)
                record.inputs[upstream.job_id, name] = record.inputs.pop(old)
        return record

    def _given(self, job: Job, number: int) -> Declared:
        try:
            if self.standing.stands(job):
                prints: Any = self.standing.prints(job)
            else:
                prints = job.given_after(self.history)
        except Exception as error:
            self.broken[number] = error
            return Declared(job.policy, name=job.job_id, outputs=job.outputs)
        return Declared(
            job.policy, name=job.job_id, outputs=job.outputs, given=prints, invariant=True
        )

    def _there(self, job: Job, declared: Declared, number: int) -> tuple[str, ...] | None:
        """Outputs that exist; None if others changed some, which `look` will ask for."""
        there, altered = [], []
        files = self.history.files
        for name in job.outputs:
            try:
                stat = os.stat(name)
            except OSError:
                continue
            if not S_ISREG(stat.st_mode):
                continue  # it is in the way, and the job will say so
            there.append(name)
            old = None if declared.record is None else declared.record.outputs.get(name)
            if old is None:
                continue
            try:
                content = files.digest(name)
            except OSError:  # nobody can read it
                altered.append(name)
                continue
            if not same(old, ((FILE_VIEW, content),)):
                altered.append(name)
                files.altered[name] = (stat.st_size, stat.st_mtime_ns, content)
        if altered:
            self.altered[number] = (tuple(there), tuple(altered))
            return None
        return tuple(there)

    # --- answers to `look` -----------------------------------------------------------------------

    def look(self, run: Run, jobs: Sequence[Job], numbers: Sequence[int] = ()) -> None:
        """Tell what there is of these, now or when what they read is known: call it again."""
        for number in numbers:
            if jobs[number].by_inputs:
                self._sought[number] = jobs[number]
            else:
                there, altered = self.altered.pop(number, ((), ()))
                run.found(number, there, altered)
        for number, job in list(self._sought.items()):
            entry = run.jobs[number]
            if entry.state != WAITING:
                del self._sought[number]
            elif all(up.prints is not None for up, _, _ in entry.inputs):
                del self._sought[number]
                self._find(run, entry, job)

    def _find(self, run: Run, entry: Entry, job: Job) -> None:
        inputs = inputs_now(entry)
        try:
            found = job.find(inputs)
        except Exception as error:
            self.broken[entry.number] = error
            found = None
        if found is None:
            run.found(entry.number, ())
            return
        outputs = dict(zip(job.outputs, found.prints, strict=True))
        record = Record(entry.spec, outputs, inputs)
        run.found(entry.number, job.outputs, found.altered, record)
