"""Who belongs to the cluster: Brokers and Pipeliners that join, come back, leave or stay away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pypelinin.cluster.amounts import capacity_text
from pypelinin.cluster.coordinator import Node, sane
from pypelinin.cluster.desk import Desk, Peer
from pypelinin.cluster.dispatch import Dispatch
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.scribe import Scribe
from pypelinin.config import Limits
from pypelinin.errors import BadMessage
from pypelinin.wire.codec import unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Kind
from pypelinin.wire.messages import (
    HeldLot,
    JoinBroker,
    JoinPipeliner,
    Progress,
    SetDraining,
    Wait,
    Welcome,
)
from pypelinin.wire.rows import Joined, Left, LotsClosed

WAIT_MS = 500
VERSION_CHARACTERS_MAX = 40


class Membership:
    """Joins, leaves, and the nodes that a restarted Router waits for."""

    def __init__(
        self, scribe: Scribe, desk: Desk, dispatch: Dispatch, planning: Planning, limits: Limits
    ) -> None:
        self.awaited: dict[int, float] = {}
        """Nodes of the epoch before -> until when they may come back."""
        self._old: list[RunRecord] = []
        self._scribe = scribe
        self._state = scribe.state
        self._desk = desk
        self._dispatch = dispatch
        self._planning = planning
        self._limits = limits

    # --- after a restart ---------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Members have a lease's time to return; until then runs of before wait."""
        for node in self._state.members:
            self.awaited[node] = now + self._limits.node_lease_s
        self._old = [run for run in self._state.runs.by_number.values() if run.open]
        if self._old:
            text = f"Going on with {len(self._old)} runs, waiting for {len(self.awaited)} nodes."
            self._scribe.say("info", text)
        self._release_old()

    def wait_anew(self, now: float) -> None:
        """This process was paused: nobody's absence meanwhile counts."""
        for node in self.awaited:
            self.awaited[node] = now + self._limits.node_lease_s

    def due(self, now: float) -> None:
        """Who was silent for too long, or did not come back."""
        for peer in self._desk.silent(now):
            self.lost(peer, "silent")
        for node, until in list(self.awaited.items()):
            if now >= until:
                name = self._state.members[node].name
                self._scribe.say("warning", f"Node {name} did not come back.")
                self._node_left(node, "did not come back")

    def _release_old(self) -> None:
        """Runs of the epoch before go on once every node told what it has."""
        if self._old and not self.awaited:
            runs, self._old = [run for run in self._old if run.open], []
            self._planning.assign(runs)

    # --- Brokers -----------------------------------------------------------------------

    def join_broker(self, address: bytes, message: JoinBroker, now: float) -> None:
        if not self._desk.fresh(message.incarnation, message.hello):
            return
        if self._desk.is_taken("broker", message.name, message.incarnation, now):
            text = f"Another Broker named {message.name!r} is connected; give each its own name."
            self._scribe.answer(address, Wait(WAIT_MS, text))
            return
        number = self._node_of(message)
        if number is None:
            return
        old = self._desk.by_name("broker", message.name)
        if old is not None:
            self._desk.dismiss(old)
        peer = self._desk.admit(
            address, "broker", message.name, message.incarnation, message.hello, now
        )
        peer.node, peer.version = number, message.version[:VERSION_CHARACTERS_MAX]
        kinds = _declared(message.declared)
        self._dispatch.requeue(self._state.runs.declare(message.workers, kinds))
        before = self._dispatch.coordinator.nodes.get(number)
        drop = self._adopt(number, message, now)
        node = Node(
            number, message.name, message.incarnation, frozenset(message.workers),
            message.labels, sane(message.capacity),
        )  # fmt: skip
        node.draining = message.draining
        node.ordered = before.ordered if before is not None else ""
        node.offer(message.offer, message.ahead, {}, self._limits.lot_jobs_max)
        self._dispatch.joined(node)
        self._welcome(peer, message.incarnation, message.hello, drop)
        if node.ordered and not node.draining:  # it came again before it heard of it
            self._desk.tell(peer, SetDraining(node.ordered))
        self.awaited.pop(number, None)
        self._release_old()

    def _node_of(self, message: JoinBroker) -> int | None:
        """The node's number; a new incarnation ends what the one before had.

        None for a hello of before one that the journal knows: what is said of it would be wrong.
        """
        for member in list(self._state.members.values()):
            if member.name != message.name:
                continue
            if member.incarnation == message.incarnation:
                if message.hello <= member.hello:
                    return None
                joined = Joined(member.node, member.name, member.incarnation, message.hello)
                self._scribe.write([joined])
                return member.node
            self._node_left(member.node, "a new incarnation came")
        node = self._state.next_node
        self._scribe.write([Joined(node, message.name, message.incarnation, message.hello)])
        capacity = sane(message.capacity)
        self._scribe.say("info", f"Broker {message.name} joined: {capacity_text(capacity)}.")
        self._scribe.publish("node joined", node=message.name, slots=capacity.cores)
        return node

    def _adopt(self, node: int, message: JoinBroker, now: float) -> list[int]:
        """Compare the node's inventory with the journal; returns the fences that are void."""
        void: list[int] = []
        told: dict[int, HeldLot] = {}
        attempts = self._state.attempts
        for packed in message.held:
            try:
                held = unpack_record(HeldLot, packed, FRAME_BYTES_MAX)
            except BadMessage:
                continue
            good, rows = attempts.judge_held(self._state.epoch, node, held)
            if not good or message.cluster not in ("", self._state.cluster):
                void.append(held.fence)
                continue
            told[held.fence] = held
            progress = Progress(held.fence, 0, held.statuses, held.failures, held.results)
            adopted = [row for row in rows if not isinstance(row, LotsClosed)]
            self._scribe.write(adopted)
            self._dispatch.progressed(node, [progress], now)
            if len(adopted) != len(rows):
                self._dispatch.close([row for row in rows if row not in adopted])
        missing = [lot for lot in attempts.of_node(node) if lot.fence not in told]
        self._dispatch.close(attempts.judge_close(missing, lost=False))
        return void

    def _node_left(self, node: int, why: str) -> None:
        lots = self._state.attempts.of_node(node)
        name = self._state.members[node].name
        self._dispatch.close(self._state.attempts.judge_close(lots, lost=why != "left"), name)
        self._scribe.write([Left(node, why)])
        self._dispatch.coordinator.leave(node)
        self.awaited.pop(node, None)
        self._scribe.publish("node left", node=name, why=why)
        self._release_old()

    # --- Pipeliners, and both ----------------------------------------------------------

    def join_pipeliner(self, address: bytes, message: JoinPipeliner, now: float) -> None:
        if not self._desk.fresh(message.incarnation, message.hello):
            return
        old = self._desk.by_name("pipeliner", message.name)
        orphans: Iterable[RunRecord] = [] if old is None else self._planning.gone(old)
        if old is not None:
            self._desk.dismiss(old)
        peer = self._desk.admit(
            address, "pipeliner", message.name, message.incarnation, message.hello, now
        )
        peer.version = message.version[:VERSION_CHARACTERS_MAX]
        self._welcome(peer, message.incarnation, message.hello, [])
        self._scribe.say("info", f"Pipeliner {message.name} joined.")
        self._planning.assign(orphans)

    def _welcome(self, peer: Peer, incarnation: str, hello: int, drop: list[int]) -> None:
        state = self._state
        welcome = Welcome(
            incarnation, hello, peer.link.session, state.cluster, state.epoch, state.lsn,
            tuple(drop),
        )  # fmt: skip
        peer.welcome_lsn = state.lsn
        self._scribe.answer(peer.address, welcome)

    def lost(self, peer: Peer, why: str) -> None:
        """The lease of *peer* is over, or it said goodbye."""
        self._desk.dismiss(peer)
        self._scribe.say("warning", f"{peer.role} {peer.name} is gone ({why}).")
        if peer.role == "broker":
            self._node_left(peer.node, why)
        else:
            self._planning.assign(self._planning.gone(peer))


def _declared(packed: Iterable[bytes]) -> Iterator[Kind]:
    """What can be read and makes sense."""
    for one in packed:
        try:
            kind = unpack_record(Kind, one, FRAME_BYTES_MAX)
        except BadMessage:
            continue
        if kind.sane:
            yield kind
