"""A world whose runs are decided by the engine of pypipegraph2, taken as a black box.

It takes the cases of `world` that both know: data edges, one output a job, and the policies
ALWAYS, OUTPUT and EPHEMERAL. That engine is given nodes, edges, the history of the last run and
the outcome of each job; whether an output exists it sees by itself, in a `Folder`. What a job
writes is computed as `World` does it, from what is really there when the job starts.

It knows nothing of a job's code. Who has an *invariant* reads one more job, which always runs
and whose output is the version of that code.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from pypipegraph2.pypipegraph2 import PPG2Evaluator

from pypelinin.graph.declared import ALWAYS, EPHEMERAL, OUTPUT
from tests.engine.world import Violation, World

KINDS = {ALWAYS: "Always", OUTPUT: "Output", EPHEMERAL: "Ephemeral"}

RAN, FAILED, BLOCKED, SKIPPED = "ran", "failed", "blocked", "skipped"


@dataclass
class Ppg2Log:
    """What a run did."""

    started: list[int] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    blind: list[tuple[int, int]] = field(default_factory=list)
    """(job, upstream): it started though what it reads was not there; the start failed."""
    trouble: str = ""
    """Why the engine gave up before the end; nothing but the starts is known then."""


class Folder:
    """The files of OUTPUT jobs; one folder serves all worlds, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.present: set[int] = set()

    def file(self, job: int) -> Path:
        return self.path / f"j{job}"

    def hold(self, jobs: set[int]) -> None:
        """Let the files of exactly these jobs be there."""
        for job in self.present - jobs:
            self.file(job).unlink()
        for job in jobs - self.present:
            self.file(job).touch()
        self.present = jobs


class Ppg2World:
    """The data and code of *world*, with the history of the other engine."""

    def __init__(self, world: World, folder: Folder, invariants: frozenset[int]) -> None:
        self.world = world
        self.folder = folder
        self.invariants = invariants
        """Jobs whose code it watches."""
        self.history: dict[str, str] = {}

    def copy(self) -> Ppg2World:
        twin = Ppg2World(self.world.copy(), self.folder, self.invariants)
        twin.history = dict(self.history)
        return twin

    def run(self, failing: frozenset[int] = frozenset()) -> Ppg2Log:
        return _Execution(self, failing).finish()


class _Execution:
    """One run in the making. All that is ready is started; the oldest start ends first."""

    def __init__(self, ppg2: Ppg2World, failing: frozenset[int]) -> None:
        self.ppg2 = ppg2
        self.world = ppg2.world
        self.failing = failing
        self.log = Ppg2Log()
        self.numbers: dict[str, int] = {}
        """Those of jobs; invariants have none."""
        self.inputs: dict[str, list[str]] = {}
        self.running: deque[tuple[str, list[int] | None]] = deque()
        """With what it read, None if something was missing."""
        self.engine = PPG2Evaluator(ppg2.history, self._differs, self._inputs)
        self._declare()

    def _differs(self, upstream: str, downstream: str, old: str, new: str) -> bool:
        return old != new

    def _inputs(self, job: str) -> str:
        return "\n".join(sorted(self.inputs[job]))

    def _declare(self) -> None:
        case, folder = self.world.case, self.ppg2.folder
        folder.hold({job for job, _ in self.world.data if case[job].policy == OUTPUT})
        names = [str(folder.file(number)) for number in range(len(case))]
        for number, job in enumerate(case):
            name = names[number]
            self.numbers[name] = number
            self.inputs[name] = [names[up] for up, _, _ in job.reads]
            self.engine.add_node(name, KINDS[job.policy])
            if number in self.ppg2.invariants:
                self.engine.add_node(f"code {name}", "Always")
                self.inputs[f"code {name}"] = []
                self.inputs[name].append(f"code {name}")
        for name, upstreams in self.inputs.items():
            for upstream in upstreams:
                self.engine.add_edge(name, upstream)

    def finish(self) -> Ppg2Log:
        try:
            self._execute()
        except ValueError as error:
            self.log.trouble = str(error)
        return self.log

    def _execute(self) -> None:
        self.engine.event_startup()
        while not self.engine.is_finished():
            self._clean()
            for name in sorted(self.engine.jobs_ready_to_run()):
                self._start(name)
            if not self.running:
                raise ValueError("not finished, yet nothing runs and nothing is ready")
            self._end(*self.running.popleft())
        self._clean()
        self.ppg2.history = self.engine.new_history()
        self._tell_ends()

    def _clean(self) -> None:
        for name in self.engine.jobs_ready_for_cleanup():
            self.engine.event_job_cleanup_done(name)
            del self.world.data[self.numbers[name], ""]

    def _start(self, name: str) -> None:
        self.engine.event_now_running(name)
        if name not in self.numbers:
            self.running.append((name, []))
            return
        number = self.numbers[name]
        if number in self.log.started:
            raise Violation(f"{number} is started twice")
        self.log.started.append(number)
        reads = [(up, "") for up, _, _ in self.world.case[number].reads]
        absent = [up for up, output in reads if (up, output) not in self.world.data]
        self.log.blind += [(number, up) for up in absent]
        read = None if absent else [self.world.data[key] for key in reads]
        self.world.data.pop((number, ""), None)
        self.running.append((name, read))

    def _end(self, name: str, read: list[int] | None) -> None:
        if name not in self.numbers:
            number = self.numbers[name.removeprefix("code ")]
            code = f"{self.world.version[number]}.{self.world.touched[number]}"
            self.engine.event_job_success(name, code)
            return
        number = self.numbers[name]
        if read is None or number in self.failing:
            self.engine.event_job_failure(name)
            return
        content = self.world.content(number, "", tuple(read))
        self.world.data[number, ""] = content
        if self.world.case[number].policy == OUTPUT:
            self.ppg2.folder.hold(self.ppg2.folder.present | {number})
        self.engine.event_job_success(name, str(content))

    def _tell_ends(self) -> None:
        blocked = {self.numbers.get(name) for name in self.engine.list_upstream_failed_jobs()}
        failed = {number for number, _ in self.log.blind}
        for number in range(len(self.world.case)):
            if number in failed or (number in self.log.started and number in self.failing):
                self.log.ends.append(FAILED)
            elif number in self.log.started:
                self.log.ends.append(RAN)
            else:
                self.log.ends.append(BLOCKED if number in blocked else SKIPPED)
