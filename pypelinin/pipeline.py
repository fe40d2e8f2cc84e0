"""A pipeline: the directed acyclic graph of jobs a user submits.

    Pipeline({Job("Downloader"): (Job("GetText"), Job("GetLinks"))}, data={"url": ...})

The graph is a mapping, or a list of pairs, of jobs or tuples/lists of jobs to what runs
after them: a job, a tuple or list of jobs, or None or () for nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pypelinin.errors import DefinitionError
from pypelinin.graph.fingerprint import digest
from pypelinin.graph.graph import Graph, check_size, order
from pypelinin.graph.job import Job, checked_labels, checked_priority, checked_retries
from pypelinin.graph.needs import Memory, checked_needs
from pypelinin.graph.shell import Shell
from pypelinin.wire.codec import pack_plain, pack_record
from pypelinin.wire.definitions import (
    FRAME_BYTES_MAX,
    PART_BYTES_MAX,
    PART_JOBS_MAX,
    SHELL,
    Details,
    Failure,
    Header,
    Kind,
    Structure,
    call_worker,
    terms_of,
)

Jobs = Job | Sequence[Job] | None
Pack = Callable[[str, object], bytes]
Keep = Callable[[str, Sequence[bytes | None]], Sequence[bytes | None]]
"""Turns (what it is, value) into bytes that begin with "m" (msgpack) or "p" (pickle)."""
Part = tuple[bytes, bytes]


class Calls(Protocol):
    """How functions and their arguments become bytes (`runtime.functions`)."""

    version: str
    """The Python whose functions these are, "3.11"."""

    def function(self, function: Any) -> tuple[str, bytes]:
        """(digest of its content, the function)."""
        ...

    def call(self, what: str, job: Job, inputs: Sequence[Job]) -> bytes:
        """The arguments of a job, other jobs among them by their place in *inputs*."""
        ...

    def header(self, data: bytes, functions: Mapping[str, bytes]) -> bytes:
        """A run's payload with its functions."""
        ...


NIL = b"\xc0"


