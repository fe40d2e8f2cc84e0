"""The network does to messages what its weather says, and nothing else."""

from __future__ import annotations

from array import array
from collections import Counter
from random import Random
from typing import Any

import pytest

from pypelinin.testing.network import LossyNetwork, Weather
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.codec import Envelope
from pypelinin.wire.messages import ForgetRuns, Ping

HERE = ("a", "b")


class Wire:
    """A network, and what arrived at its other end when."""

    def __init__(self, seed: int = 1) -> None:
        self.timeline = Timeline()
        self.counters: Counter[str] = Counter()
        self.traced: list[bytes] = []
        self.network = LossyNetwork(self.timeline, Random(seed), self.counters, self.traced.append)
        self.arrived: list[tuple[float, Any]] = []
        """Envelopes; each test knows what is in them."""

    def send(self, number: int, route: tuple[str, str] = HERE) -> None:
        self.network.send(route, Envelope(Ping(number)), self._arrive)

    def _arrive(self, envelope: Envelope) -> None:
        self.arrived.append((self.timeline.now, envelope))

    def numbers(self) -> list[int]:
        while self.timeline.step():
            pass
        return [envelope.message.sent for _, envelope in self.arrived]


def test_in_calm_weather_all_arrives_once_and_in_order() -> None:
    wire = Wire()
    for number in range(100):
        wire.send(number)
    assert wire.numbers() == list(range(100))
    assert len(wire.traced) == 100


@pytest.mark.parametrize(
    ("weather", "low", "high"),
    [(Weather(loss=0.3), 600, 800), (Weather(doubling=0.3), 1200, 1400), (Weather(loss=1.0), 0, 0)],
)
def test_some_is_lost_or_doubled(weather: Weather, low: int, high: int) -> None:
    wire = Wire()
    wire.network.weather = weather
    for number in range(1000):
        wire.send(number)
    assert low <= len(wire.numbers()) <= high
    assert wire.counters["lost messages"] + wire.counters["doubled messages"] >= min(1, 1000 - low)


def test_jitter_reorders() -> None:
    wire = Wire()
    wire.network.weather = Weather(jitter_s=0.1)
    for number in range(100):
        wire.send(number)
    assert wire.numbers() != list(range(100))
    assert sorted(wire.numbers()) == list(range(100))


def test_a_cut_holds_one_direction_until_its_end() -> None:
    wire = Wire()
    wire.network.cut(HERE, 5.0)
    for number in range(100):
        wire.send(number)
    wire.send(1000, ("b", "a"))
    assert wire.numbers()[0] == 1000
    assert 20 < len(wire.arrived) < 80  # the rest was given up
    assert all(when >= 5.0 for when, _ in wire.arrived[1:])


def test_calm_heals_everything() -> None:
    wire = Wire()
    wire.network.weather = Weather(loss=1.0)
    wire.network.cut(HERE, 1e9)
    wire.network.calm()
    wire.send(1)
    assert wire.numbers() == [1]


def test_only_bytes_pass() -> None:
    wire, sent = Wire(), ForgetRuns(array("I", [1]))
    wire.network.send(HERE, Envelope(sent, 5, 6, 7), wire._arrive)
    sent.runs[0] = 99
    assert wire.timeline.step()
    _, copy = wire.arrived[0]
    assert (copy.session, copy.number, copy.received) == (5, 6, 7)
    assert copy.message.runs == array("I", [1])


def test_the_same_seed_is_the_same_weather() -> None:
    def story(seed: int) -> list[int]:
        wire = Wire(seed)
        wire.network.weather = Weather(loss=0.3, doubling=0.3, jitter_s=0.1)
        for number in range(50):
            wire.send(number)
        return wire.numbers()

    assert story(3) == story(3) != story(4)
