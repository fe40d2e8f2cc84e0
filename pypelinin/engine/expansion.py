"""What a finished job may bring: checked whole, then taken in, before the job settles.

Two expansions may each be right and not both; the one that comes second is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pypelinin.engine.declaring import Declaring
from pypelinin.engine.entry import Entry, absolute, is_broken, repeatable_by_declaration
from pypelinin.engine.table import IDLE, UNUSED, WAITING
from pypelinin.graph.declared import After, Declared, Expansion, Input

JOBS_MAX = 10_000
LIVE_MAX = 1_000_000


class Refused(Exception):
    """The expansion breaks a rule; the text says which."""


def grow(run: Declaring, job: Entry, expansion: Expansion) -> str:
    """Take *expansion* in; or change nothing, and return why it is refused."""
    try:
        _Check(run, job, expansion).all()
    except Refused as error:
        return str(error)
    base = run.next_number
    run.declare(expansion.jobs, base)
    for number, edge in expansion.inputs:
        run.connect(run.jobs[number], edge._replace(upstream=absolute(edge.upstream, base)))
    for number, after in expansion.after:
        run.follow(run.jobs[number], after._replace(upstream=absolute(after.upstream, base)))
    return ""


def check_new(run: Declaring, jobs: list[Declared]) -> None:
    """Raise Refused unless *jobs* may be added to an open *run* from outside."""
    _Check(run, None, Expansion(jobs)).all()


def _edges(declared: Declared) -> list[Input | After]:
    return [*declared.inputs, *declared.after]


class _Check:
    def __init__(self, run: Declaring, job: Entry | None, expansion: Expansion) -> None:
        self.run = run
        self.job = job
        self.expansion = expansion
        self._descendants: set[Entry] | None = None

    def all(self) -> None:
        jobs, job = self.expansion.jobs, self.job
        if job is not None and (not job.always or job.final):
            raise Refused("only a job that always runs, and is not final, can expand")
        if len(jobs) > JOBS_MAX:
            raise Refused(f"{len(jobs):,} jobs, at most {JOBS_MAX:,} in one expansion")
        if len(self.run.jobs) + len(jobs) > LIVE_MAX:
            raise Refused(f"the run would have more than {LIVE_MAX:,} jobs")
        names = {declared.name for declared in jobs if declared.name}
        if len(names) < sum(bool(declared.name) for declared in jobs) or names & self.run.names:
            raise Refused("a job of that name exists")
        for index, declared in enumerate(jobs):
            self._new(index, declared)
        for number, edge in self.expansion.inputs:
            self._gains(number, edge)
        for number, after in self.expansion.after:
            self._gains(number, after)
        if self.expansion.inputs or self.expansion.after:
            self._no_cycle()

    def _new(self, index: int, declared: Declared) -> None:
        for edge in _edges(declared):
            if edge.upstream < 0 and -edge.upstream - 1 >= index:
                raise Refused("a new job may name only new jobs that come before it")
            self._edge(edge, declared.policy.always, declared.final)
        if not declared.policy.always and not declared.name:
            raise Refused("a job that has a record or a key needs a name")

    def _edge(self, edge: Input | After, always: bool, final: bool) -> None:
        """Whether a job may gain this edge; *always* and *final* are the job's."""
        if isinstance(edge, Input) and edge.even_if_failed and not always:
            raise Refused("only jobs that always run can do without an input")
        up: Entry | Declared
        if edge.upstream < 0:
            if -edge.upstream > len(self.expansion.jobs):
                raise Refused(f"there is no new job {edge.upstream}")
            up = self.expansion.jobs[-edge.upstream - 1]
        else:
            found = self.run.jobs.get(edge.upstream)
            if found is None:
                raise Refused(f"job {edge.upstream} does not exist, or its run is past it")
            self._old(found, edge)
            up = found
        if up.final and not final:
            raise Refused("only final jobs may depend on final jobs")
        if isinstance(edge, Input) and not set(edge.outputs or ()) <= set(up.outputs):
            raise Refused(f"job {edge.upstream} has no outputs {edge.outputs}")
        if isinstance(edge, Input) and not always and not up.name:
            raise Refused("what a job with a record or a key reads needs a name")

    def _old(self, up: Entry, edge: Input | After) -> None:
        """Is what *edge* names sure to be there still, whenever this is applied?"""
        if (
            self.job is None
            or up is self.job
            or any(up is source for source, *_ in self.job.inputs)
        ):
            return
        if isinstance(edge, After):
            if not (up.always and up.eager and not up.kept):
                return
        elif not is_missing(edge.outputs, up) and (
            (up.eager and not up.mask(edge.outputs) & ~up.kept) or repeatable_by_declaration(up)
        ):
            return
        if up not in self.descendants:
            raise Refused(
                f"what job {up.number} made may be gone: it is not kept, and cannot be repeated"
            )

    def _gains(self, number: int, edge: Input | After) -> None:
        job = self.run.jobs.get(number)
        if job is None or job not in self.descendants:
            raise Refused(f"job {number} does not depend on the job that expands")
        if not (job.state in (IDLE, WAITING) or is_broken(job)) and (
            job.state != UNUSED or job.prints is not None
        ):
            raise Refused(f"job {number} is decided already")
        self._edge(edge, job.always, job.final)

    def _gained(self) -> list[tuple[int, int]]:
        """(job that gains an edge, its upstream)."""
        data = [(number, edge.upstream) for number, edge in self.expansion.inputs]
        return data + [(number, edge.upstream) for number, edge in self.expansion.after]

    @property
    def descendants(self) -> set[Entry]:
        """All that cannot be decided before the expanding job has settled."""
        if self._descendants is None:
            found: set[Entry] = set(self.run.finals)
            stack = [self.job] if self.job is not None else []
            while stack:
                job = stack.pop()
                first = job is self.job
                edges = [(other, edge[2]) for other, edge in (job.consumers or {}).items()]
                if job.eager:
                    edges += (job.followers or {}).items()
                for other, tolerant in edges:
                    if other not in found and (first or not tolerant):
                        found.add(other)
                        stack.append(other)
            self._descendants = found
        return self._descendants

    def _no_cycle(self) -> None:
        """Depth first from each job that gains an edge; a job met while it is open is a cycle."""
        after = self._edges_of_expansion()
        done: set[Entry | int] = set()
        for number, _ in self._gained():
            path: dict[Entry | int, Iterator[Entry | int]] = {}
            start = self.run.jobs[number]
            path[start] = iter(after(start))
            while path:
                others = path[next(reversed(path))]
                other = next(others, None)
                if other is None:
                    done.add(path.popitem()[0])
                elif other in path:
                    raise Refused(f"a cycle through job {number}")
                elif other not in done:
                    path[other] = iter(after(other))

    def _edges_of_expansion(self) -> Callable[[Entry | int], list[Entry | int]]:
        """All that follows a job: an Entry, or the number below 0 of a new one."""
        found: dict[Entry | int, list[Entry | int]] = {}

        def add(upstream: int, follower: Entry | int) -> None:
            key = upstream if upstream < 0 else self.run.jobs[upstream]
            found.setdefault(key, []).append(follower)

        for index, declared in enumerate(self.expansion.jobs):
            for edge in _edges(declared):
                add(edge.upstream, -index - 1)
        for number, up in self._gained():
            add(up, self.run.jobs[number])

        def after(job: Entry | int) -> list[Entry | int]:
            old = [] if isinstance(job, int) else [*(job.consumers or ()), *(job.followers or ())]
            return old + found.get(job, [])

        return after


def is_missing(outputs: tuple[str, ...] | None, up: Entry) -> bool:
    return not set(outputs or ()) <= set(up.outputs)
