"""What goes wrong in a simulated cluster, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pypelinin.cluster.events import Drain
from pypelinin.testing.network import Weather
from pypelinin.testing.processes import (
    BrokerProcess,
    MemberProcess,
    PipelinerProcess,
    Process,
    RouterProcess,
)
from pypelinin.testing.world import World

KINDS = 10
LONG_S = 9.0
"""Longer than every lease."""


class Faults:
    """Draws one seed's weather, crashes, pauses and cuts; `end` stops and heals all."""

    def __init__(
        self, world: World, until_s: float, router: RouterProcess, members: Sequence[MemberProcess]
    ) -> None:
        self._world = world
        self._random = world.random
        self._until_s = until_s
        self._router = router
        self._members = members
        self._over = False
        self._mood = [1.0] * KINDS

    def begin(self) -> None:
        """Set the weather and plan what will go wrong."""
        random, world = self._random, self._world
        world.network.weather = Weather(
            loss=random.choice((0.0, 0.02, 0.1, 0.3)),
            doubling=random.choice((0.0, 0.1, 0.3)),
            delay_s=random.choice((0.0001, 0.002)),
            jitter_s=random.choice((0.0, 0.001, 0.01, 0.2, 0.8)),
        )
        if world.promises.forgetting:  # a message must not be older than what is forgotten
            world.network.weather.doubling = world.network.weather.jitter_s = 0.0
        world.journal.commit_s = random.choice((0.001, 0.01, 0.1, 0.5))
        world.odds.death = random.choice((0.0, 0.0, 0.02, 0.1))
        world.odds.stall = random.choice((0.0, 0.02, 0.1))
        world.odds.bad_start = random.choice((0.0, 0.0, 0.2))
        # a mixture of its own for each seed finds more than the same one for all
        self._mood = [random.choice((0.1, 1.0, 5.0)) for _ in range(KINDS)]
        if random.random() < 0.1:
            return  # a seed of weather alone
        mean_s = random.choice((1.5, 4.0, 8.0))
        when = random.expovariate(1 / mean_s)
        while when < self._until_s:
            world.timeline.at(when, self._strike)
            when += random.expovariate(1 / mean_s)

    def end(self) -> None:
        """Nothing goes wrong from now on, and what is down comes up."""
        self._over = True
        self._world.network.calm()
        self._world.journal.commit_s = 0.002
        odds = self._world.odds
        odds.death = odds.stall = odds.bad_start = 0.0
        for process in (self._router, *self._members):
            process.paused_until = 0.0
            if not process.up:
                process.start()

    # --- what can happen ---------------------------------------------------------------

    def _strike(self) -> None:
        kinds: list[tuple[int, Callable[[], None]]] = [
            (5, lambda: self._crash(self._router)),
            (5, lambda: self._crash(self._member())),
            (4, lambda: self._pause(self._member())),
            (2, lambda: self._pause(self._router)),
            (3, self._crash_behind_a_back),
            (4, self._crash_with_a_slow_disk),
            (4, self._cut),
            (2, self._reconnect),
            (2, self._drain),
            (1, self._stop_router),
        ]
        weights = [weight * mood for (weight, _), mood in zip(kinds, self._mood, strict=True)]
        self._random.choices(kinds, weights)[0][1]()

    def _member(self) -> MemberProcess:
        return self._random.choice(self._members)

    def _crash(self, process: Process) -> None:
        if not process.up or self._over:
            return
        self._world.counters[f"crashes of a {process.name.split()[0]}"] += 1
        process.crash()
        self._come_back(process)
        if self._random.random() < 0.3:  # and once more, soon after it is back
            self._world.timeline.after(self._random.uniform(0.1, 2), lambda: self._crash(process))

    def _come_back(self, process: Process) -> None:
        delay_s = self._random.choice((0.05, 0.5, 3.0, LONG_S))

        def start() -> None:
            if not process.up:
                process.start()

        self._world.timeline.after(delay_s, start)

    def _pause(self, process: Process, duration_s: float = 0.0) -> None:
        self._world.counters["pauses"] += 1
        duration_s = duration_s or self._random.choice((0.3, 2.0, 4.0, LONG_S))
        process.paused_until = max(process.paused_until, self._world.timeline.now + duration_s)

    def _crash_behind_a_back(self) -> None:
        """Members are away while the Router dies; their news are of a life that is over."""
        for member in self._members:
            if self._random.random() < 0.5:
                self._pause(member, self._random.uniform(0.5, 4.0))
        self._world.timeline.after(self._random.uniform(0.1, 1), lambda: self._crash(self._router))

    def _crash_with_a_slow_disk(self) -> None:
        """Much is done that the Router's death undoes."""
        journal = self._world.journal
        before, journal.commit_s = journal.commit_s, 5.0

        def crash() -> None:
            if not self._over:
                journal.commit_s = before
            self._crash(self._router)

        delay_s = self._random.uniform(0.3, 3)
        self._world.timeline.after(delay_s, crash)
        for member in self._members:
            likely = 0.8 if isinstance(member, PipelinerProcess) else 0.3
            if self._random.random() < likely:  # what it says meanwhile comes to the next life
                until = self._world.timeline.now + delay_s + self._random.uniform(0.1, 2)
                self._world.network.cut((member.name, self._router.name), until)

    def _cut(self) -> None:
        member = self._member().name
        until = self._world.timeline.now + self._random.choice((0.5, 2.0, 4.0, LONG_S))
        routes = [(member, self._router.name), (self._router.name, member)]
        for route in self._random.choice((routes, routes[:1], routes[1:])):
            self._world.network.cut(route, until)

    def _reconnect(self) -> None:
        """A connection breaks and is made anew, unseen by the machine."""
        self._member().reconnect()
        self._world.counters["silent reconnects"] += 1

    def _drain(self) -> None:
        member = self._member()
        if isinstance(member, BrokerProcess) and member.up:
            self._world.counters["drains"] += 1
            member.drain()
            if self._random.random() < 0.3:
                self._world.timeline.after(self._random.uniform(0, 1), member.drain)

    def _stop_router(self) -> None:
        if self._router.up:
            self._world.counters["orderly ends of the router"] += 1
            self._router.take(Drain())
            if self._random.random() < 0.3:
                self._router.take(Drain())
