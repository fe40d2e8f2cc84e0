"""A job: one unit of work of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.graph.needs import Memory, checked_needs
from pypelinin.graph.shell import Shell

RETRIES_MAX = 1000
NAME_CHARACTERS_MAX = 1024


_NOT_PLAIN = {0x80: "a coroutine function", 0x20: "a generator function",
              0x200: "an async generator function"}  # fmt: skip
"""Flags of code objects (CO_COROUTINE, CO_GENERATOR, CO_ASYNC_GENERATOR)."""


class Job:
    """One use of a worker, one call of a function, or one command, in a pipeline.

    *worker* is the name of a worker the Brokers offer, a function, or `shell([...])`.

    Of a named worker, *data* replaces the pipeline's data for this job; the same worker twice
    in one pipeline needs a *name* for at least one of them, and two jobs are equal if worker
    and name are.

    A function is called with *args* and *kwargs* on a node. A Job among them (also within
    lists, tuples, dicts and sets) is an input: this job runs when that one is done, and gets its
    result. `result()` gives what the function returned. Two jobs of functions are never equal.
    Functions and commands work in the directory of their client, if the node has it, workers in
    that of their Broker.

    *after* are jobs this one only waits for. *labels* are what the node must carry, *retries*
    how often a failure is tried again, and a job of a higher *priority* goes first.

    *cores* are how many it has (-1: all of the node but one; -2: the node alone). *memory* is
    what it may use, with all its processes: bytes or a text like "2GB"; a list rises after each
    time that was too little. *resources* are others of the node, as in {"gpu": 1}. *timeout* is
    how long it may run, in seconds or as "10min", *startup_timeout* how long its slot may take to
    load the workers before that. *isolate*: in a process of its own, used once.
    *env* is added to the environment. What is left at None is taken from the pipeline.

    Raises DefinitionError for options that make no sense.
    """

    __slots__ = (
        "worker", "name", "data", "args", "kwargs", "after", "inputs", "labels", "retries",
        "priority", "needs", "named", "_source",
    )  # fmt: skip

    def __init__(
        self,
        worker: str | Callable[..., Any] | Shell,
        data: Any = None,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        after: Job | Iterable[Job] = (),
        cores: int | None = None,
        memory: Memory | None = None,
        resources: Mapping[str, int] | None = None,
        labels: Mapping[str, str] | None = None,
        retries: int | None = None,
        timeout: float | str | None = None,
        priority: int | None = None,
        isolate: bool | None = None,
        env: Mapping[str, str] | None = None,
        startup_timeout: float | str | None = None,
    ) -> None:
        self.worker = worker
        self.name = _default_name(worker) if name is None else _checked_name("a job's name", name)
        self.named = name is not None or isinstance(worker, str)
        self.data = data
        self.args, self.kwargs = tuple(args), dict(kwargs or {})
        if not isinstance(worker, str) and data is not None:
            raise DefinitionError(
                "data is for named workers; a function has args and kwargs.",
                remedy="Write Job(function, args=(value,)).",
            )
        if (args or kwargs) and (isinstance(worker, (str, Shell)) or not callable(worker)):
            raise DefinitionError(
                "args and kwargs are for functions.",
                remedy="Write Job('Worker', data={...}) for a named worker.",
            )
        self.after = (after,) if isinstance(after, Job) else tuple(after)
        for job in self.after:
            if not isinstance(job, Job):
                raise DefinitionError(f"after names jobs, not {job!r}.")
        self.inputs = tuple(dict.fromkeys(_jobs_in((self.args, self.kwargs))))
        self.labels = None if labels is None else checked_labels(labels)
        self.retries = None if retries is None else checked_retries(retries)
        self.priority = None if priority is None else checked_priority(priority)
        self.needs = checked_needs(cores, memory, resources, timeout, isolate, env, startup_timeout)
        self._source: Any = None

    @property
    def worker_name(self) -> str:
        """The worker's name, under the name the original gave it; a function's own name."""
        return self.worker if isinstance(self.worker, str) else _default_name(self.worker)

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned, once it is known; waits at most *timeout* seconds.

        Raises the JobError if the job failed, TimeoutError after *timeout* seconds, and
        DefinitionError if the job was never started.
        """
        if self._source is None:
            raise DefinitionError(
                f"{self!r} was not started.",
                remedy="Give it to pypelinin.run(), or start a Pipeline that has it.",
            )
        return self._source.result_of(self, timeout)

    def attach(self, source: Any) -> None:
        """*source* has the result once the job is done: what started it calls this."""
        self._source = source

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        if not isinstance(self.worker, str):
            return self is other
        return self.worker == other.worker and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.worker, self.name)) if isinstance(self.worker, str) else id(self)

    def __repr__(self) -> str:
        if not isinstance(self.worker, str):
            return f"<Job {self.name}>"
        if self.name == self.worker:
            return f"Job({self.worker!r})"
        return f"Job({self.worker!r}, name={self.name!r})"


def check_function(worker: object) -> None:
    """Raise DefinitionError for what cannot be called as a job."""
    if not callable(worker):
        raise DefinitionError(
            f"A job runs a worker's name, a function or shell([...]), not {worker!r}."
        )
    flags = getattr(getattr(worker, "__code__", None), "co_flags", 0)
    for flag, kind in _NOT_PLAIN.items():
        if flags & flag:
            raise DefinitionError(
                f"{worker!r} is {kind}; a job is an ordinary function.",
                remedy="Collect what it yields, or call asyncio.run() inside of the function.",
            )


def _default_name(worker: object) -> str:
    if isinstance(worker, str):
        return _checked_name("a worker's name", worker)
    if isinstance(worker, Shell):
        return worker.name[:NAME_CHARACTERS_MAX]
    check_function(worker)
    found = getattr(worker, "__name__", None) or type(worker).__name__
    return str(found).replace("<lambda>", "lambda")[:NAME_CHARACTERS_MAX]


def _jobs_in(value: object) -> Iterator[Job]:
    """The jobs in *value*, within builtin containers too."""
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, Job):
            yield found
        elif isinstance(found, (list, tuple, set, frozenset)):
            stack.extend(reversed(list(found)))
        elif isinstance(found, dict):
            stack.extend(reversed(list(found.values())))


def _checked_name(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise DefinitionError(
            f"{what} is a str, not {type(value).__name__}: {value!r}.",
            remedy="Give the class name that stands in the workers module's __all__.",
        )
    if not value or len(value) > NAME_CHARACTERS_MAX:
        raise DefinitionError(f"{what} has 1 to {NAME_CHARACTERS_MAX} characters: {value[:40]!r}.")
    return _checked_text(what, value)


def _checked_text(what: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, as in names of files
        raise DefinitionError(f"{what} is not Unicode text: {value[:40]!r}.") from None
    return value


def checked_labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    """A copy of *labels* if all of it is text; DefinitionError else."""
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise DefinitionError(f"labels map str to str, not {key!r} to {value!r}.")
        _checked_text("a label", key + value)
    return dict(labels)


def checked_retries(retries: object) -> int:
    if type(retries) is not int or not 0 <= retries <= RETRIES_MAX:
        raise DefinitionError(f"retries is a whole number from 0 to {RETRIES_MAX}: {retries!r}.")
    return retries


def checked_priority(priority: object) -> int:
    if type(priority) is not int or abs(priority) > 1_000_000:
        raise DefinitionError(f"priority is a whole number within ±1,000,000: {priority!r}.")
    return priority
