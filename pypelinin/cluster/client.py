"""The client's side: requests with deadlines, and what is known of the runs it watches.

Every request is idempotent and is sent again until it is answered or its time is over, so
a Router that restarts in between costs only time. News about finished runs come unasked
while the Router lives; `poll` asks again, for what a restart or a lost message hid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pypelinin.cluster.events import Malformed, Received, Send
from pypelinin.cluster.member import ROUTER, Reconnect
from pypelinin.cluster.roles import KEY_CODES
from pypelinin.config import Limits
from pypelinin.machine import Command, Event, record
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import BATCH_ROWS_MAX, Failure, Refusal
from pypelinin.wire.messages import (
    GetStatus,
    JobsDone,
    Outcomes,
    PipelineFinished,
    Refused,
    Results,
    RunStatus,
    Status,
    Wait,
)

RESEND_S = 2.0


@record
class Expired(Record):
    """No answer came in time."""

    waited_s: float


@dataclass(slots=True)
class _Pending:
    message: Record
    since: float
    until: float
    resend_at: float
    tries: int = 1


class Client:
    """Outstanding requests by number; `answers` holds what came until it is taken."""

    def __init__(self, limits: Limits, first_request: int = 1) -> None:
        self.limits = limits
        self.answers: dict[int, Record] = {}
        self.watched: dict[str, RunStatus | None] = {}
        self.finished_news: list[RunStatus] = []
        self.outcomes: dict[str, dict[int, tuple[int, bytes, Failure | None]]] = {}
        """(status, packed result, failure) of the jobs of each followed run, as they come."""
        self.told: dict[str, None] = {}
        """Followed runs of which there is something new in `outcomes`."""
        self.heard_at = 0.0
        self.refusal: Refusal | None = None
        """Why the Router takes nothing of our key, for who only waits for news."""
        self._next = first_request
        self._pending: dict[int, _Pending] = {}
        self._poll_at = 0.0
        self._polls: set[int] = set()
        self._unfinished: dict[str, None] = {}

    def request(
        self, make: Callable[[int], Record], now: float, within_s: float | None = None
    ) -> tuple[int, list[Command]]:
        """Ask; the answer appears in `answers` under the number returned."""
        number = self._next
        self._next += 1
        message = make(number)
        until = now + (self.limits.client_deadline_s if within_s is None else within_s)
        self._pending[number] = _Pending(message, now, until, now + RESEND_S)
        return number, [Send(ROUTER, Envelope(message))]

    def watch(self, runs: Sequence[str]) -> None:
        """Follow these runs; their status is asked for until it is final."""
        for run in runs:
            self.watched.setdefault(run, None)
            if (known := self.watched[run]) is None or not known.finished_at:
                self._unfinished[run] = None

    def follow(self, runs: Sequence[str]) -> None:
        """Keep the outcomes of the jobs of these runs."""
        for run in runs:
            self.outcomes.setdefault(run, {})

    def dismiss(self, number: int) -> None:
        """The answer to this request is of no interest."""
        self._polls.add(number)

    def forget(self, run: str) -> None:
        """Follow *run* no more."""
        self.outcomes.pop(run, None)
        self.told.pop(run, None)
        self.watched.pop(run, None)
        self._unfinished.pop(run, None)

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        for event in batch:
            if isinstance(event, Received):
                self.heard_at = now
                self._received(event.envelope.message, now)
            elif isinstance(event, Malformed):
                self._fail_all(Refused(0, Refusal(event.code, event.what)))
        return self._due(now)

    def _received(self, message: Record, now: float) -> None:
        self._note_refusal(message)
        if isinstance(message, PipelineFinished):
            self._learn(message.runs)
            return
        if isinstance(message, JobsDone):
            for told in message.runs:
                self._take(told)
            return
        if isinstance(message, Wait):
            for pending in self._pending.values():
                pending.resend_at = now + message.retry_ms / 1000
            return
        number = getattr(message, "request", None)
        if isinstance(message, Refused) and number == 0:
            self._fail_all(message)
            return
        if number is None or self._pending.pop(number, None) is None:
            return
        if isinstance(message, Status):
            self._learn(message.runs)
        elif isinstance(message, Results):
            self._take(message.outcomes)
        if number in self._polls:
            self._polls.discard(number)
        else:
            self.answers[number] = message

    def _note_refusal(self, message: Record) -> None:
        if not isinstance(message, Refused):
            self.refusal = None
        elif message.refusal.code in KEY_CODES:
            self.refusal = message.refusal

    def _take(self, told: Outcomes) -> None:
        known = self.outcomes.get(told.run)
        if known is None or len(told.jobs) != len(told.statuses):
            return
        results = told.results or (b"",) * len(told.jobs)
        self.told[told.run] = None
        why = {failed.job: failed.failure for failed in told.failures}
        for job, status, result in zip(told.jobs, told.statuses, results, strict=False):
            known[job] = (status, result, why.get(job))

    def _fail_all(self, refused: Refused) -> None:
        """The Router could not read us: no request of ours will be answered."""
        for number in list(self._pending):
            del self._pending[number]
            if number not in self._polls:
                self.answers[number] = refused
        self._polls.clear()

    def _learn(self, runs: Sequence[RunStatus]) -> None:
        for run in runs:
            if run.run not in self.watched:
                continue
            known = self.watched[run.run]
            if known is not None and known.finished_at:
                continue
            self.watched[run.run] = run
            if run.finished_at or run.state == "unknown":
                self._unfinished.pop(run.run, None)
                self.finished_news.append(run)

    def poll(self, now: float, every_s: float) -> list[Command]:
        """Ask about unfinished runs that are watched, at most that often."""
        if now < self._poll_at or not self._unfinished or self._polls & self._pending.keys():
            return []
        self._poll_at = now + every_s
        chosen = list(self._unfinished)
        commands: list[Command] = []
        for i in range(0, len(chosen), BATCH_ROWS_MAX):
            runs = tuple(chosen[i : i + BATCH_ROWS_MAX])
            number, sends = self.request(partial(GetStatus, runs=runs, watch=True), now)
            self._polls.add(number)
            commands += sends
        return commands

    def _due(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for number, pending in list(self._pending.items()):
            if now >= pending.until:
                del self._pending[number]
                if number in self._polls:
                    self._polls.discard(number)
                else:
                    self.answers[number] = Expired(now - pending.since)
            elif now >= pending.resend_at:
                pending.resend_at = now + RESEND_S
                pending.tries += 1
                if pending.tries == 3:
                    commands.insert(0, Reconnect())
                commands.append(Send(ROUTER, Envelope(pending.message)))
        return commands

    def deadline(self) -> float | None:
        if not self._pending:
            return None
        return min(min(p.until, p.resend_at) for p in self._pending.values())

    def check(self) -> None:
        assert self._polls <= self._pending.keys()
        assert self._unfinished.keys() <= self.watched.keys()
