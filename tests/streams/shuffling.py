"""An executor that carries portions out in a random order, and loses some, in this process."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from pypelinin.errors import Killed
from pypelinin.streams import conducting
from pypelinin.streams.inside import play
from pypelinin.streams.inside.portions import Chunk


class Shuffling(Executor):
    """Stands in for slots and for the queue of what has ended, so that one thread does all.

    Each portion has time for everything, or for one item only.
    """

    def __init__(self, rng: random.Random, deaths: float) -> None:
        self._rng = rng
        self._deaths = deaths
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._ended: list[int] = []
        self.died = 0
        self.carried_out = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, fn, args))
        return future

    def put(self, number: int) -> None:
        self._ended.append(number)

    def empty(self) -> bool:
        return not self._ended

    def get(self) -> int:
        while not self._ended or (self._waiting and self._rng.random() < 0.5):
            self._step()
        return self._ended.pop(self._rng.randrange(len(self._ended)))

    def _step(self) -> None:
        future, fn, args = self._waiting.pop(self._rng.randrange(len(self._waiting)))
        is_several = isinstance(args[0], Chunk) and args[0].size > 1
        if is_several and self._rng.random() < self._deaths:  # of one item it would be the end
            self.died += 1
            future.set_exception(Killed("the slot was killed"))
            return
        play.LIMIT_S = self._rng.choice((-1.0, 60.0))
        play.BUDGET_S = self._rng.choice((-1.0, 60.0))
        self.carried_out += 1
        future.set_result(fn(*args))


def shuffled(monkeypatch: pytest.MonkeyPatch, seed: int, deaths: float = 0.0) -> Shuffling:
    """An executor of that kind; conductors made from now on take what ended from it."""
    for name in ("LIMIT_S", "BUDGET_S"):
        monkeypatch.setattr(play, name, getattr(play, name))
    executor = Shuffling(random.Random(seed), deaths)
    executor._max_workers = 3  # type: ignore[attr-defined]  # what others have
    monkeypatch.setattr(conducting, "SimpleQueue", lambda: executor)
    return executor