class Pipeline:
    """Jobs, their order, and the *data* all of them get.

    *labels* are for people and show in lists; *priority*, *retries*, *cores*, *memory*,
    *resources*, *timeout*, *startup_timeout*, *isolate* and *env* are the defaults of its jobs.
    *results* are the jobs of functions whose results are wanted (None: all); the others' go when
    nobody reads them any more. *on_failure* "continue": all that does not need the failed job
    runs; "stop": nothing more begins. Raises Cycle (a ValueError) with the path if the jobs wait
    for each other, DefinitionError for what is not a graph of jobs.

    Two pipelines are equal if graph and data are. What the cluster says about it stands
    in `id`, `state`, `error`, `started_at`, `finished_at` and `duration`, kept up to date
    by the PipelineManager that started it.
    """

    def __init__(
        self,
        graph: Mapping[Any, Jobs] | Iterable[Job | tuple[Any, Jobs]],
        data: Any = None,
        *,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        retries: int = 0,
        results: Iterable[Job] | None = None,
        cores: int | None = None,
        memory: Memory | None = None,
        resources: Mapping[str, int] | None = None,
        timeout: float | str | None = None,
        isolate: bool | None = None,
        env: Mapping[str, str] | None = None,
        startup_timeout: float | str | None = None,
        on_failure: str = "continue",
    ) -> None:
        jobs, edges = _read(graph)
        check_size(len(jobs))
        self.jobs, self.graph = order(jobs, edges)
        self.results = None if results is None else frozenset(results)
        self.data = data
        self.labels = checked_labels(labels or {})
        self.priority = checked_priority(priority)
        self.retries = checked_retries(retries)
        self.needs = checked_needs(cores, memory, resources, timeout, isolate, env, startup_timeout)
        if on_failure not in ("continue", "stop"):
            raise DefinitionError(
                f"on_failure is 'continue' or 'stop', not {on_failure!r}.",
            )
        self.on_failure = on_failure
        self.id: str | None = None
        self.state = "new"
        self.error: Failure | None = None
        self.error_job = ""
        self.started_at: float | None = None
        self.finished_at: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from being accepted to the last outcome; None until finished."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at

    @property
    def starters(self) -> tuple[Job, ...]:
        """The jobs that wait for nothing."""
        return tuple(job for i, job in enumerate(self.jobs) if not self.graph.upstreams_of(i))

    @property
    def edges(self) -> list[tuple[Job, Job]]:
        """(upstream, downstream), in the order of the downstreams."""
        return [
            (self.jobs[up], job)
            for i, job in enumerate(self.jobs)
            for up in self.graph.upstreams_of(i)
        ]

    def extend(self, jobs: Sequence[Job]) -> None:
        """Take in jobs that the run has gained, in its order."""
        self.jobs = [*self.jobs, *jobs]
        number = {job: i for i, job in enumerate(self.jobs)}
        offsets, upstreams = self.graph.offsets[:], self.graph.upstreams[:]
        for job in jobs:
            upstreams.extend(number[up] for up in dict.fromkeys((*job.inputs, *job.after)))
            offsets.append(len(upstreams))
        self.graph = Graph(offsets, upstreams)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pipeline):
            return NotImplemented
        return self._identity() == other._identity() and bool(self.data == other.data)

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[frozenset[Job], frozenset[tuple[Job, Job]]]:
        return frozenset(self.jobs), frozenset(self.edges)

    def __repr__(self) -> str:
        names = ", ".join(job.name for job in self.jobs[:5])
        more = f", ... {len(self.jobs) - 5} more" if len(self.jobs) > 5 else ""
        run = f", id={self.id!r}, state={self.state!r}" if self.id else ""
        return f"<Pipeline jobs=[{names}{more}]{run}>"

    def __str__(self) -> str:
        """The graph in the DOT language."""
        lines = [f"    {_quoted(up.name)} -> {_quoted(down.name)};" for up, down in self.edges]
        linked = {job for edge in self.edges for job in edge}
        lines += [f"    {_quoted(job.name)};" for job in self.jobs if job not in linked]
        return "\n".join(["digraph pipeline {", *lines, "}"])

    def save_dot(self, filename: str) -> None:
        """Write `str(self)` to *filename*; `dot -Tsvg` draws it."""
        with open(filename, "w", encoding="utf-8") as file:
            file.write(f"{self}\n")

    def compile(
        self,
        run: str,
        submitter: str,
        pack: Pack,
        calls: Calls | None = None,
        keep: Keep | None = None,
        *,
        open_run: bool = False,
    ) -> tuple[bytes, list[Part]]:
        """(header, parts of (structure, details)) as they go to the Router under id *run*.

        *keep* puts what jobs get elsewhere if it is large, and gives what travels instead.
        Raises what *pack* and *calls* raise for data that cannot be sent, DefinitionError for
        data over a frame's limit.
        """
        kinds: dict[tuple[Any, ...], int] = {}
        functions: dict[str, bytes] = {}
        kind_of = array("I", [self.kind_of(job, kinds, functions, calls) for job in self.jobs])
        payload = pack("the pipeline's data", self.data)
        data = [self.data_of(number, pack, calls) for number in range(len(self.jobs))]
        sent = data if keep is None else keep(f"{run}/arguments", data)
        payloads = [self.payload_of(*pair) for pair in zip(self.jobs, sent, strict=True)]
        content = _content(payload)
        if calls is not None and (functions or any(kind[0] == SHELL for kind in kinds)):
            payload = calls.header(payload, functions)
        if len(payload) > FRAME_BYTES_MAX // 2 or any(len(p) > PART_BYTES_MAX for p in payloads):
            raise DefinitionError(
                f"The data of the pipeline or a job is over {PART_BYTES_MAX // 2**20} MiB.",
                remedy="Keep it in the store and send its name.",
            )
        plain = all(payload == NIL for payload in payloads)
        parts = [
            _part(self.graph, begin, end, kind_of if len(kinds) > 1 else None,
                  None if plain else payloads, *self._reading(begin, end))
            for begin, end in _cuts(self.graph, payloads)
        ]  # fmt: skip
        listed = tuple(self.kinds_of(kinds))
        names = pack_plain([job.name for job in self.jobs])
        fingerprint = digest(
            names, content, self.graph.offsets.tobytes(), self.graph.upstreams.tobytes(),
            repr((list(kinds), sorted(self.labels.items()), self.on_failure)).encode(),
            kind_of.tobytes(),
            *(map(_content, data) if any(data) else ()),
        )  # fmt: skip
        header = Header(
            run,
            fingerprint,
            submitter,
            len(self.jobs),
            listed,
            payload,
            self.labels,
            open_run,
            self.on_failure == "stop",
        )
        return pack_record(header), parts

    def data_of(self, number: int, pack: Pack, calls: Calls | None) -> bytes | None:
        """What a job gets, packed; None if it has no data of its own."""
        job = self.jobs[number]
        if isinstance(job.worker, Shell):
            return pack(f"the command of {job!r}", job.worker.command)
        if not isinstance(job.worker, str):
            assert calls is not None
            return calls.call(f"{job!r}", job, self._inputs(number))
        return None if job.data is None else pack(f"the data of {job!r}", job.data)

    @staticmethod
    def payload_of(job: Job, data: bytes | None) -> bytes:
        """[name if it is not the worker's, packed data or None], or nil if both are missing."""
        name = None if job.name == job.worker else job.name
        return NIL if name is None and data is None else pack_plain([name, data])

    @staticmethod
    def kinds_of(kinds: Iterable[tuple[Any, ...]]) -> Iterator[Kind]:
        """The keys that `kind_of` gathered as what the Router knows of them."""
        for worker, labels, retries, priority, needs in kinds:
            yield Kind(worker, dict(labels), retries, priority, *terms_of(needs))

    def _inputs(self, number: int) -> list[Job]:
        """The jobs whose results a job gets, in the order in which it gets them."""
        inputs = set(self.jobs[number].inputs)
        if not inputs:
            return []
        ups = (self.jobs[up] for up in self.graph.upstreams_of(number))
        return [job for job in ups if job in inputs]

    def _reading(self, begin: int, end: int) -> tuple[bytes, bytes]:
        """Which edges are read, and whose results are temporary, of these jobs."""
        jobs, graph = self.jobs, self.graph
        if not any(job.inputs for job in jobs):
            return b"", b""
        reads = bytearray()
        for number in range(begin, end):
            inputs = set(jobs[number].inputs)
            reads += bytes(jobs[up] in inputs for up in graph.upstreams_of(number))
        wanted = self.results
        kept = [wanted is None or job in wanted for job in jobs[begin:end]]
        return bytes(reads), b"" if all(kept) else bytes(not keep for keep in kept)

    def kind_of(
        self,
        job: Job,
        kinds: dict[tuple[Any, ...], int],
        functions: dict[str, bytes],
        calls: Calls | None,
    ) -> int:
        worker = job.worker
        if isinstance(worker, Shell):
            worker = SHELL
        elif not isinstance(worker, str):
            assert calls is not None, "functions need somebody who packs them"
            name, packed = calls.function(worker)
            functions[name] = packed
            worker = call_worker(calls.version, name)
        key = (
            worker,
            tuple(sorted((job.labels or {}).items())),
            self.retries if job.retries is None else job.retries,
            self.priority if job.priority is None else job.priority,
            job.needs.over(self.needs),
        )
        return kinds.setdefault(key, len(kinds))


