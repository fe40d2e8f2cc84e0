"""A whole cluster in one thread: all machines, virtual time, one seeded source of chance.

    result = ClusterSim(seed=7).run()

One Router with its journal, Brokers with slots, Pipeliners and clients talk over a network
that loses, doubles, delays and reorders; processes crash, pause, drain and come back,
routes are cut in one direction. Then faults stop, and everything that was accepted must
end. Raises Violation, with the seed and the last events, when a promise is broken. The
same seed gives the same trace on every machine.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from time import monotonic

from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.router import Router
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Event
from pypelinin.testing.clients import ClientProcess
from pypelinin.testing.faults import Faults
from pypelinin.testing.history import Violation, demand
from pypelinin.testing.hosts import Host, Neighbour
from pypelinin.testing.processes import BrokerProcess, PipelinerProcess, RouterProcess
from pypelinin.testing.scripts import SMALLEST, WORKERS, RunScript, random_script
from pypelinin.testing.world import Station, World
from pypelinin.wire.definitions import GONE, Capacity
from pypelinin.wire.rows import unpack_row

CALM_S = 240.0
"""After faults stopped everything must end within this (virtual) time."""
LAST_EVENTS = 60


@dataclass(frozen=True, slots=True)
class SimResult:
    """What one seed gave; *counters* tell which rare paths were seen."""

    seed: int
    trace: str
    counters: Counter[str]
    virtual_s: float


class ClusterSim(World):
    """One simulated cluster; *trouble_s* is how long faults go on."""

    def __init__(self, seed: int, trouble_s: float = 40.0) -> None:
        self.seed = seed
        self._trace = blake2b(digest_size=16)
        super().__init__(seed, Limits(), self._trace.update)
        self.trouble_s = trouble_s
        self.limits = self._random_limits()
        self._last: deque[tuple[float, str, Sequence[Event]]] = deque(maxlen=LAST_EVENTS)
        self.router: RouterProcess = RouterProcess(self)
        self.brokers = self._random_brokers()
        self.nodes = [broker.name for broker in self.brokers]
        self.pipeliners = [
            PipelinerProcess(self, f"pipeliner {i}")
            for i in range(self.random.choice((0, 1, 1, 2)))
        ]
        self.clients = [
            ClientProcess(self, f"client {i}") for i in range(self.random.choice((1, 2)))
        ]
        self._random_runs()
        members = (*self.brokers, *self.pipeliners, *self.clients)
        self.faults = Faults(self, trouble_s, self.router, members)

    # --- what it is made of ------------------------------------------------------------

    def _random_limits(self) -> Limits:
        choice = self.random.choice
        self.promises.forgetting = self.random.random() < 0.1
        return Limits(
            node_lease_s=6.0,
            pipeliner_lease_s=4.0,
            client_deadline_s=5.0,
            kill_grace_s=3.0,
            lot_jobs_max=choice((1, 4, 20)),
            batch_jobs_max=choice((2, 5, 10_000)),
            resident_jobs_max=choice((0, 2, 1000)),
            lost_max=choice((1, 1000, 1000)),
            retry_max_s=4.0,
            history_s=15.0 if self.promises.forgetting else 1e6,
            partial_s=20.0 if self.promises.forgetting else 1e6,  # what comes again, too late
            kept_failures_max=choice((1, 100)),
            journal_rows_max=choice((15, 80, 20_000)),
            images_in_turn_max=choice((1, 200)),
        )

    def _random_brokers(self) -> list[BrokerProcess]:
        """At least one offers everything, so that everything can end."""
        brokers: list[BrokerProcess] = []
        large = self._large_capacity()
        host = Host(large, self.timeline) if self.random.random() < 0.4 else None
        for i in range(self.random.choice((1, 2, 3))):
            some = self.random.random() < 0.3
            shares = host is not None and self.random.random() < 0.7  # else on a node of its own
            brokers.append(
                BrokerProcess(
                    self,
                    f"broker {i}",
                    large if shares or not i else self._random_capacity(),
                    WORKERS[:2] if i and some else WORKERS,
                    {} if i else {"disk": "fast"},
                    host if shares else None,
                )
            )
        if host is not None and any(broker.host for broker in brokers):
            host.counters = self.counters
            self._random_neighbour(host)
        return brokers

    def _random_neighbour(self, host: Host) -> None:
        """Often somebody who is no part of the cluster has work there all the time."""
        random = Random(f"neighbour {self.seed}")
        if random.random() < 0.6:
            cores = random.choice((1, host.capacity.cores))
            neighbour = Neighbour(host, self.timeline, random, cores)
            self.timeline.after(random.uniform(0, 5), neighbour.look)

    def _large_capacity(self) -> Capacity:
        """What can run everything."""
        cores, times = self.random.choice((2, 2, 4)), self.random.choice((1, 3))
        return Capacity(cores, SMALLEST.memory * times, {"gpu": 2, "licence": 2})

    def _random_capacity(self) -> Capacity:
        cores, memory = self.random.choice((1, 2, 4)), self.random.choice((0, 500, 2001))
        return Capacity(cores, memory, self.random.choice(({}, {"gpu": 1}, {"licence": 5})))

    def _random_runs(self) -> None:
        for number in range(self.random.choice((8, 20, 45))):
            client = self.random.choice(self.clients)
            script = random_script(self.random, number, [{}, {}, {}, {"disk": "fast"}])
            script.submit_at = self.random.uniform(0, self.trouble_s * 0.9)
            if self.random.random() < 0.15:
                script.cancel_at = script.submit_at + self.random.uniform(0, 4)
            if self.random.random() < 0.15:
                script.pause_at = script.submit_at + self.random.uniform(0, 4)
                script.resume_at = script.pause_at + self.random.uniform(0, 10)
            self.scripts[script.id] = script
            client.scripts.append(script)

    # --- running -----------------------------------------------------------------------

    def run(self) -> SimResult:
        """Trouble, then calm until all has ended. Raises Violation."""
        try:
            self.faults.begin()
            for process in (self.router, *self.brokers, *self.pipeliners, *self.clients):
                process.start()
            self._run_until(lambda: self.timeline.now >= self.trouble_s)
            self.faults.end()
            bound = self.timeline.now + CALM_S
            self._run_until(lambda: self._ended or self.timeline.now >= bound)
            self._check_end()
        except Exception as error:
            raise self._explained(error) from error
        self.counters["seeds"] += 1
        self.counters["compactions"] += self.journal.compactions
        return SimResult(self.seed, self._trace.hexdigest(), self.counters, self.timeline.now)

    def _run_until(self, done: Callable[[], bool]) -> None:
        while not done():
            demand(self.timeline.step(), "nothing is planned any more")

    @property
    def _ended(self) -> bool:
        return all(client.up and client.finished for client in self.clients)

    def _check_end(self) -> None:
        """All ended, each job as its outcome or its upstreams say, and as clients were told."""
        runs = self.router.machine.state.runs
        line = self.history.lineage
        for script in self.scripts.values():
            if script.id in line.forgotten:
                continue
            run = runs.get(script.id)
            demand(run is not None and run.finished_at, script.id, "did not end:", run)
            assert run is not None
            rest = states.CANCELLED if script.id in line.cancelled else states.SKIPPED
            for job in range(script.jobs):
                wanted = line.outcomes.get((script.id, job), (rest, 0))[0]
                demand(run.states[job] == wanted, script.id, job, "is", run.states[job])
                demand(self._is_right(script, run, job), script.id, job, "has", run.results)
        demand(self._ended, "a client does not know that its runs have ended")
        self.promises.check(runs)
        self._compare(self.router.machine)

    def _is_right(self, script: RunScript, run: RunRecord, job: int) -> bool:
        """Whether the Router has the result of the job, or has it no more."""
        found = run.results.get(job, b"")
        if run.states[job] != states.DONE:
            return not found
        readers = [reader for reader, reads in enumerate(script.reads) if job in reads]
        gone = script.temporary[job] and all(run.states[r] == states.DONE for r in readers)
        if gone and any(script.reads) and not run.cancelled:
            return found == GONE
        return found == script.results[job] or (script.temporary[job] == 1 and found == GONE)

    # --- what processes tell -----------------------------------------------------------

    def turn(self, process: Station, batch: Sequence[Event]) -> None:
        self._last.append((self.timeline.now, process.name, batch))
        self._trace.update(f"{self.timeline.now:.9f} {process.name} {len(batch)}\n".encode())
        self.counters["turns"] += 1

    def router_crashed(self, machine: Router) -> None:
        self._compare(machine)
        self.journal.crash()
        self.history.crashed([unpack_row(row) for row in self.journal.rows])

    def router_restarted(self, machine: Router) -> None:
        self.promises.check(machine.state.runs)

    def restart_later(self, process: Station) -> None:
        delay_s = self.random.uniform(0.1, 3.0)
        self.timeline.after(delay_s, lambda: None if process.up else process.start())

    def _compare(self, machine: Router) -> None:
        """The journal's rows, replayed, give the state that lived."""
        mine = full_digest(machine.state)
        for images in (False, True):
            replayed = self.journal.replayed(State(self.limits), images)
            other = full_digest(replayed)
            for name, value in mine.items():
                demand(value == other[name], *_difference(name, value, other[name]))
            replayed.check()

    def _explained(self, error: Exception) -> Violation:
        lines = [
            f"{when:10.6f} {name:12} {[_brief(event) for event in batch]}"
            for when, name, batch in self._last
        ]
        text = f"{type(error).__name__}: {error}"
        where = f"seed {self.seed} at {self.timeline.now:.6f} s"
        return Violation("\n".join([*lines, f"{where}: {text}"]))


