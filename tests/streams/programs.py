"""Random streams, and what must come out of them: an interpreter that knows no slots.

An item is (value, fuel): whatever sends an item back or makes several of one takes fuel away, so
each program ends. Functions do not depend on the order of items.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from pypelinin.streams import Multiple, Work

Item = tuple[int, int]


class Sum:
    """A store that does not know in which order it was filled."""

    def __init__(self) -> None:
        self.total = self.count = self.turns = 0
        self.fuel = 2
        """The least of what came in: so much it may give on."""

    def add(self, item: Item) -> None:
        self.fuel = min(self.fuel, item[1])
        self.total += item[0]
        self.count += 1


def plus(step: int, item: Item) -> Item:
    return item[0] + step, item[1]


def dropped(step: int, item: Item) -> Item | None:
    return None if item[0] % 3 == step % 3 else item


def doubled(step: int, item: Item) -> Any:
    value, fuel = item
    if fuel <= 0:
        return item
    return Multiple([(value, fuel - 1), None, (value + step, fuel - 1)])


JOBS = (plus, dropped, doubled)


def turn(turns: int, width: int, store: Sum, first: Item) -> Any:
    """Items for the next turn; none after so many."""
    store.turns += 1
    store.fuel = min(store.fuel, first[1])
    if store.turns > turns or first[1] <= 0:
        return None
    return Multiple([(first[0] + store.total + i, first[1] - 1) for i in range(width)])


def turned(store: Sum, item: Item) -> Item | None:
    store.add(item)
    value, fuel = item
    return (value // 2, fuel - 1) if fuel > 0 and value % 2 == 0 else None


def loop_out(store: Sum) -> Item | None:
    return (store.total % 1009, store.fuel) if store.total % 7 else None


def reduced(recurs: bool, store: Sum, works: list[Item], others: list[Sum]) -> Any:
    for other in others:
        store.total += other.total
        store.count += other.count
        store.fuel = min(store.fuel, other.fuel)
    again = []
    for item in works:
        store.add(item)
        if recurs and item[1] > 0 and item[0] % 5 == 0:
            again.append((item[0] // 5, item[1] - 1))
    return Multiple(again) if again else None


def reduce_out(store: Sum) -> Any:
    fuel = store.fuel if store.count else 0
    return Multiple([(store.total % 1013, fuel), (store.count, fuel)])


class Job(NamedTuple):
    kind: int
    step: int


class Frame(NamedTuple):
    turns: int
    width: int
    body: tuple[Any, ...]


class Reduce(NamedTuple):
    recurs: bool


Stage = Job | Frame | Reduce


class Spec(NamedTuple):
    items: list[Item]
    stages: tuple[Stage, ...]


def specs(seed: int) -> Spec:
    """The random stream of that seed."""
    rng = random.Random(seed)
    items = [(rng.randrange(50), rng.randrange(3)) for _ in range(rng.randrange(8))]
    return Spec(items, tuple(_stages(rng, 3)))


def _stages(rng: random.Random, depth: int) -> Iterator[Stage]:
    for _ in range(rng.randrange(0 if depth < 3 else 1, 4)):
        chance = rng.random()
        if chance < 0.25 and depth:
            body = tuple(_stages(rng, depth - 1))
            yield Frame(rng.randrange(3), rng.randrange(1, 4), body)
        elif chance < 0.45:
            yield Reduce(rng.random() < 0.4)
        else:
            yield Job(rng.randrange(len(JOBS)), rng.randrange(4))


# --- the oracle ---------------------------------------------------------------------------------


def expected(spec: Spec) -> list[Item]:
    """What comes out, sorted."""
    return sorted(_through(spec.stages, spec.items))


def _listed(given: Any) -> list[Item]:
    if isinstance(given, Multiple):
        return [item for item in given.workList if item is not None]
    return [] if given is None else [given]


def _through(stages: tuple[Stage, ...], items: list[Item]) -> list[Item]:
    """All of *items* together through *stages*."""
    for i, stage in enumerate(stages):
        if isinstance(stage, Reduce):
            store = Sum()
            wave = _through_plain(stages[:i], items)
            while wave:
                again = [one for item in wave
                         for one in _listed(reduced(stage.recurs, store, [item], []))]  # fmt: skip
                wave = _through_plain(stages[:i], again)
            return _through(stages[i + 1 :], _listed(reduce_out(store)))
    return _through_plain(stages, items)


def _through_plain(stages: tuple[Stage, ...], items: list[Item]) -> list[Item]:
    for stage in stages:
        items = [one for item in items for one in _one(stage, item)]
    return items


def _one(stage: Stage, item: Item) -> list[Item]:
    if isinstance(stage, Job):
        return _listed(JOBS[stage.kind](stage.step, item))
    assert isinstance(stage, Frame)
    store = Sum()
    while wave := _listed(turn(stage.turns, stage.width, store, item)):
        while wave:
            ends = _through(stage.body, wave)
            wave = [one for end in ends for one in _listed(turned(store, end))]
    return _listed(loop_out(store))


# --- the real one --------------------------------------------------------------------------------


def built(spec: Spec, here: random.Random | None = None, **options: Any) -> Work:
    """The same as a Work; *here* says which stages stay in the caller's process."""
    work = Work(spec.items, **options)
    _add(work, spec.stages, here)
    return work


def _add(work: Work, stages: tuple[Stage, ...], here: random.Random | None) -> None:
    from functools import partial

    for stage in stages:
        slot = here is None or here.random() < 0.7
        if isinstance(stage, Job):
            work.job(partial(JOBS[stage.kind], stage.step), useMultiprocessing=slot)
        elif isinstance(stage, Reduce):
            work.reduce(
                partial(reduced, stage.recurs), store=Sum, emit=reduce_out, useMultiprocessing=slot
            )
        else:
            work.frame(
                partial(turn, stage.turns, stage.width), store=Sum, emit=loop_out,
                useMultiprocessing=slot,
            )  # fmt: skip
            _add(work, stage.body, here)
            work.frameEnd(turned)