def _read(
    graph: Mapping[Any, Jobs] | Iterable[Job | tuple[Any, Jobs]],
) -> tuple[list[Job], list[tuple[Job, Job]]]:
    """(jobs in the order they are named, edges)."""
    jobs: dict[Job, Job] = {}
    edges: list[tuple[Job, Job]] = []
    try:
        pairs = [
            (item, None) if isinstance(item, Job) else _pair(*item)
            for item in (graph.items() if isinstance(graph, Mapping) else graph)
        ]
    except (TypeError, ValueError):
        raise DefinitionError(
            f"A graph is a dict or a list of pairs, not {type(graph).__name__}.",
            remedy="Write Pipeline({Job('A'): Job('B')}).",
        ) from None
    for upstreams, downstreams in pairs:
        befores, afters = list(_jobs(upstreams)), list(_jobs(downstreams))
        for job in befores + afters:
            known = jobs.setdefault(job, job)
            if known is not job and _options(known) != _options(job):
                raise DefinitionError(
                    f"{job!r} is named twice with different options.",
                    remedy="Give one of them a name of its own: Job('W', name='w2').",
                )
        edges += [(before, after) for before in befores for after in afters]
    if not jobs:
        raise DefinitionError("A pipeline needs at least one job.")
    edges += _own_edges(jobs)
    names: dict[str, Job] = {}
    for job in jobs:
        if not isinstance(job.worker, str):
            _name_apart(job, names)
        other = names.setdefault(job.name, job)
        if other is not job:
            raise DefinitionError(f"Two jobs have the name {job.name!r}: {other!r} and {job!r}.")
    return list(jobs), edges


