"""Loaded data in this process: which loaders have run for whom, and when they are let go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pypelinin.engine.entry import is_broken
from pypelinin.engine.run import Run
from pypelinin.graph.fingerprint import Fingerprint, Tags, canonical, digest
from pypelinin.incremental import inside
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.jobs.base import Job
from pypelinin.incremental.jobs.loading import FOREIGN_VIEW, INPUTS_VIEW, LoadingJob, agrees

Reads = tuple[tuple[int, bytes, bytes], ...]
"""Of each loader: its number, the digest of what it reads, and of what it must give, if known."""


class LoaderFailed(Exception):
    """(number of the loader, what it raised)."""

    @property
    def recipe(self) -> int:
        return int(self.args[0])

    @property
    def error(self) -> BaseException:
        found: BaseException = self.args[1]
        return found


def _must_give(tags: Tags) -> bytes:
    """The digest that a loader must give where it runs; nothing if none can be compared."""
    is_known = bool(tags) and tags[-1][0] not in (FOREIGN_VIEW, INPUTS_VIEW)
    return canonical(tags) if is_known else b""


class Loaders:
    """*jobs* are by their number in *run*; *changed* is told when something was loaded."""

    def __init__(self, run: Run, jobs: Sequence[Job], changed: Callable[[], None]) -> None:
        self._run = run
        self._jobs = jobs
        self._changed = changed
        self.loaded: dict[int, None] = {}
        """Loaders that ran in this process in this run."""
        self._inherited: dict[int, None] = {}
        """Those that ran in an earlier run over the same graph, and have their data here."""
        self._failed: dict[int, BaseException] = {}

    def needed_by(self, number: int) -> list[int]:
        """Loaders that a job reads, and those that these read, in the order in which they run."""
        found: dict[int, None] = {}
        stack = [(number, False)]
        while stack:
            one, is_done = stack.pop()
            if is_done:
                found[one] = None
                continue
            if one != number:
                stack.append((one, True))
            for up, _, _ in self._run.jobs[one].inputs:
                if up.recipe and up.number not in found:
                    stack.append((up.number, False))
        return list(found)

    def load_for(self, number: int) -> None:
        """Have here what a job reads. Raises LoaderFailed."""
        for recipe in self.needed_by(number):
            if recipe in self.loaded:
                continue
            if recipe in self._failed:
                raise LoaderFailed(recipe, self._failed[recipe])
            try:
                prints = self.load(recipe)
                known = self._run.jobs[recipe].prints
                if known is not None and not agrees(known, prints):
                    raise JobContractError(
                        f"{self._jobs[recipe]!r} loaded something else than the last time, "
                        "although nothing that it depends on had changed.",
                        remedy="Let it depend on what it reads.",
                    )
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._failed[recipe] = error
                raise LoaderFailed(recipe, error) from error

    def load(self, number: int) -> Fingerprint:
        """Run a loader here, where those that it reads have run. Raises what it raises."""
        job = self._jobs[number]
        result = inside.perform_here(job, inside.Context(self._inputs_of(number)))
        self.loaded[number] = None
        self._changed()
        return job.settle(result)

    def _inputs_of(self, number: int) -> bytes:
        """The digest of all that a loader reads."""
        parts = []
        for up, outputs, _ in self._run.jobs[number].inputs:
            for i, name in enumerate(up.outputs):
                if outputs >> i & 1:
                    parts += [name.encode(), canonical((up.prints or ())[i])]
        return digest(*parts)

    def reads_of(self, number: int) -> Reads:
        """What must be loaded where a job runs; of a loader itself, too."""
        needed = self.needed_by(number)
        if self._run.jobs[number].recipe:
            needed.append(number)
        return tuple(
            (n, self._inputs_of(n), _must_give((self._run.jobs[n].prints or ((),))[0]))
            for n in needed
        )

    def take_over(self, others: Loaders) -> None:
        """Go on with what another run over the same graph has loaded here."""
        numbers = {job.job_id: number for number, job in enumerate(self._jobs)}
        for number in others._inherited | others.loaded:
            job = others._jobs[number]
            if job.job_id in numbers:
                self._inherited[numbers[job.job_id]] = None
            else:
                _unload(job)

    def let_go(self) -> None:
        """Unload what no open job reads; what a failed job has read stays for the next try."""
        for number in [n for n in self.loaded if not self._run.jobs[n].open]:
            if self._knows_place(number) and not self._is_read_again(number):
                del self.loaded[number]
                self._inherited.pop(number, None)
                _unload(self._jobs[number])

    def close(self) -> None:
        """The run is over."""
        for number in self._inherited | self.loaded:
            if not (self._knows_place(number) and self._is_read_again(number)):
                _unload(self._jobs[number])
        self._inherited.clear()
        self.loaded.clear()

    def _knows_place(self, number: int) -> bool:
        job = self._jobs[number]
        return isinstance(job, LoadingJob) and job.knows_place

    def _is_read_again(self, number: int) -> bool:
        return any(map(is_broken, self._run.jobs[number].consumers or ()))


def _unload(job: Job) -> None:
    if isinstance(job, LoadingJob):
        job.unload()
