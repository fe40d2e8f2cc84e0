"""A stream as jobs of an engine: which portion waits for which, and what is to be done now.

All jobs are TOKENs. The *source* is a job that brings the next chunk and the next source. What a
chunk leaves behind comes in as its expansion: chunks, and *closings* of what is suspended, which
read what their children gave. A first segment that ends in a reduce is merged in groups of 64
chunks, 64 groups of these, and at the end all of them. No clock, no process, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from pypelinin.engine import frozen
from pypelinin.engine.run import Run
from pypelinin.engine.table import FAILED
from pypelinin.errors import DefinitionError
from pypelinin.graph.declared import TOKEN, Declared, Expansion, Input
from pypelinin.streams.inside.portions import Chunk, Part, Report, Suspended
from pypelinin.streams.inside.program import Program

GROUP = 64
"""Parts that are merged at once."""
SOURCE = 0
"""The first job of a stream."""


class Merging(NamedTuple):
    """One part out of those of many chunks."""

    segment: int
    here: bool


class Closing(NamedTuple):
    """Go on with what was suspended, when its children are through."""

    state: bytes
    here: bool


Portion = Chunk | Merging | Closing


class Source(NamedTuple):
    """Give the next chunk, or say that there is none."""


class Tokens:
    """The jobs of a stream, and what each of them is."""

    def __init__(self, program: Program, root: bytes) -> None:
        """*root* is the state in which the first segment's reduce ends, if it has one."""
        self._portions: dict[int, Portion | Source] = {SOURCE: Source()}
        self._readers: dict[int, int] = {}
        """By job, who reads what it gives; if nobody does, it comes out of the stream."""
        self._parts: dict[int, Part] = {}
        self._reduce = program.segments[0].reduce
        self._group = [0, 0, 0, 0]
        """Of the open group: its job and its chunks; of the groups: the job and how many."""
        self._run = Run(self._first(root), closed=True)

    def _first(self, root: bytes) -> list[Declared]:
        jobs = [Declared(TOKEN)]
        if self._reduce is not None:
            jobs += [Declared(TOKEN, [Input(i)]) for i in range(3)]
            merging = Merging(0, self._reduce.here)
            self._portions.update({1: merging, 2: merging, 3: Closing(root, self._reduce.here)})
            self._readers.update({1: 2, 2: 3})
            self._group = [1, 0, 2, 1]
        return jobs

    @property
    def over(self) -> bool:
        return self._run.over

    @property
    def alive(self) -> int:
        """Jobs that there are."""
        return len(self._portions)

    def ready(self) -> list[int]:
        """What may begin since this was asked last; the newest first."""
        commands = self._run.take()
        for number, _ in commands.release:
            self._parts.pop(number, None)
        return commands.run

    def portion(self, number: int) -> Portion | Source:
        return self._portions[number]

    def parts(self, number: int) -> list[Part]:
        """What the job reads, in order."""
        inputs = [up.number for up, _, _ in self._run.jobs[number].inputs]
        return [self._parts[one] for one in inputs if one in self._parts]

    def source_of(self, chunk: Chunk | None, source: int) -> int | None:
        """The job *source* gave *chunk*, or nothing more; the number of the chunk's job."""
        del self._portions[source]
        if chunk is None:
            self._run.done(source)
            return None
        base = self._run.next_number
        self._portions[base], self._portions[base + 1] = chunk, Source()
        expansion = Expansion([Declared(TOKEN), Declared(TOKEN)])
        if self._reduce is not None:
            self._join(expansion, base)
        self._run.done(source, None, expansion)
        return base

    def _join(self, expansion: Expansion, chunk: int) -> None:
        """Let the chunk's part, and all that come after it, be merged."""
        merging, in_group, groups_job, groups = self._group
        if in_group < GROUP:
            expansion.inputs += [(merging, Input(-1)), (merging, Input(-2))]
            self._group[1] += 1
            self._readers[chunk] = merging
            return
        assert self._reduce is not None
        new = chunk + 2
        self._portions[new] = Merging(0, self._reduce.here)
        self._readers[chunk] = new
        expansion.jobs.append(Declared(TOKEN, [Input(-1), Input(-2)]))
        if groups < GROUP:
            expansion.inputs.append((groups_job, Input(-3)))
            self._readers[new] = groups_job
            self._group = [new, 1, groups_job, groups + 1]
            return
        self._portions[new + 1] = Merging(0, self._reduce.here)
        expansion.jobs.append(Declared(TOKEN, [Input(-3)]))
        expansion.inputs.append((3, Input(-4)))
        self._readers[new], self._readers[new + 1] = new + 1, 3
        self._group = [new, 1, new + 1, 1]

    def comes_out(self, number: int) -> bool:
        """Whether what the job gives comes out of the stream."""
        return number not in self._readers

    def report(self, number: int, report: Report) -> list[int] | None:
        """What became of a portion; if it comes out of the stream, the jobs of its children."""
        del self._portions[number]
        reader = self._readers.pop(number, None)
        jobs: list[Declared] = []
        children = [self._declared(child, jobs, reader) for child in report.children]
        edges = [] if reader is None else [(reader, Input(child)) for child in children]
        if reader is not None and report.part is not None:
            self._parts[number] = report.part
        base = self._run.next_number
        self._run.done(number, None, Expansion(jobs, edges) if jobs else None)
        entry = self._run.jobs.get(number)
        if entry is not None and entry.state == FAILED:
            raise DefinitionError(f"The stream cannot grow: {entry.cause}.")
        return [base - 1 - child for child in children] if reader is None else None

    def _declared(self, child: Chunk | Suspended, jobs: list[Declared], reader: int | None) -> int:
        """Declare *child* and all it waits for; its number in the expansion."""
        base = self._run.next_number
        below: list[int] = []
        portion: Portion = (
            Closing(child.state, child.here) if isinstance(child, Suspended) else child
        )
        if isinstance(child, Suspended):
            below = [self._declared(one, jobs, None) for one in child.children]
        mine = base + len(jobs)
        jobs.append(Declared(TOKEN, [Input(one) for one in below]))
        self._readers.update((base - 1 - one, mine) for one in below)
        self._portions[mine] = portion
        if reader is not None:
            self._readers[mine] = reader
        return -len(jobs)

    # --- kept ------------------------------------------------------------------------------------

    def freeze(self) -> bytes:
        """All of it; what was handed out is handed out again by who thaws it."""
        portions = {
            number: (type(portion).__name__, list(portion))
            for number, portion in self._portions.items()
        }
        packed: bytes = msgpack.packb(
            (frozen.freeze(self._run), portions, self._readers, self._parts, self._group)
        )
        return packed

    def thaw(self, packed: bytes, is_here: Callable[[Portion], bool]) -> None:
        """*is_here* says of a portion whether it is now for who runs the stream."""
        run, portions, readers, parts, group = msgpack.unpackb(
            packed, strict_map_key=False, use_list=True
        )
        kinds: dict[str, Any] = {kind.__name__: kind for kind in (Chunk, Merging, Closing, Source)}
        self._run = frozen.thaw(run)
        found = {number: kinds[name](*rest) for number, (name, rest) in portions.items()}
        self._portions = {
            number: one if isinstance(one, Source) else one._replace(here=is_here(one))
            for number, one in found.items()
        }
        self._readers = dict(readers)
        self._parts = {number: Part(*part) for number, part in parts.items()}
        self._group = list(group)
