"""The order of jobs as plain integers.

Jobs of a graph are 0 .. n-1, numbered so that every upstream has a smaller number than
what follows it: a cycle cannot even be written down on the wire. Upstreams stand in two
arrays (offsets, targets), 4 bytes an edge and 4 a job.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from pypelinin.errors import Cycle, DefinitionError
from pypelinin.machine import record

Node = TypeVar("Node", bound=Hashable)

JOBS_MAX = 1_000_000


@record
class Graph:
    """*upstreams[offsets[j]:offsets[j+1]]* are the jobs that job *j* waits for."""

    offsets: array[int]
    upstreams: array[int]

    @property
    def jobs(self) -> int:
        return len(self.offsets) - 1

    def upstreams_of(self, job: int) -> array[int]:
        return self.upstreams[self.offsets[job] : self.offsets[job + 1]]

    def check(self, first: int = 0) -> None:
        """Raise DefinitionError unless every upstream is an earlier job, named once.

        *first* is the number of the first job, if this is a later part of a graph.
        """
        if not self.offsets or self.offsets[0] != 0 or self.offsets[-1] != len(self.upstreams):
            raise DefinitionError("The offsets of the graph do not fit its edges.")
        for job in range(self.jobs):
            low, high = self.offsets[job], self.offsets[job + 1]
            if high < low:
                raise DefinitionError(f"The offsets of the graph fall at job {job}.")
            named = self.upstreams[low:high]
            if named and max(named) >= first + job:
                raise DefinitionError(f"Job {first + job} waits for a job that is not before it.")
            if len(named) > 1 and len(set(named)) != len(named):
                raise DefinitionError(f"Job {first + job} names an upstream twice.")


def check_size(jobs: int) -> None:
    """Raise DefinitionError for more jobs than a pipeline may have."""
    if jobs > JOBS_MAX:
        raise DefinitionError(
            f"{jobs:,} jobs are more than the {JOBS_MAX:,} of one pipeline.",
            remedy="Split it into several pipelines.",
        )


def order(nodes: Sequence[Node], edges: Iterable[tuple[Node, Node]]) -> tuple[list[Node], Graph]:
    """Number *nodes* in a topological order that keeps theirs where it can.

    *edges* are (upstream, downstream); doubles count once. Raises Cycle with the path.
    """
    index = {node: i for i, node in enumerate(nodes)}
    upstreams: list[list[int]] = [[] for _ in nodes]
    downstreams: list[list[int]] = [[] for _ in nodes]
    for upstream, downstream in dict.fromkeys(edges):
        up, down = index[upstream], index[downstream]
        upstreams[down].append(up)
        downstreams[up].append(down)
    missing = [len(ups) for ups in upstreams]
    ready = [i for i, count in enumerate(missing) if not count]
    sequence: list[int] = []
    for i in ready:  # grows while it is walked
        sequence.append(i)
        for down in downstreams[i]:
            missing[down] -= 1
            if not missing[down]:
                ready.append(down)
    if len(sequence) < len(nodes):
        path = [nodes[i] for i in _cycle(upstreams, missing)]
        raise Cycle(
            "The jobs form a cycle: " + " -> ".join(_text(node) for node in path) + ".",
            remedy="Remove one of these edges; a pipeline is a directed acyclic graph.",
        )
    number = [0] * len(nodes)
    for position, i in enumerate(sequence):
        number[i] = position
    offsets, targets = array("I", [0]), array("I")
    for i in sequence:
        targets.extend(sorted(number[up] for up in upstreams[i]))
        offsets.append(len(targets))
    return [nodes[i] for i in sequence], Graph(offsets, targets)


def _text(node: object) -> str:
    return str(getattr(node, "name", node))


def _cycle(upstreams: Sequence[Sequence[int]], missing: Sequence[int]) -> list[int]:
    """One cycle among the nodes that are still missing something, first node repeated."""
    seen: dict[int, int] = {}
    path: list[int] = []
    node = next(i for i, count in enumerate(missing) if count)
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = next(up for up in upstreams[node] if missing[up])
    circle = path[seen[node] :]
    circle.reverse()  # walked against the edges
    return [*circle, circle[0]]
