"""Every "no" and every failure has its exception."""

from __future__ import annotations

import pytest

from pypelinin.client.verdicts import job_error, refusal_error
from pypelinin.errors import (
    Busy,
    DefinitionError,
    Failed,
    Impossible,
    JobError,
    Killed,
    Lost,
    PypelininError,
    Refused,
    UnknownWorker,
    VersionMismatch,
)
from pypelinin.wire.definitions import Failure, Refusal


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unknown worker", UnknownWorker),
        ("impossible", Impossible),
        ("malformed", DefinitionError),
        ("conflict", DefinitionError),
        ("busy", Busy),
        ("version", VersionMismatch),
        ("something newer", Refused),
    ],
)
def test_a_refusal_is_the_exception_its_code_names(code: str, kind: type[PypelininError]) -> None:
    error = refusal_error(Refusal(code, "What happened.", "What to do."))
    assert type(error) is kind
    assert str(error) == "What happened. What to do."


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("exception", Failed),
        ("store", Failed),
        ("import", Failed),
        ("exit", Killed),
        ("signal", Killed),
        ("lost", Lost),
    ],
)
def test_a_failure_is_the_exception_its_cause_names(cause: str, kind: type[JobError]) -> None:
    error = job_error("r1", "Cook", Failure(cause, "ValueError", "too hot", "", "kitchen"))
    assert type(error) is kind
    assert str(error) == "Job 'Cook' of run r1 failed on kitchen: ValueError: too hot"
    assert error.__cause__ is None


def test_the_remote_traceback_is_the_cause() -> None:
    error = job_error("r1", "Cook", Failure("exception", "ValueError", "x", "Traceback: here"))
    assert "Traceback: here" in str(error.__cause__)
