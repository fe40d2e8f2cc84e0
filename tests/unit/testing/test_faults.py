"""Faults strike while they may, and everything is whole after their end."""

from __future__ import annotations

from collections import Counter
from functools import partial

from pypelinin.testing.network import Weather
from pypelinin.testing.sim import ClusterSim


def started(seed: int) -> ClusterSim:
    sim = ClusterSim(seed, trouble_s=20.0)
    sim.faults.begin()
    for process in (sim.router, *sim.brokers, *sim.pipeliners, *sim.clients):
        process.start()
    return sim


def is_over(sim: ClusterSim) -> bool:
    return sim.timeline.now >= sim.trouble_s


def test_every_kind_strikes_in_some_seed() -> None:
    total: Counter[str] = Counter()
    for seed in range(20):
        sim = started(seed)
        sim._run_until(partial(is_over, sim))
        total += sim.counters
    for name in (
        "crashes of a router", "crashes of a broker", "crashes of a client", "pauses", "cuts",
        "silent reconnects", "drains", "orderly ends of the router",
    ):  # fmt: skip
        assert total[name], name


def test_at_the_end_everybody_lives_and_the_network_is_calm() -> None:
    for seed in range(5):
        sim = started(seed)
        sim._run_until(partial(is_over, sim))
        sim.faults.end()
        assert sim.network.weather == Weather()
        assert sim.network.cuts == {}
        assert sim.odds.death == sim.odds.stall == sim.odds.bad_start == 0.0
        for process in (sim.router, *sim.brokers, *sim.pipeliners, *sim.clients):
            assert process.up
            assert not process.paused_until


def test_nothing_crashes_after_the_end() -> None:
    sim = started(1)
    sim.faults.end()
    lives = [process.life for process in (sim.router, *sim.brokers)]
    sim.faults._crash(sim.router)
    for broker in sim.brokers:
        sim.faults._crash(broker)
    assert [process.life for process in (sim.router, *sim.brokers)] == lives
