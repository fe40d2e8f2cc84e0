"""What all jobs of an incremental graph have in common.

A class says how its jobs are judged (`policy`), where they run (`place`), and what they do:
`perform` in a slot or in the caller, `settle` in the caller when the graph has the outcome.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pypelinin.graph.declared import ALWAYS, Policy
from pypelinin.graph.fingerprint import Fingerprint, Tags
from pypelinin.graph.needs import Needs
from pypelinin.incremental import state
from pypelinin.incremental.enums import JobKind, Resources
from pypelinin.incremental.exceptions import (
    JobContractError,
    JobRedefinitionError,
    NotADag,
)

if TYPE_CHECKING:
    from pypelinin.incremental.faces import Graph

SEPARATOR = ":::"
MOVES = "moves"
"""In the graph's `shared`: there are jobs that know their outputs under older names, too."""

Inputs = Mapping[tuple[str, str], Tags]
"""What a job reads: by (id of the job that makes it, name of the output)."""


class Place(enum.Enum):
    """Where a job runs."""

    GIVEN = "given"
    """Nowhere: its fingerprint is known when the run begins."""
    SLOT = "slot"
    CALLER = "caller"
    """In the process that called `run`."""
    READER = "reader"
    """In the caller, and anew wherever a job that reads it runs."""


class Found(NamedTuple):
    """What there is already of a job."""

    prints: Fingerprint
    altered: tuple[str, ...] = ()
    """Outputs that are not as the job had left them."""


class DependsOnInvariant(NamedTuple):
    """What `depends_on_file`, `_params` and `_func` give back."""

    invariant: Job
    self: Job


JobType = TypeVar("JobType", bound="Job")