def full_digest(state: State) -> dict[str, object]:
    """`State.digest` and what else is durable in it."""
    runs = state.runs
    return {
        **state.digest(),
        "bases": dict(state.attempts.bases),
        "numbers": (runs.next_number, runs.open_count, list(runs.finished_order)),
        "rows of runs": {run.number: run.lsn for run in runs.by_number.values()},
        "parts": {run.number: run.parts for run in runs.by_number.values()},
        "floors": {run.number: run.floors for run in runs.by_number.values()},
    }


def _difference(name: str, lived: object, replayed: object) -> tuple[object, ...]:
    if isinstance(lived, dict) and isinstance(replayed, dict):
        for key in [*lived, *replayed]:
            if lived.get(key) != replayed.get(key):
                return "replay differs in", name, key, lived.get(key), replayed.get(key)
    return "replay differs in", name, lived, replayed


def _brief(event: Event) -> str:
    envelope = getattr(event, "envelope", None)
    if envelope is None:
        return str(event)[:160]
    return f"{envelope.number}:{str(envelope.message)[:160]}"


def run_seeds(start: int, count: int, say: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """Run *count* seeds from *start*; returns all their counters. Raises Violation."""
    total: Counter[str] = Counter()
    for seed in range(start, start + count):
        result = ClusterSim(seed).run()
        total += result.counters
        say(f"seed {seed}: {result.virtual_s:.1f} s, {result.trace}")
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pypelinin.testing.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--keep-going", action="store_true", help="after a violation")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    options = parser.parse_args(arguments)
    say = print if options.verbose else lambda _: None
    began, failed = monotonic(), 0
    total: Counter[str] = Counter()
    for seed in range(options.start, options.start + options.seeds):
        try:
            total += run_seeds(seed, 1, say)
        except Violation as violation:
            failed += 1
            print(violation if not options.keep_going else str(violation).splitlines()[-1])
            if not options.keep_going:
                return 1
    for name, times in sorted(total.items()):
        print(f"{times:12,} {name}")
    print(f"{options.seeds} seeds in {monotonic() - began:.1f} s, {failed} with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
