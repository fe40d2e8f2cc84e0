"""Participants on one node: never more than there is, nothing idle that is wanted, and turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.sharing import (
    TURN_S,
    Claim,
    Indices,
    Share,
    Shared,
    as_plain,
    from_plain,
    share,
)
from pypelinin.wire.definitions import Capacity

MEMORY = 4000
GPUS: Indices = {"gpu": (0, 1, 2)}


@dataclass
class One:
    """A participant whose jobs begin when they may and end when they like."""

    most: Capacity
    own: Claim = field(default_factory=Claim)
    shared: Shared | None = None
    running: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    waiting: list[tuple[int, int, int]] = field(default_factory=list)
    served: int = 0

    @property
    def used(self) -> Amount:
        cores, memory = sum(r[0] for r in self.running), sum(r[1] for r in self.running)
        return Amount(cores, memory, {"gpu": sum(len(r[2]) for r in self.running)})

    def wish(self, idle: bool) -> Share:
        used = self.used
        need = Amount(
            used.cores + sum(w[0] for w in self.waiting),
            used.memory + sum(w[1] for w in self.waiting),
            {"gpu": used.resources["gpu"] + sum(w[2] for w in self.waiting)},
        )
        return Share(used, {"gpu": tuple(i for r in self.running for i in r[2])}, need, idle)

    def look(self, others: list[One], now: float, idle: bool = False) -> None:
        claims = [other.own for other in others if other is not self]
        self.own, self.shared = share(self.most, GPUS, self.own, claims, self.wish(idle), now)
        self.start()

    def start(self) -> None:
        while self.waiting and self.shared is not None:
            cores, memory, gpus = self.waiting[0]
            used, limit = self.used, self.shared.limit
            taken = [i for r in self.running for i in r[2]]
            free = [i for i in self.shared.devices["gpu"] if i not in taken]
            if used.cores + cores > limit.cores or used.memory + memory > limit.memory:
                return
            if gpus > len(free):
                return
            self.waiting.pop(0)
            self.running.append((cores, memory, tuple(free[:gpus])))
            self.served += 1


def check(ones: list[One], total: int) -> None:
    assert sum(one.own.cores for one in ones) <= total
    assert sum(one.own.memory for one in ones) <= MEMORY
    held = [i for one in ones for i in one.own.devices.get("gpu", ())]
    assert len(set(held)) == len(held)
    for one in ones:
        assert one.used.cores <= one.own.cores
        assert one.used.memory <= one.own.memory
        assert {i for r in one.running for i in r[2]} <= set(one.own.devices.get("gpu", ()))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_they_want_they_never_hold_more_than_there_is(seed: int) -> None:
    random = Random(seed)
    total = random.choice((1, 2, 4, 8))
    ones = [One(Capacity(total, MEMORY, {"gpu": 3})) for _ in range(random.randint(1, 5))]
    now = 0.0
    for _ in range(400):
        now += random.choice((0.0, 0.1, 0.7))
        one = random.choice(ones)
        step = random.random()
        if step < 0.3:
            memory = random.choice((0, 100, 900, MEMORY))
            one.waiting.append((random.randint(1, total), memory, random.choice((0, 0, 1, 3))))
        elif step < 0.5 and one.running:
            one.running.pop(random.randrange(len(one.running)))
        elif step < 0.55:
            ones[ones.index(one)] = One(one.most)  # it died, and comes again
        else:
            one.look(ones, now, idle=not one.running and not one.waiting)
        check(ones, total)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("total", [1, 2, 4])
def test_all_that_is_wanted_is_done_in_the_end(count: int, total: int) -> None:
    ones = [One(Capacity(total, MEMORY, {"gpu": 3})) for _ in range(count)]
    for one in ones:
        one.waiting = [(1, 10, 0)] * 40
    now, most = 0.0, 0
    for _ in range(40 * count * 12):
        now += 0.25
        for one in ones:
            one.look(ones, now)
        check(ones, total)
        running = sum(len(one.running) for one in ones)
        most = max(most, running)
        for one in ones:
            one.running = one.running[1:]  # one job of each ends
    assert all(one.served == 40 for one in ones), [one.served for one in ones]
    assert most == total


def test_who_is_alone_has_all() -> None:
    one = One(Capacity(4, MEMORY, {"gpu": 3}))
    one.waiting = [(1, 10, 1)]
    one.look([one], 0.0)
    assert (one.own.cores, one.own.memory, one.own.devices) == (4, MEMORY, GPUS)
    one.running.clear()
    one.look([one], 1.0)
    assert one.own.cores == 4  # it may soon need it again
    one.look([one], 2.0, idle=True)
    assert one.own.cores == 0
    assert one.shared is not None
    assert one.shared.offer.cores == 4


def test_what_others_want_is_given_up_as_jobs_end() -> None:
    one, other = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    one.waiting = [(1, 10, 0)] * 6
    one.look([one, other], 0.0)
    other.waiting = [(1, 10, 0)] * 6
    other.look([one, other], 0.1)
    assert (other.own.cores, other.own.wants) == (0, 4)
    one.look([one, other], 0.2)
    assert one.own.cores == 4  # its jobs have them
    assert one.shared is not None
    assert (one.shared.limit.cores, one.shared.contended) == (2, True)
    one.running = one.running[:2]
    one.look([one, other], 0.3)
    other.look([one, other], 0.4)
    assert (one.own.cores, other.own.cores) == (2, 2)


def test_with_fewer_cores_than_participants_they_take_turns() -> None:
    one, other = (One(Capacity(1, MEMORY, {"gpu": 3})) for _ in range(2))
    one.waiting = other.waiting = [(1, 10, 0)] * 3
    one.look([one, other], 0.0)
    other.look([one, other], 0.1)
    one.running.clear()
    one.look([one, other], 0.2)
    assert one.running  # its turn is not over
    one.running.clear()
    one.look([one, other], TURN_S)
    assert one.own.cores == 0
    other.look([one, other], TURN_S)
    assert other.own.cores == 1


def test_who_was_told_to_use_more_than_there_is_makes_the_node_larger_for_all() -> None:
    large, usual = One(Capacity(4, MEMORY, {"gpu": 3})), One(Capacity(2, MEMORY, {"gpu": 3}))
    large.waiting = usual.waiting = [(1, 10, 0)] * 9
    large.look([large, usual], 0.0)
    usual.look([large, usual], 0.1)
    large.running.clear()
    large.look([large, usual], 0.2)
    usual.look([large, usual], 0.3)
    assert (large.own.cores, usual.own.cores) == (2, 2)


def test_a_claim_reads_as_it_was_written() -> None:
    claim = Claim(2, 100, {"gpu": (1, 2)}, 3, 4, 5.5)
    assert from_plain(as_plain(claim)) == claim


@pytest.mark.parametrize(
    "change",
    [{"cores": -1}, {"cores": "2"}, {"devices": [1]}, {"devices": {"gpu": ["x"]}}, {"since": "x"}],
)
def test_what_is_no_claim_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_plain({**as_plain(Claim()), **change})
