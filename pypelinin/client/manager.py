"""The client: submit pipelines to a Router, follow them, and learn how they ended.

A `PipelineManager` has one socket and no thread: it works while one of its methods runs.
Every request has a deadline; none hangs. Use one manager for each thread.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from pypelinin.client.described import rebuilt, take_status
from pypelinin.client.progress import Bar
from pypelinin.client.results import Outcome, Results, Source
from pypelinin.client.verdicts import job_error, no_such_run, refusal_error
from pypelinin.cluster.client import Client, Expired
from pypelinin.cluster.events import Send
from pypelinin.cluster.member import Reconnect
from pypelinin.config import DEFAULT_API, VERSION, Limits
from pypelinin.errors import (
    Cancelled,
    ClusterError,
    DefinitionError,
    JobError,
    Lost,
    PypelininError,
    Unreachable,
)
from pypelinin.graph.fingerprint import digest
from pypelinin.ids import new_id
from pypelinin.machine import Command, Event
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.places import nearest_cluster
from pypelinin.runtime.sockets import PeerSocket
from pypelinin.runtime.values import pack_value
from pypelinin.wire import messages
from pypelinin.wire.codec import Blobs, Envelope, Record
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

R = TypeVar("R", bound=Record)


def _running() -> str | None:
    """The address of the cluster that `pypelinin up` keeps running for this user."""
    found = nearest_cluster(Path.cwd())
    return found.api if found else None


class Port(Protocol):
    """A way to a Router: a socket, or the machines of an embedded run."""

    def send(self, envelope: Envelope) -> None: ...

    def wait(self, timeout_ms: int) -> bool:
        """Until there is something to receive, or the time is over."""
        ...

    def receive(self) -> Iterator[Event]: ...

    def let_wake(self) -> None: ...

    def wake(self) -> None: ...

    def flush(self) -> None: ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...


class PipelineManager:
    """Starts pipelines on the cluster at *api* and follows them.

    Without *api* that is `PYPELININ_API`, else what this user started with `pypelinin up`,
    else tcp://127.0.0.1:5555. *broadcast* is optional; if given it must be the Router's.
    *deadline_s* bounds every request (10 s). Raises Unreachable if nobody answers in that
    time, VersionMismatch if the Router speaks another protocol.
    """

    def __init__(
        self,
        api: str | None = None,
        broadcast: str | None = None,
        *,
        deadline_s: float | None = None,
        limits: Limits | None = None,
        port: Port | None = None,
    ) -> None:
        self.api = (
            "" if port else api or os.environ.get("PYPELININ_API") or _running() or DEFAULT_API
        )
        self.broadcast = broadcast
        self.limits = limits or Limits()
        self._deadline_s = self.limits.client_deadline_s if deadline_s is None else deadline_s
        self._submitter = _submitter()
        self._client = Client(self.limits)
        self._functions: Functions | None = None
        self._added: dict[int, str] = {}
        self._fetching: dict[int, str] = {}
        self.refused: dict[str, PypelininError] = {}
        """Runs that were submitted compiled and not accepted."""
        self._peer: Port = port or PeerSocket(self.api)
        self._pipelines: dict[str, Pipeline] = {}
        self._doubles: dict[str, list[Pipeline]] = {}
        self._finished = 0
        self._configuration: messages.Configuration | None = None
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
        self, pipeline: Pipeline, *, queue_anyway: bool = False, key: str | None = None
    ) -> str:
        """Submit *pipeline*; returns its id once the Router has made it durable.

        With a *key* the same submission twice is one run. *queue_anyway* accepts workers
        that no Broker offers yet. Raises DefinitionError (UnknownWorker, Impossible,
        NotPicklable), ClusterError, or ValueError if this object was started before.
        """
        keys = None if key is None else [key]
        return self.start_all([pipeline], queue_anyway=queue_anyway, keys=keys)[0]

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
        listed = [pipelines] if isinstance(pipelines, Pipeline) else list(pipelines)
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
        ended = lambda: number in known or pipeline.finished_at is not None  # noqa: E731
        self._drive(ended, until, poll_s=POLL_S)
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
        return Results(found, {number: Outcome(*known[number]) for number in known})

    def _fetch(self, run: str) -> None:
        """Ask for all outcomes of a run."""
        self._client.follow([run])
        first = 0
        while first >= 0:
            ask = lambda n, first=first: messages.GetResults(n, run, first)  # noqa: E731
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

    def cancel(self, pipelines: Pipeline | str | Iterable[Pipeline | str]) -> None:
        """Nothing of these that has not begun will begin; durable on return."""
        one = isinstance(pipelines, (Pipeline, str))
        listed: list[Any] = [pipelines] if one else list(pipelines)  # type: ignore[arg-type]
        runs = [run if isinstance(run, str) else str(run.id) for run in listed]
        for i in range(0, len(runs), BATCH_ROWS_MAX):
            some = tuple(runs[i : i + BATCH_ROWS_MAX])
            answer = self._ask(lambda n, some=some: messages.Cancel(n, some), messages.Status)  # type: ignore[misc]
            if len(answer.runs) < len(some):
                known = {run.run for run in answer.runs}
                raise no_such_run(next(run for run in some if run not in known))

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

    def describe(self, run: str) -> tuple[Pipeline, messages.Definition]:
        """A run whole: its pipeline, and its jobs' states and failures as the Router has them.

        The data of the pipeline and its jobs is given if it is plain, else None.
        """
        answer = self._ask(lambda n: messages.GetDefinition(n, run), messages.Definition)
        pipeline = rebuilt(answer.blobs)
        pipeline.id = run
        take_status(pipeline, answer.status)
        return pipeline, answer

    def list_runs(self, state: str = "", offset: int = 0, limit: int = 100) -> list[RunStatus]:
        """The newest runs first; *state* "running", "done", "failed", "cancelled" or ""."""
        answer = self._ask(
            lambda n: messages.GetPipelines(n, state, offset, limit), messages.Status
        )
        return list(answer.runs)

    def cluster(self) -> messages.Cluster:
        """Nodes, queues and versions."""
        return self._ask(messages.GetCluster, messages.Cluster)

    def configuration(self) -> messages.Configuration:
        """What the Router tells everybody: cluster id, version, broadcast address, values."""
        return self._handshake()

    def close(self) -> None:
        """Let go of the socket; what was started goes on."""
        self._peer.close()

    def __enter__(self) -> PipelineManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- for who drives it from a thread of his own ---------------------------------------

    @property
    def submitter(self) -> str:
        """Who the runs of this manager belong to."""
        return self._submitter

    def let_wake(self) -> None:
        """From now on `wake` (from any thread) ends a `converse` that sleeps."""
        self._peer.let_wake()

    def wake(self) -> None:
        self._peer.wake()

    def converse(self, timeout: float) -> None:
        """Send and receive, sleeping at most *timeout* seconds for something to happen.

        Raises Unreachable if the Router is silent for too long while a run is watched.
        """
        now = time.monotonic()
        times = [now + timeout, *([now + POLL_S] if self._client.outcomes else [])]
        if (deadline := self._client.deadline()) is not None:
            times.append(deadline)
        ready = self._peer.wait(max(0, int((min(times) - now) * 1000 + 0.999)))
        now = time.monotonic()
        commands = self._client.handle(list(self._peer.receive()) if ready else [], now)
        self._perform([*commands, *self._client.poll(now, POLL_S)])
        self._peer.flush()
        self._take_added()
        if self._client.outcomes and now - self._client.heard_at > self.limits.client_silence_s:
            raise self._unreachable(now - self._client.heard_at)

    def submit_compiled(
        self, run: str, header: bytes, parts: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Send a run that was compiled elsewhere; its outcomes come with `take_outcomes`."""
        self._client.follow([run])
        self._client.watch([run])
        places = tuple(Place(i, len(parts)) for i in range(len(parts)))
        blobs = Blobs(blob for part in parts for blob in (header, *part))
        if not self._client.outcomes or not self._added:
            self._client.heard_at = max(self._client.heard_at, time.monotonic())
        number = self._send(lambda n: messages.AddPipeline(n, True, True, places, blobs, True))
        self._added[number] = run

    def _take_added(self) -> None:
        """Answers to what was sent; what the Router refuses has failed."""
        for number in [n for n in self._added if n in self._client.answers]:
            run = self._added.pop(number)
            answer = self._taken(number, messages.PipelineAdded)
            refusal = answer.results[0].refusal
            if refusal is not None:
                self.refused[run] = refusal_error(refusal)
        news, self._client.finished_news = self._client.finished_news, []
        for status in news:  # all of it was told before, unless a Router died in between
            if status.run in self._client.outcomes:
                number = self._send(lambda n, run=status.run: messages.GetResults(n, run))  # type: ignore[misc]
                self._fetching[number] = status.run
        for number in [n for n in self._fetching if n in self._client.answers]:
            run = self._fetching.pop(number)
            following = self._taken(number, messages.Results).next
            if following >= 0 and run in self._client.outcomes:
                more = self._send(
                    lambda n, run=run, first=following: messages.GetResults(n, run, first)  # type: ignore[misc]
                )
                self._fetching[more] = run

    def take_outcomes(self) -> Iterator[tuple[str, dict[int, Outcome]]]:
        """(run, how its jobs ended) of what is new of runs that are followed."""
        told, self._client.told = self._client.told, {}
        for run in told:
            known = self._client.outcomes.get(run)
            if known:
                self._client.outcomes[run] = {}
                yield run, {job: Outcome(*outcome) for job, outcome in known.items()}

    def cancel_jobs(self, run: str, jobs: Iterable[int]) -> None:
        """Ask for the end of single jobs; the answer is their outcome."""
        numbers = array("I", jobs)
        self._client.dismiss(self._send(lambda n: messages.CancelJobs(n, run, numbers)))

    def forget(self, run: str) -> None:
        """Nothing more of *run* is of interest here."""
        self._client.forget(run)

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

    def _handshake(self) -> messages.Configuration:
        if self._configuration is None:
            found = self._ask(
                lambda n: messages.GetConfiguration(n, "client", VERSION, 0, time.time()),
                messages.Configuration,
            )
            given = self.broadcast
            if given is not None and not _same_address(given, found.broadcast):
                raise DefinitionError(
                    f"The Router at {self.api} broadcasts at {found.broadcast}, not at {given}.",
                    remedy="Leave broadcast out; it is learned from the Router.",
                )
            self._configuration = found
        return self._configuration

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
                number = self._send(
                    lambda n, places=places, blobs=blobs: messages.AddPipeline(  # type: ignore[misc]
                        n, True, queue_anyway, places, blobs, follow
                    )
                )
                outstanding[number] = runs
                batch = next(batches, None)
            self._drive(lambda: any(n in self._client.answers for n in outstanding), None)
            for number in [n for n in outstanding if n in self._client.answers]:
                answer = self._taken(number, messages.PipelineAdded)
                for run, added in zip(outstanding.pop(number), answer.results, strict=True):
                    if added.refusal is not None:
                        refused.setdefault(run, added.refusal)
        return refused

    def _calls(self) -> Functions:
        if self._functions is None:
            self._functions = Functions()
        return self._functions

    def _batches(
        self, pipelines: dict[str, Pipeline]
    ) -> Iterator[tuple[list[str], tuple[Place, ...], Blobs]]:
        runs: list[str] = []
        places: list[Place] = []
        blobs: list[bytes] = []
        size = 0
        for run, pipeline in pipelines.items():
            header, parts = pipeline.compile(run, self._submitter, pack_value, self._calls())
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

    def _send(self, make: Callable[[int], Record]) -> int:
        number, commands = self._client.request(make, time.monotonic(), self._deadline_s)
        self._perform(commands)
        return number

    def _ask(self, make: Callable[[int], Record], kind: type[R]) -> R:
        number = self._send(make)
        self._drive(lambda: number in self._client.answers, None)
        return self._taken(number, kind)

    def _taken(self, number: int, kind: type[R]) -> R:
        answer = self._client.answers.pop(number)
        if isinstance(answer, messages.Refused):
            raise refusal_error(answer.refusal)
        if isinstance(answer, Expired):
            raise self._unreachable(answer.waited_s)
        if not isinstance(answer, kind):
            raise ClusterError(f"The Router answered with {type(answer).__name__}.")
        return answer

    def _unreachable(self, waited_s: float) -> Unreachable:
        return Unreachable(
            f"No Router answered at {self.api} for {waited_s:.0f} s.",
            remedy="Is it running (`pypelinin up`), and is the address right (PYPELININ_API)?",
        )

    def _drive(
        self, done: Callable[[], bool], until: float | None, poll_s: float | None = None
    ) -> None:
        """Send, receive and keep time until *done*, or the moment *until* has come."""
        silent_since = time.monotonic()
        timeout_ms = 0
        while True:
            ready = self._peer.wait(timeout_ms)
            now = time.monotonic()
            events = list(self._peer.receive()) if ready else []
            commands = self._client.handle(events, now)
            if poll_s is not None:
                commands += self._client.poll(now, poll_s)
            self._perform(commands)
            self._peer.flush()
            self._take_news()
            if done() or (until is not None and now >= until):
                return
            silence = now - max(self._client.heard_at, silent_since)
            if poll_s is not None and silence > self.limits.client_silence_s:
                raise self._unreachable(silence)
            times = [now + (poll_s or 1.0)]
            times += [t for t in (until, self._client.deadline()) if t is not None]
            timeout_ms = int(max(0.0, min(times) - now) * 1000) + 1

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self._peer.send(command.envelope)
            elif isinstance(command, Reconnect):
                self._peer.reconnect()


def _submitter() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a uid without an entry, as in some containers
        return f"{os.getuid()}@{socket.gethostname()}"


def _same_address(given: str, told: str) -> bool:
    """Ports decide: a Router bound to all interfaces tells 0.0.0.0."""
    return given.rsplit(":", 1)[-1] == told.rsplit(":", 1)[-1]
