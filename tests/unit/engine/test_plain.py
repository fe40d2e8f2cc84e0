"""A Run decides the same whatever the order and the batches of outcomes."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.engine.plain import BLOCKED, CANCELLED, DONE, FAILED, READY, WAITING, PlainRun
from pypelinin.graph import states
from pypelinin.graph.graph import Graph

JOBS = 10
VERDICTS = {DONE: states.DONE, FAILED: states.FAILED, CANCELLED: states.CANCELLED}


def graph(upstreams: list[list[int]]) -> Graph:
    offsets, targets = array("I", [0]), array("I")
    for ups in upstreams:
        targets.extend(ups)
        offsets.append(len(targets))
    made = Graph(offsets, targets)
    made.check()
    return made


def chain(jobs: int) -> Graph:
    return Graph(array("I", [0, *range(jobs)]), array("I", range(jobs - 1)))


@dataclass
class Script:
    """A graph and how each job would end if it ran."""

    upstreams: list[list[int]]
    outcomes: bytes

    @property
    def verdicts(self) -> list[int]:
        """What must become of each job, straight from the definition."""
        found: list[int] = []
        for job, ups in enumerate(self.upstreams):
            runs = all(found[up] == DONE for up in ups)
            ended = FAILED if self.outcomes[job] == states.FAILED else DONE
            found.append(ended if runs else BLOCKED)
        return found

    def run(self) -> PlainRun:
        return PlainRun(graph(self.upstreams))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    count = draw(st.integers(1, JOBS))
    upstreams = [
        sorted(draw(st.sets(st.integers(0, job - 1), max_size=3))) if job else []
        for job in range(count)
    ]
    endings = st.sampled_from((states.DONE, states.DONE, states.FAILED))
    return Script(upstreams, bytes(draw(endings) for _ in range(count)))


RANDOM = st.randoms(use_true_random=False)


def execute(run: PlainRun, script: Script, ready: list[int], choice: random.Random) -> list[int]:
    """Let everything end in random batches; the jobs in the order they were handed out."""
    handed_out = list(ready)
    queue = list(ready)
    while queue:
        choice.shuffle(queue)
        batch = [queue.pop() for _ in range(choice.randint(1, len(queue)))]
        new = run.settle(batch, bytes(script.outcomes[job] for job in batch))
        run.check()
        for job in new:
            assert all(run.state[up] == DONE for up in script.upstreams[job])
        queue += new
        handed_out += new
    return handed_out


@given(scripts(), RANDOM)
def test_order_and_batches_never_change_the_verdicts(script: Script, choice: random.Random) -> None:
    run = script.run()
    ready = run.start()
    run.check()
    handed_out = execute(run, script, ready, choice)
    assert list(run.state) == script.verdicts
    assert run.over
    expected = [job for job, verdict in enumerate(script.verdicts) if verdict != BLOCKED]
    assert sorted(handed_out) == expected, "each job that may run is handed out once"


@given(scripts(), RANDOM)
def test_a_run_that_goes_on_ends_like_one_that_never_stopped(
    script: Script, choice: random.Random
) -> None:
    """Some outcomes are known; those who wait in between may be recorded as anything open."""
    verdicts = script.verdicts
    known = bytearray(len(verdicts))
    for job, verdict in enumerate(verdicts):
        upstreams_known = all(known[up] == states.DONE for up in script.upstreams[job])
        if verdict in VERDICTS and upstreams_known and choice.random() < 0.6:
            known[job] = VERDICTS[verdict]
        elif verdict == BLOCKED and choice.random() < 0.3:
            known[job] = states.SKIPPED
    run = script.run()
    ready = run.start(bytes(known))
    run.check()
    handed_out = execute(run, script, ready, choice)
    assert list(run.state) == verdicts
    assert run.over
    left = [j for j, v in enumerate(verdicts) if v != BLOCKED and known[j] not in (1, 2)]
    assert sorted(handed_out) == left, "what has an outcome never runs again"


@given(scripts(), RANDOM)
def test_all_outcomes_in_one_batch_in_any_order(script: Script, choice: random.Random) -> None:
    """A rebuilt Run may hear of a job before it hears of the job's upstreams."""
    ended = [(j, VERDICTS[v]) for j, v in enumerate(script.verdicts) if v in VERDICTS]
    choice.shuffle(ended)
    run = script.run()
    run.start()
    run.settle([job for job, _ in ended], bytes(status for _, status in ended))
    run.check()
    assert list(run.state) == script.verdicts
    assert run.over


@given(scripts(), RANDOM)
def test_cancel_ends_what_waits_and_lets_the_rest_end(
    script: Script, choice: random.Random
) -> None:
    run = script.run()
    out = run.start()
    for _ in range(choice.randint(0, 4)):
        if out:
            job = out.pop(choice.randrange(len(out)))
            out += run.settle([job], bytes([script.outcomes[job]]))
    before = bytes(run.state)
    run.cancel()
    run.check()
    assert run.cancelled
    for job, state in enumerate(before):
        assert run.state[job] == (CANCELLED if state == WAITING else state)
    assert run.over == (not out)
    for job in out:
        assert run.settle([job], bytes([script.outcomes[job]])) == []
        run.check()
    assert run.over


