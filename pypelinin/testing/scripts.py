"""What a simulated cluster is to run: random definitions, and how each job behaves."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random

import msgpack

from pypelinin.graph.fingerprint import digest
from pypelinin.wire.codec import pack_plain, pack_record
from pypelinin.wire.definitions import Capacity, Details, Header, Kind, Structure, Terms

NIL = b"\xc0"
DURATIONS_S = {"Short": (0.0002, 0.004), "Medium": (0.05, 0.6), "Long": (0.5, 4.0)}
WORKERS = tuple(DURATIONS_S)
JOBS_MAX = 12
SMALLEST = Capacity(2, 1000, {"gpu": 1, "licence": 2})
"""A node that has all of this can run every job."""


@dataclass(slots=True)
class RunScript:
    """One run: its graph, how often each of its jobs fails, and what it returns.

    Of the *upstreams* of a job it reads the results of *reads*; *temporary* is 1 for jobs whose
    result goes when nobody reads it any more.
    """

    id: str
    upstreams: list[tuple[int, ...]]
    reads: list[tuple[int, ...]]
    temporary: bytes
    results: list[bytes]
    kinds: list[Kind]
    failing: list[float]
    payload: bytes
    payloads: list[bytes]
    header: bytes
    parts: list[tuple[bytes, bytes]]
    submit_at: float = 0.0
    cancel_at: float | None = None
    pause_at: float | None = None
    resume_at: float = 0.0
    wished: list[bool] = field(default_factory=lambda: [True, False])
    """Whether it shall be paused, one thing after the other; what was answered is taken out."""
    accepted: set[int] = field(default_factory=set)
    cancelled: bool = False

    @property
    def jobs(self) -> int:
        return len(self.upstreams)

    def given(self, job: int) -> object:
        """The job's value as its slot should get it: its own, and what it reads."""
        own = msgpack.unpackb(self.payloads[job], raw=False)
        if not self.reads[job]:
            return own
        return [*(own or (None, None)), [self.results[up] for up in self.reads[job]]]


def random_terms(random: Random) -> tuple[Terms | None, tuple[int, ...]]:
    """What jobs may need, and then of memory: nothing special, or what SMALLEST has."""
    if random.random() < 0.6:
        return None, ()
    choice = random.choice
    memory = choice((0, 0, 100, 900, SMALLEST.memory))
    more = choice(((), (950,), (950, SMALLEST.memory))) if 0 < memory < 950 else ()
    return Terms(
        choice((1, 1, SMALLEST.cores, -1, -2)),
        memory,
        choice(({}, {}, {"gpu": 1}, {"gpu": 1, "licence": 2})),
        choice((0.0, 0.0, 0.0, 0.3, 5.0)),
        random.random() < 0.2,
        choice(({}, {}, {"MODE": "a"})),
    ), more


def random_script(random: Random, number: int, labels: list[dict[str, str]]) -> RunScript:
    """A run of 1 to 12 jobs in 1 to 4 parts; *labels* are what its kinds may ask for."""
    run = f"{random.getrandbits(64):016x}{number:016x}"
    jobs = random.randint(1, JOBS_MAX)
    density = random.choice((0.0, 0.2, 0.5))
    upstreams = [
        tuple(up for up in range(job) if random.random() < density / (1 + (job - up) // 3))
        for job in range(jobs)
    ]
    if random.random() < 0.15:  # a chain
        upstreams = [(job - 1,) if job else () for job in range(jobs)]
    fashion = random.choice((("Short",), WORKERS, ("Short", "Short", "Medium")))
    kinds = [
        Kind(
            random.choice(fashion),
            random.choice(labels),
            random.choice((0, 0, 1, 3)),
            random.choice((0, 0, 5)),
            *random_terms(random),
        )
        for _ in range(random.randint(1, 3))
    ]
    kind_of = [random.randrange(len(kinds)) for _ in range(jobs)]
    trouble = random.choice((0.0, 0.0, 0.2))
    failing = [random.choice((0.3, 1.0)) if random.random() < trouble else 0.0 for _ in kind_of]
    payloads = [
        pack_plain([None, random.randbytes(3)]) if random.random() < 0.3 else NIL for _ in kind_of
    ]
    reading = random.random() < 0.4
    reads = [
        tuple(up for up in upstreams[job] if reading and random.random() < 0.6)
        for job in range(jobs)
    ]
    temporary = bytes(reading and random.random() < 0.4 for _ in range(jobs))
    results = [
        b"m" + pack_plain([number, job]) if random.random() < (0.9 if reading else 0.2) else b""
        for job in range(jobs)
    ]
    if any(reads):
        payloads[0] = pack_plain([None, b""])  # who reads has payloads, as functions do
    payload = b"m" + pack_plain({"run": number})
    fingerprint = digest(run.encode(), repr((upstreams, kinds, kind_of)).encode())
    header = Header(run, fingerprint, f"user {number % 2}", jobs, tuple(kinds), payload, {})
    cuts = sorted(random.sample(range(1, jobs), min(random.choice((0, 0, 0, 3)), jobs - 1)))
    return RunScript(
        run,
        upstreams,
        reads,
        temporary,
        results,
        [kinds[i] for i in kind_of],
        failing,
        payload,
        payloads,
        pack_record(header),
        _parts(upstreams, reads, temporary, kind_of, payloads, [0, *cuts, jobs]),
    )


def _parts(
    upstreams: list[tuple[int, ...]],
    reads: list[tuple[int, ...]],
    temporary: bytes,
    kind_of: list[int],
    payloads: list[bytes],
    cuts: list[int],
) -> list[tuple[bytes, bytes]]:
    plain = all(payload == NIL for payload in payloads)
    parts = []
    for begin, end in pairwise(cuts):
        offsets, targets, ends, joined = array("I", [0]), array("I"), array("I"), b""
        read = b""
        for job in range(begin, end):
            targets.extend(upstreams[job])
            read += bytes(up in reads[job] for up in upstreams[job])
            offsets.append(len(targets))
            if not plain:
                joined += payloads[job]
                ends.append(len(joined))
        details = Details(begin, array("I", kind_of[begin:end]), ends, joined)
        structure = Structure(begin, offsets, targets)
        if any(reads):
            structure = replace(structure, reads=read, temporary=temporary[begin:end])
        parts.append((pack_record(structure), pack_record(details)))
    return parts


def with_other_content(script: RunScript) -> bytes:
    """A header of the same run that says it is something else."""
    jobs = script.jobs
    kinds = tuple(dict.fromkeys((k.worker, k.retries, k.priority) for k in script.kinds))
    other = tuple(Kind(worker, {}, retries, priority) for worker, retries, priority in kinds)
    return pack_record(Header(script.id, digest(b"other"), "user 0", jobs, other, NIL, {}))
