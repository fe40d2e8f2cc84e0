"""Evidence in the Router: of which runs it is kept, how attempts failed, who may read it.

Nothing here decides about a job; what is returned is done by the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pypelinin.cluster.attempts import OpenLot
from pypelinin.cluster.events import KeepEnding, KeepEvidence, ReadLogs, Send
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.state import State
from pypelinin.graph import states
from pypelinin.machine import Command
from pypelinin.wire.codec import Blobs, Envelope
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import LOGS_BYTES_MAX, Evidence, GetLogs
from pypelinin.wire.messages import Refused
from pypelinin.wire.rows import JobsEnded

NUMBER_MAX = 2**63 - 1


def kept(state: State, node: str, message: Evidence) -> Iterator[Command]:
    """What of a Broker's evidence is sound and of runs that are here."""
    data = message.blobs[0] if message.blobs else b""
    if sum(printed.size for printed in message.printed) != len(data):
        return
    sound, parts, place = [], [], 0
    for printed in message.printed:
        part = data[place : place + printed.size]
        place += len(part)
        fits = 0 <= printed.size <= LOGS_BYTES_MAX and printed.stream in (0, 1)
        if fits and _is_known(state, printed.run, printed.job, printed.fence, printed.offset):
            sound.append(printed)
            parts.append(part)
    usages = tuple(u for u in message.usages if _is_known(state, u.run, u.job, u.fence, 0))
    if sound or usages:
        yield KeepEvidence(node, Evidence(tuple(sound), usages, Blobs([b"".join(parts)])))


def _is_known(state: State, name: str, job: int, fence: int, offset: int) -> bool:
    run = state.runs.get(name)
    fits = 0 <= fence <= NUMBER_MAX and 0 <= offset <= NUMBER_MAX
    return run is not None and 0 <= job < len(run.states) and fits


def failed(
    state: State, row: JobsEnded, ended: Sequence[tuple[OpenLot, int, bytes]]
) -> Iterator[Command]:
    """How the attempts of *row* failed; *ended* is (lot, start, statuses) of each of its lots."""
    why = {(one.run, one.job): one.failure for one in row.failures}
    for lot, start, statuses in ended:
        for position, status in enumerate(statuses, start):
            pair = (lot.runs[position], lot.jobs[position])
            if status in (states.FAILED, states.AGAIN) and pair in why:
                name = state.runs.by_number[pair[0]].id
                yield KeepEnding(name, pair[1], lot.fence + position, why[pair])


def lost(state: State, lot: OpenLot, start: int, node: str) -> Iterator[Command]:
    """The node of *lot* went away while the job at *start* ran there, or was to be next."""
    if not state.attempts.may_start(lot, start):
        return
    run = state.runs.by_number[lot.runs[start]]
    failure = Failure("lost", "Lost", "its node went away", "", node)
    yield KeepEnding(run.id, lot.jobs[start], lot.fence + start, failure)


def logs(state: State, peer: bytes, question: GetLogs) -> Command:
    """What is to be done for who asks what jobs printed."""
    run = state.runs.get(question.run)
    if run is None or not run.complete:
        what = f"There is no run {question.run[:64]}."
    elif not -1 <= question.job < len(run.states):
        what = f"Run {run.id} has no job {question.job}."
    elif not (0 <= question.offset <= NUMBER_MAX and 0 <= question.fence <= NUMBER_MAX):
        what = "There is no such place in what jobs printed."
    else:
        if question.job < 0:
            return ReadLogs(peer, question, run.open, 0, "")
        fence, node = _attempt_of(state, run.number, question.job)
        again = run.open and run.states[question.job] not in states.ENDED
        return ReadLogs(peer, question, again, fence, node)
    refusal = refuse("not found", what)
    return Send(peer, Envelope(Refused(question.request, refusal)))


def _attempt_of(state: State, number: int, job: int) -> tuple[int, str]:
    """(fence, node) of the attempt that is out; (0, "") if none is."""
    if state.runs.by_number[number].states[job] != states.OUT:
        return 0, ""
    for lot in state.attempts.lots.values():
        for position in range(lot.next, len(lot.jobs)):
            if lot.jobs[position] == job and lot.runs[position] == number:
                return lot.fence + position, state.members[lot.node].name
    return 0, ""
