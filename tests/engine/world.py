"""The world outside a Run: data, records and versions, and what happens to jobs that are started.

It knows nothing of the engine's rules. What a job writes is computed from what it really finds
when it starts, so a job that starts too early, or on old data, leaves wrong content behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random
from typing import Any

from pypelinin.engine import frozen
from pypelinin.engine.core import Commands
from pypelinin.engine.entry import key_prints
from pypelinin.engine.run import Run
from pypelinin.engine.table import DONE, FAILED, KEPT, NAMES, OPEN, UNUSED
from pypelinin.graph.declared import After, Declared, Expansion, Input, Policy, Record
from pypelinin.graph.fingerprint import Fingerprint, Tags, same

Read = tuple[int, tuple[str, ...], bool]
"""(upstream, names of its outputs, even if failed)."""


class Violation(AssertionError):
    """The engine broke a law."""


@dataclass(frozen=True)
class JobCase:
    """One job of a case."""

    policy: Policy
    reads: tuple[Read, ...] = ()
    after: tuple[tuple[int, bool], ...] = ()
    outputs: tuple[str, ...] = ("",)
    keep: tuple[bool, ...] | None = None
    final: bool = False
    keyed: bool = False

    def keeps(self, output: str) -> bool:
        if self.keep is None:
            return self.policy.keep
        return self.keep[self.outputs.index(output)]


Case = Sequence[JobCase]


@dataclass
class Story:
    """What happens in one run, besides plain success."""

    failing: frozenset[int] = frozenset()
    impure: frozenset[int] = frozenset()
    """Jobs that write something else than what follows from what they read."""
    vanishing: dict[int, tuple[int, str]] = field(default_factory=dict)
    """By reader: an output that is gone when it starts (once)."""
    recipe_failing: frozenset[tuple[int, int]] = frozenset()
    """(reader, recipe) that fails where that reader runs."""
    expansions: dict[int, tuple[list[JobCase], list[tuple[int, Read]]]] = field(
        default_factory=dict
    )
    """By expanding job: new jobs, and edges that jobs gain; numbers below 0 are of new jobs."""
    cancel_after: int | None = None
    """Events until the whole run is cancelled."""
    cancels: tuple[int, ...] = ()
    """Jobs that are cancelled at that time instead of the run."""
    reload: frozenset[int] = frozenset()
    thaw: bool = False
    """The Run is frozen and thawed before each event."""


@dataclass
class Log:
    """What a run did."""

    started: list[int] = field(default_factory=list)
    released: list[tuple[int, str]] = field(default_factory=list)
    run: Run = field(default_factory=Run)
    verdicts: dict[int, int] = field(default_factory=dict)
    seen: dict[int, Any] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    lost: bool = False
    """Something is gone that could not be made again."""

    @property
    def troubled(self) -> bool:
        """Something ended otherwise than well."""
        return any(state not in (DONE, KEPT, UNUSED) for state in self.verdicts.values())

    def named(self) -> dict[int, str]:
        return {job: NAMES[state] for job, state in self.verdicts.items()}


class World:
    """Files, records and code versions that outlive a run."""

    def __init__(self, case: Case) -> None:
        self.case: list[JobCase] = list(case)
        self.records: dict[int, Record] = {}
        self.data: dict[tuple[int, str], int] = {}
        self.names = [f"j{number}" for number in range(len(case))]
        self.version = [0] * len(case)
        """Other version, other content."""
        self.touched = [0] * len(case)
        """Other text of the code, same content."""
        self.runs = 0
        self.keys: dict[int, object] = {}
        """Under which key the outputs of a keyed job lie."""

    def copy(self) -> World:
        twin = World(self.case)
        twin.names = list(self.names)
        twin.runs = self.runs
        twin.records = dict(self.records)
        twin.data = dict(self.data)
        twin.version = list(self.version)
        twin.touched = list(self.touched)
        twin.keys = dict(self.keys)
        return twin

    # --- what is true ----------------------------------------------------------------------

    def content(self, job: int, output: str, read: tuple[Any, ...]) -> int:
        return hash((self.names[job], output, self.version[job], read))

    def tags(self, value: int) -> Tags:
        """Two views of a value; which the first one is changes from run to run."""
        return ((f"view {self.runs % 2}", b"%d" % (value + 1)), ("content", b"%d" % value))

    def truth(self, job: int, output: str, without: frozenset[tuple[int, int]]) -> int:
        """What the output is if everything is built from scratch.

        Those *without*, (reader, upstream), found that upstream broken, and could do without it.
        """
        memo: dict[int, tuple[Any, ...]] = {}

        def read(number: int) -> tuple[Any, ...]:
            if number not in memo:
                memo[number] = tuple(
                    None if (number, up) in without else self.content(up, name, read(up))
                    for up, names, _ in self.case[number].reads
                    for name in names
                )
            return memo[number]

        return self.content(job, output, read(job))

    def truths(self, job: int, output: str, broken: frozenset[int]) -> Iterator[int]:
        """All that it may be: what is broken now may have been read before a repeat of it failed.

        (Had it been read too early otherwise, its old content would show.)
        """
        above, todo = {job}, [job]
        while todo:
            news = {up for up, _, _ in self.case[todo.pop()].reads} - above
            above |= news
            todo += news
        pairs = [
            (reader, up)
            for reader in sorted(above)
            for up, _, tolerant in self.case[reader].reads
            if tolerant and up in broken
        ]
        for count in range(len(pairs), -1, -1):
            for without in combinations(pairs, count):
                yield self.truth(job, output, frozenset(without))

    def grown(self, jobs: Sequence[JobCase], base: int, gained: Sequence[tuple[int, Read]]) -> None:
        """The case with an expansion that was taken in; numbers below 0 are of new jobs."""

        def absolute(number: int) -> int:
            return number if number >= 0 else base - number - 1

        for job in jobs:
            reads = tuple((absolute(up), names, ok) for up, names, ok in job.reads)
            after = tuple((absolute(up), ok) for up, ok in job.after)
            self.names.append(f"j{len(self.case)}")
            self.case.append(replace(job, reads=reads, after=after))
            self.version.append(0)
            self.touched.append(0)
        for number, (up, names, ok) in gained:
            job = self.case[number]
            self.case[number] = replace(job, reads=(*job.reads, (absolute(up), names, ok)))

    def reordered(self, order: Sequence[int]) -> World:
        """The same world with its jobs numbered in another order."""
        new = {old: i for i, old in enumerate(order)}
        twin = World([self.case[old] for old in order])
        twin.case = [
            replace(
                job,
                reads=tuple((new[up], names, ok) for up, names, ok in job.reads),
                after=tuple((new[up], ok) for up, ok in job.after),
            )
            for job in twin.case
        ]
        twin.names = [self.names[old] for old in order]
        twin.version = [self.version[old] for old in order]
        twin.touched = [self.touched[old] for old in order]
        twin.data = {(new[job], output): v for (job, output), v in self.data.items() if job in new}
        twin.records = {new[job]: record for job, record in self.records.items()}
        twin.keys = {new[job]: key for job, key in self.keys.items()}
        return twin

    def declared(self, number: int, story: Story, job: JobCase | None = None) -> Declared:
        if job is not None:
            return Declared(
                policy=job.policy,
                inputs=[Input(*read) for read in job.reads],
                after=[After(*after) for after in job.after],
                name=f"j{number}",
                spec=(("text", b"0.0"),),
                outputs=job.outputs,
                keep=job.keep,
            )
        job = self.case[number]
        return Declared(
            policy=job.policy,
            inputs=[Input(*read) for read in job.reads],
            after=[After(*after) for after in job.after],
            name=f"j{number}",
            spec=(("text", b"%d.%d" % (self.version[number], self.touched[number])),),
            outputs=job.outputs,
            keep=job.keep,
            record=self.records.get(number),
            there=None,
            final=job.final,
            keyed=job.keyed,
            reload=number in story.reload,
        )

    # --- one run -----------------------------------------------------------------------------

    def run(
        self,
        story: Story | None = None,
        choice: Random | None = None,
        run: Run | None = None,
    ) -> Log:
        """Execute the case; *choice* picks which event comes next (None: the oldest)."""
        story = story or Story()
        self.runs += 1
        if run is None:
            run = Run(self.declared(number, story) for number in range(len(self.case)))
        return _Execution(self, story, choice, run).finish()


class _Execution:
    """One run in the making."""

    def __init__(self, world: World, story: Story, choice: Random | None, run: Run) -> None:
        self.world = world
        self.story = story
        self.choice = choice
        self.run = run
        self.log = Log(run=run)
        self.running: dict[int, list[tuple[Any, ...]]] = {}
        self.pending: list[tuple[str, int]] = []
        self.vanishing = dict(story.vanishing)
        self.cancelled = False
        self.told: list[int] = []
        self.gone: set[tuple[int, str]] = set()
        self.recipe_failing = set(story.recipe_failing)
        self.events = 0
        self.entries = dict(run.jobs)
        """With TOKENs that the Run has forgotten."""
        self.starts: dict[int, int] = {}

    def finish(self) -> Log:
        limit = 60 * (len(self.world.case) + 20) * 3
        self._obey(self.run.take())
        while self.pending:
            self._next()
            self.entries.update(self.run.jobs)
            self.events += 1
            if self.events > limit:
                raise Violation("it does not end")
        if not self.run.over:
            raise Violation(f"deadlock: {self._states()}")
        self.log.verdicts = {n: job.state for n, job in sorted(self.entries.items())}
        self.log.lost = any(job.lost for job in self.entries.values())
        return self.log

    def _states(self) -> dict[int, str]:
        return {n: NAMES[job.state] for n, job in self.run.jobs.items()}

    def _next(self) -> None:
        if self.story.cancel_after == self.events:
            self.cancelled = not self.story.cancels
            self.run.cancel(list(self.story.cancels) or None)
            self._obey(self.run.take())
            return
        if self.story.thaw:
            self.run = self.log.run = frozen.thaw(frozen.freeze(self.run))
            self.entries.update(self.run.jobs)
            pending = list(self.pending)
            self._obey(self.run.take())  # what it had asked for, which unites with what is known
            if self.pending != pending:
                raise Violation(f"thawed into something else: {pending} {self.pending}")
        pick = self.choice.randrange(len(self.pending)) if self.choice else 0
        what, number = self.pending.pop(pick)
        self._again()
        getattr(self, "_" + what)(number)
        self._obey(self.run.take())

    def _again(self) -> None:
        """Outcomes that were told already, and answers nobody waits for, change nothing."""
        if not self.told:
            return
        before = frozen.freeze(self.run)
        number = self.told[-1]
        if number in self.running:
            return
        self.run.done(number, None)
        self.run.failed(number)
        self.run.killed(number)
        self.run.found(number, ())
        if frozen.freeze(self.run) != before:
            raise Violation(f"a second outcome of {number} counted")
        self.told.clear()

    def _obey(self, commands: Commands) -> None:
        world = self.world
        for number in commands.forget:
            world.records.pop(number, None)
        for number, record in commands.remember.items():
            world.records[number] = record
        for number, outputs in commands.release:
            for output in outputs:
                self._released(number, output)
        for number in commands.look:  # asked again after a thaw: united
            if ("look", number) not in self.pending:
                self.pending.append(("look", number))
        for number in commands.kill:
            self.pending.append(("kill", number))
        for number in commands.run:
            self._begin(number)

    def _released(self, number: int, output: str) -> None:
        if self.world.case[number].keeps(output):
            raise Violation(f"released what is kept: {number}.{output}")
        if (number, output) not in self.world.data:
            raise Violation(f"released what is not there: {number}.{output}")
        del self.world.data[number, output]
        self.log.released.append((number, output))

    def _begin(self, number: int) -> None:
        if number in self.running:
            if self.story.thaw:
                return  # handed out again after a thaw: united
            raise Violation(f"{number} runs already")
        gone = self.vanishing.pop(number, None)
        if gone is not None and self.world.data.pop(gone, None) is not None:
            self.gone.add(gone)
        missing = self.gone & self._needed(number) - self.world.data.keys()
        if missing:
            self.pending.append(("vanish", number))
            self.running[number] = sorted(missing)
            return
        for reader, recipe in sorted(self.recipe_failing):
            if reader == number and recipe in self._recipes(number):
                self.recipe_failing.discard((reader, recipe))
                self.running[number] = []
                self.pending.append(("recipe", number))
                self.log.seen[number] = recipe
                return
        self._may_begin(number)
        self.log.started.append(number)
        self.starts[number] = self.starts.get(number, 0) + 1
        if self.starts[number] > (12 if self.story.vanishing or self.story.expansions else 1):
            raise Violation(f"{number} ran {self.starts[number]} times")
        self.running[number] = [self._read(number)]
        for output in self.world.case[number].outputs:
            self.world.data.pop((number, output), None)
        self.pending.append(("end", number))

    def _may_begin(self, number: int) -> None:
        """What must be so when a job starts, besides that its inputs are there."""
        job = self.world.case[number]
        if number in self.world.records:
            raise Violation(f"{number} starts although its record stands: a crash would lie")
        if self.cancelled:
            raise Violation(f"{number} starts although the run was cancelled")
        for up in self._waited_for(number):
            if up in self.running:
                raise Violation(f"{number} starts beside {up}, which it comes after")
        if not job.policy.eager and not any(
            OPEN[self.run.jobs[other].state] or self._is_broken(other)  # in this very moment
            for other, reader in enumerate(self.world.case)
            if other in self.run.jobs and any(up == number for up, _, _ in reader.reads)
        ):
            raise Violation(f"{number} is lazy and starts for nobody")

    def _waited_for(self, number: int) -> set[int]:
        """Order-only upstreams, those of the recipes it reads too."""
        found = {up for up, _ in self.world.case[number].after}
        for up, _, tolerant in self.world.case[number].reads:
            if self.world.case[up].policy.recipe and not (tolerant and self._is_broken(up)):
                found |= self._waited_for(up)
        return found

    def _needed(self, number: int) -> set[tuple[int, str]]:
        """What a start reads, through recipes."""
        found: set[tuple[int, str]] = set()
        for up, names, tolerant in self.world.case[number].reads:
            if tolerant and self._is_broken(up):
                continue
            if self.world.case[up].policy.recipe:
                found |= self._needed(up)
            else:
                found |= {(up, name) for name in names}
        return found

    def _is_broken(self, up: int) -> bool:
        return up in self.run.jobs and self.run.jobs[up].state >= FAILED

    def _recipes(self, number: int) -> set[int]:
        found: set[int] = set()
        for up, _, _ in self.world.case[number].reads:
            if self.world.case[up].policy.recipe:
                found |= {up, *self._recipes(up)}
        return found

    def _read(self, number: int) -> tuple[Any, ...]:
        return tuple(
            self._value(up, name, tolerant)
            for up, names, tolerant in self.world.case[number].reads
            for name in names
        )

    def _is_as_read(self, number: int, read: tuple[Any, ...]) -> bool:
        """Whether all that it read stands: who was blocked since has written nothing."""
        named = ((up, name) for up, names, _ in self.world.case[number].reads for name in names)
        return all(
            was is None or self._value(up, name, tolerant=False) == was
            for was, (up, name) in zip(read, named, strict=True)
        )

    def _value(self, up: int, output: str, tolerant: bool) -> int | None:
        if tolerant and self._is_broken(up):
            return None
        if self.world.case[up].policy.recipe:
            return self.world.content(up, output, self._read(up))
        if (up, output) not in self.world.data:
            raise Violation(f"started without {up}.{output}: {self._states()}")
        return self.world.data[up, output]

    # --- events ------------------------------------------------------------------------------

    def _look(self, number: int) -> None:
        job, record = self.world.case[number], self.world.records.get(number)
        there, altered = [], []
        if job.keyed and self.world.keys.get(number) != key_prints(self.run.jobs[number]):
            self.run.found(number, ())
            return
        for output in job.outputs:
            content = self.world.data.get((number, output))
            if content is None:
                continue
            there.append(output)
            if record is None or job.keyed:
                continue
            if dict(record.outputs.get(output, ())).get("content") != b"%d" % content:
                altered.append(output)
        self.run.found(number, tuple(there), tuple(altered))

    def _end(self, number: int) -> None:
        job = self.world.case[number]
        (read,) = self.running.pop(number)
        if not self.story.thaw and self.choice and self.choice.random() < 0.05:
            self.told.append(number)
        story = self.story
        calm = not (story.vanishing or story.recipe_failing or story.cancels)
        if calm and not self._is_as_read(number, read):
            raise Violation(f"what {number} read was written while it ran")
        if number in story.failing:
            self.run.failed(number, "it fails")
            return
        content = {output: self.world.content(number, output, read) for output in job.outputs}
        if number in story.impure:
            content = {output: value + 1 for output, value in content.items()}
        if job.keyed:
            self.world.keys[number] = key_prints(self.run.jobs[number])
        if not job.policy.recipe:
            self.world.data.update({(number, output): v for output, v in content.items()})
        self._succeed(number, tuple(self.world.tags(value) for value in content.values()))

    def _succeed(self, number: int, prints: Fingerprint) -> None:
        jobs, gained = self.story.expansions.get(number, ([], []))
        base = self.run.next_number
        expansion = Expansion(
            [self.world.declared(base + i, self.story, new) for i, new in enumerate(jobs)],
            [(to, Input(*read)) for to, read in gained],
        )
        announced = self.run.jobs[number].prints
        self.run.done(number, prints, expansion if jobs or gained else None)
        entry = self.run.jobs.get(number)
        known = announced is not None and not self.world.case[number].keyed
        passes = entry is None or entry.state != FAILED
        if known and passes and not all(map(same, announced or (), prints)):
            raise Violation(f"{number} is not what was announced, and passes")
        if entry is not None and entry.state == FAILED:  # refused, or not what it had promised
            if jobs or gained:
                self.log.refused[number] = str(entry.cause)
            for output in self.world.case[number].outputs:
                self.world.data.pop((number, output), None)
        else:
            self.world.grown(jobs, base, gained)

    def _vanish(self, number: int) -> None:
        missing = self.running.pop(number)
        self.run.vanished(number, [(up, (output,)) for up, output in missing])

    def _recipe(self, number: int) -> None:
        self.running.pop(number)
        self.run.recipe_failed(number, self.log.seen[number])
        recipe = self.log.seen[number]
        if recipe not in self.run.commands.forget and recipe in self.world.records:
            raise Violation(f"the record of recipe {recipe} stands")

    def _kill(self, number: int) -> None:
        if number in self.running and ("end", number) in self.pending:
            self.pending.remove(("end", number))
            self.running.pop(number)
            self.run.killed(number)


def counts(run: Run, number: int, output: str) -> bool:
    """Whether the engine takes it to be there."""
    job = run.jobs.get(number)
    return job is None or bool(job.there & job.mask((output,)))


def check_truth(
    world: World, log: Log, excused: frozenset[int] = frozenset(), words: bool = True
) -> None:
    """What is done or kept holds what a build from scratch would give."""
    broken = frozenset(n for n, state in log.verdicts.items() if state >= FAILED)
    for number, job in enumerate(world.case):
        if words and log.verdicts[number] == KEPT and number in log.run.jobs:
            check_word(world, log, number)
        if log.verdicts[number] not in (DONE, KEPT) or number in excused:
            continue
        for output in job.outputs:
            found = world.data.get((number, output))
            if found is None or not counts(log.run, number, output):
                continue  # a left-over that is not what its record says is the front-end's to clear
            if all(found != truth for truth in world.truths(number, output, broken)):
                raise Violation(f"{number}.{output} is stale: {log.named()}")
            if found is None and job.policy.eager and job.keeps(output):
                entry = log.run.jobs.get(number)
                if entry is None or not entry.lost:
                    raise Violation(f"{number}.{output} was not made: {log.named()}")


def check_word(world: World, log: Log, number: int) -> None:
    """What is kept goes by what its inputs are now, and its record says so."""
    record = world.records.get(number)
    entry = log.run.jobs[number]
    if record is None or entry.invariant or entry.record is None:
        return
    for up, names, _ in world.case[number].reads:
        prints = log.run.jobs[up].prints if up in log.run.jobs else None
        for name in names:
            written = record.inputs[world.names[up], name]
            found = world.data.get((up, name)) if counts(log.run, up, name) else None
            written_content = dict(written).get("content", b"")
            if found is not None and written_content not in (b"", b"%d" % found):
                raise Violation(f"{number} was kept on a word that {up} broke")
            if prints is not None and written != prints[world.case[up].outputs.index(name)]:
                raise Violation(f"the record of {number} was not refreshed")
