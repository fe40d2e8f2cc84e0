"""How a run gains jobs: what a slot or a client said, in the numbers of the run."""

from __future__ import annotations

from array import array
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from pypelinin.errors import BadMessage
from pypelinin.graph.declared import ALWAYS, After, Declared, Expansion, Input
from pypelinin.wire.codec import pack_plain, unpack_plain, unpack_record
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    GROWN,
    GROWTH_BYTES_MAX,
    GROWTH_JOBS_MAX,
    Details,
    Growth,
    Header,
    Kind,
    Structure,
)

NIL = b"\xc0"


class Resolved(NamedTuple):
    """A Growth for one run: the same jobs for all who must know them."""

    header: Header
    structure: Structure
    details: Details
    feeds: list[tuple[int, int]]
    expansion: Expansion
    names: list[str]


def split_result(packed: bytes) -> tuple[bytes, bytes]:
    """(result, growth) of a job that added jobs; an empty growth cannot be read."""
    try:
        result, growth = unpack_plain(packed[1:], FRAME_BYTES_MAX)
    except (BadMessage, ValueError, TypeError):
        return b"", b""
    sound = type(result) is bytes and type(growth) is bytes
    return (result, growth) if sound else (b"", b"")


def is_grown(packed: bytes) -> bool:
    return packed[:1] == GROWN


def is_there(packed: bytes, known: Container[str]) -> bool:
    """Whether all jobs that it brings are known by name: it was taken in before."""
    try:
        growth = unpack_record(Growth, packed, 2 * GROWTH_BYTES_MAX)
        jobs = len(growth.offsets) - 1
        _check(growth, jobs)
        return all(name in known for name in _names(growth, jobs))
    except BadMessage:
        return False


def resolve(packed: bytes, header: Header, known: dict[str, int]) -> Resolved:
    """*known* are the run's jobs by name. Raises BadMessage, with what is wrong for people."""
    growth = unpack_record(Growth, packed, 2 * GROWTH_BYTES_MAX)
    jobs, base = len(growth.offsets) - 1, header.jobs
    _check(growth, jobs)
    missing = next((name for name in growth.names if name not in known), None)
    if missing is not None:
        raise BadMessage(f"the run has no job {missing!r}")
    there = [known[name] for name in growth.names]
    kinds = list(header.kinds)
    kind_of = array("I", _kinds(kinds, growth.kinds, growth.kind_of))
    upstreams = array("I", [base + u if u < jobs else there[u - jobs] for u in growth.upstreams])
    structure = Structure(base, growth.offsets, upstreams, growth.reads)
    details = Details(base, kind_of, growth.ends, growth.payloads)
    names = _names(growth, jobs)
    twice = next((name for name in names if name in known), None)
    if twice is not None or len(set(names)) < len(names):
        raise BadMessage(f"the run has a job {twice or 'of one of these names twice'!r} already")
    feeds = [(base + new, there[i]) for new, i in zip(*[iter(growth.feeds)] * 2, strict=True)]
    payload = _with_functions(header.payload, growth.functions)
    grown = replace(header, jobs=base + jobs, kinds=tuple(kinds), payload=payload)
    return Resolved(grown, structure, details, feeds, _expansion(growth, jobs, there), names)


def _check(growth: Growth, jobs: int) -> None:
    offsets, edges = growth.offsets, len(growth.upstreams)
    if not 1 <= jobs <= GROWTH_JOBS_MAX:
        raise BadMessage(f"{jobs:,} jobs at once, at most {GROWTH_JOBS_MAX:,}")
    if offsets[0] or offsets[-1] != edges or len(growth.reads) != edges:
        raise BadMessage("its edges do not fit its jobs")
    if any(low > high for low, high in pairwise(offsets)):
        raise BadMessage("its edges do not fit its jobs")
    for job in range(jobs):
        for up in growth.upstreams[offsets[job] : offsets[job + 1]]:
            if job <= up < jobs or up >= jobs + len(growth.names):
                raise BadMessage("a new job depends on one behind it")
    fits = len(growth.kind_of) == jobs and max(growth.kind_of) < len(growth.kinds)
    if not fits or not all(kind.sane for kind in growth.kinds):
        raise BadMessage("its kinds do not fit its jobs")
    ends = growth.ends
    if len(ends) != jobs or ends[-1] != len(growth.payloads):
        raise BadMessage("its payloads do not fit its jobs")
    if any(low >= high for low, high in pairwise(ends)):
        raise BadMessage("its payloads do not fit its jobs")
    if len(growth.feeds) % 2 or any(new >= jobs for new in growth.feeds[::2]):
        raise BadMessage("its late edges do not fit its jobs")
    if any(name >= len(growth.names) for name in growth.feeds[1::2]):
        raise BadMessage("its late edges do not fit its jobs")


def _kinds(known: list[Kind], new: Sequence[Kind], kind_of: Sequence[int]) -> list[int]:
    """Numbers in *known*, which gains those it lacks."""
    places = []
    for kind in new:
        if kind not in known:
            known.append(kind)
        places.append(known.index(kind))
    return [places[i] for i in kind_of]


def _names(growth: Growth, jobs: int) -> list[str]:
    starts = [0, *growth.ends]
    found = []
    for job in range(jobs):
        own = growth.payloads[starts[job] : starts[job + 1]]
        found.append(name_of(own, growth.kinds[growth.kind_of[job]]))
    return found


def name_of(own: bytes, kind: Kind) -> str:
    """A job's name: in its payload, or its worker's. Raises BadMessage."""
    found = unpack_plain(own, FRAME_BYTES_MAX) if own != NIL else None
    if found is None:
        return kind.worker
    if type(found) is not tuple or len(found) != 2 or type(found[0]) not in (str, type(None)):
        raise BadMessage("a job's own value is [name, data]")
    return kind.worker if found[0] is None else str(found[0])


def _expansion(growth: Growth, jobs: int, there: list[int]) -> Expansion:
    def number(up: int) -> int:
        return -1 - up if up < jobs else there[up - jobs]

    declared = []
    for job in range(jobs):
        edges = range(growth.offsets[job], growth.offsets[job + 1])
        ups = growth.upstreams
        declared.append(
            Declared(
                ALWAYS,
                [Input(number(ups[edge])) for edge in edges if growth.reads[edge]],
                [After(number(ups[edge])) for edge in edges if not growth.reads[edge]],
            )
        )
    late = zip(growth.feeds[::2], growth.feeds[1::2], strict=True)
    return Expansion(declared, after=[(there[i], After(-1 - new)) for new, i in late])


def _with_functions(payload: bytes, functions: dict[str, bytes]) -> bytes:
    """A run's payload with more functions (see runtime.values); it is not opened for that."""
    if not functions:
        return payload
    data, known, place = payload, {}, []
    if payload[:1] == b"f":
        data, known, *place = unpack_plain(payload[1:], FRAME_BYTES_MAX)
    found = b"f" + pack_plain([data, {**known, **functions}, *place])
    if len(found) > FRAME_BYTES_MAX // 2:
        raise BadMessage("the functions of the run are too large together")
    return found
