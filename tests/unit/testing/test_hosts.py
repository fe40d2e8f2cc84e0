"""A simulated machine whose participants never hold more than it has."""

from __future__ import annotations

from random import Random

import pytest

from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.sharing import OthersChanged, Share
from pypelinin.machine import Event
from pypelinin.testing.history import Violation
from pypelinin.testing.hosts import LOOK_S, STARVES_S, Host, Neighbour
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import Capacity

ONE, TWO = ("one", 1), ("two", 1)


def wish(used: int, need: int) -> Share:
    return Share(Amount(used), {}, Amount(need), False)


def test_who_wants_more_hears_of_it_when_another_one_is_gone() -> None:
    timeline = Timeline()
    host = Host(Capacity(2, 100), timeline)
    heard: list[Event] = []
    host.join(ONE, lambda _: None)
    host.join(TWO, heard.append)
    assert host.update(ONE, wish(0, 2)).limit.cores == 2
    assert host.update(TWO, wish(0, 2)).limit.cores == 0
    assert host.claim(ONE) == Capacity(2, 100)
    host.leave(ONE)
    while timeline.step():
        pass
    assert OthersChanged() in heard
    assert timeline.now >= LOOK_S
    assert host.update(TWO, wish(0, 2)).limit.cores == 2


def test_who_waits_for_too_long_is_a_violation() -> None:
    timeline = Timeline()
    host = Host(Capacity(2, 100), timeline)
    host.join(ONE, lambda _: None)
    starving = Share(Amount(), {}, Amount(2), False, Amount(2), 7, 2)
    host.update(ONE, starving)
    timeline.now = STARVES_S - 1
    host.update(ONE, starving)
    timeline.now = STARVES_S + 1
    with pytest.raises(Violation, match="has waited for"):
        host.update(ONE, starving)


def test_a_neighbour_always_has_work_and_leaves_others_their_part() -> None:
    timeline = Timeline()
    host = Host(Capacity(2, 100), timeline)
    neighbour = Neighbour(host, timeline, Random(1), 2)
    neighbour.look()
    assert host.claim(("neighbour", 1)) == Capacity(2, 100)
    host.join(ONE, lambda _: None)
    got = host.update(ONE, wish(0, 2)).limit.cores
    while timeline.now < 20:
        assert timeline.step()
        got = host.update(ONE, wish(0, 2)).limit.cores
    assert got == 1
    assert neighbour.served > 10
