"""Graphs of hundreds of jobs against the oracle, chains of 100,000, and the two kinds of Run."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pypelinin.engine import frozen, plain, table
from pypelinin.engine.core import Commands
from pypelinin.engine.plain import PlainRun
from pypelinin.engine.run import Run
from pypelinin.graph import states
from pypelinin.graph.declared import (
    ALWAYS,
    EPHEMERAL,
    OUTPUT,
    RECIPE,
    TOKEN,
    After,
    Declared,
    Expansion,
    Input,
    Policy,
    Record,
)
from pypelinin.graph.graph import Graph, order
from tests.engine import campaign
from tests.engine.campaign import POLICIES, descendants, judged
from tests.engine.oracle import Expected, Oracle
from tests.engine.world import Case, JobCase, Read, Story, World, check_truth

ALL = os.environ.get("PYPELININ_TEST_ALL") == "1"
JOBS_MAX = 500
CHAIN = 100_000

# to make a failing graph smaller takes minutes
pytestmark = [pytest.mark.timeout(600), pytest.mark.exhaustive]
few = settings(max_examples=300 if ALL else 30, derandomize=True, deadline=None)
many = settings(max_examples=2_000 if ALL else 100, derandomize=True, deadline=None)


# --- large cases ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """What a random graph and its runs are like; the details follow from the seed."""

    seed: int
    jobs: int
    reach: int
    """How far back a job looks for upstreams: 1 gives chains."""
    fan_in: int
    palette: tuple[Policy, ...]
    unrest: float
    """How much changes and disappears between two runs."""
    trouble: float
    """How much fails."""

    @property
    def bounded(self) -> bool:
        """Recipes of recipes do not explode: the harness follows each path through them."""
        return self.palette.count(RECIPE) * self.fan_in <= len(self.palette)


SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 1 << 32),
    jobs=st.integers(1, JOBS_MAX),
    reach=st.sampled_from((1, 4, 30, JOBS_MAX)),
    fan_in=st.integers(1, 4),
    palette=st.lists(st.sampled_from(POLICIES), max_size=8).map(lambda some: (OUTPUT, *some)),
    unrest=st.sampled_from((0.0, 0.01, 0.1, 0.4)),
    trouble=st.sampled_from((0.0, 0.01, 0.1)),
).filter(lambda shape: shape.bounded)

MIXED = Shape(1, JOBS_MAX, 30, 3, POLICIES, 0.01, 0.01)
LAZY = Shape(2, JOBS_MAX, 4, 3, (EPHEMERAL, EPHEMERAL, EPHEMERAL, OUTPUT), 0.01, 0.01)
LONG = Shape(3, JOBS_MAX, 1, 1, (EPHEMERAL, EPHEMERAL, EPHEMERAL, RECIPE, OUTPUT), 0.01, 0.0)


def some(choice: Random, likely: float, jobs: int) -> frozenset[int]:
    return frozenset(job for job in range(jobs) if choice.random() < likely)


def upstreams(shape: Shape, job: int, choice: Random) -> list[int]:
    """Up to *fan_in* jobs before *job*."""
    near = range(max(0, job - shape.reach), job)
    return sorted(choice.sample(near, min(len(near), choice.randint(0, shape.fan_in))))


def large_case(shape: Shape, choice: Random) -> Case:
    case: list[JobCase] = []
    for number in range(shape.jobs):
        policy = choice.choice(shape.palette)
        final = policy in (ALWAYS, OUTPUT, TOKEN) and choice.random() < 0.02
        doubled = choice.random() < 0.2
        reads: list[Read] = []
        after: list[tuple[int, bool]] = []
        for up in upstreams(shape, number, choice):
            tolerant = choice.random() < 0.1
            if case[up].final and not final:
                continue
            if choice.random() < 0.2:
                after.append((up, tolerant))
            else:
                names = case[up].outputs[: choice.randint(1, 2)]
                reads.append((up, names, tolerant and policy.always))
        keep = (True, False) if doubled and not policy.recipe else None
        outputs = ("a", "b") if doubled else ("",)
        case.append(JobCase(policy, tuple(reads), tuple(after), outputs, keep, final))
    return case


def disturb(world: World, shape: Shape, choice: Random) -> None:
    """Other code, other code that does the same, outputs that are gone or not as they were."""
    for job in some(choice, shape.unrest, len(world.case)):
        changes = choice.choice((world.version, world.touched))
        changes[job] += 1
    for key in sorted(world.data):
        if choice.random() < shape.unrest:
            kept = world.case[key[0]].keeps(key[1])
            if choice.random() < 0.8 or not kept:  # an altered left-over is the front-end's
                del world.data[key]
            else:
                world.data[key] += 7


# --- the harness, for hundreds of jobs --------------------------------------------------------


@contextmanager
def deep() -> Iterator[None]:
    """The definitions are recursive; the engine runs outside of this."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20 * JOBS_MAX + limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