class Registered(type):
    """One job a name: to define it again the same way gives the job that is there."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """What people are shown of a class: what its jobs are made from."""
        found = inspect.signature(cls.__init__)  # type: ignore[misc]  # of just this class
        return found.replace(parameters=list(found.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        job = super().__call__(*args, **kwargs)
        return job.graph.register(job) if isinstance(job, Job) else job


class Job(metaclass=Registered):
    """One job of the graph that is current when it is made.

    *outputs* name what it makes; its `job_id` are these, sorted. Raises RuntimeError without a
    graph, TypeError and ValueError for names that cannot be.
    """

    kind: ClassVar[JobKind] = JobKind.Output
    policy: ClassVar[Policy] = ALWAYS
    place: ClassVar[Place] = Place.SLOT
    final: ClassVar[bool] = False
    makes_files: ClassVar[bool] = False
    """Whether its outputs are names of files."""
    names_jobs: ClassVar[bool] = False
    """Whether the id of a job of several outputs may be a part of its name."""
    by_inputs: ClassVar[bool] = False
    """Whether `find` says in each run what there is of it, instead of a record and files."""
    que_priority: int = 0
    """Taken and not used, as in pypipegraph2."""
    isolate: bool = False
    """Whether it runs in a process of its own, which is used once."""
    replaceable: bool = False
    """Whether it may be defined once more in another way where definitions are strict, too."""

    def __init__(self, outputs: Iterable[str], resources: Resources = Resources.SingleCore) -> None:
        self.graph: Graph = state.current()
        self.outputs: tuple[str, ...] = tuple(outputs)
        if len(self.outputs) == 1:
            self.job_id = self.outputs[0]
        else:
            self.job_id = SEPARATOR.join(sorted(self.outputs))
        if not self.job_id:
            raise ValueError("A job needs a name that is not empty.")
        is_joined = any(SEPARATOR in name for name in self.outputs) and not self.names_jobs
        if "!!!" in self.job_id or is_joined:
            raise ValueError(f"{self.job_id!r}: a job's name has neither '!!!' nor ':::' in it.")
        if not self.job_id.isascii():
            _check_text(self.job_id)
        self.resources: Resources | Needs = resources
        self.prune_reason: Any = None
        self.place_of_definition = ""
        self.job_number = -1
        self.outcome: Any = None
        self.func_invariant: Job | None = None
        """Follows its own function."""

    def __getstate__(self) -> dict[str, Any]:
        """What travels to where it runs: all but the graph, and what came of it."""
        return {name: value for name, value in vars(self).items() if name not in _STAYS}

    # --- what the graph asks -----------------------------------------------------------------

    def definition(self) -> tuple[Any, ...]:
        """What must be equal if the job is defined once more."""
        return (self.resources,)

    def spec(self) -> Tags:
        """What it does, besides what it depends on."""
        return _SPECS.setdefault(type(self), (("kind", type(self).__name__.encode()),))

    def keep(self) -> tuple[bool, ...] | None:
        """By output, whether it stays; None: as the policy says."""
        return None

    def registered(self) -> None:
        """It is a part of the graph now: the place to depend on its own invariants."""

    def replaced(self) -> None:
        """It is about to be defined anew: let go of its own invariants."""
        own = getattr(self, "func_invariant", None)
        if own is not None:
            self.graph.disconnect(self, own)

    def given(self) -> Fingerprint | None:
        """Its fingerprint, if it is known without a run. Raises what makes it fail."""
        return None

    def begin(self) -> None:
        """A run begins that has it; nothing is known yet of what it will give."""

    def find(self, inputs: Inputs) -> Found | None:
        """In the caller, of a job that is `by_inputs`, when all that it reads is known: what
        there is for just these inputs; None if it must be made. Raises what makes it fail.
        """
        raise NotImplementedError  # who is `by_inputs` has it

    def given_after(self, history: Any) -> Fingerprint | None:
        """The same, for what depends on what is known of earlier runs."""
        return self.given()

    def was_called(self, name: str) -> bool:
        """Whether an output that nobody makes any more is its own, under the name it had before.

        Asked if the graph's `shared` has MOVES.
        """
        return False

    def perform(self, context: Any) -> Any:
        """Do it, where it runs; what comes back goes to `settle`."""
        raise NotImplementedError  # each kind that is run has its own

    def settle(self, result: Any) -> Fingerprint:
        """In the caller, after it was performed: the fingerprint of its outputs."""
        raise NotImplementedError  # each kind that is run has its own

    def as_known(self, prints: Fingerprint) -> Fingerprint:
        """*prints*, comparable with what is known of the job from pypipegraph2, too."""
        importer = self.graph.running.history.importer
        found: Fingerprint = prints if importer is None else importer.extended(self, prints)
        return found

    def release(self, outputs: Iterable[str]) -> None:
        """Nobody needs these outputs any more."""

    def after_failure(self) -> None:
        """In the caller, when it failed or was ended: the place to remove what it left."""

    # --- dependencies --------------------------------------------------------------------------

    def depends_on(self: JobType, *others: Any) -> JobType:
        """Read what these make: jobs, names of outputs, iterables of those, None (nothing), or
        functions that give any of it when the run begins. Returns the job itself.

        Raises KeyError for a name that no job makes, NotADag for a job that depends on this one,
        JobContractError for jobs that cannot be depended on so.
        """
        for other in others:
            self._depend(other)
        return self

    def _depend(self, other: Any) -> None:
        if isinstance(other, Job):
            self._depend_on_job(other, None)
        elif other is None or other is False:
            return
        elif isinstance(other, (str, Path)):
            self._depend_on_output(other)
        elif isinstance(other, DependsOnInvariant):
            self._depend_on_job(other.invariant, None)
        elif hasattr(other, "depends_on_refused"):
            raise TypeError(other.depends_on_refused)
        elif callable(other):
            self.graph.later.append((self, other))
        elif isinstance(other, dict):
            raise TypeError(f"depends_on takes jobs, names and iterables of them, not {other!r}.")
        else:
            try:
                items = iter(other)
            except TypeError:
                raise TypeError(
                    f"depends_on takes jobs, names of outputs, iterables of these, None and "
                    f"functions, not {other!r}."
                ) from None
            for item in items:
                self._depend(item)

    def _depend_on_output(self, name: str | Path) -> None:
        found = self.graph.producer_of(str(name))
        if found is None:
            raise KeyError(
                f"No job makes {str(name)!r}, so {self.job_id} cannot depend on it. To follow a "
                "file that nobody makes here, use FileInvariant."
            )
        self._depend_on_job(self.graph.jobs[found[0]], found[1])

    def _depend_on_job(self, other: Job, output: str | None) -> None:
        if other is self:
            raise NotADag(f"{self.job_id} cannot depend on itself.")
        if other.graph is not self.graph:
            raise JobContractError(
                f"{other.job_id} belongs to another graph than {self.job_id}.",
                remedy="Make both after the same new().",
            )
        theirs = self.graph.job_inputs.get(other.job_id, {})
        if theirs and any(name in theirs for name in self.outputs):
            raise NotADag(
                f"{self.job_id} and {other.job_id} would depend on each other: "
                f"{self.job_id} -> {other.job_id} -> {self.job_id}."
            )
        self.check_upstream(other)
        self.graph.connect(self, other, other.outputs if output is None else (output,))

    def check_upstream(self, other: Job) -> None:
        """Raises JobContractError if this kind of job cannot depend on *other*."""
        if other.final and not self.final:
            raise JobContractError(f"{other.job_id} is a FinalJob: nothing depends on it.")

    def depends_on_file(self, filename: str | Path) -> DependsOnInvariant:
        """Depend on the content of a file that no job makes."""
        return self._with(self.graph.invariant("file", filename))

    def depends_on_params(self, params: Any, job_name_postfix: str = "") -> DependsOnInvariant:
        """Depend on the value of *params*."""
        return self._with(self.graph.invariant("parameter", self.job_id + job_name_postfix, params))

    def depends_on_func(
        self, function: Any, name: Any = None, **options: Any
    ) -> DependsOnInvariant:
        """Depend on the code of *function*; the two arguments may stand in either order."""
        if callable(name) and not callable(function):
            function, name = name, function
        chosen = name or getattr(function, "__qualname__", None)
        if not chosen or "<lambda>" in chosen:
            raise ValueError("Give a name as well: a function without one cannot be told apart.")
        return self._with(
            self.graph.invariant("function", f"{self.job_id}_{chosen}", function, **options)
        )

    def _with(self, invariant: Job) -> DependsOnInvariant:
        self._depend_on_job(invariant, None)
        return DependsOnInvariant(invariant, self)

    # --- partial runs --------------------------------------------------------------------------

    def prune(self) -> None:
        """Leave this job, and all that depends on it, out of the next runs."""
        self.prune_reason = self.job_id

    def unprune(self) -> None:
        """Take it in again."""
        self.prune_reason = None

    def __call__(self) -> Any:
        """Run it and all that it needs, and nothing else."""
        self.graph.run_for_these([self])
        return self._call_result()

    def _call_result(self) -> Any:
        return None

    def readd(self) -> None:
        """Make it a job of the graph that is current now, without its dependencies."""
        self.graph = state.current()
        self.graph.register(self)

    def dump_subgraph_for_debug(self) -> Path:
        """Write `subgraph_debug.py`; see PyPipeGraph.dump_subgraph_for_debug."""
        return self.graph.dump_subgraph_for_debug([self])

    def use_resources(self: JobType, resources: Resources) -> JobType:
        """Say what it takes of the machine. Raises TypeError for anything but Resources."""
        self.resources = checked_resources(resources)
        return self

    # --- after a run ---------------------------------------------------------------------------

    @property
    def exception(self) -> Any:
        return None if self.outcome is None else self.outcome.error_or_none

    @property
    def failed(self) -> bool:
        return self.outcome is not None and self.outcome.has_failed

    @property
    def stdout(self) -> str:
        return "not captured" if self.outcome is None else self.outcome.stdout

    @property
    def stderr(self) -> str:
        return "not captured" if self.outcome is None else self.outcome.stderr

    @property
    def stack_trace(self) -> str:
        return "" if self.outcome is None else self.outcome.stack_trace

    @property
    def start_time(self) -> float | None:
        return None if self.outcome is None else self.outcome.start_time

    @property
    def stop_time(self) -> float | None:
        return None if self.outcome is None else self.outcome.stop_time

    @property
    def run_time(self) -> float | None:
        return None if self.outcome is None else self.outcome.run_time

    @property
    def upstreams(self) -> list[Job]:
        """What it depends on directly."""
        return self.graph.upstreams_of(self)

    # --- being one of many ---------------------------------------------------------------------

    def __iter__(self) -> Iterator[Job]:
        yield self

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Job) and self.job_id == other.job_id)

    def __hash__(self) -> int:
        return hash(self.job_id)

    def __lt__(self, other: Job) -> bool:
        return self.job_id < other.job_id

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.job_id}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r})"


_SPECS: dict[type, Tags] = {}
_STAYS = frozenset({"graph", "outcome", "func_invariant"})


class JobList(list[Job]):
    """Jobs that get their dependencies together."""

    def depends_on(self, *others: Any) -> JobList:
        for job in self:
            job.depends_on(*others)
        return self


def checked_resources(resources: object) -> Resources:
    if not isinstance(resources, Resources):
        raise TypeError(f"resources is one of Resources, not {resources!r}.")
    return resources


def checked_name(name: object, what: str = "A job's name") -> str:
    """The name of a job that makes no file. Raises TypeError."""
    if not isinstance(name, (str, Path)):
        raise TypeError(f"{what} is a str, not {name!r}.")
    text = str(name)
    if "/../" in text:
        raise TypeError(f"{what} has no '/../' in it: {text!r}.")
    return text


def _check_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{name!r}: a job's name is text, and this has bytes in it that are none (in UTF-8)."
        ) from None


def checked_callable(function: object, what: str, may_yield: bool = False) -> Callable[..., Any]:
    """Raises TypeError for what is no function, or one of which a call alone does nothing."""
    if not callable(function):
        raise TypeError(f"{what} is a function, not {function!r}.")
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & (_NOT_AT_ONCE & ~inspect.CO_GENERATOR if may_yield else _NOT_AT_ONCE):
        kind = "a generator" if flags & inspect.CO_GENERATOR else "async"
        raise TypeError(
            f"{what} is a plain function; {getattr(function, '__qualname__', function)!r} is "
            f"{kind}: to call it would do nothing yet."
        )
    return function


_NOT_AT_ONCE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def changed_directory(job: Job, where: str) -> JobContractError:
    return JobContractError(
        f"{job!r} changed the working directory to {where}; the jobs of this process share it.",
        remedy="Use absolute paths, or change it back.",
    )


def redefined(job: Job, known: Job, how: str) -> JobRedefinitionError:
    where = f" First defined at {known.place_of_definition}." if known.place_of_definition else ""
    return JobRedefinitionError(
        f"{job.job_id} was defined before, {how}.{where}",
        remedy="Use another name, or RunMode.NOTEBOOK to replace definitions.",
    )
