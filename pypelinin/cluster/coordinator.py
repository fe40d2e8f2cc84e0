"""Who gets: matches queued classes with nodes that have room.

A node says how many lots it wants at once and how many more ahead of its slots; only jobs
measured short there go ahead. Classes of a priority take turns. While a class that is not
short waits for a node, nothing goes ahead there, or short jobs would keep it out for ever.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pypelinin.cluster.queues import ClassKey, JobClass, Queues
from pypelinin.cluster.refusals import no_such_labels, unknown_worker
from pypelinin.wire.definitions import Kind, Refusal, offered

SLOTS_MAX = 10_000
LOT_BYTES_MAX = 1024 * 1024
"""Payloads of one lot; they are one frame."""


@dataclass(slots=True)
class Node:
    """A joined Broker as the coordinator sees it; *lots* are those it has now."""

    number: int
    name: str
    incarnation: str
    workers: frozenset[str]
    labels: dict[str, str]
    slots: int = 0
    ahead: int = 0
    pace: dict[str, int] = field(default_factory=dict)
    lots: int = 0

    def offer(self, slots: int, ahead: int, pace: dict[str, int], lot_jobs_max: int) -> None:
        """What the Broker wants to hold from now on, within sane bounds."""
        self.slots = min(max(slots, 0), SLOTS_MAX)
        self.ahead = min(max(ahead, 0), SLOTS_MAX)
        self.pace = {w: min(max(jobs, 1), lot_jobs_max) for w, jobs in pace.items()}

    def fits(self, worker: str, labels: dict[str, str]) -> bool:
        if offered(worker) not in self.workers:
            return False
        return not labels or all(self.labels.get(key) == labels[key] for key in labels)


class Placed(NamedTuple):
    """A lot for *node*; *room* jobs more may follow these in it."""

    node: Node
    waiting: JobClass
    runs: array[int]
    jobs: array[int]
    room: int


@dataclass(slots=True)
class Coordinator:
    """The nodes by number; hands out nothing itself, says what should go where."""

    nodes: dict[int, Node] = field(default_factory=dict)

    def refusal(self, kind: Kind) -> Refusal | None:
        """Why no known node could ever run *kind*; None if one can or none is known."""
        for node in self.nodes.values():
            if node.fits(kind.worker, kind.labels):
                return None
        nodes = list(self.nodes.values())
        if not nodes:
            return None
        if not any(offered(kind.worker) in node.workers for node in nodes):
            return unknown_worker(kind.worker, sorted({w for node in nodes for w in node.workers}))
        table = [
            f"{node.name} ({', '.join(f'{k}={v}' for k, v in node.labels.items()) or 'no labels'})"
            for node in nodes
        ]
        return no_such_labels(kind.worker, kind.labels, table)

    def reason(self, kind: Kind) -> str:
        """Why a queued job of *kind* is not running yet, for people."""
        if not self.nodes:
            return "no broker connected"
        if not any(node.fits(kind.worker, kind.labels) for node in self.nodes.values()):
            return f"no broker offers {kind.worker}"
        return "all slots are busy"

    def place(self, queues: Queues) -> Iterator[Placed]:
        """Lots to hand out now; counts them at the nodes."""
        keys = list(queues.classes)
        while keys:
            key = keys[0]
            if len(keys) > 1:
                key = min(keys, key=lambda k: (k[0], queues.classes[k].served))
            waiting = queues.classes[key]
            node = self._best(waiting, queues)
            if node is None:
                keys.remove(key)
                continue
            node.lots += 1
            most = min(node.pace.get(waiting.worker, 1), max(1, LOT_BYTES_MAX // waiting.widest))
            runs, jobs = queues.take(key, self._share(waiting, most))
            if key not in queues.classes:
                keys.remove(key)
            yield Placed(node, waiting, runs, jobs, most - len(jobs))

    def _best(self, waiting: JobClass, queues: Queues) -> Node | None:
        """The fitting node with the most free slots that has room; the oldest if equal."""
        best: Node | None = None
        for node in self._fitting(waiting):
            if best is not None and node.slots - node.lots <= best.slots - best.lots:
                continue
            if node.lots < node.slots or (
                node.lots < node.slots + node.ahead
                and waiting.worker in node.pace
                and not self._long_waits(node, queues.classes)
            ):
                best = node
        return best

    def _fitting(self, waiting: JobClass) -> Iterable[Node]:
        return (node for node in self.nodes.values() if node.fits(waiting.worker, waiting.labels))

    def _long_waits(self, node: Node, classes: dict[ClassKey, JobClass]) -> bool:
        return any(
            other.worker not in node.pace and node.fits(other.worker, other.labels)
            for other in classes.values()
        )

    def _share(self, waiting: JobClass, most: int) -> int:
        """Queued jobs for one lot: at most so many, but some are left for every free slot."""
        if most == 1 or waiting.count == 1:
            return 1
        rooms = sum(
            max(0, other.slots + other.ahead - other.lots) for other in self._fitting(waiting)
        )
        return min(most, -(-waiting.count // (rooms + 1)))

    def check(self) -> None:
        for node in self.nodes.values():
            assert node.lots >= 0
