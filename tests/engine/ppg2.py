"""A world whose runs are decided by the engine of pypipegraph2, taken as a black box.

It takes the cases of `world` that both engines know: data edges, one output a job, and the
policies ALWAYS, OUTPUT and EPHEMERAL. The other engine is told the nodes, the edges, the history
of the last run and how each job ended; whether an output exists it sees by itself, in a `Folder`.
What a job writes is computed as `World` does it, from what is really there when the job starts.

It knows nothing of a job's code. A job with an *invariant* therefore reads one more job, which
always runs and whose output is the version of that code.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from pypelinin.graph.declared import ALWAYS, EPHEMERAL, OUTPUT
from tests.engine.world import Violation, World

KINDS = {ALWAYS: "Always", OUTPUT: "Output", EPHEMERAL: "Ephemeral"}

RAN, FAILED, BLOCKED, SKIPPED, UNKNOWN = "ran", "failed", "blocked", "skipped", "unknown"


@dataclass
class Ppg2Log:
    """What a run did."""

    started: list[int] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    blind: list[tuple[int, int]] = field(default_factory=list)
    """(job, upstream): it started though what it reads was not there, and so it failed."""
    trouble: str = ""
    """Why the engine gave up; how the jobs ended is unknown then."""


class Folder:
    """The files of OUTPUT jobs; one folder serves all worlds, one run after the other."""

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
    """The data and the code of *world*, which the other engine runs, and what it remembers."""

    def __init__(self, world: World, folder: Folder, invariants: frozenset[int]) -> None:
        self.world = world
        self.folder = folder
        self.invariants = invariants
        """Jobs whose code is watched."""
        self.history: dict[str, str] = {}

    def copy(self) -> Ppg2World:
        twin = Ppg2World(self.world.copy(), self.folder, self.invariants)
        twin.history = dict(self.history)
        return twin

    def run(self, failing: frozenset[int] = frozenset()) -> Ppg2Log:
        """Execute the case; the jobs of *failing* fail if they are started."""
        return _Execution(self, failing).finish()


def is_their_own(error: BaseException) -> bool:
    """Whether the engine says, in one of its two ways, that it is wrong itself."""
    if type(error).__name__ == "PanicException":  # of the extension module, and not exported
        return True
    return isinstance(error, ValueError) and str(error).startswith("Internal error")


class _Execution:
    """One run in the making. All that is ready is started; the oldest start ends first."""

    def __init__(self, ppg2: Ppg2World, failing: frozenset[int]) -> None:
        from pypipegraph2.pypipegraph2 import PPG2Evaluator  # only 'test-all' installs it

        self.ppg2 = ppg2
        self.world = ppg2.world
        self.failing = failing
        self.log = Ppg2Log()
        self.numbers: dict[str, int] = {}
        """By node; the nodes of invariants are not among them."""
        self.versions: dict[str, str] = {}
        """What each node of an invariant gives."""
        self.inputs: dict[str, list[str]] = {}
        self.running: deque[tuple[str, list[int] | None]] = deque()
        """Nodes, each with what it read: None if something was missing."""
        self.engine = PPG2Evaluator(ppg2.history, self._differs, self._inputs)
        self._declare()

    # --- what the engine asks ------------------------------------------------------------------

    def _differs(self, upstream: str, downstream: str, old: str, new: str) -> bool:
        return old != new

    def _inputs(self, node: str) -> str:
        return "\n".join(sorted(self.inputs[node]))

    # --- what it is told -----------------------------------------------------------------------

    def _declare(self) -> None:
        world, folder = self.world, self.ppg2.folder
        folder.hold({job for job, _ in world.data if world.case[job].policy == OUTPUT})
        nodes = [str(folder.file(number)) for number in range(len(world.case))]
        for number, job in enumerate(world.case):
            node = nodes[number]
            self.numbers[node] = number
            self.engine.add_node(node, KINDS[job.policy])
            self.inputs[node] = [nodes[up] for up, _, _ in job.reads]
            if number in self.ppg2.invariants:
                code = f"code of {node}"
                self.versions[code] = f"{world.version[number]}.{world.touched[number]}"
                self.engine.add_node(code, "Always")
                self.inputs[code] = []
                self.inputs[node].append(code)
        for node, upstreams in self.inputs.items():
            for upstream in upstreams:
                self.engine.add_edge(node, upstream)

    def finish(self) -> Ppg2Log:
        try:
            self._execute()
        except BaseException as error:
            if not is_their_own(error):
                raise
            self.log.trouble = str(error)
        self.log.ends = [self._end_of(number) for number in range(len(self.world.case))]
        return self.log

    def _execute(self) -> None:
        self.engine.event_startup()
        while not self.engine.is_finished():
            self._clean()
            for node in sorted(self.engine.jobs_ready_to_run()):
                self._start(node)
            if not self.running:
                raise Violation("it has not finished, yet nothing runs and nothing is ready")
            self._end(*self.running.popleft())
        self._clean()
        self.ppg2.history = self.engine.new_history()

    def _clean(self) -> None:
        for node in self.engine.jobs_ready_for_cleanup():
            self.engine.event_job_cleanup_done(node)
            del self.world.data[self.numbers[node], ""]

    def _start(self, node: str) -> None:
        self.engine.event_now_running(node)
        if node in self.versions:
            self.running.append((node, []))
            return
        number = self.numbers[node]
        if number in self.log.started:
            raise Violation(f"{number} is started twice")
        self.log.started.append(number)
        upstreams = [up for up, _, _ in self.world.case[number].reads]
        absent = [up for up in upstreams if (up, "") not in self.world.data]
        self.log.blind += [(number, up) for up in absent]
        read = None if absent else [self.world.data[up, ""] for up in upstreams]
        self.world.data.pop((number, ""), None)
        self.running.append((node, read))

    def _end(self, node: str, read: list[int] | None) -> None:
        if node in self.versions:
            self.engine.event_job_success(node, self.versions[node])
            return
        number = self.numbers[node]
        if read is None or number in self.failing:
            self.engine.event_job_failure(node)
            return
        content = self.world.content(number, "", tuple(read))
        self.world.data[number, ""] = content
        if self.world.case[number].policy == OUTPUT:
            self.ppg2.folder.hold(self.ppg2.folder.present | {number})
        self.engine.event_job_success(node, str(content))

    def _end_of(self, number: int) -> str:
        if self.log.trouble:
            return UNKNOWN
        if number in self.log.started:
            went_without = any(job == number for job, _ in self.log.blind)
            return FAILED if went_without or number in self.failing else RAN
        blocked = str(self.ppg2.folder.file(number)) in self.engine.list_upstream_failed_jobs()
        return BLOCKED if blocked else SKIPPED
