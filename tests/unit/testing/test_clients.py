"""A simulated user gets everything accepted and learns of every end."""

from __future__ import annotations

from pypelinin.testing.clients import ClientProcess
from pypelinin.testing.network import Weather
from pypelinin.testing.sim import ClusterSim


def calm(seed: int = 4) -> ClusterSim:
    """A cluster in which nothing goes wrong."""
    sim = ClusterSim(seed, trouble_s=5.0)
    sim.faults.begin = lambda: None  # type: ignore[method-assign]  # nothing
    return sim


def test_in_calm_weather_everything_is_accepted_and_ends() -> None:
    sim = calm()
    sim.run()
    for client in sim.clients:
        assert isinstance(client, ClientProcess)
        assert client.finished
        for script in client.scripts:
            assert script.accepted == set(range(len(script.parts)))
    assert sim.counters["expired requests"] == 0
    assert len(sim.promises.finished) == len(sim.scripts)


def test_a_lossy_network_only_costs_time() -> None:
    sim = calm()
    sim.network.weather = Weather(loss=0.3, doubling=0.3)
    sim.run()
    assert sim.counters["lost messages"] > 0
    assert all(client.finished for client in sim.clients)


def test_after_a_crash_what_was_not_accepted_is_submitted_anew() -> None:
    sim = calm()
    client = max(sim.clients, key=lambda c: len(c.scripts))
    for script in client.scripts:
        script.submit_at = 0.0
    sim.timeline.at(0.0005, client.crash)
    sim.timeline.at(1.0, client.start)
    sim.run()
    assert client.life == 3
    assert client.finished
