"""A simulated user: submits its scripts until they are accepted, and waits for their end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pypelinin.cluster.client import Client, Expired
from pypelinin.testing.history import demand
from pypelinin.testing.processes import MemberProcess
from pypelinin.testing.scripts import RunScript, with_other_content
from pypelinin.testing.world import World
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import Place
from pypelinin.wire.messages import (
    AddPipeline,
    Cancel,
    Cluster,
    DrainNodes,
    PauseRuns,
    PipelineAdded,
    Refused,
    Status,
)

TICK_S = 0.5
POLL_S = 1.0
Part = tuple[RunScript, int]


class ClientProcess(MemberProcess):
    """What it wants survives its death; what it asked and has no answer to does not."""

    machine: Client

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.scripts: list[RunScript] = []
        self._asked: dict[int, list[Part]] = {}
        self._cancelling: dict[int, RunScript] = {}
        self._quarrels: dict[int, RunScript] = {}
        self._sent: set[tuple[str, int]] = set()
        self._pausing: dict[int, RunScript] = {}
        self._draining: dict[int, bool] = {}
        self.drained = ""
        """A node that this user has drained, until it is said that it is open again."""

    @property
    def finished(self) -> bool:
        watched = self.machine.watched
        for script in self.scripts:
            known = watched.get(script.id)
            if known is None or not (known.finished_at or known.state == "unknown"):
                return False
        return True

    def machine_of_life(self) -> Client:
        first = self.world.random.randrange(1, 2**31)
        machine = Client(self.world.limits, first)
        machine.watch([s.id for s in self.scripts if len(s.accepted) == len(s.parts)])
        self._asked, self._cancelling, self._quarrels = {}, {}, {}
        self._pausing, self._draining = {}, {}
        self._sent = set()
        self.world.timeline.after(TICK_S, self._tick)
        return machine

    def crash(self) -> None:
        for script in self.scripts:
            if len(script.accepted) < len(script.parts):
                script.accepted.clear()  # the next life begins it anew
        super().crash()

    def _tick(self, life: int | None = None) -> None:
        life = self.life if life is None else life
        if self.up and self.life == life:
            self._plan_turn()
            self._drain()
            self.world.timeline.after(TICK_S, lambda: self._tick(life))

    def after_turn(self) -> None:
        for number in list(self.machine.answers):
            self._answered(number, self.machine.answers.pop(number))
        self.world.promises.told(self.machine.finished_news)
        self.machine.finished_news.clear()
        self._submit()
        self._cancel()
        self._pause()
        for command in self.machine.poll(self.now, POLL_S):
            self.perform(command)

    # --- asking ------------------------------------------------------------------------

    def _submit(self) -> None:
        now, random = self.world.timeline.now, self.world.random
        waiting = [
            (script, part)
            for script in self.scripts
            if script.submit_at <= now
            for part in range(len(script.parts))
            if part not in script.accepted and (script.id, part) not in self._sent
        ]
        while waiting:
            size = random.choice((1, 2, 8))
            some, waiting = waiting[:size], waiting[size:]
            if random.random() < 0.2:
                some.reverse()
            self._sent.update((script.id, part) for script, part in some)
            self._asked[self._request(some)] = some

    def _request(self, parts: list[Part]) -> int:
        places = tuple(Place(part, len(script.parts)) for script, part in parts)
        blobs = Blobs(b for script, part in parts for b in (script.header, *script.parts[part]))
        watch = self.world.random.random() < 0.7
        return self._ask(lambda n: AddPipeline(n, watch, True, places, blobs))

    def _ask(self, make: Callable[[int], Record]) -> int:
        number, commands = self.machine.request(make, self.now)
        for command in commands:
            self.perform(command)
        return number

    def _cancel(self) -> None:
        for script in self.scripts:
            whole = len(script.accepted) == len(script.parts)
            due = script.cancel_at is not None and script.cancel_at <= self.world.timeline.now
            if due and whole and not script.cancelled:
                script.cancelled = True
                number = self._ask(partial(Cancel, runs=(script.id,)))
                self._cancelling[number] = script

    def _pause(self) -> None:
        now = self.world.timeline.now
        for script in self.scripts:
            if script.pause_at is None or len(script.accepted) < len(script.parts):
                continue
            known = self.machine.watched.get(script.id)
            if known is not None and known.paused and not script.wished:
                script.wished.append(False)  # what was asked before came late
            asked = any(script is other for other in self._pausing.values())
            if script.wished and not asked:
                paused = script.wished[0]
                if (script.pause_at if paused else script.resume_at) <= now:
                    ask = partial(PauseRuns, runs=(script.id,), paused=paused)
                    self._pausing[self._ask(ask)] = script

    def _drain(self) -> None:
        """Close a node now and then, and open it again; in the end open all of them."""
        random = self.world.random
        calm = self.world.timeline.now > self.world.trouble_s
        if self._draining:
            return
        if self.drained and (calm or random.random() < 0.2):
            name, why = self.drained, ""
        elif calm and random.random() < 0.1:  # what was asked before may have come late
            name, why = random.choice(self.world.nodes), ""
        elif not (calm or self.drained) and random.random() < 0.02:
            self.drained = name = random.choice(self.world.nodes)
            why = "for a while"
        else:
            return
        self._draining[self._ask(lambda n: DrainNodes(n, (name,), why))] = not why

    # --- answers -----------------------------------------------------------------------

    def _answered(self, number: int, answer: Record) -> None:
        if number in self._asked:
            self._submitted(self._asked.pop(number), answer)
        elif number in self._cancelling:
            script = self._cancelling.pop(number)
            if isinstance(answer, Status):
                known = len(answer.runs) == 1 or self.world.promises.forgetting
                demand(known, script.id, "was accepted and cannot be cancelled")
                self.world.promises.cancel_accepted(script.id)
                self.world.promises.told([r for r in answer.runs if r.finished_at])
                self.world.counters["cancels"] += 1
            else:
                demand(isinstance(answer, Expired), "cancel was answered with", answer)
                script.cancelled = False  # ask again
        elif number in self._pausing:
            script = self._pausing.pop(number)
            if isinstance(answer, Status):  # else it is asked again
                self.world.promises.told([r for r in answer.runs if r.finished_at])
                script.wished.pop(0)
        elif number in self._draining:
            opened = self._draining.pop(number)
            if isinstance(answer, Cluster):
                self.world.counters["undrained nodes" if opened else "drained nodes"] += 1
                self.drained = "" if opened else self.drained
        elif number in self._quarrels:
            script = self._quarrels.pop(number)
            if isinstance(answer, PipelineAdded):
                refusal = answer.results[0].refusal
                demand(refusal is not None, script.id, "became something else")
                assert refusal is not None
                demand(refusal.code == "conflict", "a conflict was called", refusal)
                self.world.counters["conflicts"] += 1

    def _submitted(self, parts: list[Part], answer: Record) -> None:
        self._sent.difference_update((script.id, part) for script, part in parts)
        if isinstance(answer, Expired):
            self.world.counters["expired requests"] += 1
            return
        demand(not isinstance(answer, Refused), "a submit was refused:", answer)
        assert isinstance(answer, PipelineAdded)
        for (script, part), added in zip(parts, answer.results, strict=True):
            demand(added.refusal is None, script.id, "was refused:", added.refusal)
            script.accepted.add(part)
            self.world.promises.accepted(script.id, part)
            if len(script.accepted) == len(script.parts):
                self.machine.watch([script.id])
        if self.world.random.random() < 0.05 and not self.world.promises.forgetting:
            script = parts[0][0]
            place, (structure, details) = Place(0, len(script.parts)), script.parts[0]
            blobs = Blobs((with_other_content(script), structure, details))
            number = self._ask(lambda n: AddPipeline(n, False, True, (place,), blobs))
            self._quarrels[number] = script
