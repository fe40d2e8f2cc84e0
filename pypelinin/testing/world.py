"""What the processes of one simulation share, and what they tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from pypelinin.cluster.router import Router
from pypelinin.config import Limits
from pypelinin.machine import Event
from pypelinin.testing.history import History
from pypelinin.testing.journal import SimJournal
from pypelinin.testing.network import LossyNetwork
from pypelinin.testing.promises import Promises
from pypelinin.testing.scripts import RunScript
from pypelinin.testing.slots import Odds
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.codec import Envelope


class Station(Protocol):
    """Where messages go to."""

    name: str
    life: int
    up: bool
    address: bytes

    def start(self) -> None: ...

    def take(self, event: Event) -> None: ...


class RouterStation(Station, Protocol):
    def receive(self, peer: bytes, envelope: Envelope, sender: Station, life: int) -> None: ...


class World:
    """Time, chance, wires, the journal, and the judges of one simulation."""

    router: RouterStation

    def __init__(self, seed: int, limits: Limits, trace: Callable[[bytes], None]) -> None:
        self.random = Random(seed)
        self.limits = limits
        self.timeline = Timeline()
        self.counters: Counter[str] = Counter()
        self.scripts: dict[str, RunScript] = {}
        self.history = History(self.scripts, self.counters)
        self.promises = Promises(self.counters)
        self.network = LossyNetwork(self.timeline, self.random, self.counters, trace)
        self.journal = SimJournal(self.timeline, self.random, trace)
        self.odds = Odds()
        self.addresses: dict[bytes, Station] = {}
        self.nodes: list[str] = []
        self.trouble_s = 0.0
        """How long faults go on."""
        self.trace = trace

    def turn(self, process: Station, batch: Sequence[Event]) -> None:
        """*process* is about to handle *batch*."""

    def router_crashed(self, machine: Router) -> None:
        """The Router dies; judge what it leaves."""

    def router_restarted(self, machine: Router) -> None:
        """A new Router has replayed the journal; judge what it knows."""

    def restart_later(self, process: Station) -> None:
        """*process* stopped itself; it comes back after a while."""
