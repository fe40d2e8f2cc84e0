"""Who gets: matches queued classes with nodes that have room.

A node says how much it offers, and how many cores more ahead of that; only jobs measured short
there go ahead. The highest priority goes first, then the submitter who has the least of the
cluster, then the class that was not served for longest; a lot goes to the node that has most of
what its first job reads, of equal ones to where the least stays free. A class that could not be
placed for a while has a node kept free for it, and while one that is not short waits for a node
nothing goes ahead there, or small jobs would keep it out for ever.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pypelinin.cluster.amounts import (
    Amount,
    capacity_text,
    left_of,
    need_on,
    terms_text,
    weight,
)
from pypelinin.cluster.queues import ClassKey, JobClass, Queues
from pypelinin.cluster.refusals import no_such_labels, too_large, unknown_worker
from pypelinin.wire.definitions import Capacity, Kind, Refusal, Terms, offered

CORES_MAX = 1_000_000
AHEAD_MAX = 10_000
MEMORY_MAX = 2**60
LOT_BYTES_MAX = 1024 * 1024
"""Payloads of one lot; they are one frame."""
RESERVE_AFTER_S = 2.0
"""A class that could not be placed for so long has a node kept free for it."""
NOTHING = Capacity(0)
Near = Callable[[int, int], Counter[int]]
"""How many bytes of what a job (run, job) reads each node has."""
NO_BYTES: Counter[int] = Counter()


class Held(NamedTuple):
    """What a lot takes of its node, and of the cluster for whom."""

    need: Amount
    submitter: str
    weight: int


@dataclass(slots=True)
class Node:
    """A joined Broker as the coordinator sees it; *held* are the lots it has now, by fence."""

    number: int
    name: str
    incarnation: str
    workers: frozenset[str]
    labels: dict[str, str]
    capacity: Capacity = NOTHING
    offered: Capacity = NOTHING
    ahead: int = 0
    at_once: int = -1
    """How many cores of the offer others on that machine do not have now; -1: all."""
    draining: str = ""
    """Why it says that it takes nothing new."""
    ordered: str = ""
    """Why it shall not."""
    pace: dict[str, int] = field(default_factory=dict)
    left: Amount = field(default_factory=Amount)
    """What of the offer no lot has; below nothing while lots are ahead."""
    held: dict[int, Held] = field(default_factory=dict)
    reserved: ClassKey | None = None
    """The class that this node is kept free for."""
    plain: Amount | None = None
    """What a job takes that asks for nothing special."""

    def offer(self, offer: Capacity, ahead: int, pace: dict[str, int], lot_jobs_max: int) -> None:
        """What the Broker wants to hold from now on, within what it has."""
        self.offered = _within(offer, self.capacity)
        self.plain = need_on(None, self.capacity, self.offered)
        self.ahead = min(max(ahead, 0), AHEAD_MAX)
        self.pace = {w: min(max(jobs, 1), lot_jobs_max) for w, jobs in pace.items()}
        self.left = left_of(self.offered, (held.need for held in self.held.values()))

    def need(self, terms: Terms | None) -> Amount | None:
        return self.plain if terms is None else need_on(terms, self.capacity, self.offered)

    def fits(self, worker: str, labels: dict[str, str], terms: Terms | None) -> bool:
        """Whether such jobs could run here if nothing else did."""
        if offered(worker) not in self.workers:
            return False
        if labels and any(self.labels.get(key) != labels[key] for key in labels):
            return False
        return self.need(terms) is not None

    @property
    def closed(self) -> str:
        """Why it gets nothing new; empty if it does."""
        return self.draining or self.ordered

    @property
    def free(self) -> Capacity:
        """What of the offer is left, for people."""
        left = self.left
        resources = {name: max(0, count) for name, count in left.resources.items()}
        return Capacity(max(0, left.cores), max(0, left.memory), resources)

    def offers(self, terms: Terms | None) -> bool:
        need = self.need(terms)
        return need is not None and self.left.holds(need)

    def is_late(self, terms: Terms | None) -> bool:
        """Whether others on that machine must give something up before such jobs can begin."""
        if self.at_once < 0:
            return False
        need = self.need(terms)
        left = self.left.cores - max(0, self.offered.cores - self.at_once)
        return need is None or need.cores > left

    def has_room(self, terms: Terms | None) -> bool:
        """Whether it offers so much, or has nothing of ours and may ask others there for more."""
        if self.offers(terms):
            return True
        empty = self.left.cores >= self.offered.cores > 0
        return empty and not self.closed and self.need(terms) is not None


class Placed(NamedTuple):
    """A lot for *node*; *room* jobs more may follow these in it."""

    node: Node
    waiting: JobClass
    held: Held
    runs: array[int]
    jobs: array[int]
    room: int


@dataclass(slots=True)
class Coordinator:
    """The nodes by number; hands out nothing itself, says what should go where."""

    nodes: dict[int, Node] = field(default_factory=dict)
    usage: Counter[str] = field(default_factory=Counter)
    """What each submitter has now, in cores."""

    # --- nodes and what they hold ------------------------------------------------------

    def join(self, node: Node, lots: Iterable[tuple[int, Terms | None, str]]) -> None:
        """*node* is here, with these lots (fence, terms, submitter)."""
        self.leave(node.number)
        self.nodes[node.number] = node
        for fence, terms, submitter in lots:
            need = node.need(terms) or Amount()
            self.hold(node, fence, Held(need, submitter, weight(need, node.capacity)))
            self._take(node, node.held[fence])

    def leave(self, number: int) -> None:
        node = self.nodes.pop(number, None)
        if node is not None:
            for fence in list(node.held):
                self._free(node, fence)

    def hold(self, node: Node, fence: int, held: Held) -> None:
        """What was placed on *node* goes there as the lot *fence*."""
        node.held[fence] = held

    def free(self, number: int, fence: int) -> None:
        """A node has the lot *fence* no more."""
        node = self.nodes.get(number)
        if node is not None and fence in node.held:
            self._free(node, fence)

    def _take(self, node: Node, held: Held) -> None:
        node.left.add(held.need, -1)
        self.usage[held.submitter] += held.weight

    def _free(self, node: Node, fence: int) -> None:
        held = node.held.pop(fence)
        node.left.add(held.need)
        self.usage[held.submitter] -= held.weight
        if not self.usage[held.submitter]:
            del self.usage[held.submitter]

    # --- why not -----------------------------------------------------------------------

    def refusal(self, kind: Kind) -> Refusal | None:
        """Why no known node could ever run *kind*; None if one can or none is known."""
        nodes = list(self.nodes.values())
        if not nodes:
            return None
        if not any(offered(kind.worker) in node.workers for node in nodes):
            return unknown_worker(kind.worker, sorted({w for node in nodes for w in node.workers}))
        willing = [node for node in nodes if node.fits(kind.worker, kind.labels, None)]
        if not willing:
            table = [f"{node.name} ({_labels_text(node)})" for node in nodes]
            return no_such_labels(kind.worker, kind.labels, table)
        most = kind.terms_after(len(kind.more_memory))
        if any(node.need(most) for node in willing):
            return None
        table = [f"{node.name} ({capacity_text(node.capacity)})" for node in willing]
        return too_large(kind.worker, terms_text(most), table)

    def reason(self, kind: Kind, memory_kills: int = 0) -> str:
        """Why a queued job of *kind* is not running yet, for people."""
        terms = kind.terms_after(memory_kills)
        if not self.nodes:
            return "no broker connected"
        willing = [n for n in self.nodes.values() if n.fits(kind.worker, kind.labels, None)]
        if not willing:
            wanted = ", ".join(f"{key}={value}" for key, value in kind.labels.items())
            return f"no broker offers {kind.worker}" + (f" with {wanted}" if wanted else "")
        fitting = [node for node in willing if node.need(terms) is not None]
        if not fitting:
            return f"no connected node could run it: it needs {terms_text(terms)}"
        if all(node.closed for node in fitting):
            names = "; ".join(f"{node.name}: {node.closed}" for node in fitting[:10])
            return f"all nodes that could run it are draining ({names})"
        if not any(node.offered.cores for node in fitting):
            return "other clusters or runs use all cores of the nodes that could run it"
        if terms is None:
            return "all slots are busy"
        free = "; ".join(f"{node.name} {capacity_text(node.free)}" for node in fitting[:10])
        kept = [node.name for node in fitting if node.reserved is not None]
        waits = f" (kept free for a job that waits longer: {', '.join(kept)})" if kept else ""
        return f"it needs {terms_text(terms)}; free now: {free}{waits}"

    # --- who gets ----------------------------------------------------------------------

    def place(self, queues: Queues, now: float, near: Near | None = None) -> Iterator[Placed]:
        """Lots to hand out now; counts them at the nodes."""
        classes = queues.classes
        for known in self.nodes.values():
            if known.closed or known.reserved not in classes:
                known.reserved = None
        keys = list(classes)
        while keys:
            key = keys[0]
            if len(keys) > 1:
                key = min(keys, key=lambda k: self._rank(k, classes[k]))
            waiting = classes[key]
            submitter = self._next(waiting)
            node = self._best(key, waiting, queues, submitter, near)
            if node is None:
                keys.remove(key)
                self._reserve(key, waiting, now)
                continue
            need = node.need(waiting.terms)
            assert need is not None
            plain = waiting.terms is None
            held = Held(need, submitter, 1 if plain else weight(need, node.capacity))
            self._take(node, held)
            node.reserved = None if node.reserved == key else node.reserved
            waiting.since = -1.0
            most = min(node.pace.get(waiting.worker, 1), max(1, LOT_BYTES_MAX // waiting.widest))
            if waiting.terms is not None and waiting.terms.isolate:
                most = 1
            runs, jobs = queues.take(key, submitter, self._share(waiting, most))
            if key not in classes:
                keys.remove(key)
            yield Placed(node, waiting, held, runs, jobs, most - len(jobs))

    def _rank(self, key: ClassKey, waiting: JobClass) -> tuple[int, int, int]:
        """The highest priority, the submitter with the least, the class not served for longest."""
        return key[0], min(self.usage[s] for s in waiting.lines), waiting.served

    def _next(self, waiting: JobClass) -> str:
        """Who of those that wait in this class has the least; of equals whose turn it is."""
        if len(waiting.lines) == 1:
            return next(iter(waiting.lines))
        return min(waiting.lines, key=lambda submitter: self.usage[submitter])

    def _best(
        self, key: ClassKey, waiting: JobClass, queues: Queues, submitter: str, near: Near | None
    ) -> Node | None:
        """The fitting node that has most of what is read, of equal ones where the least stays
        free; else one where it may go ahead."""
        open_nodes = [
            node
            for node in self._fitting(waiting)
            if not node.closed and not self._is_kept(node, key)
        ]
        free = [node for node in open_nodes if node.has_room(waiting.terms)]
        has = near(*waiting.first(submitter)) if near is not None and len(free) > 1 else NO_BYTES
        best = min(
            free,
            key=lambda n: (
                n.is_late(waiting.terms),
                -has[n.number],
                not n.offers(waiting.terms),
                n.left.cores,
            ),
            default=None,
        )
        if best is None:
            ahead = (node for node in open_nodes if self._may_go_ahead(node, waiting, queues))
            best = max(ahead, key=lambda node: node.left.cores, default=None)
        return best

    def _is_kept(self, node: Node, key: ClassKey) -> bool:
        """Whether the node is kept free for another class that is as urgent."""
        return node.reserved is not None and node.reserved != key and node.reserved[0] <= key[0]

    def _may_go_ahead(self, node: Node, waiting: JobClass, queues: Queues) -> bool:
        return (
            waiting.terms is None
            and node.left.cores + node.ahead > 0
            and waiting.worker in node.pace
            and node.reserved is None
            and not self._long_waits(node, queues.classes)
        )

    def _fitting(self, waiting: JobClass) -> Iterable[Node]:
        fitting = [
            node
            for node in self.nodes.values()
            if node.fits(waiting.worker, waiting.labels, waiting.terms)
        ]
        if waiting.avoid:
            others = [node for node in fitting if node.name != waiting.avoid and not node.closed]
            return others or fitting
        return fitting

    def _long_waits(self, node: Node, classes: dict[ClassKey, JobClass]) -> bool:
        return any(
            (other.worker not in node.pace or other.terms is not None)
            and node.fits(other.worker, other.labels, other.terms)
            for other in classes.values()
        )

    def _reserve(self, key: ClassKey, waiting: JobClass, now: float) -> None:
        """Keep a node free for a class that could not be placed for a while."""
        if waiting.since < 0:
            waiting.since = now
        if now - waiting.since < RESERVE_AFTER_S:
            return
        fitting = list(self._fitting(waiting))
        if any(node.reserved == key for node in fitting):
            return
        free = (n for n in fitting if not n.closed and (not n.reserved or n.reserved[0] > key[0]))
        best = max(free, key=lambda node: node.left.cores, default=None)
        if best is not None:
            best.reserved = key

    def _share(self, waiting: JobClass, most: int) -> int:
        """Queued jobs for one lot: at most so many, but some are left for every free slot."""
        if most == 1 or waiting.count == 1:
            return 1
        cores = 1 if waiting.terms is None else max(1, waiting.terms.cores)
        rooms = sum(
            max(0, other.left.cores + other.ahead) // cores for other in self._fitting(waiting)
        )
        return min(most, -(-waiting.count // (rooms + 1)))

    def check(self) -> None:
        usage: Counter[str] = Counter()
        for node in self.nodes.values():
            left = left_of(node.offered, (held.need for held in node.held.values()))
            assert left == node.left
            for held in node.held.values():
                usage[held.submitter] += held.weight
        assert usage == self.usage, (usage, self.usage)


def _within(offer: Capacity, capacity: Capacity) -> Capacity:
    return Capacity(
        min(max(offer.cores, 0), capacity.cores),
        min(max(offer.memory, 0), capacity.memory),
        {n: min(max(offer.resources.get(n, 0), 0), c) for n, c in capacity.resources.items()},
    )


def sane(capacity: Capacity) -> Capacity:
    """What a node says that it has, within bounds."""
    most = Capacity(CORES_MAX, MEMORY_MAX, dict.fromkeys(capacity.resources, CORES_MAX))
    return _within(capacity, most)


def _labels_text(node: Node) -> str:
    return ", ".join(f"{key}={value}" for key, value in node.labels.items()) or "no labels"