class LargeOracle(Oracle):
    """An Oracle that asks itself nothing twice."""

    def __init__(self, world: World, failing: frozenset[int]) -> None:
        super().__init__(world, failing)
        for name in ("_needs", "_surely_wanted", "_may_be_left"):
            setattr(self, name, cache(getattr(self, name)))

    def expect(self) -> Expected:
        with deep():
            return super().expect()


class LargeWorld(World):
    """A World that computes what is true once; a job keeps its label under another number."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.labels = list(self.names)
        self.known: dict[object, dict[int, tuple[Any, ...]]] = {}
        self.pairs: dict[frozenset[int], frozenset[tuple[int, int]]] = {}

    def content(self, job: int, output: str, read: tuple[Any, ...]) -> int:
        return hash((self.labels[job], output, self.version[job], read))

    def truths(self, job: int, output: str, broken: frozenset[int]) -> Iterator[int]:
        """Only what *job* itself reads may have been read before it broke: there are few."""
        if broken not in self.pairs:
            self.pairs[broken] = frozenset(
                (reader, up)
                for reader, of in enumerate(self.case)
                for up, _, tolerant in of.reads
                if tolerant and up in broken
            )
        pairs = self.pairs[broken]
        yield self.truth(job, output, pairs)
        yield self.truth(job, output, frozenset(pair for pair in pairs if pair[0] != job))

    def truth(self, job: int, output: str, without: frozenset[tuple[int, int]]) -> int:
        memo = self.known.setdefault((tuple(self.version), without), {})

        def read(number: int) -> tuple[Any, ...]:
            if number not in memo:
                memo[number] = tuple(
                    None if (number, up) in without else self.content(up, name, read(up))
                    for up, names, _ in self.case[number].reads
                    for name in names
                )
            return memo[number]

        with deep():
            return self.content(job, output, read(job))

    def grown(self, jobs: Sequence[JobCase], base: int, gained: Sequence[tuple[int, Read]]) -> None:
        super().grown(jobs, base, gained)
        self.labels += self.names[base:]
        self.known.clear()
        self.pairs.clear()

    def whole(self) -> LargeWorld:
        """The case with all that it grew, numbered so that it can be declared at once."""
        edges = [(up, job) for job, of in enumerate(self.case) for up, _, _ in of.reads]
        edges += [(up, job) for job, of in enumerate(self.case) for up, _ in of.after]
        sequence, _ = order(range(len(self.case)), edges)
        moved = self.reordered(sequence)
        twin = LargeWorld(moved.case)
        twin.labels = [self.labels[old] for old in sequence]
        twin.version, twin.touched, twin.data = moved.version, moved.touched, moved.data
        twin.runs = self.runs
        name = {self.names[old]: twin.names[new] for new, old in enumerate(sequence)}
        for job, record in moved.records.items():
            inputs = {(name[up], output): tags for (up, output), tags in record.inputs.items()}
            twin.records[job] = record._replace(inputs=inputs)
        return twin


@pytest.fixture(scope="module", autouse=True)
def large_oracle() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "Oracle", LargeOracle)
        yield


# --- two runs of a large graph ----------------------------------------------------------------


@few
@given(SHAPES)
@example(MIXED)
@example(LAZY)
@example(LONG)
def test_both_runs_of_a_large_graph_are_as_defined(shape: Shape) -> None:
    choice = Random(shape.seed)
    world = LargeWorld(large_case(shape, choice))
    judged(world, some(choice, shape.trouble, shape.jobs), choice)
    disturb(world, shape, choice)
    judged(world, some(choice, shape.trouble, shape.jobs), choice)


@few
@given(SHAPES)
@example(MIXED)
@example(LAZY)
def test_nothing_runs_again_when_nothing_changed(shape: Shape) -> None:
    """But what always runs, and what such jobs read."""
    choice = Random(shape.seed)
    world = LargeWorld(large_case(shape, choice))
    judged(world, frozenset(), choice)
    log = judged(world, frozenset(), choice)
    again = {job for job, of in enumerate(world.case) if of.policy.always}
    for job in range(shape.jobs - 1, -1, -1):
        again |= {up for up, _, _ in world.case[job].reads if job in again}
    assert set(log.started) <= again
    assert not log.troubled


@few
@given(SHAPES)
@example(MIXED)
@example(LAZY)
def test_impure_jobs_never_spoil_the_others(shape: Shape) -> None:
    choice = Random(shape.seed)
    world = LargeWorld(large_case(shape, choice))
    judged(world, frozenset(), choice)
    disturb(world, shape, choice)
    impure = some(choice, 0.05, shape.jobs)
    log = world.run(Story(impure=impure, failing=some(choice, shape.trouble, shape.jobs)), choice)
    check_truth(world, log, descendants(world.case, impure))
    log.run.check()


def test_nothing_lazy_starts_for_nobody() -> None:
    """One failure lets go of the first temp and blocks the job for which all three are made."""
    source = JobCase(OUTPUT)
    temps = [
        JobCase(EPHEMERAL, after=((0, True),)),
        JobCase(EPHEMERAL, reads=((1, ("",), False),)),
        JobCase(EPHEMERAL, reads=((2, ("",), False),)),
    ]
    between = JobCase(OUTPUT, reads=((0, ("",), False),))
    target = JobCase(OUTPUT, reads=((3, ("",), False), (4, ("",), False)))
    log = World([source, *temps, between, target]).run(Story(failing=frozenset([0])))
    assert log.started == [0]


# --- graphs that grow -------------------------------------------------------------------------


class Growth:
    """Right expansions of many jobs of *case*.

    What an expansion brings reads what comes before the job that expands, and feeds what comes
    after it: so any number of expansions go together.
    """

    def __init__(self, case: Case, choice: Random) -> None:
        self.case = case
        self.choice = choice
        self.consumers: dict[int, list[int]] = {}
        for job, of in enumerate(case):
            for up, _, tolerant in of.reads:
                if not tolerant:
                    self.consumers.setdefault(up, []).append(job)

    def expansions(self, likely: float) -> dict[int, tuple[list[JobCase], list[tuple[int, Read]]]]:
        return {
            job: self._expansion(job)
            for job in sorted(some(self.choice, likely, len(self.case)))
            if self.case[job].policy.always and not self.case[job].final
        }

    def _expansion(self, job: int) -> tuple[list[JobCase], list[tuple[int, Read]]]:
        choice = self.choice
        new: list[JobCase] = []
        old = self._may_be_named(job)
        for index in range(choice.randint(1, 5)):
            known = [*old, *range(-index, 0)]
            named = choice.sample(known, min(len(known), choice.randint(0, 3)))
            policy = choice.choice(POLICIES)
            data = [up for up in named if choice.random() < 0.8 or not policy.eager]
            reads = tuple((up, self._outputs(up, new), False) for up in data)
            after = tuple((up, False) for up in named if up not in data)
            new.append(JobCase(policy, reads, after))
        gained: dict[tuple[int, int], Read] = {}
        below = self._descendants(job)
        for number in choice.sample(below, min(len(below), choice.randint(0, 3))):
            up = -choice.randint(1, len(new))
            gained[number, up] = (up, ("",), False)
        return new, [(number, read) for (number, _), read in gained.items()]

    def _outputs(self, up: int, new: list[JobCase]) -> tuple[str, ...]:
        return new[-up - 1].outputs if up < 0 else self.case[up].outputs

    def _may_be_named(self, job: int) -> list[int]:
        """The job itself, what it reads, and what is sure to be there."""
        found = {job, *(up for up, _, _ in self.case[job].reads)}
        for up in self.choice.sample(range(job), min(job, 20)):
            of = self.case[up]
            if of.policy in (ALWAYS, OUTPUT) and all(map(of.keeps, of.outputs)) and not of.final:
                found.add(up)
        return sorted(found)

    def _descendants(self, job: int) -> list[int]:
        found: set[int] = set()
        stack = [job]
        while stack:
            more = set(self.consumers.get(stack.pop(), ())) - found
            found |= more
            stack += more
        return sorted(found)


@few
@given(SHAPES)
@example(MIXED)
@example(replace(MIXED, seed=4, palette=(ALWAYS, OUTPUT, EPHEMERAL, TOKEN), reach=4))
def test_a_graph_that_grew_is_as_one_that_was_declared_whole(shape: Shape) -> None:
    """A run in which it grows, and one of all that it is then."""
    choice = Random(shape.seed)
    world = LargeWorld(large_case(shape, choice))
    failing = some(choice, shape.trouble, shape.jobs)
    expansions = Growth(world.case, choice).expansions(choice.choice((0.05, 0.5)))
    log = world.run(Story(failing=failing, expansions=expansions), choice)
    check_truth(world, log)
    log.run.check()
    assert not log.refused
    assert failing or not log.troubled
    whole = world.whole()
    disturb(whole, shape, choice)
    judged(whole, some(choice, shape.trouble, len(whole.case)), choice)


@pytest.mark.parametrize("early", [True, False])
def test_an_expansion_is_right_whenever_it_comes(early: bool) -> None:
    """It feeds a TOKEN that another failure has blocked, which its only reader does not mind."""
    fed = Declared(TOKEN, [Input(0), Input(1)])
    run = Run([Declared(), Declared(), fed, Declared(inputs=[Input(2, even_if_failed=True)])])
    expansion = Expansion([Declared()], [(2, Input(-1))])
    if early:
        run.done(0, None, expansion)
    run.failed(1)
    run.done(3)
    if not early:
        run.done(0, None, expansion)
    assert run.jobs[0].state == table.DONE


# --- a chain of 100,000 jobs ------------------------------------------------------------------


@dataclass
class Chain:
    """Each job reads the one before; somebody wants the last one. What outlives a run is here."""

    policy: Policy
    failing: int = -1
    records: dict[int, Record] = field(default_factory=dict)
    there: set[int] = field(default_factory=set)
    started: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)

    def declared(self, number: int) -> Declared:
        lazy = not self.policy.eager and number < CHAIN - 1
        return Declared(
            self.policy if lazy or self.policy.eager else OUTPUT,
            inputs=[Input(number - 1)] if number else (),
            name=f"j{number}",
            record=self.records.get(number),
        )

    def run(self, thaw_after: int = CHAIN + 1) -> Run:
        """One run, at its end; frozen and thawed once when so many jobs were started."""
        run = Run(map(self.declared, range(CHAIN)))
        self.started, self.released = [], []
        while commands := run.take():
            self._obey(commands)
            if len(self.started) >= thaw_after:
                run, thaw_after = self._thawed(run, commands), CHAIN + 1
            for number in commands.look:
                run.found(number, ("",) if number in self.there else ())
            for number in commands.run:
                self._end(run, number)
        assert run.over
        run.check()
        return run

    def _obey(self, commands: Commands) -> None:
        for number in commands.forget:
            self.records.pop(number, None)
        self.records.update(commands.remember)
        for number, _ in commands.release:
            self.there.remove(number)
            self.released.append(number)
        self.started += commands.run

    def _thawed(self, run: Run, commands: Commands) -> Run:
        run = frozen.thaw(frozen.freeze(run))
        again = run.take()
        assert (again.run, again.look) == (commands.run, commands.look)
        assert not again.forget + again.release
        return run

    def _end(self, run: Run, number: int) -> None:
        assert number == 0 or number - 1 in self.there
        if number == self.failing:
            run.failed(number)
            return
        self.there.add(number)
        run.done(number, ((("content", b"%d" % number),),))


def ends(run: Run) -> list[int]:
    return [job.state for job in run.jobs.values()]


@pytest.mark.parametrize("policy", [OUTPUT, EPHEMERAL, ALWAYS], ids=["output", "temp", "always"])
def test_a_chain_runs_once_and_stands(policy: Policy) -> None:
    chain = Chain(policy)
    run = chain.run(thaw_after=CHAIN // 2)
    assert chain.started == list(range(CHAIN))
    assert ends(run) == [table.DONE] * CHAIN
    assert chain.released == ([] if policy.keep else list(range(CHAIN - 1)))
    assert len(chain.records) == (0 if policy.always else CHAIN)
    run = chain.run()
    assert chain.started == (list(range(CHAIN)) if policy.always else [])
    assert ends(run) == [table.DONE if policy.always else table.KEPT] * CHAIN


def test_a_chain_of_temps_is_made_again_for_the_last_job() -> None:
    chain = Chain(EPHEMERAL)
    chain.run()
    chain.there.clear()
    run = chain.run()
    assert chain.started == [*chain.released, CHAIN - 1] == list(range(CHAIN))
    assert ends(run) == [table.DONE] * CHAIN


def test_the_first_failure_blocks_a_chain() -> None:
    chain = Chain(ALWAYS, failing=0)
    run = chain.run()
    assert chain.started == [0]
    assert ends(run) == [table.FAILED] + [table.BLOCKED] * (CHAIN - 1)


# --- the two kinds of Run ---------------------------------------------------------------------

SAME_AS = {
    plain.WAITING: table.WAITING,
    plain.READY: table.READY,
    plain.DONE: table.DONE,
    plain.FAILED: table.FAILED,
    plain.BLOCKED: table.BLOCKED,
    plain.CANCELLED: table.CANCELLED,
}
OUTCOMES = (states.DONE, states.FAILED, states.CANCELLED)


class Twins:
    """The same jobs that always run, in a PlainRun and in a Run, told the same."""

    def __init__(self, edges: list[list[int]], reading: bool) -> None:
        offsets, targets = array("I", [0]), array("I")
        for ups in edges:
            targets.extend(ups)
            offsets.append(len(targets))
        self.plain = PlainRun(Graph(offsets, targets))
        self.full = Run(
            Declared(inputs=list(map(Input, ups))) if reading else Declared(after=_after(ups))
            for ups in edges
        )
        self.first = self.plain.start(), self.full.take().run

    def settle(self, batch: list[int], outcomes: list[int]) -> list[int]:
        """What both hand out then, in this order."""
        handed_out = self.plain.settle(batch, outcomes)
        for job, outcome in zip(batch, outcomes, strict=True):
            if outcome == states.DONE:
                self.full.done(job)
            elif outcome == states.FAILED:
                self.full.failed(job)
            else:
                self.full.killed(job)
        commands = self.full.take()
        assert commands.run == handed_out
        assert not commands.release
        self.compare()
        return handed_out

    def cancel(self) -> list[int]:
        self.plain.cancel()
        self.full.cancel()
        self.compare()
        return self.full.take().kill

    def compare(self) -> None:
        assert [SAME_AS[state] for state in self.plain.state] == ends(self.full)
        assert self.plain.over == self.full.over


def _after(ups: list[int]) -> list[After]:
    return [After(up) for up in ups]


def twins(shape: Shape, choice: Random, reading: bool) -> Twins:
    return Twins([upstreams(shape, job, choice) for job in range(shape.jobs)], reading)


@pytest.mark.parametrize("reading", [False, True], ids=["order-only", "reading"])
@many
@given(SHAPES)
def test_plain_and_full_runs_go_the_same_way(reading: bool, shape: Shape) -> None:
    """Outcomes in any order and any batches; some runs are cancelled."""
    choice = Random(shape.seed)
    both = twins(shape, choice, reading)
    assert sorted(both.first[0]) == sorted(both.first[1])
    both.compare()
    out = list(both.first[0])
    weights = (1.0, shape.trouble, shape.trouble / 2)
    cancel_at = choice.randrange(4 * shape.jobs)
    while out:
        choice.shuffle(out)
        batch = [out.pop() for _ in range(min(len(out), choice.randint(1, 10)))]
        out += both.settle(batch, choice.choices(OUTCOMES, weights, k=len(batch)))
        cancel_at -= len(batch)
        if cancel_at < 0 and not both.plain.cancelled:
            assert sorted(both.cancel()) == sorted(out)
    assert both.plain.over
    both.full.check()


def test_plain_and_full_runs_begin_in_the_same_order() -> None:
    both = Twins([[], [], [0], []], reading=False)
    assert both.first == ([0, 1, 3], [0, 1, 3])
