"""A simulated machine whose participants never hold more than it has."""

from __future__ import annotations

from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.sharing import OthersChanged, Share
from pypelinin.machine import Event
from pypelinin.testing.hosts import LOOK_S, Host
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
