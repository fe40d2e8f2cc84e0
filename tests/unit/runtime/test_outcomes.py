"""Outcomes as slots write them."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.graph import states
from pypelinin.runtime.outcomes import Outcomes, blamed, failure, used_too_much
from pypelinin.wire.messages import JobFailure


def test_outcomes_are_collected_in_order() -> None:
    found = Outcomes("node")
    for outcome in (0.5, [0.25, b"result"], None, [1.0, "exception", "E", "why", "trace", b"e"]):
        found.take(outcome)
    told = found.told(3)
    assert told.slot == 3
    assert list(told.statuses) == [states.DONE, states.DONE, states.UNBEGUN, states.FAILED]
    assert told.results == (b"", b"result", b"", b"e")
    assert [(f.job, f.failure.type, f.failure.node) for f in told.failures] == [(3, "E", "node")]
    assert told.elapsed_s == 1.75


def test_without_results_there_is_no_list_of_them() -> None:
    found = Outcomes("node")
    found.take(0.5)
    assert found.told(0).results == ()


@pytest.mark.parametrize(
    "outcome", ["text", 5, [], [0.5], [0.5, "text"], [0.5, b"a", b"b"], ["x", b""], {}, b"bytes"]
)
def test_what_is_no_outcome_is_refused(outcome: Any) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        Outcomes("node").take(outcome)


def test_texts_of_a_failure() -> None:
    made = failure(["exit", "Killed", 5, None], "node")
    assert (made.cause, made.type, made.text, made.traceback) == ("exit", "Killed", "5", "None")


def test_the_last_failure_can_have_another_cause() -> None:
    first, last = (failure(["exception", "E", text, "trace"], "node") for text in ("a", "b"))
    why = used_too_much(3 * 10**9, 10**9, "node")
    others, found = blamed([JobFailure(1, first), JobFailure(4, last)], why)
    assert others == JobFailure(1, first)
    assert (found.job, found.failure.cause, found.failure.traceback) == (4, "memory", "trace")
    assert found.failure.text == "it used 3.00 GB of memory; its limit is 1.00 GB"
