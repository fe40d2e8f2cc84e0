"""A client that is driven from a thread of its own: it sends runs and hands outcomes on."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from pypelinin.client.requests import Port, Requests
from pypelinin.client.results import Outcome
from pypelinin.client.verdicts import refusal_error
from pypelinin.config import Limits
from pypelinin.errors import PypelininError
from pypelinin.runtime.access import AccessSpec
from pypelinin.wire import messages
from pypelinin.wire.codec import Blobs
from pypelinin.wire.definitions import Place

POLL_S = 1.0


class Conversation(Requests):
    """Only `wake` may be called from other threads."""

    def __init__(
        self,
        api: str | None = None,
        *,
        limits: Limits | None = None,
        port: Port | None = None,
        access: AccessSpec = None,
    ) -> None:
        super().__init__(api, limits=limits, port=port, access=access)
        self._peer.let_wake()
        self._added: dict[int, str] = {}
        self._fetching: dict[int, str] = {}
        self._taken_of: dict[str, int] = {}
        """How many outcomes of each run were handed on."""
        self.refused: dict[str, PypelininError] = {}
        """Runs that the Router did not take."""

    def wake(self) -> None:
        """End the `converse` that sleeps, or the next one."""
        self._peer.wake()

    def converse(self, timeout: float) -> None:
        """Send and receive, sleeping at most *timeout* seconds for something to happen.

        Raises Unreachable if the Router is silent for too long while a run is watched.
        """
        now = time.monotonic()
        times = [now + timeout, *([now + POLL_S] if self._client.outcomes else [])]
        if (deadline := self._client.deadline()) is not None:
            times.append(deadline)
        due = min(times)
        ready = self._peer.wait(max(0, int((due - now) * 1000 + 0.999)))
        now = time.monotonic()
        if not ready and now < due:
            self._peer.flush()
            return  # woken: the caller has something to send
        commands = self._client.handle(list(self._peer.receive()) if ready else [], now)
        self._perform([*commands, *self._client.poll(now, POLL_S)])
        self._peer.flush()
        self._take_added()
        if self._client.outcomes and (refusal := self._client.refusal) is not None:
            raise refusal_error(refusal)
        if self._client.outcomes and now - self._client.heard_at > self.limits.client_silence_s:
            raise self._unreachable(now - self._client.heard_at)

    def submit_compiled(
        self, run: str, header: bytes, parts: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Send a run that was compiled elsewhere; its outcomes come with `take_outcomes`."""
        self._client.follow([run])
        places = tuple(Place(i, len(parts)) for i in range(len(parts)))
        blobs = Blobs(blob for part in parts for blob in (header, *part))
        if not self._client.outcomes or not self._added:
            self._client.heard_at = max(self._client.heard_at, time.monotonic())
        # not watched: outcomes tell it all, and `poll` what a Router that died kept to itself
        number = self._send(lambda n: messages.AddPipeline(n, False, False, places, blobs, True))
        self._added[number] = run

    def _take_added(self) -> None:
        """Answers to what was sent; what the Router refuses has failed."""
        for number in [n for n in self._added if n in self._client.answers]:
            run = self._added.pop(number)
            answer = self._taken(number, messages.PipelineAdded)
            self._client.watch([run])
            for added in answer.results:
                if added.refusal is not None:
                    self.refused.setdefault(run, refusal_error(added.refusal))
        news, self._client.finished_news = self._client.finished_news, []
        for status in news:  # all of it was told before, unless a Router died in between
            known = self._client.outcomes.get(status.run)
            if known is not None and self._taken_of.get(status.run, 0) + len(known) < status.jobs:
                number = self._send(partial(messages.GetResults, run=status.run))
                self._fetching[number] = status.run
        for number in [n for n in self._fetching if n in self._client.answers]:
            run = self._fetching.pop(number)
            following = self._taken(number, messages.Results).next
            if following >= 0 and run in self._client.outcomes:
                more = self._send(partial(messages.GetResults, run=run, first=following))
                self._fetching[more] = run

    def take_outcomes(self) -> Iterator[tuple[str, dict[int, Outcome]]]:
        """(run, how its jobs ended) of what is new of runs that are followed."""
        told, self._client.told = self._client.told, {}
        for run in told:
            known = self._client.outcomes.get(run)
            if known:
                self._client.outcomes[run] = {}
                self._taken_of[run] = self._taken_of.get(run, 0) + len(known)
                yield run, {job: Outcome(*outcome) for job, outcome in known.items()}

    def cancel_jobs(self, run: str, jobs: Iterable[int]) -> None:
        """Ask for the end of single jobs; the answer is their outcome."""
        numbers = array("I", jobs)
        self._client.dismiss(self._send(lambda n: messages.CancelJobs(n, run, numbers)))

    def release_results(self, runs: Iterable[str], *, wait: bool = False) -> None:
        """Say that nobody will ask for the results of these any more."""
        named = tuple(runs)
        make = partial(messages.ReleaseResults, runs=named)
        if not named:
            return
        if wait:
            self._ask(make, messages.Status)
        else:
            self._client.dismiss(self._send(make))

    def forget(self, run: str) -> None:
        """Nothing more of *run* is of interest here."""
        self._taken_of.pop(run, None)
        self._client.forget(run)
