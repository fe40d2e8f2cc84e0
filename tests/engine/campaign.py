"""Cases, and all that is checked of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from random import Random

from pypelinin.engine import frozen
from pypelinin.engine.run import Run
from pypelinin.engine.table import FAILED
from pypelinin.graph.declared import (
    ALWAYS,
    CACHED,
    EPHEMERAL,
    OUTPUT,
    RECIPE,
    TOKEN,
    Policy,
)
from tests.engine.oracle import MAYBE, YES, Oracle
from tests.engine.world import Case, JobCase, Log, Read, Story, Violation, World, check_truth

POLICIES = (ALWAYS, OUTPUT, CACHED, EPHEMERAL, RECIPE, TOKEN)


def graphs(jobs: int, kinds: int = 2) -> Iterator[dict[tuple[int, int], int]]:
    """Every graph: for each pair no edge (0), a data edge (1), an order-only edge (2)."""
    pairs = [(up, down) for down in range(jobs) for up in range(down)]
    for edges in product(range(kinds), repeat=len(pairs)):
        yield dict(zip(pairs, edges, strict=True))


def case_of(edges: dict[tuple[int, int], int], policies: tuple[Policy, ...]) -> Case:
    return [
        JobCase(
            policy,
            reads=tuple((up, ("",), False) for up in range(job) if edges[up, job] == 1),
            after=tuple((up, False) for up in range(job) if edges[up, job] == 2),
        )
        for job, policy in enumerate(policies)
    ]


def is_first(edges: dict[tuple[int, int], int], policies: tuple[int, ...]) -> bool:
    """Whether no renumbering that keeps upstreams before downstreams comes before this one."""
    own = (policies, tuple(edges.values()))
    drawn = [(pair, kind) for pair, kind in edges.items() if kind]
    for numbers in permutations(range(len(policies))):
        if all(numbers[up] < numbers[down] for (up, down), _ in drawn):
            renumbered = dict.fromkeys(edges, 0)
            renumbered.update(((numbers[up], numbers[down]), kind) for (up, down), kind in drawn)
            moved = [0] * len(policies)
            for job, policy in zip(numbers, policies, strict=True):
                moved[job] = policy
            if (tuple(moved), tuple(renumbered.values())) < own:
                return False
    return True


def subsets(jobs: list[int], at_most: int = 64) -> Iterator[frozenset[int]]:
    for bits in range(1 << len(jobs)):
        if bits.bit_count() <= at_most:
            yield frozenset(job for i, job in enumerate(jobs) if bits >> i & 1)


def built(case: Case) -> World:
    """A world in which the case ran once, without trouble."""
    world = World(case)
    judged(world, frozenset())
    return world


def judged(
    world: World, failing: frozenset[int], choice: Random | None = None, thaw: bool = False
) -> Log:
    """One run, compared with the oracle."""
    expected = Oracle(world, failing).expect()
    log = world.run(Story(failing=failing, thaw=thaw), choice)
    for job, allowed in enumerate(expected.verdicts):
        if log.verdicts[job] not in allowed:
            raise Violation(f"{job} ended as {log.named()}, allowed {expected.verdicts}")
    for job, starts in enumerate(expected.starts):
        if starts != MAYBE and (job in log.started) != (starts == YES):
            raise Violation(f"{job} started: {log.started}, expected {expected.starts}")
    check_truth(world, log)
    log.run.check()
    return log


def settled(world: World) -> None:
    """A run without trouble, then one in which nothing may happen but what always runs."""
    judged(world, frozenset())
    log = judged(world, frozenset())
    for job in log.started:
        if not forced(world.case, job):
            raise Violation(f"{job} ran although nothing had changed: {log.named()}")
    if log.troubled:
        raise Violation(f"a run without trouble ended as {log.named()}")


def forced(case: Case, job: int) -> bool:
    """It always runs, or something that always runs reads it (through what is not kept)."""
    if case[job].policy.always:
        return True
    return any(
        up == job and (forced(case, other))
        for other, declared in enumerate(case)
        for up, _, _ in declared.reads
    )


def exhaustive(jobs: int, policies: tuple[Policy, ...] = POLICIES, kinds: int = 2) -> Iterator[int]:
    """Every case of so many jobs: changes x deletions x failures. Yields what it counts."""
    for edges in graphs(jobs, kinds):
        for chosen in product(policies, repeat=jobs):
            yield every_second_run(case_of(edges, chosen))


def every_second_run(case: Case, few: bool = False) -> int:
    """Changes x deletions x failures after a first run; *few*: at most one change, one deletion.

    Failures of jobs that do not start, and deletions of what is not there, change nothing: they
    are not run again.
    """
    first = built(case)
    cases = 0
    numbers = list(range(len(case)))
    existing = sorted({job for job, _ in first.data})
    at_most = 1 if few else len(case)
    for changes in subsets(numbers, at_most):
        for deletions in subsets(existing, at_most):
            world = first.copy()
            for job in changes:
                world.version[job] += 1
            world.data = {
                key: value for key, value in world.data.items() if key[0] not in deletions
            }
            after = world.copy()
            started = judged(after, frozenset()).started
            settled(after)
            cases += 1
            for failing in subsets(sorted(set(started))) if not few else ():
                if failing:
                    after = world.copy()
                    judged(after, failing)
                    settled(after)
                    cases += 1
    return cases


def random_case(choice: Random, jobs: int) -> Case:
    """Any policies; some jobs with two outputs, tolerant inputs, order-only edges, final jobs."""
    case: list[JobCase] = []
    density, plain = choice.random(), choice.random() < 0.3
    doubles = choice.choice((0.2, 0.8))
    kinds = choice.sample(POLICIES, choice.randint(2, len(POLICIES)))
    for number in range(jobs):
        final = not plain and number > 0 and choice.random() < 0.08
        policy = choice.choice((ALWAYS, OUTPUT, TOKEN) if final else kinds)
        outputs = ("a", "b") if not plain and choice.random() < doubles else ("",)
        keep = None
        if len(outputs) > 1 and not policy.recipe and choice.random() < 0.6:
            keep = (choice.random() < 0.5, choice.random() < 0.5)
        reads, after = [], []
        for up in range(number):
            if choice.random() > density or (case[up].final and not final):
                continue
            tolerant = not plain and choice.random() < 0.2
            if choice.random() < 0.7:
                names = case[up].outputs
                if len(names) > 1 and choice.random() < 0.6:
                    names = (choice.choice(names),)
                reads.append((up, names, tolerant and policy.always))
            else:
                after.append((up, tolerant))
        case.append(JobCase(policy, tuple(reads), tuple(after), outputs, keep, final))
    return case


def sample(seed: int, jobs: int) -> int:
    """One random case: built, changed, damaged and failed, in any order; then set right."""
    choice = Random(seed)
    case = random_case(choice, jobs)
    world = built(case)
    runs = choice.randint(1, 3)
    for _ in range(runs):
        disturb(world, choice)
        likely = choice.choice((0.0, 0.1, 0.4))
        failing = frozenset(job for job in range(jobs) if choice.random() < likely)
        before = world.copy()
        log = judged(world, failing, choice, thaw=choice.random() < 0.2)
        other = judged(before.copy(), failing, Random(seed + 1))
        if not failing and other.verdicts != log.verdicts:
            raise Violation(f"order matters: {log.named()} {other.named()}")
    settled(world)
    return runs + 2


def wild(seed: int, jobs: int) -> int:
    """All that can happen in a run, checked by laws alone; then a retry, which must succeed."""
    choice = Random(seed)
    case = [keyed(job, choice) for job in random_case(choice, jobs)]
    world = World(case)
    if choice.random() < 0.7:
        check_truth(world, world.run())
        disturb(world, choice)
    story = random_story(choice, case)
    log = world.run(story, choice)
    tainted = descendants(world.case, story.impure)
    late = story.vanishing and story.failing
    if story.recipe_failing or story.cancels or late:  # what was read well may break later
        readers = {n for n, job in enumerate(world.case) if any(ok for _, _, ok in job.reads)}
        tainted |= descendants(world.case, frozenset(readers))
    check_truth(world, log, tainted)
    log.run.check()
    calm = Story(expansions=story.expansions, thaw=story.thaw, reload=story.reload)
    if story == calm and not log.refused and log.troubled:
        raise Violation(f"a run without trouble ended as {log.named()}")
    again = retry(world, log, choice, tainted)
    return 2 + again


def retry(world: World, log: Log, choice: Random, tainted: frozenset[int]) -> int:
    """A new run in which what succeeded is given; nothing stands in its way."""
    if tainted:
        return 0
    declared = frozen.retry(log.run)
    order = [int(job.name[1:]) for job in declared]
    if len(order) < len(world.case):
        return 0  # TOKENs were forgotten that nobody can ask for
    twin = world.reordered(order)
    second = twin.run(Story(thaw=choice.random() < 0.1), choice, Run(declared))
    second.run.check()
    went_without = {
        n
        for n, job in enumerate(twin.case)
        for up, _, ok in job.reads
        if ok and log.verdicts[order[up]] >= FAILED
    }
    if not log.lost:
        check_truth(twin, second, descendants(twin.case, frozenset(went_without)), words=False)
    for number in second.started:
        if declared[number].given is not None and declared[number].policy.always:
            raise Violation(f"{order[number]} was given and ran")
    if not log.lost and second.troubled:
        raise Violation(f"a retry ended as {second.named()} after {log.named()}, order {order}")
    return 1


def keyed(job: JobCase, choice: Random) -> JobCase:
    plain = not job.policy.always and not job.policy.recipe and len(job.outputs) == 1
    return replace(job, keyed=True) if plain and choice.random() < 0.2 else job


def descendants(case: Case, jobs: frozenset[int]) -> frozenset[int]:
    found = set(jobs)
    for _ in case:
        found |= {n for n, job in enumerate(case) if any(up in found for up, _, _ in job.reads)}
    return frozenset(found)


def random_story(choice: Random, case: Case) -> Story:
    count = len(case)

    def some(likely: float) -> frozenset[int]:
        return frozenset(n for n in range(count) if choice.random() < likely)

    story = Story(thaw=choice.random() < 0.2)
    if choice.random() < 0.5:
        story.failing = some(0.2)
    if choice.random() < 0.15:
        story.impure = some(0.5)
    if choice.random() < 0.1:
        story.reload = descendants(case, some(0.3))
    if choice.random() < 0.4:
        for reader in some(0.5):
            gone = [(up, name) for up, names, _ in case[reader].reads for name in names]
            gone = [(up, name) for up, name in gone if not case[up].policy.recipe]
            if gone:
                story.vanishing[reader] = choice.choice(gone)
    if choice.random() < 0.3:
        reads = [(reader, up) for reader in some(0.5) for up, _, _ in case[reader].reads]
        story.recipe_failing = frozenset((n, up) for n, up in reads if case[up].policy.recipe)
    random_end(choice, case, story)
    return story


def random_end(choice: Random, case: Case, story: Story) -> None:
    """A cancel, or expansions, or neither."""
    count = len(case)
    if choice.random() < 0.15:
        story.cancel_after = choice.randrange(2 * count)
        if choice.random() < 0.5:
            story.cancels = tuple(n for n in range(count) if choice.random() < 0.4)
    if choice.random() < 0.4:
        for number in (n for n in range(count) if choice.random() < 0.6):
            if case[number].policy.always and not case[number].final:
                story.expansions[number] = random_expansion(choice, case, number)


def random_expansion(
    choice: Random, case: Case, expander: int
) -> tuple[list[JobCase], list[tuple[int, Read]]]:
    """Anything, right or wrong; the engine has to tell."""
    new: list[JobCase] = []
    for index in range(choice.randint(1, 3)):
        reads: dict[int, Read] = {}
        for _ in range(choice.randint(0, 2)):
            up = choice.randrange(-index, len(case)) if index else choice.randrange(len(case))
            names = new[-up - 1].outputs if up < 0 else case[up].outputs
            reads[up] = (up, names, False)
        if choice.random() < 0.5:
            reads[expander] = (expander, case[expander].outputs, False)
        policy = choice.choice(POLICIES)
        new.append(JobCase(policy, reads=tuple(reads.values())))
    gained: list[tuple[int, Read]] = []
    for number in range(len(case)):
        if choice.random() < 0.3:
            up = (
                -choice.randint(1, len(new))
                if choice.random() < 0.8
                else choice.randrange(len(case))
            )
            names = new[-up - 1].outputs if up < 0 else case[up].outputs
            if up not in {read[0] for read in case[number].reads}:
                gained.append((number, (up, names, False)))
    return new, gained if choice.random() < 0.7 else []


def disturb(world: World, choice: Random) -> None:
    likely = choice.choice((0.0, 0.2, 0.6))
    for job in range(len(world.case)):
        if choice.random() < likely:
            world.version[job] += 1
        elif choice.random() < likely:
            world.touched[job] += 1
        for output in world.case[job].outputs:
            if (job, output) in world.data and choice.random() < likely:
                if choice.random() < 0.7 or world.case[job].keyed:
                    del world.data[job, output]
                else:
                    world.data[job, output] += 7
