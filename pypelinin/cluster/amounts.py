"""What jobs take of a node: cores, memory, resources, and whether they fit.

A job that says nothing of memory counts with the node's memory per core; one that wants more
than that displaces cores, as there is no memory left for jobs on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pypelinin.graph.needs import ALL_CORES, WHOLE_NODE
from pypelinin.units import format_bytes
from pypelinin.wire.definitions import Capacity, Terms


@dataclass(slots=True)
class Amount:
    """So much of a node; what is left of one may be less than nothing."""

    cores: int = 0
    memory: int = 0
    resources: dict[str, int] = field(default_factory=dict)

    def add(self, other: Amount, sign: int = 1) -> None:
        self.cores += sign * other.cores
        self.memory += sign * other.memory
        if other.resources:
            for name, count in other.resources.items():
                self.resources[name] = self.resources.get(name, 0) + sign * count

    def holds(self, need: Amount) -> bool:
        if need.cores > self.cores or need.memory > self.memory:
            return False
        return not need.resources or all(
            self.resources.get(name, 0) >= n for name, n in need.resources.items()
        )


def per_core(capacity: Capacity) -> int:
    """The memory that one core of the node has."""
    return capacity.memory // capacity.cores if capacity.cores else 0


def need_on(terms: Terms | None, node: Capacity, offer: Capacity) -> Amount | None:
    """What a job takes of a node that offers so much now; None if it could never run there.

    A node that does not know its memory counts none.
    """
    if terms is None:
        return Amount(1, per_core(node)) if node.cores else None
    cores, memory = terms.cores, terms.memory if node.memory else 0
    if cores == WHOLE_NODE:
        cores = node.cores
    elif cores == ALL_CORES:
        cores = max(1, min(node.cores, offer.cores) - 1)
    if not node.cores or cores > node.cores or memory > node.memory:
        return None
    if any(node.resources.get(name, 0) < count for name, count in terms.resources.items()):
        return None
    if terms.cores == WHOLE_NODE:
        memory = node.memory
    return Amount(cores, memory or cores * per_core(node), terms.resources)


def left_of(offer: Capacity, used: Iterable[Amount]) -> Amount:
    """What is still to give of *offer*."""
    left = Amount(offer.cores, offer.memory, dict(offer.resources))
    for amount in used:
        left.add(amount, -1)
    return left


def weight(need: Amount, node: Capacity) -> int:
    """The cores that nobody else can use while *need* is granted."""
    share = per_core(node)
    return max(need.cores, -(-need.memory // share) if share else 0)


def capacity_text(capacity: Capacity) -> str:
    """For people: "4 cores, 16.0 GB, 2 gpu"."""
    parts = [counted(capacity.cores, "core")]
    if capacity.memory:
        parts.append(format_bytes(capacity.memory))
    return ", ".join([*parts, *resources_text(capacity.resources)])


def terms_text(terms: Terms | None) -> str:
    """For people: "all cores but one, 2.00 GB, 1 gpu"."""
    if terms is None:
        return "1 core"
    special = {ALL_CORES: "all cores but one", WHOLE_NODE: "the whole node"}
    parts = [special.get(terms.cores) or counted(terms.cores, "core")]
    if terms.memory:
        parts.append(format_bytes(terms.memory))
    return ", ".join([*parts, *resources_text(terms.resources)])


def resources_text(resources: Mapping[str, int]) -> list[str]:
    return [f"{count} {name}" for name, count in sorted(resources.items())]


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
