"""What provably stands does not enter a run.

A job stands if it never has to run for itself, its record was made from exactly what it would read
now, all of that stands, too, and its outputs are as it left them. The engine would say the same
of it, one job after the other; here a *stamp*, a digest of all that a record was made from, is
compared. What does not stand enters, with all that is read there: jobs that stand as given, or
as they are, if their outputs would have to be made again.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

import msgpack

from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import Job, Place
from pypelinin.incremental.records import packed, stamp

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph


class Standing:
    """*prints* are the fingerprints of what is known to stand, by job."""

    def __init__(self, graph: Graph, history: History) -> None:
        self._graph = graph
        self._history = history
        self.broken: dict[str, BaseException] = {}
        """Invariants that cannot be known, by job."""
        self._outputs: dict[str, bytes] = {}
        """Packed tags of each output of what stands."""
        self._specs: dict[Tags, bytes] = {}

    def stands(self, job: Job) -> bool:
        return job.outputs[0] in self._outputs

    def prints(self, job: Job) -> Fingerprint:
        """Of one that stands."""
        return tuple(msgpack.unpackb(self._outputs[name], use_list=False) for name in job.outputs)

    def outputs_of(self, job: Job) -> dict[str, Tags]:
        """The same, by name."""
        return dict(zip(job.outputs, self.prints(job), strict=True))

    def find(self, jobs: Sequence[Job]) -> list[Job]:
        """Look at *jobs*, upstreams first; those that do not stand."""
        return [job for job in jobs if not self._look(job)]

    def _look(self, job: Job) -> bool:
        outputs = self._outputs
        if job.place is Place.GIVEN:
            return self._take_invariant(job)
        if job.policy.always or job.by_inputs:
            return False
        row = self._history.packed.stamps.get(job.job_id)
        if row is None:
            return False
        try:
            inputs = [(name, outputs[name]) for name in self._graph.job_inputs[job.job_id]]
        except KeyError:
            return False
        if stamp(self._spec(job), inputs) != row[0]:
            return False
        if job.makes_files and not self._is_intact(job):
            return False
        if len(job.outputs) == 1:
            outputs[job.outputs[0]] = row[1]
        else:
            outputs.update(zip(job.outputs, msgpack.unpackb(row[1]), strict=True))
        return True

    def _spec(self, job: Job) -> bytes:
        spec = job.spec()
        known = self._specs.get(spec)
        if known is None:
            known = self._specs[spec] = packed(spec)
        return known

    def _take_invariant(self, job: Job) -> bool:
        try:
            prints = job.given_after(self._history)
        except Exception as error:
            self.broken[job.job_id] = error
            return False
        for name, tags in zip(job.outputs, prints or (), strict=True):
            self._outputs[name] = packed(tags)
        return True

    def _is_intact(self, job: Job) -> bool:
        """Whether what it keeps is there as it left it, and what it does not keep is gone."""
        keep = job.keep()
        known = self._history.files.known
        for i, name in enumerate(job.outputs):
            try:
                stat = os.stat(name)
            except OSError:
                if job.policy.keep if keep is None else keep[i]:
                    return False
                continue
            if not (job.policy.keep if keep is None else keep[i]):
                return False  # left over: the engine says what becomes of it
            facts = known.get(name)
            if facts is None or facts[1] != stat.st_mtime_ns or facts[0] != stat.st_size:
                return False
        return True

    # --- what enters ---------------------------------------------------------------------------

    def closure(self, entering: Iterable[Job], known: Container[str]) -> dict[str, bool]:
        """Ids of *entering*, and of all that stands, is read there and is not *known* -> whether
        it is given, as it need not be made again."""
        graph = self._graph
        stack = list(entering)
        found = {job.job_id: False for job in stack}
        while stack:
            for name in graph.job_inputs[stack.pop().job_id]:
                upstream = graph.outputs_to_job_ids[name]
                if upstream in found or upstream in known:
                    continue
                job = graph.jobs[upstream]
                if not self.stands(job):
                    continue  # it is no part of this run
                found[upstream] = self._is_kept(job)
                if not found[upstream]:
                    stack.append(job)
        return found

    @staticmethod
    def _is_kept(job: Job) -> bool:
        """Whether all that it makes is there, so that nobody has to make it again."""
        if job.place is Place.GIVEN:
            return True
        keep = job.keep()
        return job.policy.keep if keep is None else all(keep)
