"""A job is what its worker and name say; options that make no sense are refused."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import NAME_CHARACTERS_MAX, RETRIES_MAX, Job


def test_jobs_are_equal_if_worker_and_name_are() -> None:
    assert Job("W") == Job("W", data=1, retries=2, priority=3, labels={"a": "b"})
    assert Job("W") == Job("W", name="W")
    assert Job("W") != Job("V")
    assert Job("W") != Job("W", name="other")
    assert Job("W") != "W"


def test_equal_jobs_have_one_hash() -> None:
    assert hash(Job("W", data=[1])) == hash(Job("W"))
    assert len({Job("W"), Job("W", data=1), Job("W", name="x"), Job("V", name="x")}) == 3


def test_the_repr_is_what_one_would_write() -> None:
    for job in (Job("W"), Job("W", name="it's me")):
        assert eval(repr(job)) == job
    assert repr(Job("W", data=1)) == "Job('W')"
    assert repr(Job("W", name="x")) == "Job('W', name='x')"


def test_the_original_name_of_the_worker_still_works() -> None:
    assert Job("W", name="x").worker_name == "W"


def test_options_that_are_not_given_are_left_to_the_pipeline() -> None:
    job = Job("W")
    assert (job.data, job.labels, job.retries, job.priority) == (None, None, None, None)


def test_nothing_else_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Job("W").retry = 3  # type: ignore[attr-defined]  # wrong on purpose


def test_later_changes_of_the_labels_do_not_reach_the_job() -> None:
    labels = {"disk": "ssd"}
    job = Job("W", labels=labels)
    labels["disk"] = "tape"
    assert job.labels == {"disk": "ssd"}


def test_options_at_their_limits() -> None:
    longest = "n" * NAME_CHARACTERS_MAX
    job = Job(longest, name="ü" * NAME_CHARACTERS_MAX, retries=RETRIES_MAX, priority=-1_000_000)
    assert (job.worker, job.retries, job.priority) == (longest, RETRIES_MAX, -1_000_000)
    assert Job("W", retries=0, priority=1_000_000).retries == 0


@pytest.mark.parametrize("name", ["", "n" * (NAME_CHARACTERS_MAX + 1), 5, None, b"W", "\ud800"])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="worker's name"):
        Job(name)
    if name is not None:
        with pytest.raises(DefinitionError, match="job's name"):
            Job("W", name=name)


@pytest.mark.parametrize("retries", [-1, RETRIES_MAX + 1, 1.0, True, "1"])
def test_retries_that_make_no_sense_are_refused(retries: Any) -> None:
    with pytest.raises(DefinitionError, match=f"0 to {RETRIES_MAX}"):
        Job("W", retries=retries)


@pytest.mark.parametrize("priority", [1_000_001, -1_000_001, 0.5, False, "high"])
def test_a_priority_that_makes_no_sense_is_refused(priority: Any) -> None:
    with pytest.raises(DefinitionError, match="priority"):
        Job("W", priority=priority)


@pytest.mark.parametrize("labels", [{"a": 1}, {1: "a"}, {"a": None}, {"a": "\ud800"}])
def test_labels_that_are_no_text_are_refused(labels: Any) -> None:
    with pytest.raises(DefinitionError, match="label"):
        Job("W", labels=labels)
