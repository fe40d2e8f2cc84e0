"""A job: one unit of work of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pypelinin.errors import DefinitionError

RETRIES_MAX = 1000
NAME_CHARACTERS_MAX = 1024


class Job:
    """One use of a worker in a pipeline.

    *worker* is the name of a worker the Brokers offer. The same worker twice in one
    pipeline needs a *name* for at least one of them. *data* replaces the pipeline's
    data for this job. *labels* are what the node must carry, *retries* how often a
    failure is tried again, and a job of a higher *priority* goes first; what is left
    at None is taken from the pipeline.

    Two jobs are equal if worker and name are. Raises DefinitionError for options that
    make no sense.
    """

    __slots__ = ("data", "labels", "name", "priority", "retries", "worker")

    def __init__(
        self,
        worker: str,
        data: Any = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        retries: int | None = None,
        priority: int | None = None,
    ) -> None:
        self.worker = _checked_name("a worker's name", worker)
        self.name = worker if name is None else _checked_name("a job's name", name)
        self.data = data
        self.labels = None if labels is None else checked_labels(labels)
        self.retries = None if retries is None else checked_retries(retries)
        self.priority = None if priority is None else checked_priority(priority)

    @property
    def worker_name(self) -> str:
        """The worker's name, under the name the original gave it."""
        return self.worker

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.worker == other.worker and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.worker, self.name))

    def __repr__(self) -> str:
        if self.name == self.worker:
            return f"Job({self.worker!r})"
        return f"Job({self.worker!r}, name={self.name!r})"


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
