"""What a client was told is held against what the Router knows later."""

from __future__ import annotations

from collections import Counter

import pytest

from pypelinin.testing.history import Violation
from pypelinin.testing.promises import Promises
from pypelinin.wire.messages import RunStatus
from pypelinin.wire.rows import CancelledRuns, FinishedRun
from tests.playbook.scene import ints, run_id, state_with, wide

RUN = run_id(1)
DONE = RunStatus(RUN, "done", 1, 1, finished_at=5.0)


@pytest.fixture
def promises() -> Promises:
    return Promises(Counter())


def test_an_accepted_part_is_never_lost(promises: Promises) -> None:
    promises.accepted(RUN, 0)
    promises.check(state_with(wide(1)).runs)
    with pytest.raises(Violation, match="was accepted and is lost"):
        promises.check(state_with().runs)


def test_what_is_accepted_is_not_unknown(promises: Promises) -> None:
    promises.told([RunStatus(RUN, "unknown")])
    promises.accepted(RUN, 0)
    with pytest.raises(Violation, match="now is unknown"):
        promises.told([RunStatus(RUN, "unknown")])


def test_a_verdict_does_not_change(promises: Promises) -> None:
    promises.told([DONE, DONE])
    with pytest.raises(Violation, match="became"):
        promises.told([RunStatus(RUN, "failed", 1, 0, 1, finished_at=5.0)])


def test_an_older_answer_is_no_lie(promises: Promises) -> None:
    promises.told([DONE, RunStatus(RUN, "running", 1)])


def test_a_verdict_is_what_the_router_says_too(promises: Promises) -> None:
    promises.told([DONE])
    with pytest.raises(Violation, match="was"):
        promises.check(state_with(wide(1)).runs)


def test_a_cancelled_run_stays_so(promises: Promises) -> None:
    promises.cancel_accepted(RUN)
    state = state_with(wide(1))
    with pytest.raises(Violation, match="not cancelled any more"):
        promises.check(state.runs)
    state.apply(CancelledRuns(ints(1)))
    promises.check(state.runs)


def test_a_forgotten_run_is_no_lie(promises: Promises) -> None:
    promises.forgetting = True
    promises.accepted(RUN, 0)
    promises.told([RunStatus(RUN, "unknown"), DONE])
    promises.check(state_with().runs)
    state = state_with(wide(1))
    state.apply(FinishedRun(1, 1.0))
    promises.check(state.runs)