def _pair(before: Any, after: Jobs) -> tuple[Any, Jobs]:
    return before, after


def _own_edges(jobs: dict[Job, Job]) -> Iterator[tuple[Job, Job]]:
    """What jobs say themselves of their order; takes in all they name."""
    stack = list(jobs)
    while stack:
        job = stack.pop()
        for up in (*job.inputs, *job.after):
            if up not in jobs:
                jobs[up] = up
                stack.append(up)
            yield up, job


def _name_apart(job: Job, names: Mapping[str, Job]) -> None:
    """Jobs of one function are numbered if they were given no names."""
    first, number = job.name, 1
    while names.get(job.name, job) is not job:
        if job.named:
            return
        number += 1
        job.name = f"{first}-{number}"


def _options(job: Job) -> tuple[object, ...]:
    return (job.data, job.labels, job.retries, job.priority, job.needs)


def _jobs(value: Any) -> Iterator[Job]:
    if value is None:
        return
    if isinstance(value, Job):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _jobs(item)
    else:
        raise DefinitionError(
            f"A graph consists of Jobs and tuples or lists of them, not {value!r}.",
            remedy="Write Job('WorkerName').",
        )


def _content(data: bytes | None) -> bytes:
    """What of packed data is equal in every process: a pickle's bytes are not."""
    return (data if data[:1] in (b"m", b"y") else b"p") if data else b""


def _cuts(graph: Graph, payloads: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Ranges of jobs that make parts of bounded size."""
    begin = size = 0
    for job in range(graph.jobs):
        weight = 16 + 4 * (graph.offsets[job + 1] - graph.offsets[job]) + len(payloads[job])
        if job > begin and (job - begin == PART_JOBS_MAX or size + weight > PART_BYTES_MAX):
            yield begin, job
            begin, size = job, 0
        size += weight
    yield begin, graph.jobs


def _part(
    graph: Graph,
    begin: int,
    end: int,
    kind_of: array[int] | None,
    payloads: Sequence[bytes] | None,
    reads: bytes,
    temporary: bytes,
) -> Part:
    low, high = graph.offsets[begin], graph.offsets[end]
    offsets = array("I", [offset - low for offset in graph.offsets[begin : end + 1]])
    structure = Structure(begin, offsets, graph.upstreams[low:high], reads, temporary)
    ends, joined = array("I"), b""
    if payloads is not None:
        total = 0
        for payload in payloads[begin:end]:
            total += len(payload)
            ends.append(total)
        joined = b"".join(payloads[begin:end])
    kinds = array("I") if kind_of is None else kind_of[begin:end]
    return pack_record(structure), pack_record(Details(begin, kinds, ends, joined))


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
