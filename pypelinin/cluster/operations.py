"""What people do to a cluster that runs: drain nodes, pause runs, begin them again.

A node on which the slots of several different jobs died in a row is drained by the Router itself,
unless it is the last one that takes jobs.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from pypelinin.cluster.coordinator import Node
from pypelinin.cluster.desk import Desk
from pypelinin.cluster.dispatch import Dispatch
from pypelinin.cluster.planning import Planning
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import no_such_node, refuse
from pypelinin.cluster.retrying import judge_retry
from pypelinin.cluster.scribe import Scribe
from pypelinin.wire.codec import unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Header, Kind, Refusal
from pypelinin.wire.messages import DrainNodes, PauseRuns, RetryRun, SetDraining
from pypelinin.wire.rows import PausedRuns


class Operations:
    def __init__(self, scribe: Scribe, desk: Desk, dispatch: Dispatch, planning: Planning) -> None:
        self._scribe = scribe
        self._state = scribe.state
        self._desk = desk
        self._dispatch = dispatch
        self._planning = planning

    def drain(self, message: DrainNodes) -> Refusal | None:
        """All of these nodes or, if one is not known, none."""
        nodes = {node.name: node for node in self._dispatch.coordinator.nodes.values()}
        for name in message.nodes:
            if name not in nodes:
                return no_such_node(name, sorted(nodes))
        for name in message.nodes:
            self._set(nodes[name], message.why[:1000])
        return None

    def _set(self, node: Node, why: str) -> None:
        node.ordered = why
        peer = self._desk.by_name("broker", node.name)
        if peer is not None:
            self._desk.tell(peer, SetDraining(why))
        text = f"Node {node.name} is draining: {why}." if why else f"Node {node.name} takes jobs."
        self._scribe.say("warning" if why else "info", text)
        self._scribe.publish("node draining" if why else "node open", node=node.name, why=why)

    def drain_suspects(self) -> None:
        """Nodes where the slots of too many different jobs died, one after the other."""
        coordinator = self._dispatch.coordinator
        for number, count in self._dispatch.take_suspects():
            node = coordinator.nodes.get(number)
            if node is None or node.closed:
                continue
            text = f"the slots of {count} different jobs died here one after the other"
            if any(not other.closed for other in coordinator.nodes.values() if other is not node):
                self._set(node, text)
            else:
                self._scribe.say("warning", f"{node.name}: {text}; no other node takes jobs.")

    def pause(self, message: PauseRuns) -> list[RunRecord]:
        """Returns the runs that are known; what runs of them goes on."""
        runs = self._state.runs.named(message.runs)
        fresh = [run for run in runs if run.open and run.paused != message.paused]
        if fresh:
            numbers = array("I", [run.number for run in fresh])
            self._scribe.write([PausedRuns(numbers, message.paused)])
            self._dispatch.pause(fresh) if message.paused else self._dispatch.resume(fresh)
        return runs

    def retry(
        self, message: RetryRun, wall: float, fits: Callable[[Kind], Refusal | None] | None
    ) -> Refusal | RunRecord:
        """The new run, or why there is none; the same one if asked twice.

        *fits* says why no node could ever run a kind; None while it is not known which there are.
        """
        runs = self._state.runs
        source = runs.get(message.run)
        if source is None or not source.complete:
            return refuse("not found", f"There is no run {message.run[:64]}.")
        known = runs.get(message.new)
        if known is not None and known.retry_of == source.id:
            return known
        if known is not None:
            return refuse("conflict", f"There is a run {message.new} already.")
        row = judge_retry(source, message, runs.next_number, wall)
        if isinstance(row, Refusal):
            return row
        header = unpack_record(Header, row.header, FRAME_BYTES_MAX)
        for kind in header.kinds if message.memory and fits is not None else ():
            assert fits is not None
            refusal = fits(kind)
            if refusal is not None and refusal.code == "impossible":
                return refusal
        self._scribe.write([row])
        run = runs.by_number[row.number]
        self._planning.assign([run])
        return run
