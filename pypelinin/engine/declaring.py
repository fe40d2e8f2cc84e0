"""Taking jobs and edges into a Run."""

from __future__ import annotations

from collections.abc import Iterable

from pypelinin.engine.deciding import Deciding
from pypelinin.engine.entry import Edge, Entry, absolute
from pypelinin.engine.table import CANCELLED, KEPT, OPEN
from pypelinin.errors import DefinitionError
from pypelinin.graph.declared import After, Declared, Input


class Declaring(Deciding):
    """What a Run knows of its graph comes in here."""

    def declare(self, jobs: Iterable[Declared], base: int) -> None:
        """Take in new jobs; numbers below 0 count from *base* on (see `Expansion`)."""
        before = len(self._asks)
        for declared in jobs:
            job = Entry(self.next_number, declared)
            for upstream, outputs, tolerant in declared.inputs:
                self.connect(job, Input(absolute(upstream, base), outputs, tolerant))
            for upstream, tolerant in declared.after:
                self.follow(job, After(absolute(upstream, base), tolerant))
            self.jobs[job.number] = job
            self.next_number += 1
            self._check_declared(job)
            if declared.given is not None:
                job.prints, job.promised, job.state = declared.given, True, KEPT
                job.recorded = not (job.always or job.keyed or job.invariant)
                job.there = job.mask(declared.there)
                job.kept |= job.all * job.invariant
            elif job.always and job.recorded:
                self._forget(job)
            if job.final:
                self.finals.append(job)
            if job.eager and declared.given is None:
                if self.cancelled:
                    self._break(job, CANCELLED, 0, None)
                else:
                    self._asks.append(job)
        self._asks[before:] = reversed(self._asks[before:])  # the last one is the first asked

    def _check_declared(self, job: Entry) -> None:
        if job.name:
            if job.name in self.names:
                raise DefinitionError(f"Two jobs of one run are called {job.name!r}.")
            self.names.add(job.name)
        elif not job.always:
            raise DefinitionError("A job that has a record or a key needs a name.")
        for up, _, tolerant in job.inputs:
            if up.final and not job.final:
                raise DefinitionError("Only final jobs may depend on final jobs.")
            if tolerant and not job.always:
                raise DefinitionError("Only jobs that always run can do without an input.")
            if not up.name and not job.always:
                raise DefinitionError("What a job with a record or a key reads needs a name.")
        if any(up.final for up, _ in job.after) and not job.final:
            raise DefinitionError("Only final jobs may depend on final jobs.")

    def connect(self, job: Entry, edge: Input) -> None:
        """A data edge; a second one to the same upstream widens the first."""
        try:
            up = self.jobs[edge.upstream]
            outputs = up.mask(edge.outputs)
        except KeyError:
            raise DefinitionError(f"There is no job {edge.upstream} to read from.") from None
        except ValueError:
            raise DefinitionError(f"{up} has no outputs {edge.outputs}.") from None
        if up.consumers is None:
            up.consumers = {}
        known = up.consumers.get(job)
        made: Edge = (up, outputs, edge.even_if_failed)
        if known is not None:
            made = (up, outputs | known[1], edge.even_if_failed and known[2])
            job.inputs[job.inputs.index(known)] = made
        else:
            job.inputs.append(made)
            if OPEN[job.state]:
                self._need(up, outputs)
            up.marks += job.marking
        up.consumers[job] = made

    def follow(self, job: Entry, edge: After) -> None:
        """An order-only edge."""
        up = self.jobs.get(edge.upstream)
        if up is None:
            raise DefinitionError(f"There is no job {edge.upstream} to come after.")
        if up.followers is None:
            up.followers = {}
        if job not in up.followers:
            up.followers[job] = edge.even_if_failed
            job.after.append((up, edge.even_if_failed))
