"""A store in this process's memory: for tests, and for runs embedded in one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, ClassVar

from pypelinin.stores.encoding import decode, encode
from pypelinin.stores.keyed import KeyedStore

MONITORING_KEPT = 1000


class _Space:
    """What instances share: values by pipeline and key, fences by pipeline and job."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.values: dict[str, dict[str, str]] = {}
        self.fences: dict[tuple[str, str], int] = {}
        self.monitoring: deque[str] = deque()


class MemoryStore(KeyedStore):
    """Results in memory, by pipeline and key, until the process ends.

    They are per process: two slots that are two processes do not see each other's results, so on
    a cluster, or with more than one worker process, use `FileStore` or `SQLStore`. Values are
    kept encoded, so what works here works there.

    *space*: instances of the same name in one process share their results; without a name an
    instance has its own. *monitoring_kept*: so many newest figures are kept. Threads may share.
    """

    _spaces: ClassVar[dict[str, _Space]] = {}

    def __init__(self, space: str | None = None, *, monitoring_kept: int = MONITORING_KEPT) -> None:
        self._space = _Space() if space is None else self._spaces.setdefault(space, _Space())
        self._monitoring_kept = monitoring_kept

    @classmethod
    def forget(cls, space: str) -> None:
        """Drop a shared space; instances that have it keep it to themselves."""
        cls._spaces.pop(space, None)

    def pipelines(self) -> list[str]:
        with self._space.lock:
            return sorted(self._space.values)

    def save_monitoring(self, data: dict[str, Any]) -> None:
        text = encode("monitoring", data)
        with self._space.lock:
            figures = self._space.monitoring
            figures.append(text)
            while len(figures) > self._monitoring_kept:
                figures.popleft()

    def load_monitoring(self) -> list[dict[str, Any]]:
        """The figures that are kept, oldest first."""
        with self._space.lock:
            texts = list(self._space.monitoring)
        return [decode(text) for text in texts]

    def _write(self, pipeline: str, job: str, fence: int, entries: Mapping[str, str]) -> None:
        with self._space.lock:
            if fence < self._space.fences.get((pipeline, job), fence):
                return
            self._space.fences[pipeline, job] = fence
            if entries:
                self._space.values.setdefault(pipeline, {}).update(entries)

    def _read(self, pipeline: str, keys: Iterable[str] | None) -> dict[str, Any]:
        with self._space.lock:
            kept = self._space.values.get(pipeline, {})
            texts = {key: kept[key] for key in (kept if keys is None else keys) if key in kept}
        return {key: decode(text) for key, text in texts.items()}

    def _keys(self, pipeline: str) -> list[str]:
        with self._space.lock:
            return list(self._space.values.get(pipeline, ()))
