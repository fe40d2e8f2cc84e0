"""Our engine beside that of pypipegraph2: the same jobs run, and they end alike.

Where they do not, the difference must be of a kind that `DIFFERENCES` names and explains, and
ours must be what the oracle says. Runs go by threes: a first one, one after changes, deletions
and with failures, and one without trouble that shows what was remembered of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from pypelinin.engine import table
from pypelinin.graph.declared import ALWAYS, EPHEMERAL, OUTPUT, Policy
from tests.engine.campaign import case_of, graphs, subsets
from tests.engine.oracle import MAYBE, YES, Oracle
from tests.engine.ppg2 import (
    BLOCKED,
    FAILED,
    RAN,
    SKIPPED,
    UNKNOWN,
    Folder,
    Ppg2Log,
    Ppg2World,
)
from tests.engine.world import Case, Log, Story, World, check_truth

POLICIES = (ALWAYS, OUTPUT, EPHEMERAL)
SAMPLES = 15_000

ENDS = {
    table.DONE: RAN,
    table.KEPT: SKIPPED,
    table.UNUSED: SKIPPED,
    table.FAILED: FAILED,
    table.BLOCKED: BLOCKED,
}


# --- one run of both --------------------------------------------------------------------------


def executed(ends: list[str]) -> set[int]:
    return {job for job, end in enumerate(ends) if end in (RAN, FAILED)}


class Pair:
    """The same run by both engines."""

    def __init__(self, before: World, ours: Log, theirs: Ppg2Log) -> None:
        self.before = before
        self.case = before.case
        self.ours = ours
        self.theirs = theirs
        self.our_ends = [ENDS[ours.verdicts[job]] for job in range(len(self.case))]
        self.their_ends = theirs.ends
        assert UNKNOWN in theirs.ends or set(theirs.started) == executed(theirs.ends)
        assert set(ours.started) == executed(self.our_ends)

    def inputs(self, job: int) -> list[int]:
        return [up for up, _, _ in self.case[job].reads]

    def consumers(self, job: int) -> list[int]:
        return [other for other in range(len(self.case)) if job in self.inputs(other)]

    def differing(self) -> set[int]:
        ends = zip(self.our_ends, self.their_ends, strict=True)
        return {job for job, (our, their) in enumerate(ends) if our != their} | {
            job for job, _ in self.theirs.blind
        }

    def __str__(self) -> str:
        jobs = " ".join(
            f"{'AOE'[POLICIES.index(job.policy)]}{number}<{self.inputs(number)}"
            for number, job in enumerate(self.case)
        )
        return (
            f"{jobs}; versions {self.before.version} {self.before.touched}, "
            f"there {sorted(job for job, _ in self.before.data)}; "
            f"ours: started {self.ours.started}, {self.ours.named()}; theirs: {self.theirs}"
        )


# --- why a job may end otherwise --------------------------------------------------------------


def is_left_over(pair: Pair, job: int) -> bool:
    left = pair.case[job].policy == EPHEMERAL and (job, "") in pair.before.data
    return left and pair.our_ends[job] == SKIPPED != pair.their_ends[job]


def is_in_vain(pair: Pair, job: int) -> bool:
    stopped = any(
        pair.our_ends[other] == pair.their_ends[other] == BLOCKED for other in pair.consumers(job)
    )
    lazy = pair.case[job].policy == EPHEMERAL
    return stopped and lazy and pair.our_ends[job] == SKIPPED != pair.their_ends[job]


def is_unchanged(pair: Pair, job: int) -> bool:
    broken = any(pair.our_ends[up] in (FAILED, BLOCKED) for up in pair.inputs(job))
    return broken and pair.ours.verdicts[job] == table.KEPT and pair.their_ends[job] == BLOCKED


def is_blind(pair: Pair, job: int) -> bool:
    return any(job in missed for missed in pair.theirs.blind)


def is_lost(pair: Pair, job: int) -> bool:
    return pair.theirs.trouble != ""


class Difference(NamedTuple):
    """One kind of difference."""

    explains: Callable[[Pair, int], bool]
    why: str
    repaired: tuple[int, ...] = ()
    """Since which version of pypipegraph2 there is none of it."""


DIFFERENCES = {
    "left over": Difference(
        is_left_over,
        "A temp that an earlier run with failures left behind is read as it is, since its record "
        "vouches for it; theirs starts its job again (whose class then finds the file).",
    ),
    "in vain": Difference(
        is_in_vain,
        "A temp is made when its consumer is sure to run, and left alone if another input of that "
        "consumer breaks; theirs sets out to make it as soon as the consumer is known to be stale.",
    ),
    "unchanged": Difference(
        is_unchanged,
        "A job that is unchanged stands, though the unchanged temp it was made from breaks when "
        "others have it made again; theirs counts it as failed with its upstream.",
    ),
    "blind": Difference(
        is_blind,
        "Their defect: a temp behind a temp is not made again if another consumer of it was "
        "skipped already, so the job that reads it starts without it.",
    ),
    "lost": Difference(
        is_lost,
        "Their defect: after the failure of a temp whose consumers had a history, the engine "
        "stops with an error of its own.",
        repaired=(3, 5),
    ),
}


def known_differences() -> set[str]:
    """Those that the installed version can show."""
    installed = tuple(int(part) for part in version("pypipegraph2").split(".")[:2])
    return {
        name
        for name, difference in DIFFERENCES.items()
        if not difference.repaired or installed < difference.repaired
    }


def follows(pair: Pair, job: int, explained: set[int]) -> bool:
    """Whether a job ended otherwise only because one beside it did."""
    if pair.their_ends[job] == BLOCKED and any(
        up in explained and pair.their_ends[up] in (FAILED, BLOCKED) for up in pair.inputs(job)
    ):
        return True
    if pair.case[job].policy != EPHEMERAL or (
        (job in pair.ours.started) == (job in pair.theirs.started)
    ):
        return False
    sides = [(pair.our_ends, pair.their_ends), (pair.their_ends, pair.our_ends)]
    with_it, without = sides[job in pair.theirs.started]
    return any(  # a consumer for which one engine made it, and which the other did not run
        with_it[other] != SKIPPED and without[other] not in (RAN, FAILED)
        for other in explained.intersection(pair.consumers(job))
    )


def unexplained(pair: Pair, names: set[str]) -> set[int]:
    """The jobs that differ for none of these reasons, nor as a consequence of one that does."""
    differing = pair.differing()
    explained = {
        job for job in differing if any(DIFFERENCES[name].explains(pair, job) for name in names)
    }
    while more := {job for job in differing - explained if follows(pair, job, explained)}:
        explained |= more
    return differing - explained


class Tally:
    """What was compared, and how it came out."""

    def __init__(self) -> None:
        self.runs = 0
        self.counts: Counter[str] = Counter()
        self.needed: set[str] = set()
        """Differences without which something would have no explanation."""

    def agree(self, ours: World, theirs: Ppg2World, failing: frozenset[int] = frozenset()) -> bool:
        """Run both; fails if they differ in a way that is not known, or if ours is wrong."""
        self.runs += 1
        before = ours.copy()
        pair = Pair(before, ours.run(Story(failing=failing)), theirs.run(failing))
        if not pair.differing():
            assert is_same_data(pair, ours, theirs.world), f"other data: {pair}"
            return True
        check_by_definition(pair, ours, failing)
        known = known_differences()
        assert not (jobs := unexplained(pair, known)), f"{sorted(jobs)} differ: {pair}"
        needed = {name for name in known if unexplained(pair, known - {name})}
        self.needed |= needed
        self.counts[" or ".join(sorted(needed)) or "several"] += 1
        return False

    def __str__(self) -> str:
        found = ", ".join(f"{count:,} {name}" for name, count in self.counts.most_common())
        return f"{self.runs:,} runs of both, {self.counts.total():,} differ: {found}"


def is_same_data(pair: Pair, ours: World, theirs: World) -> bool:
    """Whether both have left the same, but for old left-overs that only ours releases."""
    released = {
        key
        for key in pair.before.data.keys() - ours.data.keys()
        if pair.case[key[0]].policy == EPHEMERAL
    }
    return ours.data == {key: v for key, v in theirs.data.items() if key not in released}


def check_by_definition(pair: Pair, after: World, failing: frozenset[int]) -> None:
    """Where they differ, ours did what must happen."""
    expected = Oracle(pair.before, failing).expect()
    for job, allowed in enumerate(expected.verdicts):
        assert pair.ours.verdicts[job] in allowed, f"{job}: {pair}"
    for job, starts in enumerate(expected.starts):
        assert starts == MAYBE or (job in pair.ours.started) == (starts == YES), f"{job}: {pair}"
    check_truth(after, pair.ours)


# --- the campaigns ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    pytest.importorskip("pypipegraph2", reason="pypipegraph2 is not installed")
    return Folder(tmp_path)


def worlds(case: Case, folder: Folder, invariants: frozenset[int]) -> tuple[World, Ppg2World]:
    return World(case), Ppg2World(World(case), folder, invariants)


def change(ours: World, theirs: Ppg2World, jobs: frozenset[int], lost: frozenset[int]) -> None:
    """Other code of these *jobs*, and no output of those *lost*."""
    for world in (ours, theirs.world):
        for job in jobs:
            world.version[job] += 1
        for job in lost:
            del world.data[job, ""]


def cases(jobs: int) -> Iterator[tuple[Case, tuple[Policy, ...]]]:
    for edges in graphs(jobs):
        for policies in product(POLICIES, repeat=jobs):
            yield case_of(edges, policies), policies


def every_second_run(case: Case, folder: Folder, invariants: frozenset[int], tally: Tally) -> None:
    """Changes x deletions x failures after a first run, and then a run without trouble.

    Only jobs whose code is watched or that always run can change. Data that is made again anyway
    is not deleted, and jobs that start in neither engine do not fail: that would change nothing.
    """
    ours, theirs = worlds(case, folder, invariants)
    assert tally.agree(ours, theirs), "a first run differs"
    always = {job for job, declared in enumerate(case) if declared.policy == ALWAYS}
    files = [job for job, declared in enumerate(case) if declared.policy == OUTPUT]
    for changes in subsets(sorted(always | invariants)):
        for lost in subsets(files):
            mine, other = ours.copy(), theirs.copy()
            change(mine, other, changes, lost)
            calm = mine.copy().run().started + other.copy().run().started
            for failing in subsets(sorted(set(calm))):
                twin, twin_of_other = mine.copy(), other.copy()
                if tally.agree(twin, twin_of_other, failing):
                    tally.agree(twin, twin_of_other)


@pytest.mark.needs_all
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("watched", [False, True], ids=["bare", "invariants"])
def test_every_graph_of_three_jobs(folder: Folder, watched: bool) -> None:
    """Without invariants nothing but the jobs that always run can change."""
    tally = Tally()
    for case, policies in cases(3):
        invariants = [job for job, policy in enumerate(policies) if watched and policy != ALWAYS]
        every_second_run(case, folder, frozenset(invariants), tally)
    print(tally)
    assert tally.runs > (20_000 if watched else 5_000)
    seen = {"left over", "in vain", "unchanged"} | ({"lost"} if watched else set())
    assert tally.needed == seen & known_differences()


def sample(seed: int, folder: Folder, tally: Tally) -> None:
    """A first run of some case and three more; on until the two differ."""
    choice = Random(seed)
    jobs, density, watched = 4 + seed % 2, choice.random(), choice.choice((0.0, 0.5, 1.0))
    policies = tuple(choice.choice((*POLICIES, OUTPUT, EPHEMERAL, EPHEMERAL)) for _ in range(jobs))
    pairs = [(up, down) for down in range(jobs) for up in range(down)]
    case = case_of({pair: int(choice.random() < density) for pair in pairs}, policies)
    lazy = frozenset(job for job in range(jobs) if policies[job] != ALWAYS)
    invariants = frozenset(job for job in lazy if choice.random() < watched)
    ours, theirs = worlds(case, folder, invariants)
    likely = [0.0, choice.choice((0.0, 0.2, 0.5)), choice.choice((0.0, 0.0, 0.3)), 0.0]
    for number, fails in enumerate(likely):
        if number:
            disturb(ours, theirs, lazy - invariants, choice)
        failing = frozenset(job for job in range(jobs) if choice.random() < fails)
        if not tally.agree(ours, theirs, failing):
            return


def disturb(ours: World, theirs: Ppg2World, unwatched: frozenset[int], choice: Random) -> None:
    """Change and delete here and there; some code gives the same when it has changed."""
    likely = choice.choice((0.1, 0.2, 0.5))
    jobs = frozenset(job for job in range(len(ours.case)) if choice.random() < likely)
    there = [job for job, _ in ours.data if ours.case[job].policy == OUTPUT]
    lost = frozenset(job for job in there if choice.random() < likely)
    change(ours, theirs, jobs - unwatched, lost)
    for job in sorted(set(range(len(ours.case))) - unwatched):
        if choice.random() < likely / 2:
            ours.touched[job] += 1
            theirs.world.touched[job] += 1


@pytest.mark.needs_all
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_samples_of_four_and_five_jobs(folder: Folder) -> None:
    tally = Tally()
    for seed in range(SAMPLES):
        sample(seed, folder, tally)
    print(tally)
    assert tally.needed == known_differences()


@pytest.mark.needs_all
def test_a_temp_is_made_again_for_a_temp_that_is_made_again(folder: Folder) -> None:
    """Only the parameter changed: out3 is stale, so that t1 is made, so that t0 is made first.

    Theirs skips out4, lets go of t0 with it, and then starts t1 without it.
    """
    t0, t1, parameter, out3, out4 = range(5)
    edges = dict.fromkeys(((up, down) for down in range(5) for up in range(down)), 0)
    edges |= dict.fromkeys([(t0, t1), (t1, out3), (parameter, out3), (t0, out4)], 1)
    case = case_of(edges, (EPHEMERAL, EPHEMERAL, ALWAYS, OUTPUT, OUTPUT))
    ours, theirs = worlds(case, folder, frozenset())
    assert Tally().agree(ours, theirs)
    change(ours, theirs, frozenset([parameter]), frozenset())

    log = ours.run()
    assert log.started == [parameter, t0, t1, out3]
    assert not log.troubled
    check_truth(ours, log)

    their_log = theirs.run()
    assert their_log.started == [parameter, t1]
    assert their_log.blind == [(t1, t0)]
    assert their_log.ends == [SKIPPED, FAILED, RAN, BLOCKED, SKIPPED]
