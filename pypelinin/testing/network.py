"""A network that loses, doubles, delays and reorders, and can be cut in one direction.

Every message is encoded when it is sent and decoded when it arrives, so nothing but bytes
passes between two machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pypelinin.testing.timeline import Timeline
from pypelinin.wire.codec import Envelope, from_frames, to_frames
from pypelinin.wire.messages import MESSAGES, NAMES

Route = tuple[str, str]
"""(from, to), names of processes."""


@dataclass(slots=True)
class Weather:
    """What the network does to one message; probabilities and seconds."""

    loss: float = 0.0
    doubling: float = 0.0
    delay_s: float = 0.001
    jitter_s: float = 0.0


class LossyNetwork:
    """Carries envelopes between named processes of one `Timeline`."""

    def __init__(
        self,
        timeline: Timeline,
        random: Random,
        counters: Counter[str],
        trace: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.weather = Weather()
        self.cuts: dict[Route, float] = {}
        self.counters = counters
        self._timeline = timeline
        self._random = random
        self._trace = trace

    def cut(self, route: Route, until: float) -> None:
        """Nothing arrives on *route* before *until*."""
        self.cuts[route] = until
        self.counters["cuts"] += 1

    def calm(self) -> None:
        """From now on everything arrives, once and soon."""
        self.weather = Weather()
        self.cuts.clear()

    def send(self, route: Route, envelope: Envelope, deliver: Callable[[Envelope], None]) -> None:
        """Bring *envelope* along *route*; *deliver* is called for each copy that arrives."""
        frames = to_frames(envelope, NAMES[type(envelope.message)])
        for frame in frames:
            self._trace(frame)
        weather, random = self.weather, self._random
        copies = 1
        if random.random() < weather.loss:
            self.counters["lost messages"] += 1
            copies = 0
        elif random.random() < weather.doubling:
            self.counters["doubled messages"] += 1
            copies = 2
        for _ in range(copies):
            delay_s = weather.delay_s
            if weather.jitter_s:
                delay_s += random.expovariate(1 / weather.jitter_s)
            self._timeline.after(delay_s, lambda: self._arrive(route, frames, deliver))

    def _arrive(
        self, route: Route, frames: list[bytes], deliver: Callable[[Envelope], None]
    ) -> None:
        until = self.cuts.get(route, 0.0)
        if self._timeline.now < until:
            self.counters["messages held by a cut"] += 1
            if self._random.random() < 0.5:  # the sender's system tries again, or gives up
                self._timeline.at(until, lambda: self._arrive(route, frames, deliver))
            return
        deliver(from_frames(MESSAGES, frames))
