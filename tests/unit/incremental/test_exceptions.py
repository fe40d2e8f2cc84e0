"""Errors travel between processes, with all that they carry."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pypelinin.errors import PypelininError
from pypelinin.incremental import exceptions

PLAIN = [name for name in exceptions.__all__ if name not in ("JobsFailed", "JobDied", "JobError")]


def sent(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("name", PLAIN)
def test_an_error_travels_with_its_remedy(name: str) -> None:
    kind = getattr(exceptions, name)
    found = sent(kind("What happened.", remedy="What to do."))
    assert type(found) is kind
    assert str(found) == "What happened. What to do."
    assert isinstance(found, exceptions.PPGException)
    assert isinstance(found, PypelininError)


def test_failed_jobs_travel_with_what_they_raised() -> None:
    found = sent(exceptions.JobsFailed("2 of 3.", [ValueError("a"), KeyError("b")]))
    assert str(found) == "2 of 3."
    assert [repr(one) for one in found.exceptions] == ["ValueError('a')", "KeyError('b')"]


def test_a_death_travels_with_its_exit_code() -> None:
    found = sent(exceptions.JobDied("It died.", "repr of it", -9))
    assert (str(found), found.exception, found.exit_code) == ("It died.", "repr of it", -9)


def test_what_a_job_raised_travels_with_what_it_printed() -> None:
    found = sent(exceptions.JobError(ValueError("no"), "the trace", "out", "err"))
    assert str(found) == "ValueError: no"
    assert isinstance(found.exception, ValueError)
    assert (found.trace, found.stdout, found.stderr) == ("the trace", "out", "err")


def test_errors_of_definitions_are_value_errors_too() -> None:
    assert issubclass(exceptions.JobRedefinitionError, ValueError)
    assert issubclass(exceptions.JobOutputConflict, ValueError)
    assert issubclass(exceptions.JobsFailed, exceptions.RunFailed)
    assert issubclass(exceptions.NotADag, exceptions.FatalGraphException)
