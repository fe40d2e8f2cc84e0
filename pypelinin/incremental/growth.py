"""What the job that runs here now says of the graph, and how the running graph takes it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pypelinin.graph.declared import Expansion, Input
from pypelinin.graph.fingerprint import digest
from pypelinin.incremental.declaring import Declaring
from pypelinin.incremental.jobs.base import Job, Place

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph

Edge = tuple[Job, Job, tuple[str, ...]]
"""(who reads, of whom, which outputs)."""


class Growth:
    """Jobs and edges that one job said; *new* and *edges* are those that were not there before."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.new: list[Job] = []
        self.edges: list[Edge] = []
        self._said: dict[str, Job] = {}
        self._said_edges: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self.new or self.edges)

    def defined(self, job: Job, is_new: bool) -> None:
        self._said[job.job_id] = job
        if is_new:
            self.new.append(job)

    def connected(self, edge: Edge, is_new: bool) -> None:
        job, upstream, outputs = edge
        self._said_edges[f"{upstream.job_id} -> {job.job_id} {sorted(outputs)}"] = None
        if is_new:
            self.edges.append(edge)

    def digest(self) -> bytes:
        """Of what was said; the same whether the jobs were there before or not.

        Invariants of jobs count by their names, as inputs: they are made with the jobs, once.
        """
        lines = list(self._said_edges)
        for job in self._said.values():
            if job.place is not Place.GIVEN:
                inputs = sorted(self.graph.job_inputs[job.job_id])
                lines.append(f"{type(job).__name__} {job.job_id} {inputs}")
                lines += [f"{self.graph.outputs_to_job_ids[name]} -> {job.job_id} {[name]}"
                          for name in inputs]  # fmt: skip
        return digest("\n".join(sorted(set(lines))).encode())

    def expansion(
        self, parent: Job, declaring: Declaring, numbers: Mapping[str, int], base: int
    ) -> tuple[Expansion, list[Job], bool]:
        """(what the run can take in now, its new jobs, whether something is left for later).

        *numbers* are those of the jobs of the run, *base* is the next one. Raises NotADag.
        """
        made_now = [job for job in self.new if job.job_id not in numbers]
        fresh = list(declaring.with_inputs(made_now, numbers))
        producers, inputs = self.graph.outputs_to_job_ids, self.graph.job_inputs
        known = dict(numbers)
        jobs: list[Job] = []
        for job in declaring.ordered(fresh):
            # one that reads what is not in this run is not, either
            if all(producers[name] in known for name in inputs[job.job_id]):
                known[job.job_id] = -1 - len(jobs)
                jobs.append(job)
        made = Expansion([declaring.declared(job, known, base + i) for i, job in enumerate(jobs)])
        old_edges = [edge for edge in self.edges if edge[0].job_id in numbers]
        followers = set(self.graph.descendants_of([parent.job_id])) if old_edges else set()
        late = any(declaring.standing.stands(edge[0]) for edge in self.edges
                   if edge[0].job_id not in known)  # fmt: skip
        for job, upstream, outputs in old_edges:
            if job.job_id not in followers or upstream.job_id not in known:
                late = True
                continue
            named = None if len(outputs) == len(upstream.outputs) else outputs
            edge = Input(known[upstream.job_id], named)
            made.inputs.append((numbers[job.job_id], edge))
        return made, jobs, late
