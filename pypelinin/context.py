"""For functions and workers while they run as jobs: what they have of the node, and adding jobs
to their own run.

    from pypelinin import Job, context

    def split(names):
        pieces = [Job(count, args=(name,)) for name in names]
        context.expand([Job(merge, args=(pieces,))], [(pieces[0], context.job("report"))])

The jobs are part of the run when the function has returned; if it raises they never were.

`context.cores` is how many cores the job has (what it asked for; of -1 what it got), and
`context.devices["gpu"]` are the indices of its GPUs, and so of each resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import Job
from pypelinin.growth import Existing

Grown = tuple[list[Job], list[tuple[Job, Job]]]
_current: Grown | None = None
cores = 1
devices: dict[str, tuple[int, ...]] = {}


def job(name: str) -> Job:
    """The job of this run with that name, as an input of new ones or the end of an edge."""
    return Existing(name)


def expand(jobs: Job | Iterable[Job], edges: Iterable[tuple[Job, Job]] = ()) -> None:
    """Add *jobs*, with all that they read or come after, to the run of the job that calls this.

    *edges* are pairs (new job, `job(name)`): that job waits for the new one, too. It must be
    one that cannot have begun, so one that comes after the job that calls this. May be called
    several times. What the rules do not allow fails the job that called.

    Raises DefinitionError outside of a job, or for what is no job.
    """
    if _current is None:
        raise DefinitionError(
            "context.expand() is for functions and workers that run as jobs.",
            remedy="A client adds jobs with manager.add() to a run started with open_run=True.",
        )
    listed = [jobs] if isinstance(jobs, Job) else list(jobs)
    pairs = [(up, down) for up, down in edges]
    for found in (*listed, *(one for pair in pairs for one in pair)):
        if not isinstance(found, Job):
            raise DefinitionError(f"A run grows by Jobs, not by {found!r}.")
    _current[0].extend(listed)
    _current[1].extend(pairs)


def granted(count: int, indices: Mapping[str, Iterable[int]]) -> None:
    """What the jobs of this slot have (called by it when it starts)."""
    global cores, devices
    cores, devices = count, {name: tuple(listed) for name, listed in indices.items()}


def begin() -> None:
    """A job begins (called by its slot)."""
    global _current
    _current = ([], [])


def end() -> Grown | None:
    """It has ended: what it added, if anything (called by its slot)."""
    global _current
    grown, _current = _current, None
    return grown if grown and (grown[0] or grown[1]) else None
