"""Planted bugs, to test the simulation itself: each breaks one law of the cluster.

    with planted("inventory forgotten"):
        run_seeds(0, 200)  # must raise Violation

A bug replaces a method while the block runs; product code knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

from pypelinin.cluster import sharing
from pypelinin.cluster.amounts import left_of
from pypelinin.cluster.attempts import Attempts, OpenLot
from pypelinin.cluster.broker import Broker
from pypelinin.cluster.coordinator import Node
from pypelinin.cluster.desk import Desk
from pypelinin.cluster.events import Send
from pypelinin.cluster.ledger import Grant, Ledger
from pypelinin.cluster.link import Link
from pypelinin.cluster.membership import Membership
from pypelinin.cluster.participant import Participant
from pypelinin.cluster.pipeliner import Planner
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.queues import Queues
from pypelinin.cluster.reading import ReadingRun
from pypelinin.cluster.router import Router
from pypelinin.cluster.runs import Runs
from pypelinin.cluster.scribe import Scribe
from pypelinin.cluster.sharing import Claim, Shared
from pypelinin.cluster.slots import HeldJobs
from pypelinin.graph import states
from pypelinin.machine import Event
from pypelinin.wire.codec import Blobs, Envelope, Record
from pypelinin.wire.definitions import Terms
from pypelinin.wire.messages import AssignedRun, HeldLot, Progress, Ready
from pypelinin.wire.rows import CancelledRuns, Ended, HandedOut, JobsEnded, LotClosed, LotRow

Patch = tuple[type | ModuleType, str, Callable[..., Any]]


def _acknowledge_at_once(desk: Desk, _lsn: int) -> None:
    for session in desk._heard:
        if session in desk.peers:
            link = desk.peers[session].link
            link.acknowledge(link.received)
    desk._heard.clear()
    desk.committed(desk._durable)


def _answer_at_once(scribe: Scribe, peer: bytes, message: Record) -> None:
    scribe.commands.append(Send(peer, Envelope(message)))


def _store_as_received(
    attempts: Attempts, _node: int, items: Iterable[Progress]
) -> list[JobsEnded]:
    known = [item for item in items if item.fence in attempts.lots and item.statuses]
    ended = tuple(Ended(item.fence, item.start, item.statuses) for item in known)
    return [JobsEnded(ended, ())] if ended else []


def _adopt_everything(
    attempts: Attempts, _epoch: int, node: int, held: HeldLot
) -> tuple[bool, list[Record]]:
    if held.fence in attempts.lots or not held.jobs:
        return True, []
    if any(number not in attempts.runs.by_number for number in held.runs):
        return False, []
    return True, [HandedOut(node, (LotRow(held.fence, held.runs, held.jobs),))]


_assigned = Planner._assigned


def _keep_the_run(
    planner: Planner, assigned: AssignedRun, blobs: Sequence[bytes], ready: list[Ready]
) -> bool:
    """What a Pipeliner knew before counts for more than what it is told."""
    if assigned.number in planner._runs:
        return True
    return _assigned(planner, assigned, blobs, ready)


def _any_assignment(planning: Planning, session: int, number: int, _assignment: int) -> bool:
    return planning.owner.get(number) == session


_hello = Broker._hello


def _hello_without_lots(broker: Broker, number: int) -> Record:
    return replace(_hello(broker, number), held=Blobs())


_begin = Router.begin


def _begin_the_same_epoch(router: Router, now: float) -> Any:
    router.state.epoch = max(0, router.state.epoch - 1)
    return _begin(router, now)


_link_receive = Link.receive


def _receive_over_gaps(
    link: Link, envelope: Envelope, now: float
) -> tuple[Record | None, list[Envelope]]:
    link.received = max(link.received, envelope.number - 1)
    return _link_receive(link, envelope, now)


_node_left = Membership._node_left


def _leave_lots_behind(members: Membership, node: int, why: str) -> None:
    attempts = members._state.attempts
    kept = {fence: lot for fence, lot in attempts.lots.items() if lot.node == node}
    for fence in kept:
        del attempts.lots[fence]
    _node_left(members, node, why)
    attempts.lots.update(kept)


_apply_runs = Runs.apply


def _cancel_everything(runs: Runs, row: Record, lsn: int) -> None:
    _apply_runs(runs, row, lsn)
    if isinstance(row, CancelledRuns):
        for run in map(runs.by_number.__getitem__, row.runs):
            for job, state in enumerate(run.states):
                if state == states.DONE:
                    run.set_state(job, states.CANCELLED)


_judge_failures = Attempts._judge_failures


def _count_retries_of_the_run(attempts: Attempts, lot: OpenLot, *more: Any) -> bytes:
    run = attempts.runs.by_number[lot.runs[0]]
    before = run.failed_again.copy()
    for job in range(run.header.jobs):
        run.failed_again[job] = before.total()
    try:
        return _judge_failures(attempts, lot, *more)
    finally:
        run.failed_again = before


_release_old = Membership._release_old


def _release_at_once(members: Membership) -> None:
    awaited, members.awaited = members.awaited, {}
    try:
        _release_old(members)
    finally:
        members.awaited = awaited


_closed = Attempts._closed


def _lose_count(attempts: Attempts, row: LotClosed, lsn: int) -> None:
    """Replay does something else than life did: here it forgets what life has counted."""
    lot = attempts.lots[row.fence]
    run = attempts.runs.by_number[lot.runs[row.start]]
    _closed(attempts, row, lsn)
    if run.watchers:  # a replay knows nobody who watches
        run.lost[0] += 1


_held = HeldJobs.held


def _held_without_results(lot: HeldJobs, bytes_max: int) -> HeldLot:
    return replace(_held(lot, bytes_max), results=())


_taken_of_reading = ReadingRun._taken


def _release_at_the_first_reader(run: ReadingRun) -> list[int]:
    """Temporary results go as soon as somebody reads them."""
    ready = _taken_of_reading(run)
    for job in ready:
        ups = [edge[0] for edge in run.run.jobs[job].inputs]
        run.released += [up.number for up in ups if not up.kept]
    return ready


def _stop_nothing(_lot: HeldJobs) -> None:
    """What follows a job that killed its slot is begun all the same."""


_grant = Ledger.grant


def _grant_everything(ledger: Ledger, fence: int, terms: Terms | None) -> Grant | None:
    """The node is taken to be empty each time."""
    granted, left = ledger.granted, ledger._left
    ledger.granted, ledger._left = {}, left_of(ledger.capacity, ())
    try:
        return _grant(ledger, fence, terms)
    finally:
        ledger.granted, ledger._left = {**granted, **ledger.granted}, left


_participant_event = Participant.event


def _take_all_that_is_offered(participant: Participant, event: Event) -> None:
    """What could be had is taken for what is held."""
    if isinstance(event, Shared):
        event = replace(event, limit=event.offer)
    _participant_event(participant, event)


def _take_what_is_left(participant: Participant, event: Event) -> None:
    """Offered is what others leave just now, and who is offered nothing asks for nothing."""
    if isinstance(event, Shared):
        event = replace(event, offer=event.limit)
    _participant_event(participant, event)


def _stay_in_line(own: Claim, *_: object) -> Claim:
    """Nobody ever gets more than his part."""
    return replace(own, head=0, until=0.0)


_add = Queues.add


def _add_with_the_same_memory(queues: Queues, *more: Any) -> None:
    _add(queues, *more[:6])


BUGS: dict[str, tuple[Patch, ...]] = {
    "acknowledgement before commit": ((Desk, "end_turn", _acknowledge_at_once),),
    "answer before commit": ((Scribe, "answer", _answer_at_once),),
    "stale row stored as received": ((Attempts, "judge_progress", _store_as_received),),
    "no fence check": ((Attempts, "judge_held", _adopt_everything),),
    "basis ignored": ((Attempts, "valid", lambda *_: True),),
    "old assignment accepted": (
        (Planner, "clear", lambda _: None),
        (Planner, "_assigned", _keep_the_run),
        (Planning, "is_from_owner", _any_assignment),
    ),
    "inventory forgotten": ((Broker, "_hello", _hello_without_lots),),
    "epoch not raised": ((Router, "begin", _begin_the_same_epoch),),
    "gaps not noticed": ((Link, "receive", _receive_over_gaps),),
    "jobs of a lost node not reopened": ((Membership, "_node_left", _leave_lots_behind),),
    "cancel overwrites success": ((Runs, "apply", _cancel_everything),),
    "retry counter shared": ((Attempts, "_judge_failures", _count_retries_of_the_run),),
    "old work not held back": ((Membership, "_release_old", _release_at_once),),
    "replay judges": ((Attempts, "_closed", _lose_count),),
    "followers queued with their line": ((Attempts, "may_start", lambda *_: True),),
    "followers of a failure begun": ((HeldJobs, "pass_over", _stop_nothing),),
    "results left out of a hello": ((HeldJobs, "held", _held_without_results),),
    "results gone at their first reader": ((ReadingRun, "_taken", _release_at_the_first_reader),),
    "needs not counted": (
        (Ledger, "grant", _grant_everything),
        (Ledger, "check", lambda _: None),
    ),
    "what others hold taken": ((Participant, "event", _take_all_that_is_offered),),
    "asks for nothing when offered nothing": (
        (Participant, "event", _take_what_is_left),
        (Node, "has_room", Node.offers),
    ),
    "no turns": ((sharing, "_in_line", _stay_in_line),),
    "memory not raised": ((Queues, "add", _add_with_the_same_memory),),
    "results never released": ((Planning, "take_released", lambda _: []),),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """While the block runs the bug *name* (of BUGS) is there."""
    before = [(cls, method, cls.__dict__[method]) for cls, method, _ in BUGS[name]]
    for cls, method, bug in BUGS[name]:
        setattr(cls, method, bug)
    try:
        yield
    finally:
        for cls, method, original in before:
            setattr(cls, method, original)
