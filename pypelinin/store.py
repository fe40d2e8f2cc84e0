"""What a slot asks of the user's StoreClass: where a job's input comes from and its result goes.

A slot calls `StoreClass(**configuration["store"])` once when it starts and uses that object for
every job it runs, one at a time:

    received = store.retrieve(info)          # what `Worker.process` receives
    result = Worker().process(received)
    store.save({**info, "worker_result": result})

The class need not inherit from `Store`; it needs the two methods. Whatever it raises fails the
attempt, with the traceback as evidence, and the job's retry policy decides what follows. Ready
made stores are in `pypelinin.stores`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NotRequired, Protocol, TypedDict, TypeGuard

from pypelinin.errors import PypelininError

KNOWN_NAMES_SHOWN_MAX = 20


class Info(TypedDict):
    """One attempt of a job, as the store sees it; a plain dict at run time.

    Keys may be added in later versions: read those you know.
    """

    worker: str
    """The worker's name."""
    worker_requires: Sequence[str]
    """The names the worker asks for: its `requires`, empty if it has none."""
    data: Any
    """The pipeline's data as submitted, often a dict or None."""
    job: str
    """The job's name in its pipeline; two jobs may have the same worker."""
    pipeline: str
    """The id of the run; never used twice."""
    attempt: int
    """1 for the job's first try."""
    fence: int
    """Rises with every attempt of the job and never repeats. Attempts of different jobs
    cannot be compared by it."""
    worker_result: NotRequired[Any]
    """What `Worker.process` returned; only in `save`."""


class Store(Protocol):
    """The contract; inherit from it to have both methods demanded when the class is created.

    Two attempts of one job can be alive at once: a node that was given up may still be running.
    A store that must not take the late one's word remembers the highest `info["fence"]` that was
    saved for a job of a pipeline and ignores a `save` with a lower one. The same fence may come
    twice, with the same result, and is to be taken again.
    """

    @abstractmethod
    def retrieve(self, info: Info) -> Any:
        """Return what `Worker.process` receives; called before every attempt.

        Raise `MissingInput` when something the worker requires is nowhere to be found.
        """

    @abstractmethod
    def save(self, info: Info) -> None:
        """Keep `info["worker_result"]`; called after every attempt that returned.

        The job counts as done only after this returned, and a job that waits for it is handed out
        after that: what is saved must by then be visible to `retrieve` on every node. If it
        raises (but for errors of the value, as `TypeError` and `ValueError`) it is called again
        with the same fence for some seconds before the job fails with a store error.
        """


class MonitoringStore(Store, Protocol):
    """A store that also keeps figures of hosts and processes.

    There is nothing to declare: figures are saved if the store has a method `save_monitoring`,
    which `saves_monitoring` asks. That is why `Store` has none.
    """

    @abstractmethod
    def save_monitoring(self, data: dict[str, Any]) -> None:
        """Keep one dict of figures: text, numbers, and lists and dicts of them."""


def saves_monitoring(store: object) -> TypeGuard[MonitoringStore]:
    """Whether figures can be given to *store*: its class has a method `save_monitoring`."""
    return callable(getattr(type(store), "save_monitoring", None))


class MissingInput(PypelininError, LookupError):
    """A worker requires names that nobody saved for its pipeline and its data does not hold."""

    def __init__(
        self, worker: str, pipeline: str, missing: Iterable[str], known: Iterable[str]
    ) -> None:
        self.worker = worker
        self.pipeline = pipeline
        self.missing = tuple(missing)
        self.known = tuple(known)
        what = (
            f"worker {worker!r} requires {_listed(self.missing)}, which no job of pipeline "
            f"{pipeline!r} has saved and its data does not hold; known: {_listed(self.known)}."
        )
        super().__init__(what, remedy=_remedy(self.missing, self.known))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.worker, self.pipeline, self.missing, self.known))


class StoreUnavailable(PypelininError, ConnectionError):
    """The place where results are kept cannot be used now; the same attempt may try again."""


def required_names(info: Info) -> tuple[str, ...]:
    """`info["worker_requires"]` without repetitions; None counts as empty.

    A lone text raises TypeError: it would be read as a list of its letters.
    """
    names: object = info["worker_requires"]
    if names is None:
        return ()
    if isinstance(names, str):
        raise TypeError(
            f"worker {info['worker']!r} has requires = {names!r}, which is a text; "
            f"a tuple or list of names is needed: requires = ({names!r},)"
        )
    return tuple(dict.fromkeys(info["worker_requires"]))


def choose(info: Info, saved: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Look the required names up in *saved*, then in the pipeline's data.

    Returns the names found with their values, in the order the worker asks for them, and the
    names found in neither.
    """
    data = info["data"] if isinstance(info["data"], Mapping) else {}
    found: dict[str, Any] = {}
    missing: list[str] = []
    for name in required_names(info):
        if name in saved:
            found[name] = saved[name]
        elif name in data:
            found[name] = data[name]
        else:
            missing.append(name)
    return found, tuple(missing)


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:KNOWN_NAMES_SHOWN_MAX]]
    if len(names) > KNOWN_NAMES_SHOWN_MAX:
        shown.append(f"and {len(names) - KNOWN_NAMES_SHOWN_MAX} more")
    return ", ".join(shown) or "nothing"


def _remedy(missing: Sequence[str], known: Sequence[str]) -> str:
    for name in missing:
        if similar := get_close_matches(name, known, n=1):
            return f"Did you mean {similar[0]!r}?"
    return "Let a job before this one return it, or put it into the pipeline's data."
