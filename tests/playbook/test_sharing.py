"""Participants on one node: never more than there is, nothing idle that is wanted, and turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from pypelinin.cluster.amounts import Amount, weight
from pypelinin.cluster.sharing import (
    TURN_S,
    Claim,
    Indices,
    Share,
    Shared,
    as_plain,
    beside,
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
    lot: int = 0
    """The one that waits for more than its part: the how many-eth that begins."""

    @property
    def used(self) -> Amount:
        cores, memory = sum(r[0] for r in self.running), sum(r[1] for r in self.running)
        return Amount(cores, memory, {"gpu": sum(len(r[2]) for r in self.running)})

    def wish(self, idle: bool) -> Share:
        used = self.used
        first = self.waiting[:20]
        needs = [Amount(cores, memory, {"gpu": gpus}) for cores, memory, gpus in first]
        need = Amount(used.cores, used.memory, dict(used.resources))
        for more in needs:
            need.add(more)
        limit = self.shared.limit if self.shared else Capacity(0)
        may = Amount(limit.cores, limit.memory, dict(limit.resources))
        if self.lot != self.served + 1:
            self.lot = self.served + 1 if needs and not may.holds(needs[0]) else 0
        least = min((weight(more, self.most) for more in needs), default=0)
        devices = {"gpu": tuple(i for r in self.running for i in r[2])}
        head = needs[0] if self.lot else Amount()
        return Share(used, devices, need, idle, head, self.lot, least)

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
            if len(taken) + gpus > limit.resources["gpu"] or gpus > len(free):
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
    one.waiting, other.waiting = [(1, 10, 0)] * 3, [(1, 10, 0)] * 3
    one.look([one, other], 0.0)
    other.look([one, other], 0.1)
    one.running.clear()
    one.look([one, other], 0.2)
    assert one.running  # nobody has waited for long yet
    other.look([one, other], 0.1 + TURN_S)
    assert other.own.until
    one.running.clear()
    one.look([one, other], 0.2 + TURN_S)
    assert one.own.cores == 0
    other.look([one, other], 0.2 + TURN_S)
    assert other.own.cores == 1
    other.running.clear()
    other.look([one, other], 0.3 + TURN_S)
    assert other.running  # a turn lasts for a while


def play(ones: list[One], until_s: float, lasts: Callable[[One], float]) -> None:
    """Each looks ten times a second; its jobs take as long as *lasts* says."""
    begun: dict[int, list[tuple[float, tuple[int, int, tuple[int, ...]]]]] = {}
    now = 0.0
    while now < until_s:
        now += 0.1
        for one in ones:
            mine = begun.setdefault(id(one), [])
            mine[:] = [(end, job) for end, job in mine if end > now]
            one.running = [job for _, job in mine]
            before = len(one.running)
            one.look(ones, now)
            mine += [(now + lasts(one), job) for job in one.running[before:]]
            check(ones, ones[0].most.cores)


def test_a_lot_that_needs_all_cores_gets_its_turn_beside_endless_small_ones() -> None:
    large, small = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    large.waiting, small.waiting = [(4, 10, 0)] * 3, [(1, 10, 0)] * 10_000
    play([small, large], 60.0, lambda _: 0.3)
    assert large.served == 3
    assert small.served > 500  # four at a time, and none of them was kept back for long


def test_two_that_need_all_cores_do_not_wait_for_each_other() -> None:
    ones = [One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(3)]
    for one in ones:
        one.waiting = [(4, 10, 0)] * 10
    play(ones, 15.0, lambda _: 0.3)
    assert [one.served for one in ones] == [10, 10, 10]


def test_who_has_long_jobs_leaves_others_time_and_gets_his() -> None:
    """A turn of an hour is paid back: whoever waited for it has his turn for half as long."""
    large, small = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    large.waiting, small.waiting = [(4, 10, 0)] * 100, [(1, 10, 0)] * 100_000
    play([small, large], 300.0, lambda one: 20.0 if one is large else 0.2)
    assert large.served >= 7
    assert small.served >= 1000


def test_two_that_each_hold_one_of_two_devices_that_both_need_go_on() -> None:
    ones = [One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2)]
    for one in ones:
        one.waiting = [(1, 10, 1)] + [(1, 10, 3), (1, 10, 2)] * 5
    play(ones, 60.0, lambda _: 0.3)
    assert [one.served for one in ones] == [11, 11]


def test_memory_is_shared_as_cores_are() -> None:
    """One core and three quarters of the memory: that is three cores of four."""
    large, small = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    large.waiting, small.waiting = [(1, MEMORY * 3 // 4, 0)] * 3, [(1, MEMORY // 4, 0)] * 1000
    play([small, large], 30.0, lambda _: 0.3)
    assert large.served == 3
    assert small.served > 100


def test_who_can_begin_nothing_with_its_part_leaves_it_to_others() -> None:
    large, small = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    large.waiting, small.waiting = [(4, 10, 0)], [(1, 10, 0)] * 9
    small.look([large, small], 0.0)
    large.look([large, small], 0.1)
    small.running.clear()
    small.look([large, small], 0.2)
    assert len(small.running) == 4
    large.look([large, small], 0.1 + TURN_S)
    small.running = small.running[:1]
    small.look([large, small], 0.2 + TURN_S)
    assert (large.own.head, small.shared and small.shared.limit.cores) == (4, 0)


def test_who_is_offered_nothing_now_is_told_what_he_could_have() -> None:
    one, other = (One(Capacity(4, MEMORY, {"gpu": 3})) for _ in range(2))
    one.waiting = [(1, 10, 0)] * 4
    one.look([one, other], 0.0)
    other.look([one, other], 0.1)
    assert other.shared is not None
    assert (other.shared.limit.cores, other.shared.offer) == (
        0, Capacity(2, MEMORY // 2, {"gpu": 0}),
    )  # fmt: skip


def test_who_was_told_to_use_more_than_there_is_makes_the_node_larger_for_all() -> None:
    large, usual = One(Capacity(4, MEMORY, {"gpu": 3})), One(Capacity(2, MEMORY, {"gpu": 3}))
    large.waiting = usual.waiting = [(1, 10, 0)] * 9
    large.look([large, usual], 0.0)
    usual.look([large, usual], 0.1)
    large.running.clear()
    large.look([large, usual], 0.2)
    usual.look([large, usual], 0.3)
    assert (large.own.cores, usual.own.cores) == (2, 2)


def test_of_who_is_bound_to_other_processors_only_devices_count() -> None:
    other = Claim(2, 100, {"gpu": (1,)}, 1, 2, 1.0, cpus=(2, 3), head=2, asks={"gpu": 1}, waits=1.0)
    assert beside(Claim(cpus=(0, 1)), other) == Claim(
        devices={"gpu": (1,)}, asks={"gpu": 1}, waits=1.0
    )
    assert beside(Claim(cpus=(1, 2)), other) == beside(Claim(), other) == other


def test_a_claim_reads_as_it_was_written() -> None:
    claim = Claim(2, 100, {"gpu": (1, 2)}, 3, 4, 5.5, 1, 3, 6.5, 7.5, 9, {"gpu": 1}, (0, 5))
    assert from_plain(as_plain(claim)) == claim


@pytest.mark.parametrize(
    "change",
    [{"cores": -1}, {"cores": "2"}, {"devices": [1]}, {"devices": {"gpu": ["x"]}}, {"since": "x"}],
)
def test_what_is_no_claim_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_plain({**as_plain(Claim()), **change})
