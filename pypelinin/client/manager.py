"""The client: submit pipelines to a Router, follow them, and learn how they ended.

A `PipelineManager` has one socket and no thread: it works while one of its methods runs.
Every request has a deadline; none hangs. Use one manager for each thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from pypelinin.client.described import take_status
from pypelinin.client.logs import LogRequests
from pypelinin.client.operations import Run, ids_of
from pypelinin.client.progress import Bar
from pypelinin.client.requests import Port
from pypelinin.client.results import Outcome, Results, Source
from pypelinin.client.verdicts import job_error, no_such_run, refusal_error
from pypelinin.config import Limits
from pypelinin.errors import (
    Busy,
    Cancelled,
    DefinitionError,
    JobError,
    Lost,
)
from pypelinin.graph.fingerprint import digest
from pypelinin.graph.job import Job
from pypelinin.graph.needs import Memory, checked_needs
from pypelinin.growth import pack_growth
from pypelinin.ids import new_id
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.access import AccessSpec
from pypelinin.runtime.values import pack_value
from pypelinin.wire import messages
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import (
    BATCH_ROWS_MAX,
    Place,
    Refusal,
)
from pypelinin.wire.messages import RunStatus

PARTS_IN_MESSAGE = 250
BYTES_IN_MESSAGE = 4 * 1024 * 1024
MESSAGES_AT_ONCE = 4
POLL_S = 1.0
BUSY_S = 0.1

R = TypeVar("R", bound=Record)


class PipelineManager(LogRequests):
    """Starts pipelines on the cluster at *api* and follows them.

    Without *api* that is `PYPELININ_API`, else what this user started with `pypelinin up`,
    else tcp://127.0.0.1:5555. *broadcast* is optional; if given it must be the Router's.
    *access* is the access file for a Router with keys, "" for none; if not given it is that of
    `PYPELININ_ACCESS`. *deadline_s* bounds every request (10 s). Raises Unreachable if nobody
    answers in that time, Refused if the Router does not take our key, VersionMismatch if it
    speaks another protocol.
    """

    def __init__(
        self,
        api: str | None = None,
        broadcast: str | None = None,
        *,
        deadline_s: float | None = None,
        limits: Limits | None = None,
        port: Port | None = None,
        access: AccessSpec = None,
    ) -> None:
        super().__init__(api, broadcast, deadline_s, limits, port, access)
        self._pipelines: dict[str, Pipeline] = {}
        self._doubles: dict[str, list[Pipeline]] = {}
        self._open: dict[int, int] = {}
        """How often jobs were added to each open run, by the id() of its pipeline."""
        self._finished = 0
        self._update_at = 0.0

    # --- the original's interface ------------------------------------------------------

    @property
    def pipelines(self) -> list[Pipeline]:
        """All that this manager started or attached to, in that order."""
        return list(self._pipelines.values())

    @property
    def started_pipelines(self) -> int:
        """How many pipelines this manager follows."""
        return len(self._pipelines)

    @property
    def finished_pipelines(self) -> int:
        """How many of them are finished, whether done, failed or cancelled."""
        return self._finished

    def start(
        self,
        pipeline: Pipeline,
        *,
        queue_anyway: bool = False,
        key: str | None = None,
        open_run: bool = False,
    ) -> str:
        """Submit *pipeline*; returns its id once the Router has made it durable.

        With a *key* the same submission twice is one run. *queue_anyway* accepts workers
        that no Broker offers yet. An *open_run* goes on until `close_run`, and `add` brings more
        jobs. Raises DefinitionError (UnknownWorker, Impossible,
        NotPicklable), ClusterError, or ValueError if this object was started before.
        """
        keys = None if key is None else [key]
        if open_run:
            self._open[id(pipeline)] = 0
        try:
            return self.start_all([pipeline], queue_anyway=queue_anyway, keys=keys)[0]
        except BaseException:
            self._open.pop(id(pipeline), None)
            raise

    def start_all(
        self,
        pipelines: Iterable[Pipeline],
        *,
        queue_anyway: bool = False,
        keys: Sequence[str] | None = None,
    ) -> list[str]:
        """Submit many at once, far faster than one by one; returns their ids in order.

        Raises the first refusal after all were tried; those that were accepted run and
        have an `id`.
        """
        listed = list(pipelines)
        seen: set[int] = set()
        for pipeline in listed:
            if not isinstance(pipeline, Pipeline):
                raise DefinitionError(
                    f"{pipeline!r} is no Pipeline.",
                    remedy="Make one of it, Pipeline([job]); pypelinin.run takes jobs as they are.",
                )
            if pipeline.id is not None or id(pipeline) in seen:
                raise DefinitionError(
                    f"This pipeline was started before, as run {pipeline.id}.",
                    remedy="Make a new Pipeline object; equal ones are runs of their own.",
                )
            seen.add(id(pipeline))
        ids = [
            new_id(os.urandom) if keys is None else digest(b"key", keys[i].encode()).hex()
            for i in range(len(listed))
        ]
        self._handshake()
        refused = self._submit(dict(zip(ids, listed, strict=True)), queue_anyway)
        for run, pipeline in zip(ids, listed, strict=True):
            if run not in refused:
                self._follow(run, pipeline)
                self._give_source(pipeline)
        if refused:
            raise refusal_error(next(iter(refused.values())))
        return ids

    def add(self, pipeline: Pipeline, jobs: Job | Iterable[Job]) -> None:
        """More jobs for an open run, with all that they read or come after; durable on return.

        They may name jobs that the run has. Raises DefinitionError, Refused if the run is over.
        """
        index = self._open_index(pipeline)
        listed = [jobs] if isinstance(jobs, Job) else list(jobs)
        keep = partial(self.values.keep_all, f"{pipeline.id}/added-{index}")
        growth, new = pack_growth(
            listed, (), f"a{index}", pack_value, self._calls(), keep, frozenset(pipeline.jobs)
        )
        run = str(pipeline.id)
        self._add_jobs(run, index, growth)
        self._open[id(pipeline)] += 1
        pipeline.extend(new)
        self._give_source(pipeline)

    def close_run(self, pipeline: Pipeline) -> None:
        """No more jobs come: the open run ends with those that it has. Durable on return."""
        index = self._open_index(pipeline)
        run = str(pipeline.id)
        self._add_jobs(run, index, b"")
        del self._open[id(pipeline)]

    def _add_jobs(self, run: str, index: int, growth: bytes) -> None:
        """Ask until the Router has time for it (after a restart it waits for its nodes)."""
        until = time.monotonic() + self._deadline_s
        while True:
            try:
                self._ask(lambda n: messages.AddJobs(n, run, index, growth), messages.Status)
            except Busy:
                if time.monotonic() > until:
                    raise
                self._drive(lambda: False, time.monotonic() + BUSY_S)
            else:
                return

    def _open_index(self, pipeline: Pipeline) -> int:
        if id(pipeline) not in self._open:
            raise DefinitionError(
                f"{pipeline!r} is not open.", remedy="Start it with open_run=True."
            )
        return self._open[id(pipeline)]

    def finished(self, pipeline: Pipeline | str) -> bool:
        """Whether it has ended, in whatever way; cheap enough for a loop."""
        found = self._find(pipeline)
        if not found.finished_at:
            now = time.monotonic()
            self.update(0.01 if now < self._update_at else 0.0)
            self._update_at = now + 0.001
        return found.finished_at is not None

    def update(self, timeout: float | None = None) -> None:
        """Take in news; wait up to *timeout* seconds for some (None: 1 s)."""
        until = time.monotonic() + (1.0 if timeout is None else timeout)
        before = self._finished
        self._drive(lambda: self._finished > before, until, poll_s=POLL_S)

    # --- more --------------------------------------------------------------------------

    def wait(
        self,
        pipelines: Pipeline | str | Iterable[Pipeline | str] | None = None,
        timeout: float | None = None,
        *,
        progress: bool = False,
        raise_on_failure: bool = True,
    ) -> list[Pipeline]:
        """Block until these (None: all this manager follows) are finished; returns them.

        *progress* draws a bar on stderr. Raises TimeoutError after *timeout* seconds,
        Unreachable after 30 s without a sign of the Router, and, with *raise_on_failure*,
        the first failure as a JobError when all have ended.
        """
        if pipelines is None:
            listed = self.pipelines
        elif isinstance(pipelines, (Pipeline, str)):
            listed = [self._find(pipelines)]
        else:
            listed = [self._find(pipeline) for pipeline in pipelines]
        began = time.monotonic()
        until = None if timeout is None else began + timeout
        open_ones = {p.id: p for p in listed if p.finished_at is None}

        def done() -> bool:
            for run in [run for run, p in open_ones.items() if p.finished_at is not None]:
                del open_ones[run]
            return not open_ones

        bar = Bar(len(listed), began) if progress else None
        try:
            while not done():
                step = time.monotonic() + (0.1 if bar else 3600.0)
                self._drive(done, step if until is None else min(step, until), poll_s=POLL_S)
                if bar:
                    bar.draw(listed)
                if until is not None and time.monotonic() >= until and not done():
                    raise TimeoutError(
                        f"{len(open_ones)} of {len(listed)} pipelines are not finished after "
                        f"{timeout:g} s. They go on; wait again, or cancel them."
                    )
        finally:
            if bar:
                bar.draw(listed)
                bar.end()
        if raise_on_failure:
            for pipeline in listed:
                if (error := self.error(pipeline)) is not None:
                    raise error
        return listed

    def run(
        self,
        pipelines: Pipeline | Sequence[Pipeline],
        timeout: float | None = None,
        *,
        progress: bool = False,
        raise_on_failure: bool = True,
        queue_anyway: bool = False,
    ) -> list[Pipeline]:
        """`start` (or `start_all`) and `wait`."""
        listed = list(pipelines) if isinstance(pipelines, Sequence) else [pipelines]
        self.start_all(listed, queue_anyway=queue_anyway)
        return self.wait(listed, timeout, progress=progress, raise_on_failure=raise_on_failure)

    def outcome(self, pipeline: Pipeline, number: int, timeout: float | None = None) -> Outcome:
        """How job *number* of a pipeline ended, as soon as that is known.

        Raises TimeoutError after *timeout* seconds, Unreachable after 30 s without a sign of
        the Router.
        """
        run = str(pipeline.id)
        known = self._client.outcomes.setdefault(run, {})
        until = None if timeout is None else time.monotonic() + timeout
        self._drive(lambda: number in known or pipeline.finished_at is not None, until, POLL_S)
        if number not in known and pipeline.finished_at is not None:
            self._fetch(run)
        if number not in known:
            raise TimeoutError(f"The job is not finished after {timeout:g} s; it goes on.")
        return Outcome(*known[number])

    def results(self, pipeline: Pipeline | str, timeout: float | None = None) -> Results:
        """What the jobs of a pipeline returned; waits for its end.

        Works for a run that another process started, too (`attach`).
        """
        found = self._find(pipeline)
        self.wait(found, timeout, raise_on_failure=False)
        known = self._client.outcomes.setdefault(str(found.id), {})
        if len(known) < len(found.jobs):
            self._fetch(str(found.id))
        outcomes = {number: Outcome(*known[number]) for number in known}
        return Results(found, outcomes, self.values)

    def _fetch(self, run: str) -> None:
        """Ask for all outcomes of a run."""
        self._client.follow([run])
        first = 0
        while first >= 0:
            ask = partial(messages.GetResults, run=run, first=first)
            first = self._ask(ask, messages.Results).next

    def _give_source(self, pipeline: Pipeline) -> None:
        """Let the jobs of functions know where their results are."""
        calls = [job for job in pipeline.jobs if not isinstance(job.worker, str)]
        if calls:
            source = Source(self, pipeline)
            for job in calls:
                job.attach(source)

    def error(self, pipeline: Pipeline) -> JobError | None:
        """Why *pipeline* failed or was cancelled; None if it did not."""
        if pipeline.error is not None and pipeline.state == "failed":
            return job_error(str(pipeline.id), pipeline.error_job, pipeline.error)
        if pipeline.state == "cancelled":
            return Cancelled(f"Run {pipeline.id} was cancelled.")
        if pipeline.state == "unknown":
            return Lost(
                f"The Router knows nothing of run {pipeline.id} any more.",
                remedy="Its history is over, or the Router began with another journal.",
            )
        return None

    def cancel(self, pipelines: Run | Iterable[Run], *, running: bool = False) -> None:
        """Nothing of these that has not begun will begin; durable on return.

        With *running* what has begun is ended, too. Raises NotFound.
        """
        runs = ids_of(pipelines)
        for i in range(0, len(runs), BATCH_ROWS_MAX):
            some = tuple(runs[i : i + BATCH_ROWS_MAX])
            ask = partial(messages.Cancel, runs=some, running=running)
            answer = self._ask(ask, messages.Status)
            self._all_known(some, answer)

    def status(self, pipeline: Pipeline | str) -> RunStatus:
        """What the Router knows of one run now. Raises NotFound if it knows nothing."""
        run = pipeline if isinstance(pipeline, str) else str(pipeline.id)
        answer = self._ask(lambda n: messages.GetStatus(n, (run,), False), messages.Status)
        if answer.runs[0].state == "unknown":
            raise no_such_run(run)
        return answer.runs[0]

    def attach(self, run: str) -> Pipeline:
        """The pipeline of a run that any process started, followed from now on."""
        if run in self._pipelines:
            return self._pipelines[run]
        pipeline, _ = self.describe(run)
        self._follow(run, pipeline)
        return pipeline

    def retry(self, run: Run, *, failed: bool = False, memory: Memory | None = None) -> Pipeline:
        """The run again, as a new run in which what is done is given; followed from now on.

        *failed*: what was cancelled stays so. *memory* ("8GB", or steps as in Job) is what each
        job may use from now on. Raises NotFound, DefinitionError if it still runs or nothing is
        left to do.
        """
        (source,) = ids_of(run)
        new = new_id(os.urandom)
        steps = checked_needs(memory=memory).memory or ()
        self._ask(lambda n: messages.RetryRun(n, source, new, failed, steps), messages.Status)
        return self.attach(new)

    def list_runs(self, state: str = "", offset: int = 0, limit: int = 100) -> list[RunStatus]:
        """The newest runs first; *state* "running", "done", "failed", "cancelled" or ""."""
        answer = self._ask(
            lambda n: messages.GetPipelines(n, state, offset, limit), messages.Status
        )
        return list(answer.runs)

    # --- inside ------------------------------------------------------------------------

    def _find(self, pipeline: Pipeline | str) -> Pipeline:
        if isinstance(pipeline, str):
            return self._pipelines.get(pipeline) or self.attach(pipeline)
        if pipeline.id is None or pipeline.id not in self._pipelines:
            raise DefinitionError(
                f"{pipeline!r} was not started by this manager.",
                remedy="Call manager.start(pipeline), or manager.attach(id) for another's.",
            )
        return pipeline

    def _follow(self, run: str, pipeline: Pipeline) -> None:
        pipeline.id = run
        if pipeline.state == "new":
            pipeline.state, pipeline.started_at = "running", time.time()
        if self._pipelines.setdefault(run, pipeline) is not pipeline:
            self._doubles.setdefault(run, []).append(pipeline)  # one run: the key was the same
        known = self._client.watched.get(run)
        if known is not None and known.finished_at and pipeline.finished_at is None:
            take_status(pipeline, known)
            self._finished += self._pipelines[run] is pipeline
        elif pipeline.finished_at is None:
            self._client.watch([run])
        else:
            self._finished += 1

    def _take_news(self) -> None:
        """What ended before `start` returned is found by `_follow`."""
        news, self._client.finished_news = self._client.finished_news, []
        for status in news:
            pipeline = self._pipelines.get(status.run)
            if pipeline is not None and pipeline.finished_at is None:
                for one in (pipeline, *self._doubles.pop(status.run, ())):
                    take_status(one, status)
                self._finished += pipeline.finished_at is not None

    def _submit(self, pipelines: dict[str, Pipeline], queue_anyway: bool) -> dict[str, Refusal]:
        """Send all parts, some messages at a time; returns the refusals by run."""
        refused: dict[str, Refusal] = {}
        outstanding: dict[int, list[str]] = {}
        batches = self._batches(pipelines)
        batch = next(batches, None)
        self._client.watch(list(pipelines))
        follow = any(not isinstance(j.worker, str) for p in pipelines.values() for j in p.jobs)
        if follow:
            self._client.follow(list(pipelines))
        while batch is not None or outstanding:
            while batch is not None and len(outstanding) < MESSAGES_AT_ONCE:
                runs, places, blobs = batch
                ask = partial(
                    messages.AddPipeline, watch=True, queue_anyway=queue_anyway, places=places,
                    blobs=blobs, follow=follow,
                )  # fmt: skip
                outstanding[self._send(ask)] = runs
                batch = next(batches, None)
            self._drive(lambda: any(n in self._client.answers for n in outstanding), None)
            for number in [n for n in outstanding if n in self._client.answers]:
                answer = self._taken(number, messages.PipelineAdded)
                for run, added in zip(outstanding.pop(number), answer.results, strict=True):
                    if added.refusal is not None:
                        refused.setdefault(run, added.refusal)
        return refused

    def _batches(
        self, pipelines: dict[str, Pipeline]
    ) -> Iterator[tuple[list[str], tuple[Place, ...], Blobs]]:
        runs: list[str] = []
        places: list[Place] = []
        blobs: list[bytes] = []
        size = 0
        for run, pipeline in pipelines.items():
            header, parts = pipeline.compile(
                run, self._submitter, pack_value, self._calls(), self.values.keep_all,
                open_run=id(pipeline) in self._open,
            )  # fmt: skip
            for i, (structure, details) in enumerate(parts):
                added = len(header) + len(structure) + len(details)
                if runs and (len(runs) == PARTS_IN_MESSAGE or size + added > BYTES_IN_MESSAGE):
                    yield runs, tuple(places), Blobs(blobs)
                    runs, places, blobs, size = [], [], [], 0
                runs.append(run)
                places.append(Place(i, len(parts)))
                blobs += (header, structure, details)
                size += added
        if runs:
            yield runs, tuple(places), Blobs(blobs)