@given(scripts(), RANDOM)
def test_an_outcome_that_comes_twice_changes_nothing(script: Script, choice: random.Random) -> None:
    run = script.run()
    execute(run, script, run.start(), choice)
    jobs = range(len(script.upstreams))
    assert run.settle(jobs, bytes([states.DONE]) * len(jobs)) == []
    run.check()
    assert list(run.state) == script.verdicts


def test_a_failure_skips_exactly_the_descendants() -> None:
    #       0     1    2    3       4    5
    run = PlainRun(graph([[], [], [0], [0, 1], [3], [1]]))
    assert run.start() == [0, 1]
    assert run.settle([0], [states.FAILED]) == []
    run.check()
    assert list(run.state) == [FAILED, READY, BLOCKED, BLOCKED, BLOCKED, WAITING]
    assert run.settle([1], [states.DONE]) == [5]
    assert not run.over
    assert run.settle([5], [states.DONE]) == []
    assert run.over


def test_a_cancelled_job_skips_its_descendants_too() -> None:
    run = PlainRun(chain(3))
    run.start()
    run.settle([0], [states.CANCELLED])
    run.check()
    assert list(run.state) == [CANCELLED, BLOCKED, BLOCKED]
    assert run.over


def test_what_was_out_when_a_pipeliner_died_is_handed_out_again() -> None:
    run = PlainRun(graph([[], [0], [0], [1, 2]]))
    assert run.start(bytes([states.DONE, states.DONE, states.OPEN, states.OPEN])) == [2]
    assert run.settle([2], [states.DONE]) == [3]


def test_a_finished_run_that_goes_on_is_over_at_once() -> None:
    run = PlainRun(chain(3))
    assert run.start(bytes([states.DONE, states.FAILED, states.SKIPPED])) == []
    run.check()
    assert run.over
    assert list(run.state) == [DONE, FAILED, BLOCKED]


def test_jobs_and_statuses_of_different_length_are_a_mistake() -> None:
    run = PlainRun(chain(2))
    run.start()
    with pytest.raises(ValueError, match="zip"):
        run.settle([0], b"")


def test_check_notices_a_job_that_started_too_early() -> None:
    run = PlainRun(chain(2))
    run.start()
    run.state[1] = READY
    with pytest.raises(AssertionError, match="job 1 started too early"):
        run.check()


def test_check_notices_a_job_that_waits_for_nothing() -> None:
    run = PlainRun(chain(1))
    with pytest.raises(AssertionError, match="job 0 waits for nothing"):
        run.check()


def test_a_chain_of_100_000_runs_to_its_end() -> None:
    jobs = 100_000
    run = PlainRun(chain(jobs))
    ready, steps = run.start(), 0
    while ready:
        assert ready == [steps]
        ready = run.settle(ready, bytes([states.DONE]))
        steps += 1
    assert steps == jobs
    assert run.over
    run.check()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_100_000_is_rebuilt_at_once(backwards: bool) -> None:
    jobs = 100_000
    run = PlainRun(chain(jobs))
    run.start()
    order = range(jobs - 2, -1, -1) if backwards else range(jobs - 1)
    ready = run.settle(order, bytes([states.DONE]) * (jobs - 1))
    assert [job for job in ready if run.state[job] == READY] == [jobs - 1]
    run.check()


def test_a_failure_at_the_head_of_100_000_skips_them_all() -> None:
    run = PlainRun(chain(100_000))
    run.settle(run.start(), [states.FAILED])
    assert run.over
    assert run.state.count(BLOCKED) == 99_999
    run.check()


def started(upstreams: list[list[int]]) -> PlainRun:
    run = PlainRun(graph(upstreams))
    run.start()
    return run


@pytest.mark.parametrize(
    ("upstreams", "line"),
    [
        ([[], [0], [1], [2]], [1, 2, 3]),
        ([[], [0], [0]], []),  # two wait for it: the second must not wait for the first's turn
        ([[], [0], [1], [1]], [1]),
        ([[], [], [0, 1]], []),  # waits for another one too
        ([[], [0], [], [1, 2]], [1]),
        ([[]], []),
    ],
)
def test_a_line_is_what_only_waits_for_the_job_before(
    upstreams: list[list[int]], line: list[int]
) -> None:
    assert started(upstreams).line(0, 10) == line


def test_a_line_is_no_longer_than_asked() -> None:
    run = PlainRun(chain(100_000))
    run.start()
    assert run.line(0, 0) == []
    assert run.line(0, 2) == [1, 2]
    assert len(run.line(0, 200_000)) == 99_999


def test_what_else_a_job_waited_for_may_be_done() -> None:
    run = started([[], [], [0, 1], [2]])
    run.settle([1], bytes((states.DONE,)))
    assert run.line(0, 10) == [2, 3]


def test_a_line_ends_where_the_run_was_cancelled() -> None:
    run = PlainRun(chain(4))
    run.start()
    run.cancel()
    assert run.line(0, 10) == []
