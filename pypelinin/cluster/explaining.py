"""Why a job is in its state, and what to do about it, in sentences for people."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from pypelinin.cluster.dispatch import Dispatch
from pypelinin.cluster.growing import name_of
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.ids import fence_attempt, fence_epoch
from pypelinin.units import format_bytes
from pypelinin.wire.codec import Record, unpack_again
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Failure, Structure
from pypelinin.wire.messages import ExplainJob, Explanation, Refused

NAMED_MAX = 10
LOOKED_AT_MAX = 100_000
"""Jobs above one that never ran, among which the culprits are looked for."""
ADVICE = {
    "memory": "Give it more: `pypelinin retry {run} --memory 8GB`, or memory=['2GB', '8GB'] "
    "in the job, which is tried with more each time.",
    "timeout": "Give it a longer timeout=, or look at what it waited for: `pypelinin logs`.",
    "exit": "Its process ended by itself (os._exit, an abort in C); see `pypelinin logs`.",
    "signal": "Its process was killed: a fault in compiled code, or the system was short of "
    "memory; memory= in the job makes that visible. See `pypelinin logs`.",
    "lost": "Its node went away each time. `pypelinin nodes` shows which are there.",
    "store": "The store refused; when it works again: `pypelinin retry {run} --failed`.",
    "import": "The Broker's modules cannot be loaded; mend them, restart it, then "
    "`pypelinin retry {run} --failed`.",
    "value": "Something it reads is gone from the value directory: submit the run anew.",
}
OTHERWISE = "Mend the code or the data, restart the Broker if its modules changed, then "
OTHERWISE += "`pypelinin retry {run} --failed` runs only what did not succeed."


def explanation(state: State, dispatch: Dispatch, message: ExplainJob, now: float) -> Record:
    run = state.runs.get(message.run)
    if run is None or not run.complete:
        return Refused(message.request, refuse("not found", f"There is no run {message.run[:64]}."))
    if not 0 <= message.job < len(run.states):
        text = f"Run {run.id} has no job {message.job}; they count from 0 to {len(run.states) - 1}."
        return Refused(message.request, refuse("not found", text, "`pypelinin show` lists them."))
    lines = [*_why(state, dispatch, run, message.job, now), *_tries(run, message.job)]
    name = states.NAMES[run.states[message.job]]
    return Explanation(message.request, name, tuple(lines))


def _why(state: State, dispatch: Dispatch, run: RunRecord, job: int, now: float) -> Iterator[str]:
    match run.states[job]:
        case states.OPEN:
            yield from _waits(dispatch, run, job, now)
        case states.QUEUED:
            kills = run.memory_kills[job]
            yield f"It is queued: {dispatch.coordinator.reason(run.kind(job), kills)}."
            yield f"{dispatch.queues.count:,} jobs are queued in all."
        case states.OUT:
            yield _where(state, run, job)
        case states.DONE:
            yield "It is done: jobs of a pipeline run in each run of it."
        case states.FAILED:
            yield from _failed(run, job)
        case states.SKIPPED:
            found = _named(run, _culprits(run, job)) or "something far"
            yield f"It never ran: {found} above it did not succeed."
        case states.CANCELLED:
            yield "It was cancelled, or its run was."


def _waits(dispatch: Dispatch, run: RunRecord, job: int, now: float) -> Iterator[str]:
    if run.cancelled:
        yield "Its run is being cancelled."
        return
    at = dispatch.later(run.number, job)
    if at is not None:
        yield f"It failed and is tried again in {max(0.0, at - now):.1f} s."
    ups = [up for up in Order(run).upstreams_of(job) if run.states[up] != states.DONE]
    if ups:
        yield f"It waits for {_named(run, ups)}."
    if run.paused:
        yield f"Its run is paused; `pypelinin resume {run.id}` lets it go on."
    elif at is None and not ups:
        yield "It waits for its turn, or for nodes that a restarted Router still waits for."


def _where(state: State, run: RunRecord, job: int) -> str:
    for lot in state.attempts.lots.values():
        for position in range(lot.next, len(lot.jobs)):
            if lot.runs[position] == run.number and lot.jobs[position] == job:
                node = state.members[lot.node].name
                fence = lot.fence + position
                attempt = f"attempt {fence_epoch(fence)}.{fence_attempt(fence)}"
                ahead = position - lot.next
                if ahead:
                    return f"It is on node {node} behind {ahead} other jobs ({attempt})."
                return f"It runs on node {node} ({attempt})."
    return "It is on its way to a node."


def _failed(run: RunRecord, job: int) -> Iterator[str]:
    failure = run.failures.get(job)
    if failure is None:
        yield "It failed; its details were not kept, because too many jobs of the run failed."
        return
    where = f" on {failure.node}" if failure.node else ""
    yield f"It failed{where}: {failure.type}: {failure.text}"
    yield _advice(run, job, failure)


def _advice(run: RunRecord, job: int, failure: Failure) -> str:
    text = ADVICE.get(failure.cause, OTHERWISE).format(run=run.id)
    terms = run.terms(job)
    if failure.cause == "memory" and terms is not None and terms.memory:
        text = f"It had {format_bytes(terms.memory)}. {text}"
    return text


def _tries(run: RunRecord, job: int) -> Iterator[str]:
    counts = [
        (run.failed_again[job], "failed"),
        (run.crashes[job], "lost its process"),
        (run.memory_kills[job], "used too much memory"),
        (run.lost[job], "lost its node"),
    ]
    told = [f"{count} x {what}" for count, what in counts if count]
    if told:
        nodes = Counter(run.crash_nodes.get(job, ()))
        where = ", ".join(f"{node} {times} x" for node, times in nodes.items())
        yield f"Before that it {', '.join(told)}" + (f" (crashed on {where})." if where else ".")


class Order:
    """What each job of a run waits for, read once."""

    def __init__(self, run: RunRecord) -> None:
        parts = (part[0] for part in run.parts if part is not None)
        self._parts = [unpack_again(Structure, part, FRAME_BYTES_MAX) for part in parts]
        self._firsts = [part.first for part in self._parts]
        self._fed: dict[int, list[int]] = {}
        for up, job in run.feeds:
            self._fed.setdefault(job, []).append(up)

    def upstreams_of(self, job: int) -> list[int]:
        part = self._parts[bisect_right(self._firsts, job) - 1]
        low, high = part.offsets[job - part.first], part.offsets[job - part.first + 1]
        return [*part.upstreams[low:high], *self._fed.get(job, ())]


def _culprits(run: RunRecord, job: int) -> list[int]:
    """The nearest jobs above that failed or were cancelled."""
    order = Order(run)
    found: dict[int, None] = {}
    seen = {job}
    stack = [job]
    while stack and len(seen) < LOOKED_AT_MAX:
        for up in order.upstreams_of(stack.pop()):
            if up in seen:
                continue
            seen.add(up)
            if run.states[up] in (states.FAILED, states.CANCELLED):
                found[up] = None
            elif run.states[up] == states.SKIPPED:
                stack.append(up)
        if len(found) > NAMED_MAX:
            break
    return list(found)


def _named(run: RunRecord, jobs: Sequence[int]) -> str:
    shown = [
        f"{name_of(run.payload(job), run.kind(job))} ({states.NAMES[run.states[job]]})"
        for job in jobs[:NAMED_MAX]
    ]
    more = len(jobs) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
