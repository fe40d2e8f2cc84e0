"""One run of a graph: the engine says what is to be done, this does it.

Invariants are known when it begins. Loaders, generators and what asks for it run in this
process, the others where `hands` reach. Records are forgotten before a hand-out and written
with each success.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pypelinin.engine import entry as why
from pypelinin.engine.core import Commands
from pypelinin.engine.expansion import grow
from pypelinin.engine.run import Run
from pypelinin.graph.fingerprint import Fingerprint
from pypelinin.graph.needs import Needs
from pypelinin.incremental import ends, inside
from pypelinin.incremental.at_work import AtWork
from pypelinin.incremental.declaring import Declaring
from pypelinin.incremental.enums import JobKind, JobOutcome, Resources
from pypelinin.incremental.exceptions import (
    JobCanceled,
    JobDied,
    JobError,
    RunFailedInternally,
)
from pypelinin.incremental.growth import Growth
from pypelinin.incremental.handing import Ended, HandOut
from pypelinin.incremental.history import Handed, History
from pypelinin.incremental.jobs.base import Job, Place
from pypelinin.incremental.jobs.loading import LoadingJob
from pypelinin.incremental.loaders import LoaderFailed, Loaders, Reads
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.slot_memory import SlotMemory
from pypelinin.incremental.steering import Steering
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.hands import Hands

COMMIT_S = 0.25
"""How long a success may be not durable yet."""
COMMIT_COSTS = 20
"""It is so after so many times as long as a commit takes, if that is less."""
WAIT_S = 1.0
PASSES_MAX = 4
"""How often a graph is run again for edges that came when it was too late for them."""
NO_TIME = (None, None)


class Running(Steering):
    """What happens between the engine, the graph and the world."""

    def __init__(
        self,
        graph: Graph,
        history: History,
        wanted: Sequence[Job] | None,
        watchers: Sequence[Watcher],
        make_hands: Callable[[], Hands],
    ) -> None:
        self._make_hands = make_hands
        self.graph = graph
        self.history = history
        self.watchers = watchers
        self.wanted = None if wanted is None else [job.job_id for job in wanted]
        self.outcomes: dict[str, RecordedJobOutcome] = {}
        self.numbers: dict[str, int] = {}
        self.jobs: list[Job] = []
        """By number, as the engine knows them: what stands is not among them."""
        self._chosen: list[Job] = []
        self.run = Run()
        self.started: dict[int, float] = {}
        """When jobs that run now were handed out."""
        self.at_work = AtWork("")
        self.is_aborted = False
        """What ran was ended before its time."""
        self.growth = Growth(graph)
        """What the job that runs here now makes."""
        self._can_grow = False
        """Whether the run can take in what is made now."""
        self._late = False
        """The graph changed where this run cannot take it in: another one follows."""
        self._declaring = Declaring(graph, history)
        self._memory = SlotMemory()
        self._loaders = Loaders(self.run, self.jobs, self._memory.loaded)
        self._here: deque[int] = deque()
        self._withdrawn: dict[int, tuple[bytes, bytes, bytes]] = {}
        self._hands: Hands | None = None
        self._committed_at = time.monotonic()
        self._commit_after_s = 0.0
        self._ended: dict[int, RecordedJobOutcome] = {}
        self._begun: set[int] = set()
        """What ran when the run was aborted."""
        self._beat_s = min([WAIT_S, *(watcher.beat_s for watcher in watchers)])

    def go(self) -> None:
        """Until everything has its end. Raises NotADag, RunFailedInternally, ClusterError."""
        try:
            self.graph.resolve_later()
            self._late = False
            self._begin(self._declaring.chosen(self.wanted), {})
            for watcher in self.watchers:
                watcher.began(self)
            self._drive()
            passes = 1
            while self._late and not self.run.cancelled:
                passes += 1
                if passes > PASSES_MAX:
                    raise ValueError(
                        f"After {PASSES_MAX} passes the graph still changes where it has been run."
                    )
                self._once_more()
            for job_id, job in self.graph.jobs.items():
                if job_id not in self.outcomes:
                    pruned = RecordedJobOutcome(job_id, JobOutcome.Pruned)
                    job.outcome = self.outcomes[job_id] = pruned
        finally:
            self._close()

    def _close(self) -> None:
        with ExitStack() as stack:  # each is told, whatever happens here
            for watcher in reversed(self.watchers):
                stack.callback(watcher.over, self.outcomes)
            if self._hands is not None:
                stack.callback(self._hands.close)
            self._loaders.close()
            self._remember(self.run.take())
            for number in list(self._withdrawn):
                self._put_back(number)
            self._commit()

    # --- the loop --------------------------------------------------------------------------------

    def _begin(self, chosen: Sequence[str], given: dict[str, Any]) -> None:
        """Tell the engine; jobs in *given* have run, with that fingerprint."""
        declaring = self._declaring
        self._chosen = declaring.ordered(chosen)
        self.jobs = declaring.entering(self._chosen)
        self.numbers = {job.job_id: i for i, job in enumerate(self.jobs)}
        declared = [declaring.declared(job, self.numbers, i) for i, job in enumerate(self.jobs)]
        for job, one in zip(self.jobs, declared, strict=True):
            if job.job_id in given and one.given is None:
                one.given, one.invariant = given[job.job_id], True
        self.run = Run(declared)
        self._loaders = Loaders(self.run, self.jobs, self._memory.loaded)
        inside.begin(self.jobs, str(self.graph.dir_config.run_dir))
        self.at_work = AtWork(inside.run_directory)

    def _once_more(self) -> None:
        """Another run, for what the last one could not take in. What failed is not tried again."""
        self.graph.resolve_later()
        before, self.outcomes = self.outcomes, {}
        failed = [job_id for job_id, outcome in before.items() if outcome.has_failed]
        left_out = set(self.graph.descendants_of(failed))
        chosen = [one for one in self._declaring.chosen(self.wanted) if one not in left_out]
        entries = self.run.jobs
        given = {
            job.job_id: entries[n].prints for n, job in enumerate(self.jobs)
            if entries[n].always and entries[n].prints is not None
        }  # fmt: skip
        loaders = self._loaders
        self._late = False
        self._memory.renewed(0)
        self._ended = {}
        self._declaring = Declaring(self.graph, self.history)
        self._begin(chosen, given)
        self._loaders.take_over(loaders)
        self._drive()
        for job_id, old in before.items():
            now = self.outcomes.get(job_id)
            if now is None or now.outcome is JobOutcome.Skipped or job_id in given:
                self.outcomes[job_id] = self.graph.jobs[job_id].outcome = old

    def _drive(self) -> None:
        while not self.run.over:
            self._declaring.look(self.run, self.jobs)
            if commands := self.run.take():
                self._obey(commands)
                continue
            self._commit_now_and_then()  # here, as all successes are remembered
            if self._here:
                self._work_here()
                self._listen(0.0)
            elif self._hands is not None and self._hands.busy:
                self._listen(self._commit_after_s if self.history.is_dirty else self._beat_s)
            else:
                raise RunFailedInternally(
                    "Nothing runs, and the run is not over. Please report it."
                )
            self._beat()
        self._obey(self.run.take())
        self.outcomes |= ends.outcomes_of(
            self._chosen, self.jobs, self.run, self._ended, self._declaring.standing
        )

    def _beat(self) -> None:
        for watcher in self.watchers:
            watcher.beat()

    def _commit_now_and_then(self) -> None:
        begun = time.monotonic()
        if begun - self._committed_at >= self._commit_after_s:
            self._commit()
            self._committed_at = time.monotonic()
            self._commit_after_s = min(COMMIT_S, COMMIT_COSTS * (self._committed_at - begun))

    def _commit(self) -> None:
        self.history.commit()
        if self._hands is not None:
            self._hands.settled()

    def _obey(self, commands: Commands) -> None:
        self._declaring.look(self.run, self.jobs, commands.look)
        self._remember(commands)
        if commands.forget:
            self._withdraw(set(commands.forget).intersection(commands.run))
            self.history.forget(self.jobs[number].job_id for number in commands.forget)
            self.history.commit()
        for number, outputs in commands.release:
            self.jobs[number].release(outputs)
        if commands.kill and self._hands is not None:
            self._hands.cancel(commands.kill)
        self._loaders.let_go()
        if commands.run:
            self._hand_out(commands.run)

    def _remember(self, commands: Commands) -> None:
        for number, record in commands.remember.items():
            self.history.remember(self.jobs[number].job_id, record)

    def _withdraw(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            row = self.history.packed.row(self.jobs[number].job_id)
            if row is not None:
                self._withdrawn[number] = row

    def _hand_out(self, numbers: Iterable[int]) -> None:
        """What reads nothing loaded goes first, so that slots have work while data is loaded."""
        plain: dict[int, Reads] = {}
        readers: dict[int, Reads] = {}
        for number in numbers:
            if self._is_here(number):
                self._here.append(number)
            elif reads := self._loaders.reads_of(number):
                readers[number] = reads
            else:
                plain[number] = ()
        self._submit(plain)
        if readers and self._open_hands().loads_here:
            readers = {n: reads for n, reads in readers.items() if self._load_for(n)}
        if self.run.cancelled:  # while data was loaded
            for number in readers:
                self._not_begun(number)
        else:
            self._submit(readers)

    def _is_here(self, number: int) -> bool:
        """Whether it runs in this process."""
        job = self.jobs[number]
        if number in self._declaring.broken or job.resources is Resources.RunsHere:
            return True
        if job.place is Place.READER:
            return self._open_hands().loads_here
        return job.place is not Place.SLOT

    def _submit(self, numbers: dict[int, Reads]) -> None:
        special = [n for n in numbers if isinstance(self.jobs[n].resources, Needs)]
        if special and len(numbers) > 1:  # what no node can give is refused with its whole batch
            for number in special:
                self._submit({number: numbers.pop(number)})
        if not numbers:
            return
        hands = self._open_hands()
        if self._memory.lacks(self.run, numbers, hands.loads_here):
            self._memory.renewed(len(self.jobs))
            hands.renew()
        run = hands.new_run()
        if hands.api:
            self.history.hand_out(self._handed(hands.api, run, numbers))
            self.history.commit()
        hand_outs = [
            HandOut(n, self.jobs[n].resources, reads, self.jobs[n].isolate)
            for n, reads in numbers.items()
        ]
        hands.submit(run, hand_outs)
        self._tell_started(list(numbers))

    def _handed(self, api: str, run: str, numbers: Iterable[int]) -> Iterator[Handed]:
        """What is written down of jobs that go on when this process dies."""
        for place, number in enumerate(numbers):
            job, entry = self.jobs[number], self.run.jobs[number]
            if job.makes_files:
                inputs = {name: tags for (_, name), tags in why.inputs_now(entry).items()}
                yield Handed(job.job_id, api, run, place, entry.spec, job.outputs, inputs)

    def _open_hands(self) -> Hands:
        if self._hands is None:
            self._hands = self._make_hands()
        return self._hands

    def _tell_started(self, numbers: Sequence[int]) -> None:
        self.started.update(dict.fromkeys(numbers, time.time()))
        self.at_work.handed_out(self.jobs[number] for number in numbers)
        for watcher in self.watchers:
            watcher.started([self.jobs[number] for number in numbers])

    def _listen(self, timeout_s: float) -> None:
        if self._hands is not None:
            for ended in self._hands.wait(timeout_s):
                self._take(ended)

    # --- how jobs end ----------------------------------------------------------------------------

    def _take(self, ended: Ended) -> None:
        number, job = ended.number, self.jobs[ended.number]
        if ended.error is None:
            result, out, err, started, stopped = ended.value
            try:
                prints = job.settle(result)
            except Exception as error:
                self._failed(number, error)
                return
            self._note(number, JobOutcome.Success, None, out, err, (started, stopped))
            self.run.done(number, prints)
        elif isinstance(ended.error, inside.LoaderFailed):
            self._loader_failed(number, ended.error.number, ended.error)
        elif self.run.cancelled and not isinstance(ended.error, JobError):
            self._killed(number)
        elif isinstance(ended.error, CancelledError):
            self._put_back(number)
            self._failed(number, JobCanceled(f"{job!r} was ended by `kill`."))
        else:
            self._failed(number, ended.error)

    def _killed(self, number: int) -> None:
        """It was ended by an abort, or had not been begun when there was one."""
        if number not in self._begun:
            self._not_begun(number)
            return
        job = self.jobs[number]
        error = JobCanceled(f"{job!r} was ended by an abort.")
        out, err = self.at_work.left_by(job)
        times = (self.started.get(number), time.time())
        self._note(number, JobOutcome.Failed, error, out, err, times)
        self.run.killed(number)

    def _failed(self, number: int, error: BaseException) -> None:
        told = ends.as_job_error(error)
        if isinstance(told.exception, (JobDied, JobCanceled)) and not told.stdout:
            told.stdout, told.stderr = self.at_work.left_by(self.jobs[number])
        times = (told.started or self.started.get(number), time.time())
        self._note(number, JobOutcome.Failed, told, told.stdout, told.stderr, times)
        self.run.failed(number, told)

    def _note(
        self,
        number: int,
        kind: JobOutcome,
        payload: Any,
        out: str = "",
        err: str = "",
        times: tuple[float | None, float | None] = NO_TIME,
    ) -> None:
        self.started.pop(number, None)
        self._withdrawn.pop(number, None)
        job = self.jobs[number]
        if self._hands is not None and self._hands.api:
            self.history.came_back(job.job_id)
        outcome = RecordedJobOutcome(job.job_id, kind, payload, out, err, *times)
        self._ended[number] = outcome
        self.at_work.ended(job)
        if kind is JobOutcome.Failed:
            job.after_failure()
        for watcher in self.watchers:
            watcher.ended(job, outcome)

    # --- in this process -------------------------------------------------------------------------

    def _work_here(self) -> None:
        """Do one job; if others that make jobs are ready, those too: slots are forked once then."""
        until = time.monotonic() + COMMIT_S
        while self._here:
            self._perform_here(self._here.popleft())
            follows = self._here and self.jobs[self._here[0]].kind is JobKind.JobGenerating
            if not follows or time.monotonic() >= until:
                break
            self._beat()  # it may have been the last one that is wanted

    def _perform_here(self, number: int) -> None:
        if number in self._declaring.broken:
            self._failed(number, self._declaring.broken[number])
            return
        self._tell_started([number])
        if not self._load_for(number):
            return
        job = self.jobs[number]
        began = time.time()
        self.at_work.here = (job, began)
        try:
            if isinstance(job, LoadingJob):
                prints = self._loaders.load(number)
            else:
                prints = self._performed(number, job)
                self._memory.acted(number)
        except KeyboardInterrupt:
            self._interrupted(number)
            return
        except BaseException as error:
            self._failed(number, error)
            return
        finally:
            self.at_work.here = None
        self._note(number, JobOutcome.Success, None, times=(began, time.time()))
        self.run.done(number, prints)

    def _performed(self, number: int, job: Job) -> Fingerprint:
        self.growth = Growth(self.graph)
        self._can_grow = job.policy.always and not job.final
        try:
            result = inside.perform_here(job, inside.Context())
            if self._can_grow and self.growth:
                self._grow(number, job)
            return job.settle(result)
        finally:
            self._can_grow = False

    def _load_for(self, number: int) -> bool:
        """Have what it reads loaded here; False if that failed, and the engine knows."""
        if self.run.cancelled:
            self._not_begun(number)
            return False
        outer = self.at_work.here
        self.at_work.here = outer or (self.jobs[number], time.time())
        try:
            self._loaders.load_for(number)
        except KeyboardInterrupt:
            self._interrupted(number)
            return False
        except LoaderFailed as failed:
            self._loader_failed(number, failed.recipe, failed.error)
            return False
        finally:
            self.at_work.here = outer
        return True

    def _loader_failed(self, number: int, loader: int, error: BaseException) -> None:
        """Job *number* could not begin; if it is the loader itself, it has failed."""
        if number == loader:
            self._failed(number, error)
            return
        self.started.pop(number, None)
        self._put_back(number)
        told = ends.as_job_error(error)
        if loader not in self._ended:
            self._note(loader, JobOutcome.Failed, told)
        self.run.recipe_failed(number, loader, told)

    def _interrupted(self, number: int) -> None:
        """Somebody aborted the run while this job, or what it reads, ran in this process."""
        self._begun.add(number)
        self.abort()
        self._killed(number)

    # --- a graph that grows ----------------------------------------------------------------------

    def defined(self, job: Job, is_new: bool) -> None:
        """A job was made while this runs, or said once more."""
        self.growth.defined(job, is_new)
        self._late = self._late or (is_new and not self._can_grow)

    def connected(self, job: Job, upstream: Job, outputs: tuple[str, ...], is_new: bool) -> None:
        """*job* reads these outputs of *upstream* from now on, or did so before."""
        self.growth.connected((job, upstream, outputs), is_new)
        self._late = self._late or (is_new and not self._can_grow)

    def _grow(self, number: int, parent: Job) -> None:
        """What the job that has just run here made; what this run cannot take in comes later."""
        self.graph.resolve_later()
        base = len(self.jobs)
        made, jobs, late = self.growth.expansion(parent, self._declaring, self.numbers, base)
        if grow(self.run, self.run.jobs[number], made):
            self._declaring.ordered(self._declaring.chosen(self.wanted))  # it may be a cycle
            self._late = True
            return
        self._late = self._late or late
        self.numbers.update((job.job_id, base + i) for i, job in enumerate(jobs))
        self.jobs += jobs
