"""Messages that are well formed and mean anything at all, or nearly what they should."""

from __future__ import annotations

import dataclasses
import types
import typing
from array import array
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

from pypelinin.cluster.state import State
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, Ints, Record, pack_record, unpack_record
from pypelinin.wire.definitions import Details, Failure, Header, Place, Structure
from pypelinin.wire.messages import AddPipeline, HeldLot, JobFailure
from tests.playbook.scene import submission

R = TypeVar("R", bound=Record)
SPECIAL = (0, 1, -1, 2, 3, 7, 255, 2**31, 2**40, 2**40 + 1, 2**41, 2**62, -(2**62))


class Nonsense:
    """Draws values for any annotation; *numbers* and *words* are what others know of."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.numbers: list[int] = list(SPECIAL)
        self.words: list[str] = ["", "A", "B", "node", "resident", "x" * 300]

    def record(self, cls: type[R]) -> R:
        hints = typing.get_type_hints(cls)
        return cls(*[self.value(hints[field.name]) for field in dataclasses.fields(cls)])

    def value(self, hint: Any) -> Any:
        random = self.random
        simple: dict[Any, Any] = {
            int: lambda: random.choice(self.numbers),
            str: lambda: random.choice(self.words),
            bytes: self.data,
            bool: lambda: random.random() < 0.5,
            float: lambda: random.choice((0.0, -1.0, 1e9, 1e300, 1.5)),
            object: lambda: None,
            Blobs: lambda: Blobs(self.data() for _ in range(random.randrange(5))),
            Ints: self.ints,
        }
        if hint in simple:
            return simple[hint]()
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            (inner,) = (a for a in arguments if a is not type(None))
            return None if random.random() < 0.5 else self.value(inner)
        if origin is tuple:
            return tuple(self.value(arguments[0]) for _ in range(random.randrange(4)))
        if origin is dict:
            key, value = arguments
            return {self.value(key): self.value(value) for _ in range(random.randrange(3))}
        return self.record(hint)

    def ints(self) -> array[int]:
        small = [number for number in self.numbers if 0 <= number < 2**32]
        return array("I", [self.random.choice(small) for _ in range(self.random.randrange(4))])

    def data(self) -> bytes:
        random = self.random
        kind = random.randrange(4)
        if kind == 0:
            return b""
        if kind == 1:
            return bytes(random.choice((1, 2, 3, 0, 255)) for _ in range(random.randrange(1, 5)))
        if kind == 2:
            return random.randbytes(random.randrange(20))
        return pack_record(self.record(random.choice((HeldLot, Header, Structure, Details))))

    # --- nearly right ------------------------------------------------------------------

    def inventory(self, state: State) -> Blobs:
        """Lots the Router knows, with something wrong about many of them."""
        random = self.random
        held: list[bytes] = []
        for lot in list(state.attempts.lots.values())[:4]:
            runs, jobs = lot.runs[:], lot.jobs[:]
            kind = random.randrange(10)
            if kind == 0:
                runs, jobs = runs[:-1], jobs[:-1]
            elif kind == 1:
                jobs = jobs[:-1]
            elif kind == 2:
                runs, jobs = runs + runs, jobs + jobs
            fence = lot.fence + random.choice((0, 0, 0, 1, -1, 2**41))
            basis = random.choice((1, 0, 2, state.epoch)), random.choice((0, 1, 5, 10**6))
            statuses = bytes(random.choice((1, 2, 1, 3)) for _ in range(random.randrange(4)))
            failure = JobFailure(random.choice(self.numbers), Failure("a", "b", "c"))
            packed = pack_record(HeldLot(fence, *basis, runs, jobs, statuses, (failure,)))
            held += [packed] * random.choice((1, 1, 2))
        return Blobs(held)

    def submission(self) -> AddPipeline:
        """A pipeline whose parts do not always fit together."""
        random = self.random
        jobs = [
            Job(random.choice("ABC"), name=str(i), data=random.choice((None, 1))) for i in range(4)
        ]
        whole = submission(
            Pipeline([(jobs[0], jobs[1]), (jobs[2], jobs[3])]), random.randrange(1, 9)
        )
        header = unpack_record(Header, whole.blobs[0])
        header = random.choice((
            header, header, header, header,
            replace(header, jobs=random.choice((0, 3, 5, 10**6, -1))),
            replace(header, kinds=header.kinds[:1]),
            replace(header, kinds=()),
        ))  # fmt: skip
        cuts = random.choice(([0, 4], [0, 2, 4], [0, 1, 4]))
        places, blobs = [], []
        for i, (begin, end) in enumerate(pairwise(cuts)):
            total = len(cuts) - 1
            index = i if random.random() < 0.9 else random.choice((-1, 2, 5, 10**9))
            places.append(
                Place(index, total if random.random() < 0.9 else random.choice((0, 1, 3)))
            )
            structure, details = self._part(whole, begin, end)
            blobs += [pack_record(header), pack_record(structure), pack_record(details)]
        return AddPipeline(1, True, True, tuple(places), Blobs(blobs))

    def _part(self, whole: AddPipeline, begin: int, end: int) -> tuple[Structure, Details]:
        random = self.random
        structure = unpack_record(Structure, whole.blobs[1])
        details = unpack_record(Details, whole.blobs[2])
        low, high = structure.offsets[begin], structure.offsets[end]
        offsets = array("I", [offset - low for offset in structure.offsets[begin : end + 1]])
        structure = Structure(begin, offsets, structure.upstreams[low:high])
        ends, payloads = array("I"), b""
        if details.ends:
            base = details.ends[begin - 1] if begin else 0
            ends = array("I", [position - base for position in details.ends[begin:end]])
            payloads = details.payloads[base : details.ends[end - 1]]
        details = Details(begin, details.kind_of[begin:end], ends, payloads)
        kind = random.randrange(10)
        if kind == 0:
            structure = replace(structure, first=random.choice((0, 1, 2**30, -1)))
        elif kind == 1:
            details = replace(details, kind_of=array("I"))
        elif kind == 2:
            details = replace(details, ends=array("I"), payloads=b"")
        elif kind == 3:
            anything = [random.choice((0, 1, 2, 5, 2**31)) for _ in structure.upstreams]
            structure = replace(structure, upstreams=array("I", anything))
        return structure, details
