"""What the stores of this package have in common: results by pipeline and key.

- `save`: each item of a mapping is kept under its own key; None keeps nothing; any other result
  is kept under the job's name. A key that is saved again is replaced.
- `retrieve`: a dict of the names the worker requires, looked up among what the pipeline's jobs
  saved, then in the pipeline's data.
- An attempt whose fence is lower than one that already saved for the same job is ignored whole.
  Fences of different jobs are not compared: the later save of a shared key wins.
- A key is replaced whole or not at all. A save of several keys that is killed in between leaves
  some of them; the next attempt writes all of them again.

A store of this kind writes four methods: `_write`, `_read`, `_keys` and `pipelines`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from pypelinin.store import Info, MissingInput, choose, required_names
from pypelinin.stores.encoding import checked_name, encode


class KeyedStore(ABC):
    """Results by pipeline and key; see the module for what that means."""

    def retrieve(self, info: Info) -> dict[str, Any]:
        """The required names with their values; {} if the worker requires none.

        Raises `MissingInput` if a name was neither saved nor is in the pipeline's data.
        """
        names = required_names(info)
        if not names:
            return {}
        pipeline = checked_name("pipeline", info["pipeline"])
        found, missing = choose(info, self._read(pipeline, names))
        if missing:
            data = info["data"] if isinstance(info["data"], Mapping) else {}
            known = sorted({*self._keys(pipeline), *map(str, data)})
            raise MissingInput(info["worker"], pipeline, missing, known)
        return found

    def save(self, info: Info) -> None:
        """Keep `info["worker_result"]`, unless a newer attempt of the job already saved.

        Raises TypeError for what JSON and bytes cannot express; nothing is kept then.
        """
        pipeline = checked_name("pipeline", info["pipeline"])
        job = checked_name("job", info["job"])
        self._write(pipeline, job, info["fence"], _entries(job, info.get("worker_result")))

    def load(self, pipeline: str) -> dict[str, Any]:
        """All that was saved for *pipeline*, by key in alphabetical order; {} if nothing was."""
        values = self._read(checked_name("pipeline", pipeline), None)
        return {key: values[key] for key in sorted(values)}

    @abstractmethod
    def pipelines(self) -> list[str]:
        """The ids of all pipelines for which a key is kept, in alphabetical order."""

    def close(self) -> None:  # noqa: B027 - most stores hold nothing open
        """Give back what the store holds open; it may be used again afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _write(self, pipeline: str, job: str, fence: int, entries: Mapping[str, str]) -> None:
        """Keep *entries* (key to encoded value) unless a higher fence of *job* is known.

        The fence is remembered even if there is nothing to keep.
        """

    @abstractmethod
    def _read(self, pipeline: str, keys: Iterable[str] | None) -> dict[str, Any]:
        """The decoded values of those of *keys* that are kept; of all if None."""

    @abstractmethod
    def _keys(self, pipeline: str) -> list[str]:
        """All keys kept for *pipeline*, in any order."""


def _entries(job: str, result: object) -> dict[str, str]:
    """Key to encoded value. In the order of the keys, so that writers never wait in a circle."""
    if result is None:
        return {}
    if not isinstance(result, Mapping):
        return {job: encode(job, result)}
    values = {checked_name("key", key): value for key, value in result.items()}
    return {key: encode(key, values[key]) for key in sorted(values)}
